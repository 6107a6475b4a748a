//! What is asked of both servers, in this order.
//!
//! In a path or a body `$rv`, `$first`, `$uid` and `$continue` stand for what the same server has
//! said of the same path before: the last version, the first one, the identity, and where a list
//! goes on.

use serde_json::{Value, json};

const PLAIN: &str = "application/json";
const MERGE: &str = "application/merge-patch+json";
const STEPS: &str = "application/json-patch+json";
const STRATEGIC: &str = "application/strategic-merge-patch+json";
pub(super) const APPLY: &str = "application/apply-patch+yaml";

const CORE: &str = "/api/v1";
const SHOP: &str = "/api/v1/namespaces/shop";
const APPS: &str = "/apis/apps/v1/namespaces/shop";
const BATCH: &str = "/apis/batch/v1/namespaces/shop";
const NETWORK: &str = "/apis/networking.k8s.io/v1/namespaces/shop";
const STORAGE: &str = "/apis/storage.k8s.io/v1";
const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const THINGS: &str = "/apis/stable.example.com/v1/namespaces/shop/things";
const REVIEWS: &str = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";

/// What is sent.
pub(super) enum Body {
    Nothing,
    /// Not even JSON.
    Text(&'static str),
    Whole(Value),
    /// The last answer of the same path, with this merged into it.
    Changed(Value),
}

pub(super) struct Operation {
    pub(super) name: String,
    pub(super) method: &'static str,
    pub(super) path: String,
    pub(super) content: &'static str,
    pub(super) body: Body,
    /// Whoever asks is known.
    pub(super) known: bool,
    /// It is asked again until the answer is a good one.
    pub(super) patient: bool,
}

/// The operations so far.
struct Script {
    all: Vec<Operation>,
}

impl Script {
    fn add(
        &mut self,
        name: &str,
        method: &'static str,
        path: &str,
        content: &'static str,
        body: Body,
    ) -> &mut Operation {
        self.all.push(Operation {
            name: name.to_owned(),
            method,
            path: path.to_owned(),
            content,
            body,
            known: true,
            patient: false,
        });
        let last = self.all.len() - 1;
        &mut self.all[last]
    }

    fn get(&mut self, name: &str, path: &str) -> &mut Operation {
        self.add(name, "GET", path, PLAIN, Body::Nothing)
    }

    fn post(&mut self, name: &str, path: &str, body: Value) -> &mut Operation {
        self.add(name, "POST", path, PLAIN, Body::Whole(body))
    }

    /// Puts back what was answered last, changed.
    fn put(&mut self, name: &str, path: &str, change: Value) -> &mut Operation {
        self.add(name, "PUT", path, PLAIN, Body::Changed(change))
    }

    fn put_whole(&mut self, name: &str, path: &str, body: Value) -> &mut Operation {
        self.add(name, "PUT", path, PLAIN, Body::Whole(body))
    }

    fn patch(
        &mut self,
        name: &str,
        path: &str,
        content: &'static str,
        body: Value,
    ) -> &mut Operation {
        self.add(name, "PATCH", path, content, Body::Whole(body))
    }

    fn merge(&mut self, name: &str, path: &str, body: Value) -> &mut Operation {
        self.patch(name, path, MERGE, body)
    }

    fn strategic(&mut self, name: &str, path: &str, body: Value) -> &mut Operation {
        self.patch(name, path, STRATEGIC, body)
    }

    /// `how` is what follows the question mark.
    fn apply(&mut self, name: &str, path: &str, how: &str, body: Value) -> &mut Operation {
        self.patch(name, &format!("{path}?{how}"), APPLY, body)
    }

    /// `options` are the rest of a `DeleteOptions`.
    fn delete(&mut self, name: &str, path: &str, options: Value) -> &mut Operation {
        let mut body = json!({ "kind": "DeleteOptions", "apiVersion": "v1" });
        for (key, value) in options.as_object().into_iter().flatten() {
            body[key.as_str()] = value.clone();
        }
        self.add(name, "DELETE", path, PLAIN, Body::Whole(body))
    }
}

/// Everything.
pub(super) fn all() -> Vec<Operation> {
    let mut script = Script { all: Vec::new() };
    let s = &mut script;
    namespaces(s);
    definitions(s);
    for (collection, object) in kinds() {
        lifecycle(s, &collection, &object);
    }
    lists(s);
    nonsense(s);
    refused_parts(s);
    strategic(s);
    applied(s);
    sizes_and_statuses(s);
    deletions(s);
    unchangeable(s);
    pods(s);
    others(s);
    script.all
}

/// The same object under another name.
fn named(object: &Value, name: &str) -> Value {
    let mut out = object.clone();
    out["metadata"]["name"] = json!(name);
    out
}

fn config_map(name: &str, data: &Value) -> Value {
    json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name }, "data": data })
}

fn secret(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": { "name": name, "labels": { "app": "x" } },
        "data": { "kept": "b25l" },
        "stringData": { "user": "admin", "password": "not so secret" },
    })
}

fn service(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": { "name": name, "labels": { "app": "x" } },
        "spec": { "selector": { "app": "x" }, "ports": [
            { "name": "http", "port": 80, "targetPort": 8080 },
            { "name": "more", "port": 81 },
        ] },
    })
}

fn claim(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim",
        "metadata": { "name": name, "labels": { "app": "x" } },
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": "fast",
            "resources": { "requests": { "storage": "1Gi" } },
        },
    })
}

fn volume(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "PersistentVolume",
        "metadata": { "name": name, "labels": { "app": "x" } },
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": "fast",
            "capacity": { "storage": "1Gi" },
            "hostPath": { "path": "/srv/disk" },
        },
    })
}

fn storage_class(name: &str) -> Value {
    json!({
        "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass",
        "metadata": { "name": name, "labels": { "app": "x" } },
        "provisioner": "disks.example.com",
        "parameters": { "type": "fast" },
    })
}

