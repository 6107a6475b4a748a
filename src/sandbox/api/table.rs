//! Objects as rows with columns, as kubectl prints them.

use super::{
    kinds::Kind,
    request::Shape,
    tree::{list, text},
};
use chrono::{DateTime, Utc};
use serde_json::{Value, json};

/// A column: its name, its type, its priority (0 is always shown), and what stands in it.
struct Column(&'static str, &'static str, u8, fn(&Value) -> Value);

const fn shown(name: &'static str, cell: fn(&Value) -> Value) -> Column {
    Column(name, "string", 0, cell)
}

const fn number(name: &'static str, cell: fn(&Value) -> Value) -> Column {
    Column(name, "integer", 0, cell)
}

const fn wide(name: &'static str, cell: fn(&Value) -> Value) -> Column {
    Column(name, "string", 1, cell)
}

const NAME: Column = shown("Name", |o| o["metadata"]["name"].clone());
const AGE: Column = shown("Age", |o| {
    json!(age(text(o, "/metadata/creationTimestamp")))
});
const IMAGES: Column = wide("Images", |o| {
    json!(each(o, "/spec/template/spec/containers", "image"))
});
const CONTAINERS: Column = wide("Containers", |o| {
    json!(each(o, "/spec/template/spec/containers", "name"))
});
const SELECTOR: Column = wide("Selector", |o| {
    json!(labels(&o["spec"]["selector"]["matchLabels"]))
});

