//! The small network of a sandbox: made by bubblewrap, entered with nsenter. It holds nothing but the drill,
//! so that no step of a drill can reach anything else, whatever it names.

use super::{
    folder::{Folder, Order, Phase, State, boot, namespace},
    tools,
};
use crate::private;
use rustix::process::{Pid, Signal, geteuid, kill_process};
use std::{
    ffi::OsStr,
    fs, io,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// Names the folder of the sandbox that a process is in.
pub const INSIDE: &str = "BLACKSTART_SANDBOX";
/// Says that the sandbox that is meant is gone, and that nothing can be reached from here.
const NOWHERE: &str = "BLACKSTART_NOWHERE";
const BUNDLE: &str = "/etc/ssl/certs/ca-certificates.crt";
/// What the sandbox sees under these names.
const SEEN: [(&str, &str); 4] = [
    ("resolv.conf", "/etc/resolv.conf"),
    ("hosts", "/etc/hosts"),
    ("nsswitch.conf", "/etc/nsswitch.conf"),
    ("ca-certificates.crt", BUNDLE),
];
/// Programs without which there is no sandbox, and the package of Debian that has each.
const NEEDED: &[(&str, &str)] = &[
    ("bwrap", "bubblewrap"),
    ("nsenter", "util-linux"),
    ("setpriv", "util-linux"),
    ("pgbackrest", "pgbackrest"),
    ("redis-server", "redis-server"),
    ("redis-check-rdb", "redis-tools"),
    ("psql", "postgresql-client"),
    ("jq", "jq"),
    ("kubectl", "kubernetes-client"),
    ("git", "git"),
    ("curl", "curl"),
    ("openssl", "openssl"),
];

/// What of the environment of whoever drills leads elsewhere, or to nobody: proxies, other endpoints, and who they
/// are there.
const ELSEWHERE: &[&str] = &[
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "AWS_PROFILE",
    "AWS_DEFAULT_PROFILE",
    "AWS_SESSION_TOKEN",
    "AWS_REGION",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_SECRETS_MANAGER",
    "AWS_ENDPOINT_URL_STS",
    "AZURE_CLOUD_NAME",
];

/// The sandbox that this process is in.
pub fn inside() -> Option<Folder> {
    let folder = std::env::var_os(INSIDE).filter(|f| !f.is_empty())?;
    let folder = Folder::new(PathBuf::from(folder));
    let state = folder.state()?;
    // The variable alone is no proof.
    (namespace("self", "net") == Some(state.net) && state.boot == boot()).then_some(folder)
}

/// Are we where nothing can be reached?
pub fn nowhere() -> bool {
    std::env::var_os(NOWHERE).is_some()
}

/// Is the sandbox of that name not the one that we are in, or does it live no more?
pub fn is_gone(id: &str) -> bool {
    !inside().is_some_and(|folder| folder.id() == id && folder.lives())
}

fn on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| {
        let meta = fs::metadata(dir.join(program));
        meta.is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
    })
}

/// Packages that a sandbox needs and this machine lacks.
pub fn missing() -> Vec<&'static str> {
    let mut out: Vec<&str> = NEEDED
        .iter()
        .filter(|(p, _)| !on_path(p))
        .map(|(_, package)| *package)
        .collect();
    if super::owner::programs().is_none() {
        out.push("postgresql");
    }
    if super::owner::faketime().is_none() {
        out.push("faketime");
    }
    if !Path::new(BUNDLE).exists() {
        out.push("ca-certificates");
    }
    out.dedup();
    out
}

/// Makes the folder and starts the supervisor of its world; it lives on when we end.
pub fn start(folder: &Folder, order: &Order) -> io::Result<Child> {
    folder.make(order)?;
    let write = |name: &str, text: &str| fs::write(folder.at("etc").join(name), text);
    write(
        "resolv.conf",
        &format!(
            "nameserver {}\noptions timeout:2 attempts:1\n",
            super::world::RESOLVER
        ),
    )?;
    write("hosts", "127.0.0.1 localhost\n")?;
    write(
        "nsswitch.conf",
        "passwd: files\ngroup: files\nhosts: files dns\nnetworks: files\nservices: files\n",
    )?;
    fs::copy(BUNDLE, folder.at("etc/ca-certificates.crt"))?;
    for (name, _) in SEEN {
        fs::set_permissions(
            folder.at("etc").join(name),
            fs::Permissions::from_mode(0o644),
        )?;
    }
    // Others than us read these files, under their usual names.
    fs::set_permissions(folder.at("etc"), fs::Permissions::from_mode(0o755))?;
    let program = std::env::current_exe()?;
    for tool in tools::ALL.iter().filter(|t| !on_path(t)) {
        let path = folder.at("bin").join(tool);
        let script = format!(
            "#!/bin/sh\n# A stand-in of the drill: {tool} is not installed here.\nexec '{}' __tool {tool} \"$@\"\n",
            program.display()
        );
        fs::write(&path, script)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    }
    let log = private::open(&folder.at("world.log"), private::Open::Append)?;
    let mut bwrap = Command::new("bwrap");
    here_only(&mut bwrap);
    // Shared memory of its own, too: what servers and their tools leave there goes with it.
    bwrap.args(["--dev-bind", "/", "/", "--tmpfs", "/dev/shm"]);
    bwrap.args(["--unshare-net", "--unshare-ipc", "--new-session"]);
    if !geteuid().is_root() {
        // Ports of well-known services are below 1024.
        bwrap.args(["--unshare-user", "--cap-add", "CAP_NET_BIND_SERVICE"]);
    }
    for (name, at) in SEEN {
        bwrap
            .arg("--ro-bind")
            .arg(folder.at("etc").join(name))
            .arg(at);
    }
    // The servers run as another user when we are root, and nobody else gets into a home folder.
    bwrap
        .arg("--bind")
        .arg(folder.at("pg"))
        .arg(super::world::DATABASES);
    bwrap
        .arg("--")
        .arg(program)
        .arg("__world")
        .arg(folder.root());
    bwrap
        .current_dir("/")
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::from(log.try_clone()?))
        .stderr(Stdio::from(log));
    bwrap.spawn()
}

