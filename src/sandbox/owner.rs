//! As whom the servers of a database run: PostgreSQL refuses root.

use std::{
    fs,
    os::unix::fs::chown,
    path::{Path, PathBuf},
    process::Command,
};

/// The user of database servers; nobody else than us, unless we are root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Owner {
    other: Option<(u32, u32)>,
}

impl Owner {
    pub(crate) fn find() -> Self {
        if !rustix::process::geteuid().is_root() {
            return Self { other: None };
        }
        let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
        let user = |name: &str| {
            let line = users.lines().find(|l| l.split(':').next() == Some(name))?;
            let mut parts = line.split(':').skip(2);
            Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
        };
        Self {
            other: user("postgres").or_else(|| user("nobody")),
        }
    }

    /// The words that go before a command.
    pub(crate) fn words(&self) -> Vec<String> {
        match self.other {
            None => vec!["env".to_owned()],
            Some((uid, gid)) => [
                "setpriv",
                &format!("--reuid={uid}"),
                &format!("--regid={gid}"),
                "--clear-groups",
                "--",
            ]
            .map(str::to_owned)
            .to_vec(),
        }
    }

    pub(crate) fn command(&self, program: &Path) -> Command {
        let words = self.words();
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).arg(program).current_dir("/");
        command
    }

    /// A folder of theirs, that nobody else enters.
    pub(crate) fn folder(&self, path: &Path) -> std::io::Result<()> {
        fs::create_dir_all(path)?;
        fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o700))?;
        self.give(path)
    }

    pub(crate) fn give(&self, path: &Path) -> std::io::Result<()> {
        match self.other {
            Some((uid, gid)) => chown(path, Some(uid), Some(gid)),
            None => Ok(()),
        }
    }
}

/// The folder with the programs of PostgreSQL: the newest version that is installed.
pub(crate) fn programs() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").ok()?.flatten();
    let mut found: Vec<(u32, PathBuf)> = versions
        .filter_map(|e| Some((e.file_name().to_str()?.parse().ok()?, e.path().join("bin"))))
        .filter(|(_, bin)| bin.join("initdb").is_file())
        .collect();
    found.sort();
    found.pop().map(|(_, bin)| bin)
}

/// The library by which a program lives in another time.
pub(crate) fn faketime() -> Option<PathBuf> {
    let folders = fs::read_dir("/usr/lib").ok()?.flatten().map(|e| e.path());
    let beside = ["/usr/lib", "/usr/lib64"].map(PathBuf::from);
    folders
        .chain(beside)
        .map(|f| f.join("faketime/libfaketime.so.1"))
        .find(|f| f.is_file())
}
