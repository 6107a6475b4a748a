//! The changes: each is sent once, and says what it changed.

use super::{Failed, Hands, effect::Look, preview::finalizers};
use crate::{
    clock,
    domain::native::PatchKind,
    systems::kubernetes::{
        Body,
        kinds::Place,
        workloads::{self, items, name},
    },
};
use base64::Engine;
use http::Method;
use serde_json::{Map, Value, json};

impl Hands {
    pub(super) async fn place(&self, what: &str) -> Result<Place, Failed> {
        Ok(Place::of(&self.cluster, what).await?)
    }

    pub(super) fn path(&self, place: &Place) -> String {
        place.path(&self.cluster.namespace)
    }

    /// The object as it is; a missing one is an error that names it.
    pub(super) async fn object(&self, place: &Place) -> Result<Value, Failed> {
        let found = self.cluster.get(&self.path(place)).await?;
        found.ok_or_else(|| {
            Failed::helped(
                format!("there is no {} `{}`", place.plural, place.name),
                format!(
                    "looked in the namespace {}; is the name right?",
                    self.cluster.namespace
                ),
            )
        })
    }

    pub(super) async fn send(
        &self,
        method: Method,
        path: &str,
        kind: Body,
        body: &Value,
    ) -> Result<Value, Failed> {
        Ok(self.cluster.send(method, path, kind, body).await?)
    }

    pub(super) async fn scale(&mut self, what: &str, replicas: &str) -> Result<(), Failed> {
        let wanted: u32 = replicas
            .trim()
            .parse()
            .map_err(|_| Failed::helped(format!("`{replicas}` replicas?"), "replicas: 3"))?;
        let place = self.place(what).await?;
        let object = self.object(&place).await?;
        let now = object["spec"]["replicas"].as_i64().unwrap_or(1);
        self.log.say(format!("{what}: {now} → {wanted} replicas"));
        if i64::from(wanted) != now {
            let path = format!("{}/scale", self.path(&place));
            let body = json!({ "spec": { "replicas": wanted } });
            self.send(Method::PATCH, &path, Body::Merge, &body).await?;
        }
        self.rolled_out(&place).await
    }

    pub(super) async fn restart(&mut self, what: &str) -> Result<(), Failed> {
        let place = self.place(what).await?;
        self.object(&place).await?;
        let now = clock::now().to_rfc3339();
        let annotation = json!({ "kubectl.kubernetes.io/restartedAt": now });
        let body = json!({ "spec": { "template": { "metadata": { "annotations": annotation } } } });
        self.send(Method::PATCH, &self.path(&place), Body::Strategic, &body)
            .await?;
        self.log.say(format!("{what}: restarting"));
        self.rolled_out(&place).await
    }

    pub(super) async fn set_env(
        &mut self,
        what: &str,
        container: Option<&str>,
        env: &[(String, String)],
    ) -> Result<(), Failed> {
        let place = self.place(what).await?;
        let object = self.object(&place).await?;
        let all = containers(&object);
        named(&all, container, what)?;
        let mut changed = Vec::new();
        for one in &all {
            let of = name_of(one);
            let has = |key: &str| {
                let held = one["env"].as_array().into_iter().flatten();
                held.into_iter().find(|e| e["name"] == key).cloned()
            };
            let nobody_has = |key: &str| {
                !all.iter().any(|c| {
                    let mut held = c["env"].as_array().into_iter().flatten();
                    held.any(|e| e["name"] == key)
                })
            };
            let mut list = Vec::new();
            for (key, value) in env {
                let held = has(key);
                let wanted = match container {
                    Some(name) => name == of,
                    // Where it is set; where nobody sets it, everywhere.
                    None => held.is_some() || nobody_has(key),
                };
                if !wanted {
                    continue;
                }
                let from = held.as_ref().map(|h| &h["valueFrom"]);
                if let Some(from) = from.filter(|f| f.is_object())
                    && !self.native.force
                {
                    return Err(Failed::helped(
                        format!("{key} of {what} comes from {}", source(from)),
                        "change it there, or write `force: true` to put the value in its place",
                    ));
                }
                if held.as_ref().is_some_and(|h| h["value"] == value.as_str()) {
                    continue;
                }
                self.log.say(format!("{what} {of}: {key} is set"));
                list.push(json!({ "name": key, "value": value, "valueFrom": null }));
            }
            if !list.is_empty() {
                changed.push(json!({ "name": of, "env": list }));
            }
        }
        self.template(what, &place, changed).await
    }

