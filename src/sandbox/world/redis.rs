//! The files of a Redis, made by a real one: what it held before the incident.

use std::{
    fs, io,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

/// Fills a folder with the files of a Redis with so many sessions: an AOF, and a copy as an RDB file.
pub(super) fn fill(folder: &Path, keys: u32, copy: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let socket = folder.join("socket");
    let mut server = Command::new("redis-server")
        .args([
            "--port",
            "0",
            "--appendonly",
            "yes",
            "--save",
            "",
            "--daemonize",
            "no",
            "--unixsocket",
        ])
        .arg(&socket)
        .arg("--dir")
        .arg(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|e| {
            io::Error::other(format!("redis-server: {e} (apt-get install redis-server)"))
        })?;
    let cli = |words: &[&str]| {
        let mut cli = Command::new("redis-cli");
        cli.arg("-s")
            .arg(&socket)
            .arg("-e")
            .args(words)
            .stdin(Stdio::null())
            .output()
    };
    let began = Instant::now();
    while !cli(&["PING"]).is_ok_and(|o| o.status.success()) {
        if began.elapsed() > Duration::from_secs(10) {
            let _ = server.kill();
            return Err(io::Error::other("redis-server does not answer"));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let script = format!(
        "for i = 1, {keys} do redis.call('SET', 'session:' .. i, 'of tenant ' .. i, 'EX', 86400) end"
    );
    cli(&["EVAL", &script, "0"])?;
    cli(&["SAVE"])?;
    fs::copy(folder.join("dump.rdb"), copy)?;
    cli(&["SHUTDOWN", "NOSAVE"])?;
    server.wait()?;
    fs::remove_file(folder.join("dump.rdb"))
}