/// What a pod is made of.
fn insides() -> Value {
    json!({
        "containers": [{
            "name": "web",
            "image": "nginx:1.27",
            "ports": [{ "containerPort": 8080 }],
            "env": [{ "name": "ONE", "value": "1" }, { "name": "TWO", "value": "2" }],
            "readinessProbe": { "httpGet": { "path": "/ready", "port": 8080 } },
            "volumeMounts": [{ "name": "settings", "mountPath": "/settings" }],
        }],
        "volumes": [{ "name": "settings", "configMap": { "name": "settings" } }],
    })
}

fn pod(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "name": name, "labels": { "app": "x" } },
        "spec": insides(),
    })
}

fn deployment(name: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": { "name": name, "labels": { "app": "x" } },
        "spec": {
            "replicas": 2,
            "selector": { "matchLabels": { "app": "x" } },
            "template": { "metadata": { "labels": { "app": "x" } }, "spec": insides() },
        },
    })
}

fn stateful_set(name: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet",
        "metadata": { "name": name, "labels": { "app": "x" } },
        "spec": {
            "serviceName": "x",
            "selector": { "matchLabels": { "app": "x" } },
            "template": { "metadata": { "labels": { "app": "x" } }, "spec": insides() },
            "volumeClaimTemplates": [{
                "metadata": { "name": "data" },
                "spec": {
                    "accessModes": ["ReadWriteOnce"],
                    "resources": { "requests": { "storage": "1Gi" } },
                },
            }],
        },
    })
}

fn job(name: &str) -> Value {
    json!({
        "apiVersion": "batch/v1", "kind": "Job",
        "metadata": { "name": name, "labels": { "app": "x" } },
        "spec": { "backoffLimit": 2, "template": { "spec": {
            "restartPolicy": "Never",
            "containers": [{ "name": "once", "image": "busybox", "command": ["true"] }],
        } } },
    })
}

fn ingress(name: &str) -> Value {
    let backend = json!({ "service": { "name": "x", "port": { "number": 80 } } });
    json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "Ingress",
        "metadata": { "name": name, "labels": { "app": "x" } },
        "spec": { "rules": [{ "host": "shop.example.com", "http": { "paths": [
            { "path": "/", "pathType": "Prefix", "backend": backend },
        ] } }] },
    })
}

fn thing(name: &str) -> Value {
    json!({
        "apiVersion": "stable.example.com/v1", "kind": "Thing",
        "metadata": { "name": name, "labels": { "app": "x" } },
        "spec": { "size": 3, "colour": "red" },
    })
}

fn kinds() -> Vec<(String, Value)> {
    let mut settings = config_map("x", &json!({ "a": "1", "b": "two\nlines" }));
    settings["metadata"]["labels"] = json!({ "app": "x" });
    let account = json!({
        "apiVersion": "v1", "kind": "ServiceAccount",
        "metadata": { "name": "x", "labels": { "app": "x" } },
    });
    vec![
        (format!("{SHOP}/secrets"), secret("x")),
        (format!("{SHOP}/configmaps"), settings),
        (format!("{SHOP}/services"), service("x")),
        (format!("{SHOP}/persistentvolumeclaims"), claim("x")),
        (format!("{SHOP}/serviceaccounts"), account),
        (format!("{SHOP}/pods"), pod("x")),
        (format!("{APPS}/deployments"), deployment("x")),
        (format!("{APPS}/statefulsets"), stateful_set("x")),
        (format!("{BATCH}/jobs"), job("x")),
        (format!("{NETWORK}/ingresses"), ingress("x")),
        (THINGS.to_owned(), thing("x")),
        (format!("{CORE}/persistentvolumes"), volume("x")),
        (format!("{STORAGE}/storageclasses"), storage_class("x")),
    ]
}

/// What every kind goes through.
fn lifecycle(s: &mut Script, collection: &str, object: &Value) {
    let plural = collection.rsplit('/').next().unwrap_or_default();
    let one = format!("{collection}/x");
    let called = |what: &str| format!("{plural}: {what}");
    s.post(&called("one is made"), collection, object.clone());
    s.post(&called("it is made twice"), collection, object.clone());
    s.get(
        &called("one that is not there is read"),
        &format!("{collection}/absent"),
    );
    s.post(
        &called("one has a bad name"),
        collection,
        named(object, "Bad_Name"),
    );
    let mut nameless = object.clone();
    nameless["metadata"] = json!({ "labels": { "app": "x" } });
    s.post(&called("one has no name"), collection, nameless);
    s.post(
        &called("making one is tried"),
        &format!("{collection}?dryRun=All"),
        named(object, "tried"),
    );
    s.get(
        &called("what was tried is not there"),
        &format!("{collection}/tried"),
    );
    s.get(
        &called("they are listed by label"),
        &format!("{collection}?labelSelector=app%3Dx"),
    );
    s.merge(
        &called("a label is merged in"),
        &one,
        json!({ "metadata": { "labels": { "more": "yes" }, "annotations": { "why": "a test" } } }),
    );
    s.patch(
        &called("a label is added step by step"),
        &one,
        STEPS,
        json!([
            { "op": "test", "path": "/metadata/labels/more", "value": "yes" },
            { "op": "add", "path": "/metadata/labels/steps", "value": "yes" },
            { "op": "remove", "path": "/metadata/annotations" },
        ]),
    );
    s.patch(
        &called("a step that tests fails"),
        &one,
        STEPS,
        json!([
            { "op": "test", "path": "/metadata/labels/more", "value": "no" },
            { "op": "remove", "path": "/metadata/labels/more" },
        ]),
    );
    s.merge(
        &called("a change is tried"),
        &format!("{one}?dryRun=All"),
        json!({ "metadata": { "labels": { "tried": "yes" } } }),
    );
    s.get(&called("what was tried has not changed it"), &one);
    s.put(
        &called("it is put back with a label"),
        &one,
        json!({ "metadata": { "labels": { "put": "yes", "more": null } } }),
    );
    s.put(
        &called("an old version is put back"),
        &one,
        json!({ "metadata": { "resourceVersion": "$first", "labels": { "put": "no" } } }),
    );
    s.delete(
        &called("deleting it is tried"),
        &one,
        json!({ "dryRun": ["All"], "propagationPolicy": "Background" }),
    );
    s.get(&called("it is still there"), &one);
    s.delete(
        &called("another of the same name is deleted"),
        &one,
        json!({ "preconditions": { "uid": "00000000-0000-4000-8000-000000000000" } }),
    );
    s.delete(
        &called("it is deleted"),
        &one,
        json!({ "propagationPolicy": "Background", "preconditions": { "uid": "$uid" } }),
    );
    s.get(&called("it is read after it was deleted"), &one);
    if collection.contains("/namespaces/shop/") {
        let nowhere = collection.replace("/shop/", "/nowhere/");
        s.post(
            &called("one is made in a namespace that is not there"),
            &nowhere,
            object.clone(),
        );
    }
}