    pub(super) async fn set_image(
        &mut self,
        what: &str,
        images: &[(Option<String>, String)],
    ) -> Result<(), Failed> {
        let place = self.place(what).await?;
        let object = self.object(&place).await?;
        let all = containers(&object);
        let mut changed = Vec::new();
        for (container, image) in images {
            let of = match (container, &all[..]) {
                (Some(name), _) => {
                    named(&all, Some(name), what)?;
                    name.clone()
                }
                (None, [only]) => name_of(only).to_owned(),
                (None, _) => {
                    return Err(Failed::helped(
                        format!("{what} has several containers"),
                        format!("say which: images: {{ {}: {image} }}", names(&all)),
                    ));
                }
            };
            let now = all.iter().find(|c| name_of(c) == of);
            let now = now.and_then(|c| c["image"].as_str()).unwrap_or_default();
            if now != image {
                self.log.say(format!("{what} {of}: {now} → {image}"));
                changed.push(json!({ "name": of, "image": image }));
            }
        }
        self.template(what, &place, changed).await
    }

    /// Changes containers of the template and waits for the rollout.
    async fn template(
        &mut self,
        what: &str,
        place: &Place,
        changed: Vec<Value>,
    ) -> Result<(), Failed> {
        if changed.is_empty() {
            self.log.say(format!("{what}: already so"));
        } else {
            let body = json!({ "spec": { "template": { "spec": { "containers": changed } } } });
            self.send(Method::PATCH, &self.path(place), Body::Strategic, &body)
                .await?;
        }
        self.rolled_out(place).await
    }

    pub(super) async fn patch(
        &mut self,
        what: &str,
        how: PatchKind,
        body: &Value,
    ) -> Result<(), Failed> {
        let place = self.place(what).await?;
        self.patched(what, &place, "", how, body).await?;
        self.rolled_out(&place).await
    }

    /// Sends a patch, with `query` for show only, and tells which fields it changes.
    pub(super) async fn patched(
        &mut self,
        what: &str,
        place: &Place,
        query: &str,
        how: PatchKind,
        body: &Value,
    ) -> Result<(), Failed> {
        let before = self.object(place).await?;
        let path = format!("{}{query}", self.path(place));
        let after = self
            .send(Method::PATCH, &path, Body::from(how), body)
            .await?;
        self.changes(what, &before, &after);
        Ok(())
    }

    pub(super) async fn secret(
        &mut self,
        name: &str,
        data: &[(String, String)],
        kind: Option<&str>,
    ) -> Result<(), Failed> {
        let place = self.place(&format!("secret/{name}")).await?;
        let base64 = base64::engine::general_purpose::STANDARD;
        let data: Map<String, Value> = data
            .iter()
            .map(|(k, v)| (k.clone(), Value::String(base64.encode(v))))
            .collect();
        let keys: Vec<&str> = data.keys().map(String::as_str).collect();
        let keys = keys.join(", ");
        let held = self.cluster.get(&self.path(&place)).await?;
        match held {
            Some(_) => {
                let body = json!({ "data": data });
                self.send(Method::PATCH, &self.path(&place), Body::Merge, &body)
                    .await?;
                self.log
                    .say(format!("secret {name}: {keys} written, other keys kept"));
            }
            None => {
                let kind = kind.unwrap_or("Opaque");
                let body = json!({ "apiVersion": "v1", "kind": "Secret", "type": kind, "metadata": { "name": name }, "data": data });
                let at = place.collection(&self.cluster.namespace);
                self.send(Method::POST, &at, Body::Json, &body).await?;
                self.log.say(format!("secret {name}: made, with {keys}"));
            }
        }
        Ok(())
    }

    pub(super) async fn namespace(
        &mut self,
        name: &str,
        labels: &[(String, String)],
    ) -> Result<(), Failed> {
        let path = format!("/api/v1/namespaces/{name}");
        let labels: Map<String, Value> = labels
            .iter()
            .map(|(k, v)| (k.clone(), Value::String(v.clone())))
            .collect();
        match self.cluster.get(&path).await? {
            Some(held) if held["metadata"]["deletionTimestamp"].is_string() => {
                return Err(Failed::helped(
                    format!("the namespace {name} is being deleted"),
                    format!(
                        "wait until it is gone; what holds it? kubectl get namespace {name} -o jsonpath={{.status.conditions}}"
                    ),
                ));
            }
            Some(_) => {
                self.log
                    .say(format!("namespace {name}: it is there already"));
                if !labels.is_empty() {
                    let body = json!({ "metadata": { "labels": labels } });
                    self.send(Method::PATCH, &path, Body::Merge, &body).await?;
                }
            }
            None => {
                let body = json!({ "metadata": { "name": name, "labels": labels } });
                self.send(Method::POST, "/api/v1/namespaces", Body::Json, &body)
                    .await?;
                self.log.say(format!("namespace {name}: made"));
            }
        }
        Ok(())
    }

