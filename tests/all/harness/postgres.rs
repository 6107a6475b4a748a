//! Real PostgreSQL servers on loopback, and real pgBackRest repositories of theirs.
//!
//! `initdb` runs once in a test run; every cluster is a copy of what it made, and its files and its
//! server are gone when it is dropped.

use super::{
    PATIENCE, free_port, must, need, once,
    process::{Daemon, Owner, as_owner, end_servers},
    scratch, search_path, until,
};
use chrono::{DateTime, Utc};
use rustix::process::Signal;
use std::{
    fs::{self, OpenOptions, Permissions},
    io::Write,
    os::unix::fs::{PermissionsExt, chown},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
};

pub(crate) const SUPERUSER: &str = "postgres";
/// The superuser's password over TCP, by SCRAM.
pub(crate) const PASSWORD: &str = "correct-horse-battery";

const SERVER: &str = "postgresql-15";
const CLIENT: &str = "postgresql-client-15";
const PGBACKREST: &str = "pgbackrest";

/// A cluster with a folder, a port and a server of its own.
pub(crate) struct Cluster {
    folder: PathBuf,
    port: u16,
    server: Option<Daemon>,
}

impl Cluster {
    /// A running copy of the template.
    pub(crate) fn start() -> Self {
        let mut cluster = Self::copied(owned_folder());
        cluster.serve();
        cluster
    }

    /// A copy that archives its WAL into a pgBackRest repository of its own (stanza `main`), all of
    /// it in the folder.
    pub(crate) fn with_pgbackrest(folder: &Path) -> Self {
        give_to_owner(folder);
        let mut cluster = Self::copied(folder.to_owned());
        cluster.prepare_repository();
        cluster.serve();
        must(cluster.pgbackrest().arg("stanza-create"));
        cluster
    }

    /// A cluster that was never started and is no copy: another system identifier.
    pub(crate) fn stranger() -> Self {
        let cluster = Self::empty(owned_folder());
        initdb(&cluster.data());
        cluster.configure("");
        cluster
    }

    /// The same, running.
    pub(crate) fn running_stranger() -> Self {
        let mut cluster = Self::stranger();
        cluster.serve();
        cluster
    }

    /// One that another process of this test run has started.
    pub(crate) fn running(folder: PathBuf, port: u16) -> Self {
        Self {
            folder,
            port,
            server: None,
        }
    }

    fn empty(folder: PathBuf) -> Self {
        Self::running(folder, free_port())
    }

    fn copied(folder: PathBuf) -> Self {
        let cluster = Self::empty(folder);
        let mut copy = as_owner("cp", "coreutils");
        copy.args(["-a", "--reflink=auto"]).arg(template());
        must(copy.arg(cluster.data()));
        cluster.configure("");
        cluster
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// A folder that the server's user may write into; its socket is there too.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    fn serve(&mut self) {
        let mut command = as_owner("postgres", SERVER);
        command.arg("-D").arg(self.data());
        // SIGQUIT: the immediate shutdown.
        let mut server = Daemon::start(&mut command, self.folder.join("server.log"), Signal::QUIT);
        let port = self.port;
        server.ready(|| answers(port));
        self.server = Some(server);
    }

    fn configure(&self, more: &str) {
        let mut file = OpenOptions::new()
            .append(true)
            .open(self.data().join("postgresql.conf"))
            .unwrap();
        let (port, sockets) = (self.port, self.folder.display());
        write!(
            file,
            "
listen_addresses = '127.0.0.1'
port = {port}
unix_socket_directories = '{sockets}'
fsync = off
shared_buffers = 16MB
max_connections = 50
timezone = 'UTC'
log_timezone = 'UTC'
{more}
"
        )
        .unwrap();
    }

    /// The configuration of its repository, for `pgbackrest --config=…`.
    pub(crate) fn backup_config(&self) -> PathBuf {
        self.folder.join("pgbackrest.conf")
    }

    fn prepare_repository(&self) {
        let (here, data) = (self.folder.display(), self.data());
        let (config, data) = (self.backup_config(), data.display());
        let (program, port) = (need("pgbackrest", PGBACKREST), self.port);
        for name in ["repo", "lock", "spool", "log"] {
            must(as_owner("mkdir", "coreutils").arg(self.folder.join(name)));
        }
        let text = format!(
            "[global]
repo1-path={here}/repo
repo1-retention-full=2
lock-path={here}/lock
spool-path={here}/spool
log-path={here}/log
log-level-file=off
compress-type=none
start-fast=y
process-max=2

[main]
pg1-path={data}
pg1-port={port}
pg1-socket-path={here}
pg1-user={SUPERUSER}
"
        );
        fs::write(&config, text).unwrap();
        fs::set_permissions(&config, Permissions::from_mode(0o644)).unwrap();
        let (program, config) = (program.display(), config.display());
        self.configure(&format!(
            "wal_level = replica
archive_mode = on
archive_command = '{program} --config={config} --stanza=main archive-push %p'"
        ));
    }