fn namespaces(s: &mut Script) {
    let all = format!("{CORE}/namespaces");
    let namespace = |name: &str| json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } });
    s.post("a namespace is made", &all, namespace("shop"));
    s.post("a namespace is made twice", &all, namespace("shop"));
    s.post("a namespace is made beside it", &all, namespace("other"));
    s.post("a namespace has a bad name", &all, namespace("bad.name"));
    s.post(
        "a namespace is tried",
        &format!("{all}?dryRun=All"),
        namespace("tried"),
    );
    s.get(
        "a namespace that was tried is not there",
        &format!("{all}/tried"),
    );
    s.get("a namespace is read", SHOP);
    s.merge(
        "a namespace gets a label",
        SHOP,
        json!({ "metadata": { "labels": { "team": "shop" } } }),
    );
    s.get(
        "namespaces are listed by label",
        &format!("{all}?labelSelector=team%3Dshop"),
    );
    s.get(
        "namespaces are listed by name",
        &format!("{all}?fieldSelector=metadata.name%3Dother"),
    );
    s.post("a namespace to go is made", &all, namespace("leaving"));
    let mut held = config_map("held", &json!({ "a": "1" }));
    held["metadata"]["finalizers"] = json!(["example.com/held"]);
    s.post(
        "what holds the namespace is made",
        &format!("{all}/leaving/configmaps"),
        held,
    );
    s.delete(
        "a namespace that is held is deleted",
        &format!("{all}/leaving"),
        json!({}),
    );
    s.post(
        "something is made in a namespace that goes",
        &format!("{all}/leaving/configmaps"),
        config_map("late", &json!({})),
    );
    s.post(
        "a namespace that goes is made again",
        &all,
        namespace("leaving"),
    );
}

fn definition(name: &str) -> Value {
    let schema = json!({
        "type": "object",
        "properties": {
            "spec": { "type": "object", "properties": {
                "size": { "type": "integer" },
                "colour": { "type": "string" },
            } },
            "status": { "type": "object", "x-kubernetes-preserve-unknown-fields": true },
        },
    });
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": { "name": name },
        "spec": {
            "group": "stable.example.com",
            "scope": "Namespaced",
            "names": { "plural": "things", "singular": "thing", "kind": "Thing", "listKind": "ThingList", "shortNames": ["th"] },
            "versions": [{
                "name": "v1", "served": true, "storage": true,
                "schema": { "openAPIV3Schema": schema },
                "subresources": { "status": {} },
            }],
        },
    })
}

fn definitions(s: &mut Script) {
    s.get("a kind that is not defined is listed", THINGS);
    s.post(
        "a definition has a name that does not fit",
        DEFINITIONS,
        definition("others.stable.example.com"),
    );
    s.post(
        "a definition is made",
        DEFINITIONS,
        definition("things.stable.example.com"),
    );
    s.get("a kind that is defined is listed", THINGS).patient = true;
    s.post(
        "a definition is made twice",
        DEFINITIONS,
        definition("things.stable.example.com"),
    );
    s.get(
        "a definition that is served is read",
        &format!("{DEFINITIONS}/things.stable.example.com"),
    );
}

fn lists(s: &mut Script) {
    let maps = format!("{SHOP}/configmaps");
    for (name, app, tier) in [
        ("list-a", "web", "front"),
        ("list-b", "web", "back"),
        ("list-c", "api", "back"),
        ("list-d", "api", "front"),
        ("list-e", "job", "back"),
    ] {
        let mut map = config_map(name, &json!({ "name": name }));
        map["metadata"]["labels"] = json!({ "app": app, "tier": tier, "listed": "yes" });
        s.post(&format!("{name} is made for lists"), &maps, map);
    }
    for labels in [
        "listed",
        "listed,!app",
        "app=web",
        "app==web,tier!=front",
        "app in (web,api),listed",
        "listed,app notin (web,api)",
        "listed,tier in (back)",
        "app=nothing",
        "app in web",
        "app=bad value",
    ] {
        let encoded = labels
            .replace(' ', "%20")
            .replace('=', "%3D")
            .replace('!', "%21");
        s.get(
            &format!("a list by the labels {labels}"),
            &format!("{maps}?labelSelector={encoded}"),
        );
    }
    for fields in [
        "metadata.name=list-c",
        "metadata.name!=list-c,metadata.namespace=shop",
        "metadata.namespace=other",
        "data.name=list-a",
        "nonsense",
    ] {
        let encoded = fields.replace('=', "%3D").replace('!', "%21");
        s.get(
            &format!("a list by the fields {fields}"),
            &format!("{maps}?labelSelector=listed&fieldSelector={encoded}"),
        );
    }
    s.get(
        "a list of everywhere",
        &format!("{CORE}/configmaps?labelSelector=listed"),
    );
    s.get(
        "a list of a namespace that is not there",
        &format!("{CORE}/namespaces/nowhere/configmaps"),
    );
    s.get(
        "the first two of a list",
        &format!("{SHOP}/secrets?limit=2"),
    );
    s.get(
        "the first three of what has a label",
        &format!("{maps}?limit=3&labelSelector=listed"),
    );
    s.get(
        "a list goes on",
        &format!("{maps}?limit=3&labelSelector=listed&continue=$continue"),
    );
    s.get(
        "a list goes on at a place that nobody knows",
        &format!("{maps}?limit=3&continue=garbage"),
    );
    s.delete(
        "many are deleted by label",
        &format!("{maps}?labelSelector=tier%3Dback,listed"),
        json!({}),
    );
    s.get(
        "a list after many were deleted",
        &format!("{maps}?labelSelector=listed"),
    );
    s.delete(
        "none are deleted by label",
        &format!("{maps}?labelSelector=app%3Dnothing"),
        json!({}),
    );
}

