//! What the tests stand on: the real binary, real terminals and real servers, each in a private
//! folder that goes away with the test run, whatever becomes of it.

pub(crate) mod bin;
pub(crate) mod control_plane;
pub(crate) mod oidc;
pub(crate) mod platform_api;
pub(crate) mod postgres;
pub(crate) mod process;
pub(crate) mod pty;
pub(crate) mod redis;
pub(crate) mod sshd;
pub(crate) mod tls;
pub(crate) mod tools;

use rustix::event::{Timespec, poll};
use serde::{Serialize, de::DeserializeOwned};
use std::{
    env,
    ffi::OsString,
    fmt::Display,
    fs::{self, File, Permissions},
    net::{TcpListener, UdpSocket},
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Mutex, OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// Longer than anything here takes on a busy machine: reaching it is a failure, never a pace.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Asks until there is an answer; past the deadline the test fails and says what it waited for.
#[track_caller]
pub(crate) fn eventually<T>(
    deadline: Duration,
    what: impl Display,
    mut probe: impl FnMut() -> Option<T>,
) -> T {
    let end = Instant::now() + deadline;
    loop {
        if let Some(found) = probe() {
            return found;
        }
        assert!(Instant::now() < end, "not within {deadline:?}: {what}");
        pause(Duration::from_millis(10));
    }
}

/// Waits until it is so; past the deadline the test fails.
#[track_caller]
pub(crate) fn until(deadline: Duration, what: impl Display, mut holds: impl FnMut() -> bool) {
    eventually(deadline, what, || holds().then_some(()));
}

/// Lets other processes go on for a moment: `poll(2)` of nothing.
pub(crate) fn pause(time: Duration) {
    let time = Timespec::try_from(time).unwrap();
    let _ = poll(&mut [], Some(&time));
}

/// How often a loop runs: the short form in every test run, the long one in `make torture`.
pub(crate) fn loops(short: usize, long: usize) -> usize {
    if env::var_os("BLACKSTART_TORTURE").is_some_and(|v| v == "1") {
        long
    } else {
        short
    }
}

/// Chance that can be repeated (splitmix64).
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end
    }

    pub(crate) fn millis(&mut self, end: u64) -> Duration {
        Duration::from_millis(self.below(end))
    }
}

/// A runbook of `tests/fixtures/runbooks`.
pub(crate) fn fixture(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/runbooks");
    let path = folder.join(name);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// A folder of its own, gone with its owner.
pub(crate) fn private_dir() -> TempDir {
    tempfile::Builder::new()
        .prefix("t")
        .tempdir_in(scratch())
        .unwrap()
}

/// The folder of this process. It, and every process that still holds a file in it, is cleared
/// away when this process ends, even by `kill -9`.
pub(crate) fn scratch() -> &'static Path {
    static SCRATCH: OnceLock<Kept> = OnceLock::new();
    let folder = SCRATCH.get_or_init(|| {
        let made = tempfile::Builder::new().prefix("blackstart-").tempdir();
        Kept::new(made.unwrap().keep(), "cat >/dev/null")
    });
    &folder.path
}

/// The folder of the whole test run. A runner that gives each test a process of its own says by
/// `NEXTEST_RUN_ID` which of them belong together; it goes away when that runner ends.
fn run_folder() -> &'static Path {
    static FOLDER: OnceLock<Option<Kept>> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| {
        let id = env::var("NEXTEST_RUN_ID").ok()?;
        let path = env::temp_dir().join(format!("blackstart-{id}"));
        let runner = std::os::unix::process::parent_id();
        Some(match fs::create_dir(&path) {
            Ok(()) => Kept::new(path, &format!("tail --pid={runner} -f /dev/null")),
            Err(_) => Kept::shared(&path),
        })
    });
    folder
        .as_ref()
        .map_or_else(scratch, |folder| folder.path.as_path())
}

/// What is made once in a test run, by whichever test needs it first; `make` gets a new folder.
pub(crate) fn once<T>(name: &str, make: impl FnOnce(&Path) -> T) -> T
where
    T: Serialize + DeserializeOwned,
{
    let at = |suffix: &str| run_folder().join(format!("{name}{suffix}"));
    let lock = File::create(at(".lock")).unwrap();
    lock.lock().unwrap();
    if let Ok(made) = fs::read(at(".json")) {
        return serde_json::from_slice(&made).unwrap();
    }
    let folder = at("");
    // What a test left that failed half-way.
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir(&folder).unwrap();
    fs::set_permissions(&folder, Permissions::from_mode(0o711)).unwrap();
    let made = make(&folder);
    fs::write(at(".json"), serde_json::to_vec(&made).unwrap()).unwrap();
    made
}

/// A folder that somebody clears away.
struct Kept {
    path: PathBuf,
    _janitor: Option<Child>,
}

