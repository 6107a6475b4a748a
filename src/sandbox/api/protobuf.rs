//! Bodies in the binary form that kubectl has for the kinds that it makes from its own arguments: config
//! maps, secrets, namespaces, service accounts, and the question what one may do. Everything else comes as JSON.

use base64::Engine;
use serde_json::{Map, Value, json};

const MAGIC: &[u8] = b"k8s\0";

/// A field: its number, and its bytes; numbers themselves are of no interest here.
type Field<'a> = (u64, &'a [u8]);

/// Is this such a body?
pub(super) fn is_one(body: &[u8]) -> bool {
    body.starts_with(MAGIC)
}

/// The object in it; `None` for another kind, or a body that is damaged.
pub(super) fn read(body: &[u8]) -> Option<Value> {
    let envelope = fields(body.strip_prefix(MAGIC)?)?;
    let kind = fields(bytes(&envelope, 1).unwrap_or_default())?;
    let (version, kind) = (text(&kind, 1)?, text(&kind, 2)?);
    let raw = fields(bytes(&envelope, 2).unwrap_or_default())?;
    let mut object = json!({ "apiVersion": version, "kind": kind });
    object["metadata"] = metadata(bytes(&raw, 1).unwrap_or_default())?;
    match kind.as_str() {
        "Namespace" | "ServiceAccount" => {}
        "ConfigMap" => object["data"] = Value::Object(pairs(&raw, 2, plain)?),
        "Secret" => {
            object["data"] = Value::Object(pairs(&raw, 2, encoded)?);
            if let Some(kind) = text(&raw, 3).filter(|t| !t.is_empty()) {
                object["type"] = kind.into();
            }
            let given = pairs(&raw, 4, plain)?;
            if !given.is_empty() {
                object["stringData"] = Value::Object(given);
            }
        }
        "SelfSubjectAccessReview" => {
            object["spec"] = asked(bytes(&raw, 2).unwrap_or_default())?;
        }
        _ => return None,
    }
    Some(object)
}

/// What somebody wants to know whether they may do it.
fn asked(body: &[u8]) -> Option<Value> {
    let spec = fields(body)?;
    let mut out = json!({});
    let of_resources = [
        "namespace",
        "verb",
        "group",
        "version",
        "resource",
        "subresource",
        "name",
    ];
    for (number, key, names) in [
        (1, "resourceAttributes", &of_resources[..]),
        (2, "nonResourceAttributes", &["path", "verb"][..]),
    ] {
        let Some(held) = bytes(&spec, number) else {
            continue;
        };
        let held = fields(held)?;
        for (number, name) in (1..).zip(names) {
            if let Some(value) = text(&held, number).filter(|t| !t.is_empty()) {
                out[key][*name] = value.into();
            }
        }
    }
    Some(out)
}

fn metadata(body: &[u8]) -> Option<Value> {
    let raw = fields(body)?;
    let mut out = json!({});
    for (number, name) in [(1, "name"), (2, "generateName"), (3, "namespace")] {
        if let Some(value) = text(&raw, number).filter(|t| !t.is_empty()) {
            out[name] = value.into();
        }
    }
    for (number, name) in [(11, "labels"), (12, "annotations")] {
        let all = pairs(&raw, number, plain)?;
        if !all.is_empty() {
            out[name] = Value::Object(all);
        }
    }
    Some(out)
}

fn plain(bytes: &[u8]) -> Option<Value> {
    Some(Value::from(std::str::from_utf8(bytes).ok()?))
}

fn encoded(bytes: &[u8]) -> Option<Value> {
    Some(
        base64::engine::general_purpose::STANDARD
            .encode(bytes)
            .into(),
    )
}

/// The entries of a mapping: each is a message with a key and a value.
fn pairs(
    raw: &[Field<'_>],
    number: u64,
    value: fn(&[u8]) -> Option<Value>,
) -> Option<Map<String, Value>> {
    let mut out = Map::new();
    for (_, entry) in raw.iter().filter(|(n, _)| *n == number) {
        let entry = fields(entry)?;
        let held = value(bytes(&entry, 2).unwrap_or_default())?;
        out.insert(text(&entry, 1).unwrap_or_default(), held);
    }
    Some(out)
}

fn bytes<'a>(raw: &[Field<'a>], number: u64) -> Option<&'a [u8]> {
    raw.iter().find(|(n, _)| *n == number).map(|(_, b)| *b)
}

fn text(raw: &[Field<'_>], number: u64) -> Option<String> {
    String::from_utf8(bytes(raw, number)?.to_vec()).ok()
}

/// Takes a message apart.
fn fields(mut from: &[u8]) -> Option<Vec<Field<'_>>> {
    let mut out = Vec::new();
    while !from.is_empty() {
        let key = varint(&mut from)?;
        let size = match key & 7 {
            0 => {
                varint(&mut from)?;
                0
            }
            1 => 8,
            2 => usize::try_from(varint(&mut from)?).ok()?,
            5 => 4,
            _ => return None,
        };
        let (held, rest) = from.split_at_checked(size)?;
        from = rest;
        if key & 7 == 2 {
            out.push((key >> 3, held));
        }
    }
    Some(out)
}

fn varint(from: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (first, rest) = from.split_first()?;
        *from = rest;
        value |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(number: u8, held: &[u8]) -> Vec<u8> {
        let size = u8::try_from(held.len()).expect("short here");
        [&[number << 3 | 2, size], held].concat()
    }

    fn enveloped(kind: &str, raw: &[u8]) -> Vec<u8> {
        let kind = [field(1, b"v1"), field(2, kind.as_bytes())].concat();
        [MAGIC.to_vec(), field(1, &kind), field(2, raw)].concat()
    }

    #[test]
    fn a_secret_is_read_with_its_bytes() {
        let meta = field(1, &[field(1, b"key"), field(3, b"ampora")].concat());
        let data = field(2, &[field(1, b"master"), field(2, &[0xff, 0])].concat());
        let body = enveloped("Secret", &[meta, data, field(3, b"Opaque")].concat());
        let wanted = json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "key", "namespace": "ampora" },
            "data": { "master": "/wA=" }, "type": "Opaque" });
        assert_eq!(read(&body), Some(wanted));
    }

    #[test]
    fn a_body_that_is_cut_or_of_another_kind_is_none() {
        assert_eq!(read(&enveloped("Pod", b"")), None);
        let whole = enveloped("ConfigMap", &field(1, &field(1, b"a")));
        assert!(read(&whole).is_some());
        for end in 4..whole.len() - 1 {
            let _ = read(&whole[..end]);
        }
        assert_eq!(read(&whole[..whole.len() - 1]), None);
    }
}