/// Requests that make no sense.
fn nonsense(s: &mut Script) {
    let maps = format!("{SHOP}/configmaps");
    let sense = config_map("sense", &json!({ "a": "1" }));
    for (name, path) in [
        (
            "a resource that is not there in a namespace",
            "/api/v1/namespaces/shop/nothings",
        ),
        ("a resource that is not there", "/api/v1/nothings"),
        (
            "a resource that is not there in a group",
            "/apis/apps/v1/namespaces/shop/nothings/x",
        ),
        (
            "a group that is not there",
            "/apis/nothing.example.com/v1/x",
        ),
        ("a version that is not there", "/apis/apps/v9/deployments"),
        (
            "a part that is not there",
            "/api/v1/namespaces/shop/configmaps/x/scale",
        ),
    ] {
        s.get(name, path);
    }
    s.get("nobody reads", &maps).known = false;
    s.post("nobody makes", &maps, sense.clone()).known = false;
    s.delete("nobody deletes", &maps, json!({})).known = false;
    s.post("a map to be asked about is made", &maps, sense.clone());
    let one = format!("{maps}/sense");
    s.add(
        "a body is no JSON",
        "POST",
        &maps,
        PLAIN,
        Body::Text("{ nonsense"),
    );
    s.add("a body is empty", "POST", &maps, PLAIN, Body::Text(""));
    s.add("a body has no kind", "POST", &maps, PLAIN, Body::Text("{}"));
    s.post("a body is of another kind", &maps, secret("sense"));
    let mut other = named(&sense, "version");
    other["apiVersion"] = json!("v9");
    s.post("a body is of another version", &maps, other);
    let mut other = named(&sense, "elsewhere");
    other["metadata"]["namespace"] = json!("other");
    s.post("a body is of another namespace", &maps, other);
    let mut other = named(&sense, "versioned");
    other["metadata"]["resourceVersion"] = json!("1");
    s.post("a new object has a version already", &maps, other);
    s.put_whole(
        "an object is put under another name",
        &one,
        named(&sense, "another"),
    );
    s.put_whole(
        "an object that is not there is put",
        &format!("{maps}/absent"),
        named(&sense, "absent"),
    );
    s.put_whole("an object is put without a version", &one, sense.clone());
    let mut other = sense.clone();
    other["metadata"]["uid"] = json!("00000000-0000-4000-8000-000000000000");
    s.put_whole("an object is put in the place of another", &one, other);
    s.merge(
        "an object that is not there is changed",
        &format!("{maps}/absent"),
        json!({ "data": {} }),
    );
    s.merge(
        "an old version is changed",
        &one,
        json!({ "metadata": { "resourceVersion": "1" }, "data": { "a": "2" } }),
    );
    s.merge(
        "the last version is changed",
        &one,
        json!({ "metadata": { "resourceVersion": "$rv" }, "data": { "a": "3" } }),
    );
    s.merge(
        "a name is changed",
        &one,
        json!({ "metadata": { "name": "another" } }),
    );
    s.merge(
        "a value is not a text",
        &one,
        json!({ "data": { "a": { "b": 1 } } }),
    );
    s.merge("nothing is changed", &one, json!({}));
    s.patch(
        "a step goes where nothing is",
        &one,
        STEPS,
        json!([{ "op": "replace", "path": "/data/absent/deep", "value": "x" }]),
    );
    s.patch(
        "a step removes what is not there",
        &one,
        STEPS,
        json!([{ "op": "remove", "path": "/data/absent" }]),
    );
    s.patch(
        "steps copy and move",
        &one,
        STEPS,
        json!([
            { "op": "copy", "from": "/data/a", "path": "/data/b" },
            { "op": "move", "from": "/data/a", "path": "/data/c" },
        ]),
    );
    s.patch("a patch is of no kind", &one, "text/plain", json!({}));
    s.add(
        "a patch is no JSON",
        "PATCH",
        &one,
        MERGE,
        Body::Text("{ nonsense"),
    );
    s.delete(
        "an object that is not there is deleted",
        &format!("{maps}/absent"),
        json!({}),
    );
    s.post("an object is made in an object", &one, sense.clone());
    s.put_whole("a collection is put", &maps, sense);
    s.post(
        "making something is tried in a way that is not there",
        &format!("{maps}?dryRun=Some"),
        config_map("some", &json!({})),
    );
    let mut generated = config_map("", &json!({}));
    generated["metadata"] = json!({ "generateName": "made-" });
    s.post("a name is made up", &maps, generated);
}