    pub(super) async fn delete(&mut self, what: &str, grace: Option<i64>) -> Result<(), Failed> {
        let place = self.place(what).await?;
        let path = self.path(&place);
        let Some(object) = self.cluster.get(&path).await? else {
            self.log.say(format!("{what} is not there"));
            return Ok(());
        };
        for line in self.goes_with(&place, &object).await? {
            self.log.say(line);
        }
        let uid = object["metadata"]["uid"].as_str().unwrap_or_default();
        let mut options = json!({
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "propagationPolicy": "Background",
            // Exactly the one that was just looked at.
            "preconditions": { "uid": uid },
        });
        if let Some(grace) = grace {
            options["gracePeriodSeconds"] = json!(grace);
        }
        self.send(Method::DELETE, &path, Body::Json, &options)
            .await?;
        self.log.say(format!("{what}: asked to go"));
        let (what, uid) = (what.to_owned(), uid.to_owned());
        let plural = place.plural.clone();
        self.until(async |cluster| {
            let left = cluster.get(&path).await?;
            let Some(left) = left.filter(|l| l["metadata"]["uid"] == uid.as_str()) else {
                return Ok(Look::Done(format!("{what} is gone")));
            };
            let held: Vec<&str> = finalizers(&left);
            let mut said = match held[..] {
                [] => format!("{what} is still ending"),
                _ => format!("{what} is still there, held by {}", held.join(", ")),
            };
            if plural == "persistentvolumeclaims"
                && held.iter().any(|f| f.contains("pvc-protection"))
            {
                let claim = what.split('/').next_back().unwrap_or_default();
                let users = users_of(cluster, claim).await?;
                if !users.is_empty() {
                    said.push_str(&format!("; in use by {}", users.join(", ")));
                }
            }
            Ok(Look::Waiting(said))
        })
        .await
    }

    pub(super) async fn job(
        &mut self,
        from: &str,
        own: Option<&str>,
        attempt: &str,
    ) -> Result<(), Failed> {
        let place = self.place(from).await?;
        let cron = self.object(&place).await?;
        let template = &cron["spec"]["jobTemplate"];
        if !template["spec"].is_object() {
            return Err(Failed::helped(
                format!("{from} has no template of a job"),
                "job: { from: cronjob/x }",
            ));
        }
        let short: String = place.name.chars().take(40).collect();
        let own = own.map_or_else(|| format!("{short}-{attempt}"), str::to_owned);
        let mut annotations = template["metadata"]["annotations"]
            .as_object()
            .cloned()
            .unwrap_or_default();
        annotations.insert(
            "cronjob.kubernetes.io/instantiate".to_owned(),
            json!("manual"),
        );
        let owner = json!([{ "apiVersion": place.group_version(), "kind": "CronJob", "name": place.name, "uid": cron["metadata"]["uid"], "controller": true }]);
        let body = json!({
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": { "name": own, "labels": template["metadata"]["labels"], "annotations": annotations, "ownerReferences": owner },
            "spec": template["spec"],
        });
        let at = format!("/apis/batch/v1/namespaces/{}/jobs", self.cluster.namespace);
        self.send(Method::POST, &at, Body::Json, &body).await?;
        self.log.say(format!("job {own}: started from {from}"));
        let path = format!("{at}/{own}");
        self.until(async |cluster| {
            let Some(job) = cluster.get(&path).await? else {
                return Ok(Look::Failed(
                    format!("the job {own} is not there any more"),
                    String::new(),
                ));
            };
            let state = workloads::job(&job);
            Ok(match (state.good, state.text.starts_with("failed")) {
                (true, _) => Look::Done(format!("job {own}: {}", state.text)),
                (false, true) => Look::Failed(
                    format!("job {own} {}", state.text),
                    format!("what did it say? kubectl logs job/{own}"),
                ),
                (false, false) => Look::Waiting(format!("job {own}: {}", state.text)),
            })
        })
        .await
    }