/// Waits until the world is up; `tell` hears what was built, as it is.
pub fn wait(
    folder: &Folder,
    child: &mut Child,
    patience: Duration,
    mut tell: impl FnMut(&str, u64),
) -> io::Result<State> {
    let (began, mut told) = (Instant::now(), 0);
    loop {
        let ended = child.try_wait()?;
        if let Some(state) = folder.state() {
            for (what, took) in &state.built[told.min(state.built.len())..] {
                tell(what, *took);
            }
            told = state.built.len();
            match &state.phase {
                Phase::Ready => return Ok(state),
                Phase::Failed(why) => return Err(io::Error::other(why.clone())),
                Phase::Building | Phase::Ended => {}
            }
        }
        if ended.is_some() || began.elapsed() > patience {
            let log = fs::read_to_string(folder.at("world.log")).unwrap_or_default();
            let last = log.lines().last().unwrap_or("it said nothing");
            return Err(io::Error::other(format!(
                "the sandbox was not built: {last}"
            )));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn here_only(command: &mut Command) {
    for name in ELSEWHERE {
        command.env_remove(name);
    }
}

/// Where `az` has its extensions, which a login of its own would hide.
fn extensions() -> Option<PathBuf> {
    let named = |name: &str| {
        let value = std::env::var_os(name).filter(|v| !v.is_empty());
        value.map(PathBuf::from)
    };
    named("AZURE_EXTENSION_DIR").or_else(|| {
        let own = named("AZURE_CONFIG_DIR").or_else(|| Some(named("HOME")?.join(".azure")))?;
        Some(own.join("cliextensions"))
    })
}

/// A command of ours inside the sandbox, with what its steps find in their environment.
pub fn enter(folder: &Folder, state: &State, words: &[impl AsRef<OsStr>]) -> io::Result<Command> {
    let mut nsenter = Command::new("nsenter");
    nsenter.arg(format!("--target={}", state.pid));
    if !geteuid().is_root() {
        nsenter.args(["--user", "--preserve-credentials"]);
    }
    // Whoever enters another view of the files begins at its root.
    let here = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/"));
    nsenter.args([
        "--net",
        "--ipc",
        "--mount",
        "--",
        "sh",
        "-c",
        "cd \"$0\"; exec \"$@\"",
    ]);
    nsenter.arg(here).args(words);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let own = std::iter::once(folder.at("bin")).chain(std::env::split_paths(&path));
    here_only(&mut nsenter);
    nsenter
        .env("PATH", std::env::join_paths(own).map_err(io::Error::other)?)
        .env(INSIDE, folder.root())
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .env("AWS_CONFIG_FILE", "/dev/null")
        .env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
        .env("REQUESTS_CA_BUNDLE", BUNDLE)
        .env("SSL_CERT_FILE", BUNDLE)
        .envs(&state.environment);
    if let Some(extensions) = extensions() {
        nsenter.env("AZURE_EXTENSION_DIR", extensions);
    }
    Ok(nsenter)
}

/// The same where nothing can be reached: the sandbox of a drill is gone.
pub fn enter_nowhere() -> io::Result<Command> {
    let mut bwrap = Command::new("bwrap");
    bwrap
        .env(NOWHERE, "1")
        .args(["--dev-bind", "/", "/", "--unshare-net", "--"])
        .arg(std::env::current_exe()?);
    Ok(bwrap)
}

/// Every process that is in the sandbox, but for ourselves.
fn inhabitants(state: &State) -> Vec<u32> {
    if state.boot != boot() || state.net == 0 {
        return Vec::new();
    }
    let own = namespace("self", "net");
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|e| e.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| {
        let text = pid.to_string();
        // Both numbers together are those of this sandbox; our own network is never swept.
        own != Some(state.net)
            && namespace(&text, "net") == Some(state.net)
            && namespace(&text, "mnt") == Some(state.mnt)
    })
    .collect()
}

fn tell(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, signal);
    }
}

fn is_postgres(pid: u32) -> bool {
    let program = fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
    program.file_name().is_some_and(|name| name == "postgres")
}

/// Ends a sandbox and removes what is left of it: processes first, then the folder.
pub fn clean(folder: &Folder) -> io::Result<()> {
    if let Some(state) = folder.state() {
        if folder.lives() {
            tell(state.pid, Signal::TERM);
        }
        let began = Instant::now();
        while folder.lives() && began.elapsed() < Duration::from_secs(8) {
            std::thread::sleep(Duration::from_millis(30));
        }
        // A database server that is killed leaves shared memory behind; asked to end at once, it does not.
        let servers = inhabitants(&state);
        let servers = servers.into_iter().filter(|pid| is_postgres(*pid));
        servers.for_each(|pid| tell(pid, Signal::QUIT));
        let began = Instant::now();
        while inhabitants(&state).into_iter().any(is_postgres)
            && began.elapsed() < Duration::from_secs(3)
        {
            std::thread::sleep(Duration::from_millis(30));
        }
        let began = Instant::now();
        loop {
            let left = inhabitants(&state);
            if left.is_empty() {
                break;
            }
            for pid in left {
                tell(pid, Signal::KILL);
            }
            if began.elapsed() > Duration::from_secs(8) {
                return Err(io::Error::other("some processes of the sandbox do not end"));
            }
            std::thread::sleep(Duration::from_millis(30));
        }
    }
    folder.remove()
}