/// Objects of which a part is missing or wrong.
fn refused_parts(s: &mut Script) {
    let changed = |object: Value, pointer: &str, value: Value| {
        let mut out = object;
        if let Some(held) = out.pointer_mut(pointer) {
            *held = value;
        }
        out
    };
    let deployments = format!("{APPS}/deployments");
    let container = "/spec/template/spec/containers";
    for (name, pointer, value) in [
        (
            "a deployment does not select its own pods",
            "/spec/selector/matchLabels",
            json!({ "app": "y" }),
        ),
        (
            "a deployment has no selector",
            "/spec/selector",
            Value::Null,
        ),
        ("a deployment has no containers", container, json!([])),
        (
            "a deployment has less than no pods",
            "/spec/replicas",
            json!(-1),
        ),
        (
            "a deployment has as many pods as a word",
            "/spec/replicas",
            json!("many"),
        ),
        (
            "a container of a deployment has no image",
            "/spec/template/spec/containers/0/image",
            json!(""),
        ),
        (
            "a container of a deployment has no name",
            "/spec/template/spec/containers/0/name",
            json!(""),
        ),
        (
            "a deployment mounts what is not there",
            "/spec/template/spec/volumes",
            json!([]),
        ),
        (
            "a label of a deployment is no label",
            "/metadata/labels/app",
            json!("not a label"),
        ),
    ] {
        s.post(
            name,
            &deployments,
            changed(deployment("refused"), pointer, value),
        );
    }
    s.post(
        "a job is always begun again",
        &format!("{BATCH}/jobs"),
        changed(
            job("refused"),
            "/spec/template/spec/restartPolicy",
            json!("Always"),
        ),
    );
    for (name, pointer, value) in [
        ("a service has no ports", "/spec/ports", json!([])),
        (
            "a service has a port too high",
            "/spec/ports/0/port",
            json!(70_000),
        ),
        (
            "a service has a port twice",
            "/spec/ports/1/name",
            json!("http"),
        ),
    ] {
        s.post(
            name,
            &format!("{SHOP}/services"),
            changed(service("refused"), pointer, value),
        );
    }
    for (name, pointer, value) in [
        (
            "a claim has no access modes",
            "/spec/accessModes",
            json!([]),
        ),
        ("a claim has no size", "/spec/resources", json!({})),
    ] {
        s.post(
            name,
            &format!("{SHOP}/persistentvolumeclaims"),
            changed(claim("refused"), pointer, value),
        );
    }
    s.post(
        "a map has a key that is none",
        &format!("{SHOP}/configmaps"),
        config_map("refused", &json!({ "not a key": "x" })),
    );
    s.post(
        "a secret is not in base64",
        &format!("{SHOP}/secrets"),
        changed(secret("refused"), "/data/kept", json!("???")),
    );
    s.post(
        "a volume has no size",
        &format!("{CORE}/persistentvolumes"),
        changed(volume("refused"), "/spec/capacity", json!({})),
    );
    s.post(
        "a class has no provisioner",
        &format!("{STORAGE}/storageclasses"),
        changed(storage_class("refused"), "/provisioner", json!("")),
    );
    s.post(
        "an ingress has no rules",
        &format!("{NETWORK}/ingresses"),
        changed(ingress("refused"), "/spec/rules", json!([])),
    );
    s.post(
        "a thing is not as its definition says",
        THINGS,
        changed(thing("refused"), "/spec/size", json!("large")),
    );
    let mut more = thing("more");
    more["spec"]["unknown"] = json!(true);
    s.post("a thing has more than its definition says", THINGS, more);
}

fn strategic(s: &mut Script) {
    let one = format!("{APPS}/deployments/merged");
    s.post(
        "a deployment to be merged is made",
        &format!("{APPS}/deployments"),
        deployment("merged"),
    );
    let inside = |spec: Value| json!({ "spec": { "template": { "spec": spec } } });
    let web = |mut rest: Value| {
        rest["name"] = json!("web");
        inside(json!({ "containers": [rest] }))
    };
    for (name, body) in [
        (
            "a container gets another image",
            web(json!({ "image": "nginx:1.28" })),
        ),
        (
            "a container is added",
            inside(json!({ "containers": [{ "name": "side", "image": "busybox" }] })),
        ),
        (
            "a variable is added and one is changed",
            web(
                json!({ "env": [{ "name": "TWO", "value": "zwei" }, { "name": "THREE", "value": "3" }] }),
            ),
        ),
        (
            "a variable is taken away",
            web(json!({ "env": [{ "name": "ONE", "$patch": "delete" }] })),
        ),
        (
            "a port is added",
            web(json!({ "ports": [{ "containerPort": 9090, "name": "metrics" }] })),
        ),
        (
            "all variables are replaced",
            web(json!({ "env": [{ "$patch": "replace" }, { "name": "ONLY", "value": "one" }] })),
        ),
        (
            "a volume and its mount are added",
            inside(json!({
                "volumes": [{ "name": "keys", "secret": { "secretName": "keys" } }],
                "containers": [{ "name": "web", "volumeMounts": [{ "name": "keys", "mountPath": "/keys" }] }],
            })),
        ),
        (
            "containers get an order",
            inside(json!({
                "$setElementOrder/containers": [{ "name": "side" }, { "name": "web" }],
                "containers": [{ "name": "side", "image": "busybox:1" }],
            })),
        ),
        (
            "a container is taken away",
            inside(json!({ "containers": [{ "name": "side", "$patch": "delete" }] })),
        ),
        (
            "the strategy is another one",
            json!({ "spec": { "strategy": { "$retainKeys": ["type"], "type": "Recreate" } } }),
        ),
        (
            "a field is taken away",
            web(json!({ "readinessProbe": null })),
        ),
        (
            "tolerations are set as a whole",
            inside(json!({ "tolerations": [{ "key": "a", "operator": "Exists" }] })),
        ),
        (
            "tolerations are set as a whole again",
            inside(json!({ "tolerations": [{ "key": "b", "operator": "Exists" }] })),
        ),
        (
            "pods are begun again",
            json!({ "spec": { "template": { "metadata": { "annotations": { "kubectl.kubernetes.io/restartedAt": "now" } } } } }),
        ),
    ] {
        s.strategic(name, &one, body);
    }
    s.get("a deployment that was merged is read", &one);
    s.merge(
        "containers are replaced by a merge patch",
        &one,
        inside(json!({ "containers": [{ "name": "new", "image": "new:1" }], "volumes": null })),
    );
    s.strategic(
        "finalizers are merged one by one",
        &one,
        json!({ "metadata": { "finalizers": ["example.com/a"] } }),
    );
    s.strategic(
        "a finalizer is taken away from a list",
        &one,
        json!({ "metadata": { "$deleteFromPrimitiveList/finalizers": ["example.com/a"] } }),
    );
    s.post("a thing to be merged is made", THINGS, thing("merged"));
    s.strategic(
        "a thing is merged strategically",
        &format!("{THINGS}/merged"),
        json!({ "spec": { "size": 4 } }),
    );
}

