//! The managed database servers of a sandbox: real PostgreSQL, each on an address of its own, with one
//! pgBackRest repository for all of them.

use crate::sandbox::{
    authority::Pair,
    owner::{Owner, faketime, programs},
};
use rustix::process::{Pid, Signal, kill_process};
use std::{
    fs, io,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};
use tokio_postgres::NoTls;

pub(crate) const PORT: u16 = 5432;
pub(crate) const SUPERUSER: &str = "postgres";
const PATIENCE: Duration = Duration::from_secs(20);

/// Everything that the servers share.
#[derive(Clone)]
pub(crate) struct Estate {
    pub root: PathBuf,
    pub owner: Owner,
    pub programs: PathBuf,
    pub stanza: String,
}

/// One server.
pub(crate) struct Server {
    pub name: String,
    pub address: Ipv4Addr,
    pub data: PathBuf,
    estate: Estate,
    child: Option<Child>,
}

fn run(command: &mut Command) -> io::Result<String> {
    let done = command.stdin(Stdio::null()).output()?;
    if done.status.success() {
        return Ok(String::from_utf8_lossy(&done.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&done.stderr);
    let said = format!("{}{said}", String::from_utf8_lossy(&done.stdout));
    let last: Vec<&str> = said.lines().rev().take(4).collect();
    let last: Vec<&str> = last.into_iter().rev().collect();
    let program = command
        .get_args()
        .last()
        .map(|a| a.to_string_lossy().into_owned());
    Err(io::Error::other(format!(
        "{} … {}: {}",
        command.get_program().to_string_lossy(),
        program.unwrap_or_default(),
        last.join("; ")
    )))
}

impl Estate {
    pub(crate) fn new(root: PathBuf, stanza: &str) -> io::Result<Self> {
        let missing = |what: &str, package: &str| {
            io::Error::other(format!(
                "{what} is not installed: apt-get install {package}"
            ))
        };
        let programs = programs().ok_or_else(|| missing("PostgreSQL", "postgresql"))?;
        if !Path::new("/usr/bin/pgbackrest").exists() {
            return Err(missing("pgBackRest", "pgbackrest"));
        }
        faketime().ok_or_else(|| missing("libfaketime", "faketime"))?;
        let owner = Owner::find();
        owner.folder(&root)?;
        for name in ["repo", "lock", "spool", "log", "sockets"] {
            owner.folder(&root.join(name))?;
        }
        let estate = Self {
            root,
            owner,
            programs,
            stanza: stanza.to_owned(),
        };
        let here = estate.root.display();
        let text = format!(
            "[global]
repo1-path={here}/repo
repo1-retention-full=7
lock-path={here}/lock
spool-path={here}/spool
log-path={here}/log
log-level-file=off
compress-type=none
start-fast=y
process-max=2
archive-timeout=20

[{stanza}]
pg1-path={here}/{stanza}
pg1-port={PORT}
pg1-socket-path={here}/sockets/{stanza}
pg1-user={SUPERUSER}
"
        );
        fs::write(estate.backup_config(), text)?;
        estate.readable(&estate.backup_config())?;
        Ok(estate)
    }

    /// A file of theirs, that nobody else reads.
    pub(crate) fn readable(&self, path: &Path) -> io::Result<()> {
        fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
        self.owner.give(path)
    }

    pub(crate) fn backup_config(&self) -> PathBuf {
        self.root.join("pgbackrest.conf")
    }

    /// A program as the user of the servers, now or in the time that a file of ours says.
    fn command(&self, program: &Path, another_time: bool) -> Command {
        if !another_time {
            return self.owner.command(program);
        }
        // What changes the time is told to the program alone: it keeps something by the user that it finds.
        let mut command = self.owner.command(Path::new("env"));
        let library = faketime().unwrap_or_default();
        command
            .arg(format!("LD_PRELOAD={}", library.display()))
            .arg(format!(
                "FAKETIME_TIMESTAMP_FILE={}",
                self.root.join("time").display()
            ))
            .args(["FAKETIME_NO_CACHE=1", "FAKETIME_DONT_FAKE_MONOTONIC=1"])
            .arg(program);
        command
    }

    /// A program of PostgreSQL.
    fn program(&self, name: &str, another_time: bool) -> Command {
        self.command(&self.programs.join(name), another_time)
    }

    fn pgbackrest(&self, another_time: bool) -> Command {
        let mut command = self.command(Path::new("pgbackrest"), another_time);
        command.arg(format!("--config={}", self.backup_config().display()));
        command.arg(format!("--stanza={}", self.stanza));
        command
    }

    /// Sets that time, so many seconds before now.
    pub(crate) fn travel(&self, seconds_ago: i64) -> io::Result<()> {
        let path = self.root.join("time");
        fs::write(&path, format!("-{seconds_ago}\n"))?;
        self.readable(&path)
    }

    /// A new server without data, not started; `folder` is where its data is.
    pub(crate) fn make(&self, name: &str, folder: &str, address: Ipv4Addr) -> io::Result<Server> {
        let data = self.root.join(folder);
        let mut initdb = self.program("initdb", false);
        initdb
            .args([
                "--username",
                SUPERUSER,
                "--encoding=UTF8",
                "--locale=C",
                "--no-sync",
            ])
            .args([
                "--auth-local=trust",
                "--auth-host=scram-sha-256",
                "--pgdata",
            ])
            .arg(&data);
        run(&mut initdb)?;
        let (program, config, stanza) = ("pgbackrest", self.backup_config(), &self.stanza);
        let own = format!(
            "
fsync = off
full_page_writes = off
shared_buffers = 16MB
max_connections = 40
min_wal_size = 32MB
max_wal_size = 256MB
timezone = 'UTC'
log_timezone = 'UTC'
autovacuum_naptime = 1h
dynamic_shared_memory_type = mmap
wal_level = replica
archive_mode = on
archive_timeout = '5min'
archive_command = '{program} --config={} --stanza={stanza} archive-push %p'
",
            config.display()
        );
        let conf = data.join("postgresql.conf");
        let text = fs::read_to_string(&conf)? + &own;
        fs::write(&conf, text)?;
        let hba = "local all all trust\nhostssl all all 127.0.0.0/8 scram-sha-256\n";
        fs::write(data.join("pg_hba.conf"), hba)?;
        Ok(self.server(name, address, data))
    }

    pub(crate) fn server(&self, name: &str, address: Ipv4Addr, data: PathBuf) -> Server {
        Server {
            name: name.to_owned(),
            address,
            data,
            estate: self.clone(),
            child: None,
        }
    }

    /// Files of a new server as the database was at a moment; it is not started.
    pub(crate) fn restored(
        &self,
        name: &str,
        address: Ipv4Addr,
        target: &str,
    ) -> io::Result<Server> {
        let data = self.root.join(name);
        self.owner.folder(&data)?;
        let mut restore = self.pgbackrest(false);
        restore
            .arg(format!("--pg1-path={}", data.display()))
            .args([
                "--archive-mode=off",
                "restore",
                "--type=time",
                "--target-action=promote",
            ])
            .arg(format!("--target={target}"));
        run(&mut restore)?;
        Ok(self.server(name, address, data))
    }

    pub(crate) fn back_up(&self, another_time: bool) -> io::Result<()> {
        let mut backup = self.pgbackrest(another_time);
        backup.args(["--type=full", "--no-archive-check", "backup"]);
        run(&mut backup).map(drop)
    }

    pub(crate) fn make_stanza(&self, another_time: bool) -> io::Result<()> {
        let mut make = self.pgbackrest(another_time);
        make.arg("stanza-create");
        run(&mut make).map(drop)
    }
}

impl Server {
    fn sockets(&self) -> PathBuf {
        self.estate.root.join("sockets").join(&self.name)
    }

    /// Gives it a certificate for its name.
    pub(crate) fn shows(&self, pair: &Pair) -> io::Result<()> {
        for (name, text) in [("server.crt", &pair.chain), ("server.key", &pair.key)] {
            let path = self.sockets().with_extension(name);
            fs::write(&path, text)?;
            self.estate.readable(&path)?;
        }
        Ok(())
    }

    /// Starts it and waits until it answers; in another time, only for our own socket.
    pub(crate) async fn start(&mut self, another_time: bool) -> io::Result<()> {
        let sockets = self.sockets();
        self.estate.owner.folder(&sockets)?;
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(self.estate.root.join(format!("{}.log", self.name)))?;
        let mut postgres = self.estate.program("postgres", another_time);
        postgres.arg("-D").arg(&self.data);
        let mut set = |name: &str, value: &str| {
            postgres.args(["-c", &format!("{name}={value}")]);
        };
        set("port", &PORT.to_string());
        set("unix_socket_directories", &sockets.display().to_string());
        if another_time {
            set("listen_addresses", "");
        } else {
            set("listen_addresses", &self.address.to_string());
            set("ssl", "on");
            for (name, file) in [
                ("ssl_cert_file", "server.crt"),
                ("ssl_key_file", "server.key"),
            ] {
                set(name, &sockets.with_extension(file).display().to_string());
            }
        }
        postgres
            .stdin(Stdio::null())
            .stdout(Stdio::from(log.try_clone()?))
            .stderr(Stdio::from(log));
        self.child = Some(postgres.spawn()?);
        let began = Instant::now();
        loop {
            let ended = match &mut self.child {
                Some(child) => child.try_wait()?,
                None => None,
            };
            if let Some(status) = ended {
                self.child = None;
                return Err(io::Error::other(format!(
                    "the server {} ended at once ({status}): {}",
                    self.name,
                    self.last_words()
                )));
            }
            if let Ok(seen) = self.ask("SELECT pg_is_in_recovery()::text").await
                && seen == "false"
            {
                return Ok(());
            }
            if began.elapsed() > PATIENCE {
                return Err(io::Error::other(format!(
                    "the server {} does not answer: {}",
                    self.name,
                    self.last_words()
                )));
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    }

    fn last_words(&self) -> String {
        let log = fs::read_to_string(self.estate.root.join(format!("{}.log", self.name)));
        let log = log.unwrap_or_default();
        let mut bad = log
            .lines()
            .filter(|l| l.contains("FATAL") || l.contains("ERROR") || l.contains("HINT"));
        bad.next_back()
            .or(log.lines().last())
            .unwrap_or_default()
            .to_owned()
    }

    /// Stops it: in order, or as a crash would.
    pub(crate) async fn stop(&mut self, at_once: bool) {
        let Some(mut child) = self.child.take() else {
            return;
        };
        let signal = if at_once { Signal::QUIT } else { Signal::INT };
        let _ = kill_process(Pid::from_child(&child), signal);
        let began = Instant::now();
        while matches!(child.try_wait(), Ok(None)) {
            if began.elapsed() > PATIENCE {
                let _ = child.kill();
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// A connection of the superuser through the socket.
    async fn connect(&self, database: &str) -> io::Result<tokio_postgres::Client> {
        let mut config = tokio_postgres::Config::new();
        config
            .host_path(self.sockets())
            .port(PORT)
            .user(SUPERUSER)
            .dbname(database)
            .connect_timeout(Duration::from_secs(3));
        let (client, connection) = config.connect(NoTls).await.map_err(io::Error::other)?;
        tokio::spawn(connection);
        Ok(client)
    }

    async fn ask(&self, query: &str) -> io::Result<String> {
        self.value("postgres", query).await
    }

    /// Statements in a database, as the superuser.
    pub(crate) async fn sql(&self, database: &str, statements: &str) -> io::Result<()> {
        let client = self.connect(database).await?;
        client.batch_execute(statements).await.map_err(said)
    }

    /// The first value of the first row, as text.
    pub(crate) async fn value(&self, database: &str, query: &str) -> io::Result<String> {
        let client = self.connect(database).await?;
        let rows = client.simple_query(query).await.map_err(said)?;
        let value = rows.iter().find_map(|m| match m {
            tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
            _ => None,
        });
        Ok(value.unwrap_or_default())
    }

    /// Writes a dump of a database, in the time of the estate.
    pub(crate) fn dump(&self, database: &str, file: &Path) -> io::Result<()> {
        let inside = self.estate.root.join("spool/dump.tmp");
        let mut dump = self.estate.program("pg_dump", true);
        dump.args([
            "-Fc",
            "-Z",
            "6",
            "-U",
            SUPERUSER,
            "-p",
            &PORT.to_string(),
            "-h",
        ])
        .arg(self.sockets())
        .arg("--file")
        .arg(&inside)
        .arg(database);
        run(&mut dump)?;
        fs::copy(&inside, file)?;
        fs::remove_file(inside)
    }
}

/// What the server said, and not only that it did.
fn said(error: tokio_postgres::Error) -> io::Error {
    match error.as_db_error() {
        Some(e) => io::Error::other(format!("{}: {}", e.severity(), e.message())),
        None => io::Error::other(error),
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(child) = &self.child {
            let _ = kill_process(Pid::from_child(child), Signal::QUIT);
        }
    }
}
