//! Which volume a claim may have: the choice, without doing anything.

use super::objects::{annotation, going, name, namespace, selects, text, uid};
use serde_json::Value;
use std::collections::HashSet;

/// What a volume says of a claim.
#[derive(Debug, PartialEq)]
pub(super) enum Promise {
    /// It is nobody's.
    Free,
    /// It waits for a claim of that name, whichever it is.
    Awaits,
    /// It is this very claim's.
    Held,
    /// It is another claim's; one of the same name that is gone is another one.
    Other,
}

pub(super) fn promise(volume: &Value, claim: &Value) -> Promise {
    let held = &volume["spec"]["claimRef"];
    if !held.is_object() {
        return Promise::Free;
    }
    if text(held, "/namespace") != namespace(claim) || text(held, "/name") != name(claim) {
        return Promise::Other;
    }
    match text(held, "/uid") {
        "" => Promise::Awaits,
        own if own == uid(claim) => Promise::Held,
        _ => Promise::Other,
    }
}

/// The name of a claim's class; the default one where it names none.
pub(super) fn class_name<'s>(claim: &'s Value, classes: &'s [Value]) -> &'s str {
    if let Some(named) = claim["spec"]["storageClassName"].as_str() {
        return named;
    }
    let key = "storageclass.kubernetes.io/is-default-class";
    let usual = classes.iter().find(|c| annotation(c, key) == "true");
    usual.map(name).unwrap_or_default()
}

/// An amount of bytes: `10Gi`, `500M`, `1e9`, `1024`.
pub(super) fn quantity(text: &str) -> Option<f64> {
    let at = text.find(|c: char| c.is_ascii_alphabetic() && c != 'e');
    let (number, unit) = text.split_at(at.unwrap_or(text.len()));
    let number = number.trim().parse::<f64>().ok()?;
    let (kilo, power): (f64, i32) = match unit {
        "" => (1.0, 0),
        "m" => (0.001, 1),
        "k" => (1000.0, 1),
        "M" => (1000.0, 2),
        "G" => (1000.0, 3),
        "T" => (1000.0, 4),
        "P" => (1000.0, 5),
        "Ki" => (1024.0, 1),
        "Mi" => (1024.0, 2),
        "Gi" => (1024.0, 3),
        "Ti" => (1024.0, 4),
        "Pi" => (1024.0, 5),
        _ => return None,
    };
    Some(number * kilo.powi(power))
}

fn capacity(volume: &Value) -> f64 {
    quantity(text(volume, "/spec/capacity/storage")).unwrap_or(0.0)
}

fn wanted(claim: &Value) -> f64 {
    quantity(text(claim, "/spec/resources/requests/storage")).unwrap_or(0.0)
}

fn mode(object: &Value) -> &str {
    match text(object, "/spec/volumeMode") {
        "" => "Filesystem",
        other => other,
    }
}

fn modes(object: &Value) -> Vec<&Value> {
    let all = object["spec"]["accessModes"].as_array();
    all.into_iter().flatten().collect()
}

/// Why a claim cannot have the volume that it names.
pub(super) fn mismatch(volume: &Value, claim: &Value, class: &str) -> Option<&'static str> {
    let offered = modes(volume);
    if wanted(claim) > capacity(volume) {
        return Some("requested PV is too small");
    }
    if text(volume, "/spec/storageClassName") != class {
        return Some("storageClassName does not match");
    }
    if mode(volume) != mode(claim) {
        return Some("incompatible volumeMode");
    }
    let all = modes(claim).iter().all(|m| offered.contains(m));
    (!all).then_some("incompatible accessMode")
}

/// The volume for a claim that names none: one that waits for it; else, if any will do, the smallest.
pub(super) fn choose<'s>(
    volumes: &'s [Value],
    claim: &Value,
    class: &str,
    taken: &HashSet<String>,
    any: bool,
) -> Option<&'s Value> {
    let open: Vec<&'s Value> = volumes
        .iter()
        .filter(|v| !going(v) && !taken.contains(name(v)))
        .collect();
    let own = open.iter().copied().find(|v| {
        let promised = [Promise::Awaits, Promise::Held].contains(&promise(v, claim));
        // For a promised volume the class is not asked.
        let same = text(v, "/spec/storageClassName");
        promised && mismatch(v, claim, same).is_none()
    });
    if own.is_some() || !any {
        return own;
    }
    let selector = &claim["spec"]["selector"];
    let fits = |volume: &Value| {
        promise(volume, claim) == Promise::Free
            && mismatch(volume, claim, class).is_none()
            && (!selector.is_object() || selects(selector, &volume["metadata"]["labels"]))
    };
    let fitting = open.into_iter().filter(|v| fits(v));
    fitting.min_by(|a, b| capacity(a).total_cmp(&capacity(b)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn volume(named: &str, size: &str, held: Value) -> Value {
        json!({
            "metadata": { "name": named },
            "spec": {
                "capacity": { "storage": size },
                "accessModes": ["ReadWriteOnce"],
                "storageClassName": "managed-csi",
                "claimRef": held,
            },
        })
    }

    fn claim(size: &str) -> Value {
        json!({
            "metadata": { "name": "data", "namespace": "shop", "uid": "1" },
            "spec": {
                "accessModes": ["ReadWriteOnce"],
                "resources": { "requests": { "storage": size } },
            },
        })
    }

    fn chosen(all: &[Value], claim: &Value, class: &str) -> Option<String> {
        let found = choose(all, claim, class, &HashSet::new(), true);
        found.map(|v| name(v).to_owned())
    }

    #[test]
    fn quantities() {
        assert_eq!(quantity("1Ki"), Some(1024.0));
        assert_eq!(quantity("2G"), Some(2e9));
        assert_eq!(quantity("1e3"), Some(1000.0));
        assert_eq!(quantity("1.5Gi"), Some(1.5 * 1024.0 * 1024.0 * 1024.0));
        assert_eq!(quantity("many"), None);
    }

    #[test]
    fn the_smallest_that_fits() {
        let all = [
            volume("big", "100Gi", Value::Null),
            volume("right", "10Gi", Value::Null),
            volume("small", "1Gi", Value::Null),
        ];
        let right = Some("right".to_owned());
        assert_eq!(chosen(&all, &claim("8Gi"), "managed-csi"), right);
        assert_eq!(chosen(&all, &claim("8Gi"), "other"), None);
        assert_eq!(chosen(&all, &claim("1Ti"), "managed-csi"), None);
    }

    #[test]
    fn a_promised_one_first() {
        let own = json!({ "namespace": "shop", "name": "data" });
        let gone = json!({ "namespace": "shop", "name": "data", "uid": "0" });
        let all = [
            volume("free", "10Gi", Value::Null),
            volume("released", "10Gi", gone),
            volume("promised", "20Gi", own),
        ];
        assert_eq!(promise(&all[1], &claim("1Gi")), Promise::Other);
        let promised = Some("promised".to_owned());
        assert_eq!(chosen(&all, &claim("8Gi"), "other"), promised);
    }

    #[test]
    fn the_default_class() {
        let key = "storageclass.kubernetes.io/is-default-class";
        let class = json!({ "metadata": { "name": "usual", "annotations": { key: "true" } } });
        let classes = [class];
        assert_eq!(class_name(&claim("1Gi"), &classes), "usual");
        let none = json!({ "spec": { "storageClassName": "" } });
        assert_eq!(class_name(&none, &classes), "");
    }
}