fn applied(s: &mut Script) {
    let one = format!("{APPS}/deployments/applied");
    let config = |replicas: i64, image: &str, labels: Value| {
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": { "name": "applied", "labels": labels },
            "spec": {
                "replicas": replicas,
                "selector": { "matchLabels": { "app": "applied" } },
                "template": {
                    "metadata": { "labels": { "app": "applied" } },
                    "spec": { "containers": [{ "name": "web", "image": image }] },
                },
            },
        })
    };
    let two = json!({ "a": "1", "b": "2" });
    s.apply(
        "an apply has no manager",
        &one,
        "force=true",
        config(1, "i:1", two.clone()),
    );
    s.apply(
        "an apply is tried",
        &one,
        "fieldManager=one&dryRun=All",
        config(1, "i:1", two.clone()),
    );
    s.get("an apply that was tried has made nothing", &one);
    s.apply(
        "an apply makes a deployment",
        &one,
        "fieldManager=one",
        config(1, "i:1", two.clone()),
    );
    s.apply(
        "an apply changes nothing",
        &one,
        "fieldManager=one",
        config(1, "i:1", two.clone()),
    );
    s.apply(
        "an apply changes a field",
        &one,
        "fieldManager=one",
        config(2, "i:1", two.clone()),
    );
    s.apply(
        "an apply of another manager agrees",
        &one,
        "fieldManager=two",
        json!({ "apiVersion": "apps/v1", "kind": "Deployment", "spec": { "replicas": 2 } }),
    );
    s.apply(
        "an apply of another manager is in conflict",
        &one,
        "fieldManager=three",
        json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "labels": { "a": "9" } } }),
    );
    s.apply(
        "an apply of another manager is in several conflicts",
        &one,
        "fieldManager=three",
        config(5, "i:5", json!({ "a": "9" })),
    );
    s.apply(
        "an apply takes a field by force",
        &one,
        "fieldManager=three&force=true",
        json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "labels": { "a": "9" } } }),
    );
    s.apply(
        "an apply drops a label that nobody else has",
        &one,
        "fieldManager=one",
        config(2, "i:1", json!({})),
    );
    s.merge(
        "a manager that does not apply changes a field",
        &format!("{one}?fieldManager=hand"),
        json!({ "spec": { "replicas": 7 } }),
    );
    s.apply(
        "an apply is in conflict with a change by hand",
        &one,
        "fieldManager=one",
        config(2, "i:1", json!({})),
    );
    s.apply(
        "an apply takes back what was changed by hand",
        &one,
        "fieldManager=one&force=true",
        config(2, "i:1", json!({})),
    );
    s.apply(
        "an apply of another manager adds a container",
        &one,
        "fieldManager=side",
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "spec": { "template": { "spec": { "containers": [{ "name": "side", "image": "side:1" }] } } },
        }),
    );
    s.apply(
        "an apply leaves the container of another",
        &one,
        "fieldManager=one",
        config(2, "i:2", json!({})),
    );
    s.apply(
        "an apply drops its own container",
        &one,
        "fieldManager=side",
        json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "labels": { "side": "was here" } } }),
    );
    let mut old = config(3, "i:3", json!({}));
    old["metadata"]["resourceVersion"] = json!("1");
    s.apply(
        "an apply is of an old version",
        &one,
        "fieldManager=one",
        old,
    );
    s.apply(
        "an apply has another name",
        &one,
        "fieldManager=one",
        named(&config(2, "i:2", json!({})), "another"),
    );
    s.get("a deployment that was applied is read", &one);
    let map = format!("{SHOP}/configmaps/applied");
    let data = |data: Value| config_map("applied", &data);
    s.apply(
        "an apply makes a map",
        &map,
        "fieldManager=one",
        data(json!({ "a": "1", "b": "2" })),
    );
    s.apply(
        "an apply adds a key of another",
        &map,
        "fieldManager=two",
        data(json!({ "c": "3" })),
    );
    s.apply(
        "an apply drops a key",
        &map,
        "fieldManager=one",
        data(json!({ "a": "1" })),
    );
    s.apply(
        "an apply drops all keys",
        &map,
        "fieldManager=one",
        json!({ "apiVersion": "v1", "kind": "ConfigMap" }),
    );
    let mut labelled = secret("applied");
    labelled["data"] = json!({ "kept": "b25l" });
    s.apply(
        "an apply makes a secret",
        &format!("{SHOP}/secrets/applied"),
        "fieldManager=one",
        labelled,
    );
    s.apply(
        "an apply makes a service",
        &format!("{SHOP}/services/applied"),
        "fieldManager=one",
        service("applied"),
    );
    s.apply(
        "an apply makes a thing",
        &format!("{THINGS}/applied"),
        "fieldManager=one",
        thing("applied"),
    );
    s.apply(
        "an apply of a thing is in conflict",
        &format!("{THINGS}/applied"),
        "fieldManager=two",
        json!({ "apiVersion": "stable.example.com/v1", "kind": "Thing", "spec": { "size": 9 } }),
    );
}

