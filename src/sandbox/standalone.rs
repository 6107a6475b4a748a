//! The simulated API server alone, for tests that hold it against a real one.

use super::{
    api::{Api, Settings},
    authority::Authority,
    world::cluster::written,
};
use std::{io, net::SocketAddr, path::PathBuf, process::ExitCode};

const TOKEN: &str = "sandbox-token";

/// The hidden command `__api KUBECONFIG PORT`: serves on loopback until it is ended, and writes a kubeconfig.
pub fn main() -> ExitCode {
    let kubeconfig = std::env::args_os().nth(2).map(PathBuf::from);
    let port = std::env::args().nth(3).and_then(|p| p.parse().ok());
    let (Some(kubeconfig), Some(port)) = (kubeconfig, port) else {
        return ExitCode::from(2);
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    let Ok(runtime) = runtime else {
        return ExitCode::from(1);
    };
    runtime.block_on(async {
        match open(&kubeconfig, port).await {
            Ok(_api) => std::future::pending().await,
            Err(e) => {
                eprintln!("{e}");
                ExitCode::from(1)
            }
        }
    })
}

async fn open(kubeconfig: &std::path::Path, port: u16) -> io::Result<Api> {
    let authority = Authority::new("Authority of a sandbox")?;
    let pair = authority.sign(&["localhost", "127.0.0.1"])?;
    let masters = vec!["system:masters".to_owned()];
    let viewers = vec!["viewers".to_owned()];
    let settings = Settings {
        address: SocketAddr::from(([127, 0, 0, 1], port)),
        tls: pair.server(None)?,
        users: vec![
            (TOKEN.to_owned(), "admin".to_owned(), masters),
            ("viewer-token".to_owned(), "viewer".to_owned(), viewers),
        ],
        file: None,
        version: "v1.20.2".to_owned(),
    };
    let api = Api::open(settings).await?;
    let host = format!("127.0.0.1:{port}");
    let text = written("it", &host, &authority.certificate(), TOKEN, "admin");
    crate::private::replace_lazily(kubeconfig, text.as_bytes())?;
    Ok(api)
}