const PODS: &[Column] = &[
    NAME,
    shown("Ready", |o| {
        let all = list(o, "/status/containerStatuses").iter();
        let ready = all.filter(|c| c["ready"] == true).count();
        json!(format!("{ready}/{}", list(o, "/spec/containers").len()))
    }),
    shown("Status", |o| json!(phase(o))),
    shown("Restarts", |o| {
        let all = list(o, "/status/containerStatuses").iter();
        let sum: i64 = all.filter_map(|c| c["restartCount"].as_i64()).sum();
        json!(sum.to_string())
    }),
    AGE,
    wide("IP", |o| or_none(&o["status"]["podIP"])),
    wide("Node", |o| or_none(&o["spec"]["nodeName"])),
    wide("Nominated Node", |_| json!("<none>")),
    wide("Readiness Gates", |_| json!("<none>")),
];
const DEPLOYMENTS: &[Column] = &[
    NAME,
    shown("Ready", |o| {
        json!(format!(
            "{}/{}",
            count(&o["status"]["readyReplicas"]),
            count(&o["spec"]["replicas"])
        ))
    }),
    number("Up-to-date", |o| {
        json!(count(&o["status"]["updatedReplicas"]))
    }),
    number("Available", |o| {
        json!(count(&o["status"]["availableReplicas"]))
    }),
    AGE,
    CONTAINERS,
    IMAGES,
    SELECTOR,
];
const REPLICA_SETS: &[Column] = &[
    NAME,
    number("Desired", |o| json!(count(&o["spec"]["replicas"]))),
    number("Current", |o| json!(count(&o["status"]["replicas"]))),
    number("Ready", |o| json!(count(&o["status"]["readyReplicas"]))),
    AGE,
    CONTAINERS,
    IMAGES,
    SELECTOR,
];
const STATEFUL_SETS: &[Column] = &[
    NAME,
    shown("Ready", |o| {
        json!(format!(
            "{}/{}",
            count(&o["status"]["readyReplicas"]),
            count(&o["spec"]["replicas"])
        ))
    }),
    AGE,
    CONTAINERS,
    IMAGES,
];
const DAEMON_SETS: &[Column] = &[
    NAME,
    number("Desired", |o| {
        json!(count(&o["status"]["desiredNumberScheduled"]))
    }),
    number("Current", |o| {
        json!(count(&o["status"]["currentNumberScheduled"]))
    }),
    number("Ready", |o| json!(count(&o["status"]["numberReady"]))),
    number("Up-to-date", |o| {
        json!(count(&o["status"]["updatedNumberScheduled"]))
    }),
    number("Available", |o| {
        json!(count(&o["status"]["numberAvailable"]))
    }),
    AGE,
];
const SERVICES: &[Column] = &[
    NAME,
    shown("Type", |o| o["spec"]["type"].clone()),
    shown("Cluster-IP", |o| or_none(&o["spec"]["clusterIP"])),
    shown("External-IP", |o| {
        let all = list(o, "/status/loadBalancer/ingress").iter();
        let all: Vec<&str> = all
            .filter_map(|i| i["ip"].as_str().or(i["hostname"].as_str()))
            .collect();
        match (all.is_empty(), o["spec"]["type"] == "LoadBalancer") {
            (false, _) => json!(all.join(",")),
            (true, true) => json!("<pending>"),
            (true, false) => json!("<none>"),
        }
    }),
    shown("Port(s)", |o| {
        let port = |p: &Value| match p["nodePort"].as_u64() {
            Some(node) => format!("{}:{node}/{}", p["port"], text(p, "/protocol")),
            None => format!("{}/{}", p["port"], text(p, "/protocol")),
        };
        let all: Vec<String> = list(o, "/spec/ports").iter().map(port).collect();
        if all.is_empty() {
            json!("<none>")
        } else {
            json!(all.join(","))
        }
    }),
    AGE,
    wide("Selector", |o| json!(labels(&o["spec"]["selector"]))),
];
const CLAIMS: &[Column] = &[
    NAME,
    shown("Status", |o| {
        match o["metadata"]["deletionTimestamp"].is_string() {
            true => json!("Terminating"),
            false => o["status"]["phase"].clone(),
        }
    }),
    shown("Volume", |o| json!(text(o, "/spec/volumeName"))),
    shown("Capacity", |o| json!(text(o, "/status/capacity/storage"))),
    shown("Access Modes", |o| {
        json!(modes(list(o, "/status/accessModes")))
    }),
    shown("StorageClass", |o| json!(text(o, "/spec/storageClassName"))),
    shown("VolumeAttributesClass", |_| json!("<unset>")),
    AGE,
    wide("VolumeMode", |o| o["spec"]["volumeMode"].clone()),
];
const VOLUMES: &[Column] = &[
    NAME,
    shown("Capacity", |o| json!(text(o, "/spec/capacity/storage"))),
    shown("Access Modes", |o| {
        json!(modes(list(o, "/spec/accessModes")))
    }),
    shown("Reclaim Policy", |o| {
        o["spec"]["persistentVolumeReclaimPolicy"].clone()
    }),
    shown("Status", |o| {
        match o["metadata"]["deletionTimestamp"].is_string() {
            true => json!("Terminating"),
            false => o["status"]["phase"].clone(),
        }
    }),
    shown("Claim", |o| match text(o, "/spec/claimRef/name") {
        "" => json!(""),
        name => json!(format!("{}/{name}", text(o, "/spec/claimRef/namespace"))),
    }),
    shown("StorageClass", |o| json!(text(o, "/spec/storageClassName"))),
    shown("VolumeAttributesClass", |_| json!("<unset>")),
    shown("Reason", |o| json!(text(o, "/status/reason"))),
    AGE,
    wide("VolumeMode", |o| o["spec"]["volumeMode"].clone()),
];
const NODES: &[Column] = &[
    NAME,
    shown("Status", |o| {
        let ready = list(o, "/status/conditions")
            .iter()
            .find(|c| c["type"] == "Ready");
        let word = match ready.is_some_and(|c| c["status"] == "True") {
            true => "Ready",
            false => "NotReady",
        };
        match o["spec"]["unschedulable"] == true {
            true => json!(format!("{word},SchedulingDisabled")),
            false => json!(word),
        }
    }),
    shown("Roles", |o| {
        let all = o["metadata"]["labels"].as_object().into_iter().flatten();
        let all = all.filter_map(|(k, _)| k.strip_prefix("node-role.kubernetes.io/"));
        let all: Vec<&str> = all.collect();
        if all.is_empty() {
            json!("<none>")
        } else {
            json!(all.join(","))
        }
    }),
    AGE,
    shown("Version", |o| {
        o["status"]["nodeInfo"]["kubeletVersion"].clone()
    }),
    wide("Internal-IP", |o| {
        let all = list(o, "/status/addresses").iter();
        let own = all
            .filter(|a| a["type"] == "InternalIP")
            .map(|a| &a["address"])
            .next();
        or_none(own.unwrap_or(&Value::Null))
    }),
];
const NAMESPACES: &[Column] = &[NAME, shown("Status", |o| o["status"]["phase"].clone()), AGE];
const SECRETS: &[Column] = &[
    NAME,
    shown("Type", |o| o["type"].clone()),
    number("Data", |o| {
        json!(o["data"].as_object().map_or(0, serde_json::Map::len))
    }),
    AGE,
];
const MAPS: &[Column] = &[
    NAME,
    number("Data", |o| {
        let of = |key: &str| o[key].as_object().map_or(0, serde_json::Map::len);
        json!(of("data") + of("binaryData"))
    }),
    AGE,
];
const JOBS: &[Column] = &[
    NAME,
    shown("Status", |o| {
        let all = list(o, "/status/conditions").iter();
        let mut ended = all
            .filter(|c| c["status"] == "True" && c["type"] != "SuccessCriteriaMet")
            .map(|c| c["type"].clone());
        ended.next_back().unwrap_or_else(|| json!("Running"))
    }),
    shown("Completions", |o| {
        json!(format!(
            "{}/{}",
            count(&o["status"]["succeeded"]),
            o["spec"]["completions"].as_i64().unwrap_or(1)
        ))
    }),
    shown("Duration", |o| {
        let end = text(o, "/status/completionTime").parse::<DateTime<Utc>>();
        let start = text(o, "/status/startTime").parse::<DateTime<Utc>>();
        match start {
            Ok(start) => json!(span(
                (end.unwrap_or_else(|_| crate::clock::now()) - start).num_seconds()
            )),
            Err(_) => json!(""),
        }
    }),
    AGE,
    CONTAINERS,
    IMAGES,
];
const CRON_JOBS: &[Column] = &[
    NAME,
    shown("Schedule", |o| o["spec"]["schedule"].clone()),
    shown("Timezone", |o| or_none(&o["spec"]["timeZone"])),
    shown("Suspend", |o| {
        json!(if o["spec"]["suspend"] == true {
            "True"
        } else {
            "False"
        })
    }),
    number("Active", |o| json!(list(o, "/status/active").len())),
    shown("Last Schedule", |o| {
        match text(o, "/status/lastScheduleTime") {
            "" => json!("<none>"),
            time => json!(age(time)),
        }
    }),
    AGE,
];
const INGRESSES: &[Column] = &[
    NAME,
    shown("Class", |o| or_none(&o["spec"]["ingressClassName"])),
    shown("Hosts", |o| match each(o, "/spec/rules", "host") {
        hosts if hosts.is_empty() => json!("*"),
        hosts => json!(hosts),
    }),
    shown("Address", |o| {
        let all = list(o, "/status/loadBalancer/ingress").iter();
        let all: Vec<&str> = all
            .filter_map(|i| i["ip"].as_str().or(i["hostname"].as_str()))
            .collect();
        json!(all.join(","))
    }),
    shown("Ports", |o| {
        json!(if list(o, "/spec/tls").is_empty() {
            "80"
        } else {
            "80, 443"
        })
    }),
    AGE,
];
const EVENTS: &[Column] = &[
    shown("Last Seen", |o| {
        let all = [
            "/lastTimestamp",
            "/eventTime",
            "/metadata/creationTimestamp",
        ];
        let time = all.iter().map(|at| text(o, at)).find(|t| !t.is_empty());
        json!(age(time.unwrap_or_default()))
    }),
    shown("Type", |o| o["type"].clone()),
    shown("Reason", |o| o["reason"].clone()),
    shown("Object", |o| {
        let kind = text(o, "/involvedObject/kind").to_lowercase();
        json!(format!("{kind}/{}", text(o, "/involvedObject/name")))
    }),
    shown("Message", |o| json!(text(o, "/message").trim())),
    Column("Name", "string", 1, |o| o["metadata"]["name"].clone()),
];
const CLASSES: &[Column] = &[
    Column("Name", "string", 0, |o| {
        let (name, notes) = (text(o, "/metadata/name"), &o["metadata"]["annotations"]);
        match notes["storageclass.kubernetes.io/is-default-class"] == "true" {
            true => json!(format!("{name} (default)")),
            false => json!(name),
        }
    }),
    shown("Provisioner", |o| o["provisioner"].clone()),
    shown("ReclaimPolicy", |o| o["reclaimPolicy"].clone()),
    shown("VolumeBindingMode", |o| o["volumeBindingMode"].clone()),
    shown("AllowVolumeExpansion", |o| {
        json!(o["allowVolumeExpansion"] == true)
    }),
    AGE,
];
const DEFINITIONS: &[Column] = &[
    NAME,
    shown("Created At", |o| o["metadata"]["creationTimestamp"].clone()),
];
const ACCOUNTS: &[Column] = &[
    NAME,
    number("Secrets", |o| json!(list(o, "/secrets").len())),
    AGE,
];
const OTHERS: &[Column] = &[NAME, AGE];

