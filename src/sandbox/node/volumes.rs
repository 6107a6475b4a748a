//! What a pod of the node without machine mounts and finds in its environment.

use super::container::{Plan, texts};
use crate::systems::kubernetes::Cluster;
use base64::Engine;
use serde_json::{Map, Value};
use std::{
    collections::HashMap,
    fs, io,
    path::{Path, PathBuf},
};

/// Why a container cannot be made yet, as a kubelet would say it: reason and message.
pub(super) type Hindered = (&'static str, String);

/// Looks up what pods of one namespace refer to.
pub(super) struct Lookup<'a> {
    pub cluster: &'a Cluster,
    pub root: &'a Path,
    pub pod: &'a Value,
    /// Without a folder of its own the node mounts nothing.
    pub plays: bool,
}

impl Lookup<'_> {
    fn namespace(&self) -> &str {
        self.pod["metadata"]["namespace"]
            .as_str()
            .unwrap_or_default()
    }

    async fn object(&self, plural: &str, name: &str) -> Option<Value> {
        let path = format!("/api/v1/namespaces/{}/{plural}/{name}", self.namespace());
        self.cluster.get(&path).await.ok().flatten()
    }

    /// Everything that a container is made of.
    pub(super) async fn plan(&self, container: &Value) -> Result<Plan, Hindered> {
        let volumes = self.volumes().await?;
        let mounts = container["volumeMounts"].as_array().into_iter().flatten();
        let mounts = mounts.filter_map(|m| {
            let folder = volumes.get(m["name"].as_str()?)?;
            let folder = match m["subPath"].as_str() {
                Some(below) => folder.join(below),
                None => folder.clone(),
            };
            let _ = fs::create_dir_all(&folder);
            let at = m["mountPath"].as_str()?.to_owned();
            Some((folder, at, m["readOnly"] == true))
        });
        let text = |key: &str| container[key].as_str().map(str::to_owned);
        Ok(Plan {
            image: text("image").unwrap_or_default(),
            command: texts(&container["command"]),
            args: texts(&container["args"]),
            workdir: text("workingDir"),
            mounts: mounts.collect(),
            env: self.env(container).await?,
            host_network: self.pod["spec"]["hostNetwork"] == true || !self.listens(),
        })
    }

    /// May anything in it listen? What is begun by hand, ends, and names no port only asks others, and gets into
    /// nobody's way.
    fn listens(&self) -> bool {
        let spec = &self.pod["spec"];
        if !(spec["restartPolicy"] == "Never" || spec["restartPolicy"] == "OnFailure") {
            return true;
        }
        let all = spec["containers"].as_array();
        let mut ports = all.into_iter().flatten().map(|c| &c["ports"]);
        ports.any(|ports| ports.as_array().is_some_and(|p| !p.is_empty()))
    }

    async fn env(&self, container: &Value) -> Result<Vec<(String, String)>, Hindered> {
        let mut all = Vec::new();
        for variable in container["env"].as_array().into_iter().flatten() {
            let Some(name) = variable["name"].as_str() else {
                continue;
            };
            let value = match variable["value"].as_str() {
                Some(value) => Some(value.to_owned()),
                None => self.from(&variable["valueFrom"]).await?,
            };
            all.extend(value.map(|v| (name.to_owned(), v)));
        }
        for source in container["envFrom"].as_array().into_iter().flatten() {
            for (key, plural) in [("secretRef", "secrets"), ("configMapRef", "configmaps")] {
                if let Some(name) = source[key]["name"].as_str() {
                    let held = self.object(plural, name).await;
                    let held = held.ok_or_else(|| missing(plural, name))?;
                    all.extend(pairs(&held));
                }
            }
        }
        Ok(all)
    }

    async fn from(&self, source: &Value) -> Result<Option<String>, Hindered> {
        for (key, plural) in [
            ("secretKeyRef", "secrets"),
            ("configMapKeyRef", "configmaps"),
        ] {
            let (Some(name), Some(of)) =
                (source[key]["name"].as_str(), source[key]["key"].as_str())
            else {
                continue;
            };
            let optional = source[key]["optional"] == true;
            let Some(held) = self.object(plural, name).await else {
                return if optional {
                    Ok(None)
                } else {
                    Err(missing(plural, name))
                };
            };
            let found = pairs(&held).into_iter().find(|(k, _)| k == of);
            return match (found, optional) {
                (Some((_, value)), _) => Ok(Some(value)),
                (None, true) => Ok(None),
                (None, false) => {
                    let kind = if plural == "secrets" {
                        "Secret"
                    } else {
                        "ConfigMap"
                    };
                    let said = format!(
                        "couldn't find key {of} in {kind} {}/{name}",
                        self.namespace()
                    );
                    Err(("CreateContainerConfigError", said))
                }
            };
        }
        let field = source["fieldRef"]["fieldPath"].as_str();
        Ok(field.and_then(|f| {
            let pointer = format!("/{}", f.replace('.', "/"));
            self.pod.pointer(&pointer)?.as_str().map(str::to_owned)
        }))
    }

    async fn volumes(&self) -> Result<HashMap<String, PathBuf>, Hindered> {
        let mut all = HashMap::new();
        if self.plays {
            return Ok(all);
        }
        let uid = self.pod["metadata"]["uid"].as_str().unwrap_or_default();
        for volume in self.pod["spec"]["volumes"].as_array().into_iter().flatten() {
            let Some(name) = volume["name"].as_str() else {
                continue;
            };
            let own = self.root.join("pods").join(uid).join(name);
            let folder = if let Some(claim) = volume["persistentVolumeClaim"]["claimName"].as_str()
            {
                self.disk(claim).await?
            } else {
                if let Some(secret) = volume["secret"]["secretName"].as_str() {
                    let held = self.object("secrets", secret).await;
                    let held = held.ok_or_else(|| missing("secrets", secret))?;
                    files(&own, &pairs(&held)).map_err(|e| ("FailedMount", e.to_string()))?;
                }
                if let Some(map) = volume["configMap"]["name"].as_str() {
                    let held = self.object("configmaps", map).await;
                    let held = held.ok_or_else(|| missing("configmaps", map))?;
                    files(&own, &pairs(&held)).map_err(|e| ("FailedMount", e.to_string()))?;
                }
                own
            };
            fs::create_dir_all(&folder).map_err(|e| ("FailedMount", e.to_string()))?;
            all.insert(name.to_owned(), folder);
        }
        Ok(all)
    }

    /// The folder that stands for the disk behind a claim: the one that its volume names, and no other.
    async fn disk(&self, claim: &str) -> Result<PathBuf, Hindered> {
        let waiting = |said: String| ("ContainerCreating", said);
        let held = self.object("persistentvolumeclaims", claim).await;
        let volume = held.as_ref().and_then(|c| c["spec"]["volumeName"].as_str());
        let Some(volume) = volume else {
            return Err(waiting(format!("the claim {claim} is not bound")));
        };
        let path = format!("/api/v1/persistentvolumes/{volume}");
        let found = self.cluster.get(&path).await.ok().flatten();
        let Some(found) = found else {
            return Err(waiting(format!("there is no volume {volume}")));
        };
        let handle = found["spec"]["csi"]["volumeHandle"].as_str();
        let handle = handle.unwrap_or(volume);
        let name = handle.rsplit('/').next().unwrap_or(handle);
        let folder = self.root.join("disks").join(name);
        match folder.is_dir() {
            true => Ok(folder),
            false => Err((
                "ContainerCreating",
                format!("FailedAttachVolume: the disk {handle} was not found"),
            )),
        }
    }
}

fn missing(plural: &str, name: &str) -> Hindered {
    let kind = plural.trim_end_matches('s');
    (
        "CreateContainerConfigError",
        format!("{kind} \"{name}\" not found"),
    )
}

/// What a secret or a config map holds.
fn pairs(held: &Value) -> Vec<(String, String)> {
    let none = Map::new();
    let base64 = base64::engine::general_purpose::STANDARD;
    let secret = held["type"].is_string();
    let data = held["data"].as_object().unwrap_or(&none);
    let text = |value: &Value| -> Option<String> {
        let value = value.as_str()?;
        match secret {
            true => String::from_utf8(base64.decode(value).ok()?).ok(),
            false => Some(value.to_owned()),
        }
    };
    data.iter()
        .filter_map(|(k, v)| Some((k.clone(), text(v)?)))
        .collect()
}

fn files(folder: &Path, all: &[(String, String)]) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    for (name, text) in all {
        fs::write(folder.join(name), text)?;
    }
    Ok(())
}