    pub(super) async fn wait(&mut self, what: &str, until: &str) -> Result<(), Failed> {
        let place = self.place(what).await?;
        let path = self.path(&place);
        let (what, until) = (what.to_owned(), until.to_owned());
        self.until(async |cluster| {
            let found = cluster.get(&path).await?;
            Ok(match (found, until.as_str()) {
                (None, "delete") => Look::Done(format!("{what} is gone")),
                (None, _) => Look::Waiting(format!("{what} is not there yet")),
                (Some(_), "delete") => Look::Waiting(format!("{what} is still there")),
                (Some(object), _) => met(&what, &object, &until),
            })
        })
        .await
    }
}

impl From<PatchKind> for Body {
    fn from(how: PatchKind) -> Self {
        match how {
            PatchKind::Merge => Self::Merge,
            PatchKind::Json => Self::JsonPatch,
            PatchKind::Strategic => Self::Strategic,
        }
    }
}

/// `Ready`, `condition=Ready`, `Ready=False`, or `/status/phase=Bound`.
fn met(what: &str, object: &Value, until: &str) -> Look {
    if until.starts_with('/') {
        let (pointer, wanted) = until.split_once('=').unwrap_or((until, ""));
        let seen = match object.pointer(pointer) {
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
            None => "nothing".to_owned(),
        };
        let said = format!("{what}: {pointer} is {seen}");
        return match seen == wanted {
            true => Look::Done(said),
            false => Look::Waiting(said),
        };
    }
    let condition = until.strip_prefix("condition=").unwrap_or(until);
    let (kind, wanted) = condition.split_once('=').unwrap_or((condition, "True"));
    let all = object["status"]["conditions"].as_array();
    let found = all.into_iter().flatten().find(|c| {
        let own = c["type"].as_str().unwrap_or_default();
        own.eq_ignore_ascii_case(kind)
    });
    let Some(found) = found else {
        return Look::Waiting(format!("{what}: nothing said about {kind} yet"));
    };
    let status = found["status"].as_str().unwrap_or_default();
    let mut said = format!("{what}: {kind} is {status}");
    if let Some(message) = found["message"].as_str().filter(|m| !m.is_empty()) {
        said.push_str(&format!(" ({message})"));
    }
    match status.eq_ignore_ascii_case(wanted) {
        true => Look::Done(said),
        false => Look::Waiting(said),
    }
}

fn containers(object: &Value) -> Vec<Value> {
    let all = &object["spec"]["template"]["spec"]["containers"];
    all.as_array().cloned().unwrap_or_default()
}

fn name_of(container: &Value) -> &str {
    container["name"].as_str().unwrap_or_default()
}

fn names(all: &[Value]) -> String {
    let all: Vec<&str> = all.iter().map(name_of).collect();
    all.join(", ")
}

fn named(all: &[Value], wanted: Option<&str>, what: &str) -> Result<(), Failed> {
    match wanted {
        Some(wanted) if !all.iter().any(|c| name_of(c) == wanted) => Err(Failed::helped(
            format!("{what} has no container `{wanted}`"),
            format!("it has: {}", names(all)),
        )),
        Some(_) | None => Ok(()),
    }
}

/// Where a variable of a container comes from.
fn source(from: &Value) -> String {
    for (key, kind) in [("secretKeyRef", "secret"), ("configMapKeyRef", "configmap")] {
        if let (Some(name), Some(of)) = (from[key]["name"].as_str(), from[key]["key"].as_str()) {
            return format!("{kind} {name}, key {of}");
        }
    }
    from.to_string()
}

/// Pods that mount a claim.
async fn users_of(
    cluster: &crate::systems::kubernetes::Cluster,
    claim: &str,
) -> Result<Vec<String>, crate::systems::Trouble> {
    let path = format!("/api/v1/namespaces/{}/pods", cluster.namespace);
    let pods = items(cluster.get(&path).await?);
    let uses = |pod: &Value| {
        let volumes = pod["spec"]["volumes"].as_array().into_iter().flatten();
        let mut claims = volumes.map(|v| &v["persistentVolumeClaim"]["claimName"]);
        claims.any(|c| c == claim)
    };
    let users = pods.iter().filter(|p| uses(p));
    Ok(users.map(|p| format!("pod/{}", name(p))).collect())
}