fn sizes_and_statuses(s: &mut Script) {
    for (plural, object) in [
        ("deployments", deployment("sized")),
        ("statefulsets", stateful_set("sized")),
    ] {
        let collection = format!("{APPS}/{plural}");
        let one = format!("{collection}/sized");
        let size = format!("{one}/scale");
        let called = |what: &str| format!("{plural}: {what}");
        let scale = |replicas: i64, version: &str| {
            json!({
                "apiVersion": "autoscaling/v1", "kind": "Scale",
                "metadata": { "name": "sized", "namespace": "shop", "resourceVersion": version },
                "spec": { "replicas": replicas },
            })
        };
        s.post(&called("one to be sized is made"), &collection, object);
        s.get(&called("a size is read"), &size);
        s.put_whole(&called("a size is put"), &size, scale(3, "$rv"));
        s.put_whole(&called("an old size is put"), &size, scale(4, "$first"));
        s.put_whole(&called("a size below zero is put"), &size, scale(-1, "$rv"));
        s.merge(
            &called("a size is changed"),
            &size,
            json!({ "spec": { "replicas": 5 } }),
        );
        s.merge(
            &called("a size is tried"),
            &format!("{size}?dryRun=All"),
            json!({ "spec": { "replicas": 6 } }),
        );
        s.merge(
            &called("a label does not count as a wish"),
            &one,
            json!({ "metadata": { "labels": { "b": "b" } } }),
        );
        s.strategic(
            &called("a status is changed"),
            &format!("{one}/status"),
            json!({ "status": { "replicas": 5, "readyReplicas": 4, "observedGeneration": 3 } }),
        );
        s.merge(
            &called("a status does not change the wish"),
            &format!("{one}/status"),
            json!({ "spec": { "replicas": 9 }, "status": { "updatedReplicas": 4 } }),
        );
        s.merge(
            &called("a wish does not change the status"),
            &one,
            json!({ "spec": { "replicas": 2 }, "status": { "replicas": 99 } }),
        );
        s.put(
            &called("a status is put"),
            &format!("{one}/status"),
            json!({ "status": { "currentReplicas": null, "readyReplicas": 1 } }),
        );
        s.get(&called("one that was sized is read"), &one);
        s.get(&called("its size is read at last"), &size);
    }
    s.get(
        "a size of what is not there",
        &format!("{APPS}/deployments/absent/scale"),
    );
    s.post(
        "a job to end is made",
        &format!("{BATCH}/jobs"),
        job("ends"),
    );
    s.merge(
        "a job ends",
        &format!("{BATCH}/jobs/ends/status"),
        json!({ "status": {
            "succeeded": 1,
            "startTime": "2024-01-01T00:00:00Z",
            "completionTime": "2024-01-01T00:01:00Z",
            "conditions": [{ "type": "Complete", "status": "True", "lastTransitionTime": "2024-01-01T00:01:00Z" }],
        } }),
    );
    s.post("a thing with a status is made", THINGS, {
        let mut new = thing("told");
        new["status"] = json!({ "phase": "New" });
        new
    });
    s.merge(
        "a thing gets a status",
        &format!("{THINGS}/told/status"),
        json!({ "status": { "phase": "Ready" }, "spec": { "size": 99 } }),
    );
    s.merge(
        "a thing gets another wish",
        &format!("{THINGS}/told"),
        json!({ "status": { "phase": "Lost" }, "spec": { "size": 4 } }),
    );
    s.get(
        "a map has no status",
        &format!("{SHOP}/configmaps/applied/status"),
    );
}

fn deletions(s: &mut Script) {
    for (collection, plural, object) in [
        (
            format!("{SHOP}/configmaps"),
            "configmaps",
            config_map("final", &json!({ "a": "1" })),
        ),
        (
            format!("{APPS}/deployments"),
            "deployments",
            deployment("final"),
        ),
        (THINGS.to_owned(), "things", thing("final")),
    ] {
        let one = format!("{collection}/final");
        let called = |what: &str| format!("{plural}: {what}");
        let mut held = object;
        held["metadata"]["finalizers"] = json!(["example.com/a", "example.com/b"]);
        s.post(
            &called("one with finalizers is made"),
            &collection,
            held.clone(),
        );
        s.delete(
            &called("one with finalizers is deleted"),
            &one,
            json!({ "propagationPolicy": "Background" }),
        );
        s.get(&called("one that waits is read"), &one);
        s.delete(
            &called("one that waits is deleted again"),
            &one,
            json!({ "propagationPolicy": "Background" }),
        );
        s.post(&called("one that waits is made again"), &collection, held);
        s.merge(
            &called("one that waits gets another finalizer"),
            &one,
            json!({ "metadata": { "finalizers": ["example.com/a", "example.com/c"] } }),
        );
        s.merge(
            &called("one that waits loses a finalizer"),
            &one,
            json!({ "metadata": { "finalizers": ["example.com/b"] } }),
        );
        s.merge(
            &called("one that waits loses its last finalizer"),
            &one,
            json!({ "metadata": { "finalizers": null } }),
        );
        s.get(&called("one that waited is gone"), &one);
    }
    let deployments = format!("{APPS}/deployments");
    for policy in ["Orphan", "Background", "Nonsense"] {
        let name = policy.to_lowercase();
        s.post(
            &format!("a deployment to be deleted by {policy} is made"),
            &deployments,
            deployment(&name),
        );
        s.delete(
            &format!("a deployment is deleted by {policy}"),
            &format!("{deployments}/{name}"),
            json!({ "propagationPolicy": policy }),
        );
    }
    s.delete(
        "a deployment is deleted by two policies",
        &format!("{deployments}/nonsense"),
        json!({ "propagationPolicy": "Orphan", "orphanDependents": true }),
    );
    s.delete(
        "a deployment of an old version is deleted",
        &format!("{deployments}/nonsense"),
        json!({ "preconditions": { "resourceVersion": "1" } }),
    );
    s.delete(
        "a deployment of the last version is deleted",
        &format!("{deployments}/nonsense"),
        json!({ "preconditions": { "resourceVersion": "$rv" } }),
    );
    s.post(
        "a job to be deleted is made",
        &format!("{BATCH}/jobs"),
        job("plain"),
    );
    s.delete(
        "a job is deleted without a policy",
        &format!("{BATCH}/jobs/plain"),
        json!({}),
    );
}

