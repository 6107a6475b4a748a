//! Which kubeconfig a system means, and the private one that scripts get: only the contexts of the
//! incident's clusters, in memory, readable and not writable.

use super::{Trouble, ours};
use crate::{
    domain::{event::Identity, runbook::System},
    journal::hex,
    systems::field,
};
use kube::config::{Kubeconfig, NamedAuthInfo, NamedCluster, NamedContext};
use rustix::{
    fd::{AsRawFd, OwnedFd},
    fs::{MemfdFlags, SealFlags},
    io::FdFlags,
};
use secrecy::ExposeSecret;
use sha2::{Digest, Sha256};
use std::{fs::File, io, io::Write, path::Path, sync::Arc};
use tokio::process::Command;

/// Descriptors below this are left to scripts.
const LOWEST: i32 = 200;

/// The kubeconfig of a filled-in system, with nothing in it but its context; `None` where there is no
/// kubeconfig and we run inside the cluster.
pub(super) fn of(system: &System) -> Result<Option<Kubeconfig>, Trouble> {
    let context = field(system, "context").map(str::to_owned);
    let file = field(system, "kubeconfig");
    let read = match file {
        Some(file) => Kubeconfig::read_from(Path::new(file)),
        None => Kubeconfig::read(),
    };
    let kubeconfig = match read {
        Ok(kubeconfig) => kubeconfig,
        Err(e) => {
            let inside = std::env::var_os("KUBERNETES_SERVICE_HOST").is_some();
            if file.is_none() && context.is_none() && inside {
                return Ok(None);
            }
            return Err(ours(
                &e,
                "where is the kubeconfig? KUBECONFIG, ~/.kube/config, or `kubeconfig:` of the system",
            ));
        }
    };
    let Some(wanted) = context.or_else(|| kubeconfig.current_context.clone()) else {
        return Err(Trouble::cannot_tell(
            "the kubeconfig has no current context",
            "name one: `context:` of the system",
        ));
    };
    only(kubeconfig, &wanted).map(Some)
}

/// One context of it, with its cluster and its user.
fn only(mut all: Kubeconfig, wanted: &str) -> Result<Kubeconfig, Trouble> {
    let names: Vec<&str> = all.contexts.iter().map(|c| c.name.as_str()).collect();
    if !names.contains(&wanted) {
        return Err(Trouble::cannot_tell(
            format!("the kubeconfig has no context `{wanted}`"),
            crate::domain::finding::did_you_mean(wanted, names),
        ));
    }
    all.contexts.retain(|c| c.name == wanted);
    let context = all.contexts.first().and_then(|c| c.context.as_ref());
    let cluster = context.map(|c| c.cluster.clone());
    let user = context.and_then(|c| c.user.clone());
    all.clusters.retain(|c| Some(&c.name) == cluster.as_ref());
    all.auth_infos.retain(|u| Some(&u.name) == user.as_ref());
    // Of several with one name the first is meant, here and by whoever reads it after us.
    all.contexts.truncate(1);
    all.clusters.truncate(1);
    all.auth_infos.truncate(1);
    all.current_context = Some(wanted.to_owned());
    Ok(all)
}

/// Who somebody says they are: the name in a certificate, else what tells one way to sign in from another.
/// Never a secret itself.
pub(super) fn claims(config: &Kubeconfig) -> Option<String> {
    use base64::Engine;
    let auth = config.auth_infos.first()?.auth_info.as_ref()?;
    let short = |bytes: &[u8]| hex(&Sha256::digest(bytes))[..12].to_owned();
    if let Some(exec) = &auth.exec {
        let words = serde_json::to_vec(&(&exec.args, &exec.env)).unwrap_or_default();
        let program = exec.command.as_deref().unwrap_or_default();
        return Some(format!("plugin {program} {}", short(&words)));
    }
    let pem = match (&auth.client_certificate_data, &auth.client_certificate) {
        (Some(data), _) => base64::engine::general_purpose::STANDARD.decode(data).ok(),
        (None, Some(file)) => std::fs::read(file).ok(),
        (None, None) => None,
    };
    if let Some(pem) = pem {
        let (_, first) = x509_parser::pem::parse_x509_pem(&pem).ok()?;
        let certificate = first.parse_x509().ok()?;
        return Some(format!("certificate {}", certificate.subject()));
    }
    if let Some(file) = &auth.token_file {
        return Some(format!("token of {file}"));
    }
    let token = auth.token.as_ref()?;
    Some(format!("token {}", short(token.expose_secret().as_bytes())))
}

/// A file is this big at most: a kubeconfig is a page or two.
const LARGEST: u64 = 4 << 20;

/// The context that a written kubeconfig means: `wanted` where it has it, else its current or only one.
pub fn context_in(file: &Path, wanted: Option<&str>) -> Result<String, String> {
    let size = std::fs::metadata(file).map_err(|e| e.to_string())?.len();
    if size == 0 || size > LARGEST {
        return Err(format!("it holds {size} bytes, which is no kubeconfig"));
    }
    let read = Kubeconfig::read_from(file).map_err(|e| e.to_string())?;
    let mut names = read.contexts.iter().map(|c| c.name.clone());
    let has = |name: &str| read.contexts.iter().any(|c| c.name == name);
    if let Some(wanted) = wanted.filter(|w| has(w)) {
        return Ok(wanted.to_owned());
    }
    match (&read.current_context, &read.contexts[..]) {
        (Some(current), _) if has(current) => Ok(current.clone()),
        (_, [_]) => Ok(names.next().unwrap_or_default()),
        (_, []) => Err("it has no context".to_owned()),
        _ => Err(format!(
            "it has several contexts and none is current: {}",
            names.collect::<Vec<_>>().join(", ")
        )),
    }
}

