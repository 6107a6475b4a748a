//! Endpoints of services, and the addresses of ingresses.

use super::{
    Seen,
    hand::Hand,
    objects::{
        ENDPOINTS, INGRESS, active, canonical, going, name, namespace, ready, selects, text, uid,
    },
};
use crate::systems::kubernetes::Body;
use http::Method;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// By this label endpoints that were made here are known when their service is gone.
const OURS: &str = "endpoints.kubernetes.io/managed-by";
const US: &str = "endpoint-controller";

pub(super) async fn reconcile(hand: &Hand, seen: &Seen) {
    for service in &seen.services {
        if !going(service) && service["spec"]["selector"].is_object() {
            tend(hand, seen, service).await;
        }
    }
    for endpoints in &seen.endpoints {
        let ours = endpoints["metadata"]["labels"][OURS] == US;
        if ours && !going(endpoints) && of(&seen.services, endpoints).is_none() {
            hand.delete(&ENDPOINTS, endpoints).await;
        }
    }
    if let Some(address) = hand.around.ingress {
        for ingress in &seen.ingresses {
            if !going(ingress) {
                let wanted =
                    json!({ "loadBalancer": { "ingress": [{ "ip": address.to_string() }] } });
                address_of(hand, ingress, &address.to_string(), wanted).await;
            }
        }
    }
}

/// Writes the address of an ingress, where it is not that already.
async fn address_of(hand: &Hand, ingress: &Value, address: &str, wanted: Value) {
    if text(ingress, "/status/loadBalancer/ingress/0/ip") != address {
        hand.status(&INGRESS, ingress, wanted).await;
    }
}

/// The object of the same name in the same namespace.
fn of<'s>(all: &'s [Value], other: &Value) -> Option<&'s Value> {
    let mut all = all.iter();
    all.find(|o| name(o) == name(other) && namespace(o) == namespace(other))
}

async fn tend(hand: &Hand, seen: &Seen, service: &Value) {
    let subsets = subsets(seen, service);
    match of(&seen.endpoints, service) {
        None => {
            let mut labels = service["metadata"]["labels"].clone();
            labels[OURS] = US.into();
            let body = json!({
                "metadata": { "name": name(service), "labels": labels },
                "subsets": subsets,
            });
            // Whatever speaks against it is looked at again.
            let _ = hand.create(&ENDPOINTS, namespace(service), body).await;
        }
        Some(found) if going(found) => {}
        Some(found) => {
            let held = found["subsets"].as_array();
            let held = held.map(Vec::as_slice).unwrap_or_default();
            let same = held.len() == subsets.len()
                && held
                    .iter()
                    .zip(&subsets)
                    .all(|(a, b)| canonical(a) == canonical(b));
            if !same {
                let body = json!({ "subsets": subsets });
                let path = ENDPOINTS.path(found);
                let _ = hand.write(Method::PATCH, &path, Body::Merge, &body).await;
            }
        }
    }
}

/// The addresses of a service, grouped by the ports that its pods have for it.
fn subsets(seen: &Seen, service: &Value) -> Vec<Value> {
    let selector = json!({ "matchLabels": service["spec"]["selector"] });
    let early = service["spec"]["publishNotReadyAddresses"] == true;
    let mut groups: BTreeMap<String, Group> = BTreeMap::new();
    for pod in &seen.pods {
        let meant = namespace(pod) == namespace(service)
            && active(pod)
            && selects(&selector, &pod["metadata"]["labels"]);
        let ip = text(pod, "/status/podIP");
        if !meant || ip.is_empty() {
            continue;
        }
        let ports = ports(service, pod);
        let group = groups.entry(canonical(&ports)).or_insert_with(|| Group {
            ports,
            ready: BTreeMap::new(),
            unready: BTreeMap::new(),
        });
        let side = match early || ready(pod) {
            true => &mut group.ready,
            false => &mut group.unready,
        };
        side.insert(name(pod).to_owned(), address(service, pod, ip));
    }
    groups.into_values().map(Group::subset).collect()
}

/// Addresses with the same ports.
struct Group {
    ports: Value,
    ready: BTreeMap<String, Value>,
    unready: BTreeMap<String, Value>,
}

impl Group {
    fn subset(self) -> Value {
        let mut all = Map::new();
        let sides = [
            ("addresses", self.ready),
            ("notReadyAddresses", self.unready),
        ];
        for (key, side) in sides {
            if !side.is_empty() {
                let side: Vec<Value> = side.into_values().collect();
                all.insert(key.to_owned(), side.into());
            }
        }
        if self.ports.as_array().is_some_and(|p| !p.is_empty()) {
            all.insert("ports".to_owned(), self.ports);
        }
        Value::Object(all)
    }
}

fn address(service: &Value, pod: &Value, ip: &str) -> Value {
    let mut all = json!({
        "ip": ip,
        "nodeName": pod["spec"]["nodeName"],
        "targetRef": {
            "kind": "Pod",
            "namespace": namespace(pod),
            "name": name(pod),
            "uid": uid(pod),
        },
    });
    let spec = &pod["spec"];
    if spec["hostname"].is_string() && spec["subdomain"] == name(service) {
        all["hostname"] = spec["hostname"].clone();
    }
    all
}

/// The ports of a service, as one pod has them.
fn ports(service: &Value, pod: &Value) -> Value {
    let all = service["spec"]["ports"].as_array();
    let all = all.into_iter().flatten();
    let found = all.filter_map(|port| {
        let number = match &port["targetPort"] {
            Value::Null => port["port"].as_i64(),
            Value::String(named) => match named.parse() {
                Ok(number) => Some(number),
                Err(_) => container_port(pod, named),
            },
            other => other.as_i64().filter(|n| *n != 0).or(port["port"].as_i64()),
        };
        let protocol = port["protocol"].as_str().unwrap_or("TCP");
        let number: i64 = number?;
        let mut one = json!({ "port": number, "protocol": protocol });
        for key in ["name", "appProtocol"] {
            if port[key].is_string() {
                one[key] = port[key].clone();
            }
        }
        Some(one)
    });
    Value::Array(found.collect())
}

fn container_port(pod: &Value, named: &str) -> Option<i64> {
    let containers = pod["spec"]["containers"].as_array()?;
    let ports = containers.iter().filter_map(|c| c["ports"].as_array());
    let port = ports.flatten().find(|p| p["name"] == named)?;
    port["containerPort"].as_i64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn named_ports() {
        let service = json!({ "spec": { "ports": [
            { "name": "web", "port": 80, "targetPort": "http" },
            { "name": "raw", "port": 81 },
            { "name": "none", "port": 82, "targetPort": "unknown" },
        ] } });
        let pod = json!({ "spec": { "containers": [
            { "name": "a" },
            { "name": "b", "ports": [{ "name": "http", "containerPort": 8080 }] },
        ] } });
        let wanted = json!([
            { "port": 8080, "protocol": "TCP", "name": "web" },
            { "port": 81, "protocol": "TCP", "name": "raw" },
        ]);
        assert_eq!(ports(&service, &pod), wanted);
    }
}
