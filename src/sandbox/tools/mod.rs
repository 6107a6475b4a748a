//! Stand-ins for tools that are not installed here: they take the same words, speak to the same
//! endpoints, and say things in the same shape, as far as the runbooks use them.

mod aws;
mod az;
mod az_aks;
mod az_backup;
mod azure;
mod chart;
mod helm;
mod kubeconfig;
mod output;
mod release;

use crate::systems::tls::{self, Material, Verify};
use std::process::ExitCode;

/// The tools that there are stand-ins for.
pub const ALL: &[&str] = &["aws", "az", "helm"];

/// The hidden command `__tool NAME …`.
pub fn main() -> ExitCode {
    let mut words = std::env::args().skip(2);
    let name = words.next().unwrap_or_default();
    let words: Vec<String> = words.collect();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let Ok(runtime) = runtime else {
        return ExitCode::from(1);
    };
    let ended = match name.as_str() {
        "aws" => runtime.block_on(aws::run(&words)),
        "az" => runtime.block_on(az::run(&words)),
        "helm" => runtime.block_on(helm::run(&words)),
        other => {
            eprintln!("there is no stand-in for {other}");
            127
        }
    };
    ExitCode::from(ended)
}

/// A client that trusts the authorities in the file which a variable names, or those of this machine.
fn client(variable: &str) -> Result<reqwest::ClientBuilder, String> {
    tls::install();
    let bundle = std::env::var(variable).ok();
    let material = Material {
        ca: bundle.as_deref(),
        ..Material::default()
    };
    let (mut config, _) = tls::client(&material, Verify::Full).map_err(|e| format!("{e:?}"))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let client = reqwest::Client::builder().no_proxy();
    Ok(client.tls_backend_preconfigured(config))
}
