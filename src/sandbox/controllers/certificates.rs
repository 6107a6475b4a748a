//! Certificates: what cert-manager would do of them, and the ones that ingresses ask for.

use super::{
    Seen,
    hand::Hand,
    objects::{
        CERTIFICATE, INGRESS, SECRET, annotation, conditions, going, name, namespace, owned_by,
        set, text, uid,
    },
};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

/// The names that the certificate in a secret is for.
const NAMES: &str = "cert-manager.io/alt-names";

pub(super) async fn reconcile(hand: &Hand, seen: &Seen) {
    let Some(certificates) = &seen.certificates else {
        return;
    };
    for ingress in &seen.ingresses {
        if !going(ingress) {
            ask(hand, certificates, ingress).await;
        }
    }
    for certificate in certificates {
        if !going(certificate) {
            tend(hand, certificate).await;
        }
    }
}

/// The issuer that an ingress names, and its kind.
fn issuer(ingress: &Value) -> Option<(&str, &'static str)> {
    let known = [
        ("cert-manager.io/cluster-issuer", "ClusterIssuer"),
        ("cert-manager.io/issuer", "Issuer"),
    ];
    known.into_iter().find_map(|(key, kind)| {
        let named = annotation(ingress, key);
        (!named.is_empty()).then_some((named, kind))
    })
}

/// Makes the certificates that an ingress wants by its annotation.
async fn ask(hand: &Hand, certificates: &[Value], ingress: &Value) {
    let Some((issuer, kind)) = issuer(ingress) else {
        return;
    };
    let all = ingress["spec"]["tls"].as_array();
    let all = all.map(Vec::as_slice).unwrap_or_default();
    for tls in all {
        let secret = text(tls, "/secretName");
        if secret.is_empty() || !tls["hosts"].is_array() {
            continue;
        }
        let mut held = certificates.iter();
        let held = held.find(|c| name(c) == secret && namespace(c) == namespace(ingress));
        match held {
            None => {
                let body = json!({
                    "metadata": {
                        "name": secret,
                        "ownerReferences": [INGRESS.owner_reference(ingress)],
                    },
                    "spec": {
                        "dnsNames": tls["hosts"],
                        "secretName": secret,
                        "issuerRef": { "name": issuer, "kind": kind, "group": "cert-manager.io" },
                        "usages": ["digital signature", "key encipherment"],
                    },
                });
                let made = hand.create(&CERTIFICATE, namespace(ingress), body).await;
                if made.is_ok() {
                    let said = format!("Successfully created Certificate \"{secret}\"");
                    hand.tell(&INGRESS, ingress, "CreateCertificate", &said)
                        .await;
                }
            }
            Some(held) if owned_by(held, uid(ingress)) && !going(held) => {
                if held["spec"]["dnsNames"] != tls["hosts"] {
                    let body = json!({ "spec": { "dnsNames": tls["hosts"] } });
                    hand.patch(&CERTIFICATE, held, &body).await;
                }
            }
            Some(_) => {}
        }
    }
}

/// The names that a certificate shall be for.
fn names(certificate: &Value) -> Vec<String> {
    let spec = &certificate["spec"];
    let common = spec["commonName"].as_str();
    let listed = spec["dnsNames"].as_array();
    let listed = listed.into_iter().flatten().filter_map(Value::as_str);
    let mut all: Vec<String> = Vec::new();
    for one in common.into_iter().chain(listed) {
        if !all.iter().any(|known| known == one) {
            all.push(one.to_owned());
        }
    }
    all
}

/// What speaks against the secret that is there: reason and message.
fn lacks(secret: Option<&Value>, wanted: &str) -> Option<(&'static str, &'static str)> {
    let Some(secret) = secret else {
        let said = "Issuing certificate as Secret does not exist";
        return Some(("DoesNotExist", said));
    };
    let held = |key: &str| secret["data"][key].as_str().is_some_and(|v| !v.is_empty());
    if !held("tls.crt") || !held("tls.key") {
        let said = "Issuing certificate as Secret does not contain a certificate and its key";
        return Some(("MissingData", said));
    }
    if annotation(secret, NAMES) != wanted {
        let said = "Issuing certificate as Existing issued Secret is not up to date for spec: [spec.dnsNames]";
        return Some(("SecretMismatch", said));
    }
    None
}

async fn tend(hand: &Hand, certificate: &Value) {
    let named = text(certificate, "/spec/secretName");
    let names = names(certificate);
    if named.is_empty() || names.is_empty() {
        return;
    }
    let within = namespace(certificate);
    let path = format!("{}/{named}", SECRET.collection(within));
    let Ok(secret) = hand.cluster().get(&path).await else {
        return;
    };
    if secret.as_ref().is_some_and(going) {
        return;
    }
    let joined = names.join(",");
    let Some((reason, said)) = lacks(secret.as_ref(), &joined) else {
        let said = "Certificate is up to date and has not expired";
        say(hand, certificate, "True", "Ready", said).await;
        return;
    };
    let Some((chain, key)) = (hand.around.sign)(&names) else {
        say(hand, certificate, "False", reason, said).await;
        return;
    };
    hand.tell(&CERTIFICATE, certificate, "Issuing", said).await;
    let issuer = &certificate["spec"]["issuerRef"];
    let body = json!({
        "metadata": {
            "name": named,
            "annotations": {
                NAMES: joined,
                "cert-manager.io/certificate-name": name(certificate),
                "cert-manager.io/common-name": names[0],
                "cert-manager.io/issuer-name": issuer["name"],
                "cert-manager.io/issuer-kind": issuer["kind"].as_str().unwrap_or("Issuer"),
            },
        },
        "type": "kubernetes.io/tls",
        "data": { "tls.crt": STANDARD.encode(chain), "tls.key": STANDARD.encode(key) },
    });
    let done = match &secret {
        None => hand.create(&SECRET, within, body).await.is_ok(),
        // The type of a secret cannot be changed.
        Some(held) => {
            let body = json!({
                "metadata": { "annotations": body["metadata"]["annotations"] },
                "data": body["data"],
            });
            hand.patch(&SECRET, held, &body).await
        }
    };
    if done {
        let said = "The certificate has been successfully issued";
        hand.tell(&CERTIFICATE, certificate, "Issuing", said).await;
        let said = "Certificate is up to date and has not expired";
        say(hand, certificate, "True", "Ready", said).await;
    }
}

async fn say(hand: &Hand, certificate: &Value, word: &str, reason: &str, said: &str) {
    let mut all = conditions(certificate);
    // Only with a change: where the status has no generation of its own, writing it makes a new one.
    if set(&mut all, "Ready", word, reason, said)
        && let Some(held) = all.iter_mut().find(|c| c["type"] == "Ready")
    {
        held["observedGeneration"] = certificate["metadata"]["generation"].clone();
    }
    let wanted = json!({ "conditions": all });
    hand.status(&CERTIFICATE, certificate, wanted).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_good_for_its_names_only() {
        let secret = json!({
            "metadata": { "annotations": { NAMES: "a.example,b.example" } },
            "data": { "tls.crt": "eA==", "tls.key": "eA==" },
        });
        assert_eq!(lacks(Some(&secret), "a.example,b.example"), None);
        assert!(lacks(Some(&secret), "a.example").is_some());
        assert_eq!(lacks(None, "a.example").map(|l| l.0), Some("DoesNotExist"));
    }

    #[test]
    fn names_once() {
        let spec = json!({ "spec": { "commonName": "a", "dnsNames": ["a", "b"] } });
        assert_eq!(names(&spec), ["a", "b"]);
    }
}