/// Does this context lead to the API server and the authority that are pinned? Nobody is asked.
fn leads_to(config: &Kubeconfig, pinned: &Identity) -> bool {
    let cluster = config.clusters.first().and_then(|c| c.cluster.as_ref());
    let Some(cluster) = cluster else { return false };
    let server = cluster.server.as_deref().unwrap_or_default();
    let same_server = server.trim_end_matches('/') == pinned.endpoint;
    let seen = authority(cluster);
    same_server && (pinned.certificate.is_none() || seen == pinned.certificate)
}

fn authority(cluster: &kube::config::Cluster) -> Option<String> {
    use base64::Engine;
    let pem = match (
        &cluster.certificate_authority_data,
        &cluster.certificate_authority,
    ) {
        (Some(data), _) => base64::engine::general_purpose::STANDARD
            .decode(data)
            .ok()?,
        (None, Some(file)) => std::fs::read(file).ok()?,
        (None, None) => return None,
    };
    let (_, first) = x509_parser::pem::parse_x509_pem(&pem).ok()?;
    Some(hex(&Sha256::digest(&first.contents)))
}

/// A kubeconfig in memory that a child of ours may read.
pub struct Private {
    fd: Arc<OwnedFd>,
}

/// Why a script must not start: its context leads elsewhere.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the context of `{system}` leads to {seen} now and not to {pinned}; nothing was started")]
pub struct Turned {
    pub system: String,
    pub seen: String,
    pub pinned: String,
}

impl Private {
    /// Of all clusters that can be found, each with who it must be. A cluster whose kubeconfig cannot be
    /// read is left out; one whose context was turned to another server is an error.
    pub fn of<'s>(
        systems: impl Iterator<Item = (&'s System, Option<&'s Identity>)>,
    ) -> Result<Option<Self>, Turned> {
        let mut all = Kubeconfig {
            kind: Some("Config".to_owned()),
            api_version: Some("v1".to_owned()),
            ..Kubeconfig::default()
        };
        let (mut named, mut pinned_ones) = (0, Vec::new());
        for (system, pinned) in systems {
            named += 1;
            let Ok(Some(config)) = of(system) else {
                continue;
            };
            if let Some(pinned) = pinned
                && !leads_to(&config, pinned)
            {
                let cluster = config.clusters.first().and_then(|c| c.cluster.as_ref());
                let seen = cluster.and_then(|c| c.server.clone());
                return Err(Turned {
                    system: system.name.text.clone(),
                    seen: seen.unwrap_or_else(|| "nowhere".to_owned()),
                    pinned: pinned.endpoint.clone(),
                });
            }
            pinned_ones.extend(add(&mut all, config));
        }
        if named == 0 {
            return Ok(None);
        }
        // Which one a command without --context means, is clear only where there is one.
        if let [only] = &pinned_ones[..] {
            all.current_context = Some(only.clone());
        }
        let mut text = serde_json::to_string(&all).unwrap_or_default();
        text.push('\n');
        // Without memory for it scripts find what they would find by themselves.
        Ok(in_memory(text.as_bytes())
            .ok()
            .map(|fd| Self { fd: Arc::new(fd) }))
    }

    /// Lets a command, and what it starts, find it as `KUBECONFIG`.
    #[expect(
        unsafe_code,
        reason = "the descriptor must be let through between fork and exec, for this child alone"
    )]
    pub fn give(&self, command: &mut Command) {
        let path = format!("/proc/self/fd/{}", self.fd.as_raw_fd());
        command.env("KUBECONFIG", path);
        let fd = self.fd.clone();
        // SAFETY: one async-signal-safe system call that touches no memory of ours.
        unsafe {
            command.pre_exec(move || Ok(rustix::io::fcntl_setfd(&*fd, FdFlags::empty())?));
        }
    }
}

/// Cluster and user get the name of their context, so that several files fit into one.
fn add(all: &mut Kubeconfig, config: Kubeconfig) -> Option<String> {
    let context = config.contexts.into_iter().next()?;
    let name = context.name.clone();
    if all.contexts.iter().any(|c| c.name == name) {
        return None;
    }
    let mut inner = context.context.unwrap_or_default();
    inner.cluster.clone_from(&name);
    inner.user = inner.user.map(|_| name.clone());
    all.contexts.push(NamedContext {
        name: name.clone(),
        context: Some(inner),
        ..context
    });
    if let Some(cluster) = config.clusters.into_iter().next() {
        all.clusters.push(NamedCluster {
            name: name.clone(),
            ..cluster
        });
    }
    if let Some(mut user) = config.auth_infos.into_iter().next() {
        if let Some(exec) = user.auth_info.as_mut().and_then(|a| a.exec.as_mut()) {
            exec.interactive_mode = Some(kube::config::ExecInteractiveMode::Never);
        }
        all.auth_infos.push(NamedAuthInfo {
            name: name.clone(),
            ..user
        });
    }
    Some(name)
}

fn in_memory(bytes: &[u8]) -> io::Result<OwnedFd> {
    let fd = rustix::fs::memfd_create(
        "kubeconfig",
        MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING,
    )?;
    let mut file = File::from(fd);
    file.write_all(bytes)?;
    rustix::fs::fcntl_add_seals(
        &file,
        SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL,
    )?;
    Ok(rustix::io::fcntl_dupfd_cloexec(&file, LOWEST)?)
}