/// Waits, then ends who still holds a file in the folder, and removes it.
const JANITOR: &str = r#"
trap '' HUP INT TERM
eval "$UNTIL"
for signal in QUIT KILL; do
  find /proc/[0-9]*/fd /proc/[0-9]*/cwd -maxdepth 1 -lname "$ROOT/*" 2>/dev/null |
    cut -d/ -f3 | sort -u |
    while read -r pid; do kill -s "$signal" "$pid" 2>/dev/null; done
  sleep 0.3
done
rm -rf -- "$ROOT"
"#;

impl Kept {
    fn new(path: PathBuf, until: &str) -> Self {
        // Servers that run as another user pass through.
        fs::set_permissions(&path, Permissions::from_mode(0o711)).unwrap();
        let mut kept = Self::shared(&path);
        let janitor = Command::new("sh")
            .args(["-c", JANITOR])
            .env("ROOT", &kept.path)
            .env("UNTIL", until)
            .current_dir("/")
            // Only this process holds the other end: it closes when this process ends.
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn();
        kept._janitor = Some(janitor.unwrap());
        kept
    }

    fn shared(path: &Path) -> Self {
        Self {
            path: path.canonicalize().unwrap(),
            _janitor: None,
        }
    }
}

/// A port on loopback that nobody listens on and no other test is given, below those that the
/// kernel gives to clients.
pub(crate) fn free_port() -> u16 {
    const FIRST: u32 = 20_000;
    const COUNT: u32 = 10_000;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    // Held on UDP for as long as this process lives, so that other test processes see it is taken.
    static HELD: Mutex<Vec<UdpSocket>> = Mutex::new(Vec::new());
    let start = std::process::id() * 31;
    for _ in 0..COUNT {
        let offset = (start + NEXT.fetch_add(1, Ordering::Relaxed)) % COUNT;
        let port = u16::try_from(FIRST + offset).unwrap();
        let free = TcpListener::bind(("127.0.0.1", port));
        let held = UdpSocket::bind(("127.0.0.1", port));
        if let (Ok(_), Ok(held)) = (free, held) {
            HELD.lock().unwrap().push(held);
            return port;
        }
    }
    panic!("no free port on loopback");
}

/// Where a tool is; a test without its tool fails and says how to get it.
#[track_caller]
pub(crate) fn need(tool: &str, package: &str) -> PathBuf {
    env::split_paths(&search_path())
        .map(|folder| folder.join(tool))
        .find(|path| path.is_file())
        .unwrap_or_else(|| {
            panic!(
                "this test needs `{tool}`: sudo apt-get install -y {package} \
                 (tests/setup.sh installs all that the tests need)"
            )
        })
}

/// The folder into which `tests/setup.sh` installs what Debian does not have.
pub(crate) fn test_tools() -> PathBuf {
    let cache = || {
        let home = env::var_os("HOME").map(|h| PathBuf::from(h).join(".cache"));
        env::var_os("XDG_CACHE_HOME").map(PathBuf::from).or(home)
    };
    match env::var_os("BLACKSTART_TEST_TOOLS") {
        Some(folder) => PathBuf::from(folder),
        None => cache().unwrap_or_default().join("blackstart-test-tools"),
    }
}

/// `PATH` with the folders in which servers keep their programs.
pub(crate) fn search_path() -> OsString {
    let usual = env::var_os("PATH").unwrap_or_else(|| "/usr/bin:/bin".into());
    let mut folders = postgres_folders();
    folders.extend(env::split_paths(&usual));
    folders.extend(["/usr/sbin", "/sbin"].map(PathBuf::from));
    env::join_paths(folders).unwrap()
}

/// Debian keeps the programs of each PostgreSQL apart; 15 is what the runbooks are written for.
fn postgres_folders() -> Vec<PathBuf> {
    let mut found: Vec<(u32, PathBuf)> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let version = entry.file_name().to_str()?.parse().ok()?;
            let folder = entry.path().join("bin");
            folder.join("initdb").is_file().then_some((version, folder))
        })
        .collect();
    found.sort_by_key(|(version, _)| (*version != 15, *version));
    found
        .into_iter()
        .map(|(_, folder)| folder)
        .take(1)
        .collect()
}

/// Writes a program of the test.
pub(crate) fn executable(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
}

/// Runs a helper to its end and returns what it printed; it must succeed.
#[track_caller]
pub(crate) fn must(command: &mut Command) -> String {
    let done = command
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|e| panic!("{:?}: {e}", command.get_program()));
    assert!(
        done.status.success(),
        "{:?} {}\n{}{}",
        command.get_program(),
        done.status,
        String::from_utf8_lossy(&done.stdout),
        String::from_utf8_lossy(&done.stderr),
    );
    String::from_utf8_lossy(&done.stdout).trim_end().to_owned()
}