fn columns(kind: &Kind) -> &'static [Column] {
    match kind.stored.as_str() {
        "pods" => PODS,
        "deployments.apps" => DEPLOYMENTS,
        "replicasets.apps" | "replicationcontrollers" => REPLICA_SETS,
        "statefulsets.apps" => STATEFUL_SETS,
        "daemonsets.apps" => DAEMON_SETS,
        "services" => SERVICES,
        "persistentvolumeclaims" => CLAIMS,
        "persistentvolumes" => VOLUMES,
        "nodes" => NODES,
        "namespaces" => NAMESPACES,
        "secrets" => SECRETS,
        "configmaps" => MAPS,
        "jobs.batch" => JOBS,
        "cronjobs.batch" => CRON_JOBS,
        "ingresses.networking.k8s.io" => INGRESSES,
        "events" => EVENTS,
        "storageclasses.storage.k8s.io" => CLASSES,
        "customresourcedefinitions.apiextensions.k8s.io" => DEFINITIONS,
        "serviceaccounts" => ACCOUNTS,
        _ => OTHERS,
    }
}

/// An object's metadata, as an object of its own.
pub(super) fn metadata(object: &Value) -> Value {
    json!({
        "kind": "PartialObjectMetadata",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": object["metadata"],
    })
}

/// Objects as a table; only the first one of a watch says which columns it has.
pub(super) fn table(kind: &Kind, objects: &[&Value], meta: Value, with_columns: bool) -> Value {
    let columns = columns(kind);
    let definitions: Vec<Value> = columns
        .iter()
        .map(|Column(name, of, priority, _)| {
            let format = if *name == "Name" { "name" } else { "" };
            json!({ "name": name, "type": of, "format": format, "description": "", "priority": priority })
        })
        .collect();
    let rows: Vec<Value> = objects
        .iter()
        .map(|object| {
            let cells: Vec<Value> = columns
                .iter()
                .map(|Column(_, _, _, cell)| cell(object))
                .collect();
            json!({ "cells": cells, "object": metadata(object) })
        })
        .collect();
    let mut out = json!({ "kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": meta });
    out["columnDefinitions"] = if with_columns {
        json!(definitions)
    } else {
        Value::Null
    };
    out["rows"] = json!(rows);
    out
}