    fn pgbackrest(&self) -> Command {
        let mut command = as_owner("pgbackrest", PGBACKREST);
        command
            .arg(format!("--config={}", self.backup_config().display()))
            .arg("--stanza=main");
        command
    }

    /// Takes a full backup.
    pub(crate) fn back_up(&self) {
        must(self.pgbackrest().args(["--type=full", "backup"]));
    }

    /// Waits until all that was written so far is in the repository.
    pub(crate) fn archive(&self) {
        let file = self.sql("postgres", "SELECT pg_walfile_name(pg_switch_wal())");
        let archived =
            format!("SELECT coalesce(last_archived_wal >= '{file}', false) FROM pg_stat_archiver");
        until(PATIENCE, format_args!("{file} in the archive"), || {
            self.sql("postgres", &archived) == "t"
        });
    }

    #[track_caller]
    pub(crate) fn sql(&self, database: &str, statement: &str) -> String {
        sql(self.port, database, statement)
    }

    /// The server's clock, in whole seconds since 1970, rounded down.
    pub(crate) fn clock(&self) -> i64 {
        let now = "SELECT floor(extract(epoch FROM clock_timestamp()))::bigint";
        self.sql("postgres", now).parse().unwrap()
    }

    /// Waits until a moment is over by the server's clock.
    pub(crate) fn pass(&self, moment: DateTime<Utc>) {
        let over = format!(
            "SELECT clock_timestamp() > to_timestamp({}) + interval '50 ms'",
            moment.timestamp()
        );
        until(PATIENCE, format_args!("{moment} is over"), || {
            self.sql("postgres", &over) == "t"
        });
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.server = None;
        end_servers(&self.folder);
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// What one statement answers, as `psql -At` prints it; asked over TCP with the password.
#[track_caller]
pub(crate) fn sql(port: u16, database: &str, statement: &str) -> String {
    let mut psql = Command::new(need("psql", CLIENT));
    psql.args(["-XqAt", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1"])
        .args(["-U", SUPERUSER, "-d", database, "-p", &port.to_string()])
        .args(["-c", statement])
        .env("PGPASSWORD", PASSWORD)
        .env("PATH", search_path());
    must(&mut psql)
}

fn answers(port: u16) -> bool {
    Command::new(need("pg_isready", CLIENT))
        .args(["-q", "-h", "127.0.0.1", "-p", &port.to_string()])
        .stdin(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// A script that runs its arguments as the server's user, for the steps of runbooks.
pub(crate) fn owner_script() -> &'static Path {
    static SCRIPT: OnceLock<PathBuf> = OnceLock::new();
    SCRIPT.get_or_init(|| {
        let become_owner = match Owner::other() {
            Some(Owner { uid, gid }) => {
                format!("setpriv --reuid={uid} --regid={gid} --init-groups -- ")
            }
            None => String::new(),
        };
        let path = scratch().join("as-owner");
        fs::write(
            &path,
            format!("#!/bin/sh\ncd / && exec {become_owner}\"$@\"\n"),
        )
        .unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
        path
    })
}

fn template() -> PathBuf {
    once("template", |folder| {
        give_to_owner(folder);
        let data = folder.join("data");
        initdb(&data);
        data
    })
}

fn initdb(data: &Path) {
    let password = data.with_extension("password");
    fs::write(&password, PASSWORD).unwrap();
    fs::set_permissions(&password, Permissions::from_mode(0o644)).unwrap();
    let mut initdb = as_owner("initdb", SERVER);
    initdb
        .args(["--username", SUPERUSER, "--encoding=UTF8", "--locale=C"])
        .args(["--auth-local=trust", "--auth-host=scram-sha-256"])
        .args(["--no-sync", "--pgdata"])
        .arg(data)
        .arg("--pwfile")
        .arg(password);
    must(&mut initdb);
}

/// A new folder that belongs to the server's user.
fn owned_folder() -> PathBuf {
    static COUNT: AtomicU32 = AtomicU32::new(1);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let folder = scratch().join(format!("pg{number}"));
    fs::create_dir(&folder).unwrap();
    give_to_owner(&folder);
    folder
}

fn give_to_owner(folder: &Path) {
    fs::set_permissions(folder, Permissions::from_mode(0o700)).unwrap();
    if let Some(Owner { uid, gid }) = Owner::other() {
        chown(folder, Some(uid), Some(gid)).unwrap();
    }
}
