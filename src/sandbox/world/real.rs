//! A real control plane in place of the simulated one: etcd and kube-apiserver, as processes of the world.
//! Controllers and node are the same.

use crate::sandbox::authority::Pair;
use std::{
    fs, io,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};
use tokio::net::TcpStream;

/// Both processes of one cluster.
pub(crate) struct Real {
    folder: PathBuf,
    programs: PathBuf,
    address: Ipv4Addr,
    etcd: Mutex<Option<Child>>,
    api: Mutex<Option<Child>>,
}

impl Real {
    /// The folder with kube-apiserver and etcd, by the variable that the ecosystem has for it.
    pub(crate) fn programs() -> io::Result<PathBuf> {
        let folder = std::env::var_os("KUBEBUILDER_ASSETS").map(PathBuf::from);
        let folder = folder.filter(|f| f.join("kube-apiserver").is_file());
        folder.ok_or_else(|| {
            io::Error::other(
                "KUBEBUILDER_ASSETS does not name a folder with kube-apiserver and etcd",
            )
        })
    }

    /// Starts it; `users` are lines of a token file.
    pub(crate) async fn start(
        folder: &Path,
        address: Ipv4Addr,
        pair: &Pair,
        users: &str,
    ) -> io::Result<Self> {
        let folder = folder.join("control-plane");
        fs::create_dir_all(&folder)?;
        for (name, text) in [
            ("tokens.csv", users),
            ("api.crt", &pair.chain),
            ("api.key", &pair.key),
        ] {
            crate::private::replace_lazily(&folder.join(name), text.as_bytes())?;
        }
        // Older servers read no other form of a key.
        let made = Command::new("openssl")
            .args(["genrsa", "2048"])
            .stderr(Stdio::null())
            .output()?;
        crate::private::replace_lazily(&folder.join("sa.key"), &made.stdout)?;
        let real = Self {
            programs: Self::programs()?,
            folder,
            address,
            etcd: Mutex::default(),
            api: Mutex::default(),
        };
        let etcd = real.start_etcd()?;
        *real.etcd.lock().unwrap_or_else(PoisonError::into_inner) = Some(etcd);
        real.go_on().await?;
        Ok(real)
    }

    fn log(&self, name: &str) -> io::Result<Stdio> {
        let file = fs::File::options()
            .create(true)
            .append(true)
            .open(self.folder.join(name))?;
        Ok(Stdio::from(file))
    }

    fn start_etcd(&self) -> io::Result<Child> {
        let (clients, peers) = (
            format!("http://{}:2379", self.address),
            format!("http://{}:2380", self.address),
        );
        Command::new(self.programs.join("etcd"))
            .args([
                "--listen-client-urls",
                &clients,
                "--advertise-client-urls",
                &clients,
            ])
            .args([
                "--listen-peer-urls",
                &peers,
                "--initial-advertise-peer-urls",
                &peers,
            ])
            .args([
                "--initial-cluster",
                &format!("default={peers}"),
                "--unsafe-no-fsync",
                "--data-dir",
            ])
            .arg(self.folder.join("etcd"))
            .stdin(Stdio::null())
            .stdout(self.log("etcd.log")?)
            .stderr(self.log("etcd.log")?)
            .spawn()
    }

    /// The API server answers (again).
    pub(crate) async fn go_on(&self) -> io::Result<()> {
        let flag =
            |name: &str, file: &str| format!("--{name}={}", self.folder.join(file).display());
        let child = Command::new(self.programs.join("kube-apiserver"))
            .arg(format!("--etcd-servers=http://{}:2379", self.address))
            .args([
                flag("tls-cert-file", "api.crt"),
                flag("tls-private-key-file", "api.key"),
                flag("token-auth-file", "tokens.csv"),
            ])
            .args([
                flag("service-account-signing-key-file", "sa.key"),
                flag("service-account-key-file", "sa.key"),
                flag("cert-dir", "certs"),
            ])
            .arg(format!("--bind-address={}", self.address))
            .arg(format!("--advertise-address={}", self.address))
            .args([
                "--secure-port=443",
                "--authorization-mode=RBAC",
                "--service-cluster-ip-range=10.0.0.0/24",
            ])
            .args([
                "--service-account-issuer=https://kubernetes.default.svc",
                "--api-audiences=api",
                "--disable-admission-plugins=ServiceAccount",
            ])
            .stdin(Stdio::null())
            .stdout(self.log("api.log")?)
            .stderr(self.log("api.log")?)
            .spawn()?;
        *self.api.lock().unwrap_or_else(PoisonError::into_inner) = Some(child);
        let began = Instant::now();
        while TcpStream::connect((self.address, 443)).await.is_err() {
            if began.elapsed() > Duration::from_secs(30) {
                return Err(io::Error::other("kube-apiserver does not answer"));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }

    /// The API server is gone; what it stored is not.
    pub(crate) fn close(&self) {
        if let Some(mut child) = self
            .api
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
        {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Does it serve cron jobs as `batch/v1`?
    pub(crate) fn serves_batch_v1(&self) -> bool {
        let said = Command::new(self.programs.join("kube-apiserver"))
            .arg("--version")
            .output();
        let said = said
            .map(|o| String::from_utf8_lossy(&o.stdout).into_owned())
            .unwrap_or_default();
        let minor: u32 = said
            .split('.')
            .nth(1)
            .and_then(|m| m.parse().ok())
            .unwrap_or(99);
        minor >= 21
    }
}

impl Drop for Real {
    fn drop(&mut self) {
        self.close();
        if let Some(mut child) = self
            .etcd
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
        {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