/// What is not changed any more once it is there.
fn unchangeable(s: &mut Script) {
    let mut fixed = config_map("fixed", &json!({ "a": "1" }));
    fixed["immutable"] = json!(true);
    for (what, collection, object) in [
        (
            "a deployment",
            format!("{APPS}/deployments"),
            deployment("fixed"),
        ),
        (
            "a stateful set",
            format!("{APPS}/statefulsets"),
            stateful_set("fixed"),
        ),
        (
            "a claim",
            format!("{SHOP}/persistentvolumeclaims"),
            claim("fixed"),
        ),
        ("a job", format!("{BATCH}/jobs"), job("fixed")),
        ("a service", format!("{SHOP}/services"), service("fixed")),
        ("a secret", format!("{SHOP}/secrets"), secret("fixed")),
        ("a map", format!("{SHOP}/configmaps"), fixed),
        (
            "a class",
            format!("{STORAGE}/storageclasses"),
            storage_class("fixed"),
        ),
        ("a pod", format!("{SHOP}/pods"), pod("fixed")),
    ] {
        s.post(
            &format!("{what} to be left as it is is made"),
            &collection,
            object,
        );
    }
    let first = "/spec/template/spec/containers/0/image";
    let claims = format!("{SHOP}/persistentvolumeclaims/fixed");
    for (name, path, body) in [
        (
            "a deployment gets another selector",
            format!("{APPS}/deployments/fixed"),
            json!({ "spec": {
                "selector": { "matchLabels": { "app": "y" } },
                "template": { "metadata": { "labels": { "app": "y" } } },
            } }),
        ),
        (
            "a stateful set gets another service",
            format!("{APPS}/statefulsets/fixed"),
            json!({ "spec": { "serviceName": "y" } }),
        ),
        (
            "a claim gets other access modes",
            claims.clone(),
            json!({ "spec": { "accessModes": ["ReadWriteMany"] } }),
        ),
        (
            "a claim that is not bound gets more room",
            claims,
            json!({ "spec": { "resources": { "requests": { "storage": "2Gi" } } } }),
        ),
        (
            "a service gets another address",
            format!("{SHOP}/services/fixed"),
            json!({ "spec": { "clusterIP": "10.0.0.77", "clusterIPs": ["10.0.0.77"] } }),
        ),
        (
            "a secret gets another type",
            format!("{SHOP}/secrets/fixed"),
            json!({ "type": "example.com/other" }),
        ),
        (
            "a map that is fixed gets other data",
            format!("{SHOP}/configmaps/fixed"),
            json!({ "data": { "a": "2" } }),
        ),
        (
            "a map that is fixed is loosened",
            format!("{SHOP}/configmaps/fixed"),
            json!({ "immutable": false }),
        ),
        (
            "a class gets another provisioner",
            format!("{STORAGE}/storageclasses/fixed"),
            json!({ "provisioner": "other.example.com" }),
        ),
        (
            "a pod gets another grace",
            format!("{SHOP}/pods/fixed"),
            json!({ "spec": { "terminationGracePeriodSeconds": 5 } }),
        ),
        (
            "a job runs more at once",
            format!("{BATCH}/jobs/fixed"),
            json!({ "spec": { "parallelism": 3 } }),
        ),
        (
            "a job ends more often",
            format!("{BATCH}/jobs/fixed"),
            json!({ "spec": { "completions": 3 } }),
        ),
    ] {
        s.merge(name, &path, body);
    }
    s.patch(
        "a job gets another image",
        &format!("{BATCH}/jobs/fixed"),
        STEPS,
        json!([{ "op": "replace", "path": first, "value": "other:1" }]),
    );
    s.patch(
        "a pod gets another image",
        &format!("{SHOP}/pods/fixed"),
        STEPS,
        json!([{ "op": "replace", "path": "/spec/containers/0/image", "value": "other:1" }]),
    );
}

fn pods(s: &mut Script) {
    let all = format!("{SHOP}/pods");
    let one = format!("{all}/bound");
    let binding = |node: &str| {
        json!({
            "apiVersion": "v1", "kind": "Binding",
            "metadata": { "name": "bound", "namespace": "shop" },
            "target": { "apiVersion": "v1", "kind": "Node", "name": node },
        })
    };
    s.post("a pod to be bound is made", &all, pod("bound"));
    s.post(
        "a pod is bound",
        &format!("{one}/binding"),
        binding("node-1"),
    );
    s.post(
        "a pod is bound again",
        &format!("{one}/binding"),
        binding("node-2"),
    );
    s.post(
        "a pod that is not there is bound",
        &format!("{all}/absent/binding"),
        named(&binding("node-1"), "absent"),
    );
    s.get("a pod that is bound is read", &one);
    s.get(
        "a pod is found by its node",
        &format!("{all}?fieldSelector=spec.nodeName%3Dnode-1"),
    );
    s.merge(
        "a pod runs",
        &format!("{one}/status"),
        json!({ "status": { "phase": "Running", "podIP": "10.1.0.5", "podIPs": [{ "ip": "10.1.0.5" }] } }),
    );
    s.strategic(
        "a pod is ready",
        &format!("{one}/status"),
        json!({ "status": { "conditions": [{ "type": "Ready", "status": "True" }] } }),
    );
    s.get(
        "a pod is found by its phase",
        &format!("{all}?fieldSelector=status.phase%3DRunning"),
    );
    s.delete("a pod on a node is deleted", &one, json!({}));
    s.get("a pod that ends is read", &one);
    s.delete(
        "a pod that ends gets less time",
        &one,
        json!({ "gracePeriodSeconds": 5 }),
    );
    s.delete(
        "a pod that ends is ended at once",
        &one,
        json!({ "gracePeriodSeconds": 0 }),
    );
    s.get("a pod that was ended is read", &one);
}

/// What is answered and not stored, and definitions that go.
fn others(s: &mut Script) {
    let review = |verb: &str| {
        json!({
            "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
            "spec": { "resourceAttributes": {
                "namespace": "shop", "verb": verb, "group": "apps", "resource": "deployments",
            } },
        })
    };
    for verb in ["get", "delete"] {
        s.post(&format!("may I {verb}"), REVIEWS, review(verb));
    }
    s.post(
        "may I do nothing",
        REVIEWS,
        json!({ "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "spec": {} }),
    );
    s.get("reviews are listed", REVIEWS);
}