/// One object in the shape that is wanted.
pub(super) fn one(kind: &Kind, object: &Value, shape: Shape, with_columns: bool) -> Value {
    match shape {
        Shape::Whole => kind.shown(object),
        Shape::Metadata => metadata(object),
        Shape::Table => {
            let meta = json!({ "resourceVersion": object["metadata"]["resourceVersion"] });
            table(kind, &[object], meta, with_columns)
        }
    }
}

fn count(value: &Value) -> i64 {
    value.as_i64().unwrap_or(0)
}

fn or_none(value: &Value) -> Value {
    match value.as_str() {
        Some(text) if !text.is_empty() => json!(text),
        _ => json!("<none>"),
    }
}

fn each(object: &Value, pointer: &str, key: &str) -> String {
    let all: Vec<&str> = list(object, pointer)
        .iter()
        .filter_map(|c| c[key].as_str())
        .collect();
    all.join(",")
}

fn labels(value: &Value) -> String {
    let all: Vec<String> = value
        .as_object()
        .into_iter()
        .flatten()
        .map(|(k, v)| format!("{k}={}", v.as_str().unwrap_or_default()))
        .collect();
    if all.is_empty() {
        "<none>".to_owned()
    } else {
        all.join(",")
    }
}

fn modes(all: &[Value]) -> String {
    let short = |mode: &Value| match mode.as_str() {
        Some("ReadWriteOnce") => "RWO",
        Some("ReadOnlyMany") => "ROX",
        Some("ReadWriteMany") => "RWX",
        Some("ReadWriteOncePod") => "RWOP",
        _ => "",
    };
    all.iter().map(short).collect::<Vec<_>>().join(",")
}

/// How a pod is, in one word.
fn phase(pod: &Value) -> String {
    if pod["metadata"]["deletionTimestamp"].is_string() {
        return "Terminating".to_owned();
    }
    let mut said = match text(pod, "/status/reason") {
        "" => text(pod, "/status/phase").to_owned(),
        reason => reason.to_owned(),
    };
    for container in list(pod, "/status/containerStatuses").iter().rev() {
        let state = &container["state"];
        let reason = state["waiting"]["reason"]
            .as_str()
            .or(state["terminated"]["reason"].as_str());
        if let Some(reason) = reason.filter(|r| !r.is_empty()) {
            reason.clone_into(&mut said);
        }
    }
    said
}

fn age(time: &str) -> String {
    match time.parse::<DateTime<Utc>>() {
        Ok(time) => span((crate::clock::now() - time).num_seconds()),
        Err(_) => "<unknown>".to_owned(),
    }
}

/// A time in words: the larger it is, the rougher.
fn span(seconds: i64) -> String {
    let s = seconds.max(0);
    let (m, h, d) = (s / 60, s / 3600, s / 86400);
    let with = |a: i64, unit: &str, b: i64, small: &str| match b {
        0 => format!("{a}{unit}"),
        b => format!("{a}{unit}{b}{small}"),
    };
    match s {
        0..120 => format!("{s}s"),
        120..600 => with(m, "m", s % 60, "s"),
        600..10_800 => format!("{m}m"),
        10_800..28_800 => with(h, "h", m % 60, "m"),
        28_800..172_800 => format!("{h}h"),
        172_800..691_200 => with(d, "d", h % 24, "h"),
        691_200..63_072_000 => format!("{d}d"),
        _ => with(d / 365, "y", d % 365, "d"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_get_rougher() {
        for (seconds, said) in [
            (5, "5s"),
            (119, "119s"),
            (125, "2m5s"),
            (3600, "60m"),
            (10_860, "3h1m"),
            (90_000, "25h"),
            (864_000, "10d"),
        ] {
            assert_eq!(span(seconds), said);
        }
    }
}
