//! Small helpers for JSON trees that come from anybody: nothing here fails on a shape that is not expected.

use base64::{
    Engine,
    alphabet::STANDARD,
    engine::{GeneralPurpose, general_purpose::PAD},
};
use serde_json::{Map, Value};

/// The value as a mapping; what is none becomes an empty one.
pub(super) fn map(value: &mut Value) -> &mut Map<String, Value> {
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    value.as_object_mut().expect("it was just made a mapping")
}

/// The value at a path; mappings on the way are made.
pub(super) fn at<'v>(value: &'v mut Value, path: &[&str]) -> &'v mut Value {
    let mut now = value;
    for key in path {
        now = map(now).entry(*key).or_insert(Value::Null);
    }
    now
}

/// Sets a key that is absent or null.
pub(super) fn absent(value: &mut Value, key: &str, default: Value) {
    let held = map(value).entry(key).or_insert(Value::Null);
    if held.is_null() {
        *held = default;
    }
}

/// The list at a JSON pointer; an empty one where there is none.
pub(super) fn list<'v>(value: &'v Value, pointer: &str) -> &'v [Value] {
    let found = value.pointer(pointer).and_then(Value::as_array);
    found.map(Vec::as_slice).unwrap_or_default()
}

/// The text at a JSON pointer; an empty one where there is none.
pub(super) fn text<'v>(value: &'v Value, pointer: &str) -> &'v str {
    let found = value.pointer(pointer).and_then(Value::as_str);
    found.unwrap_or_default()
}

/// Takes a key away; says what it held.
pub(super) fn take(value: &mut Value, key: &str) -> Option<Value> {
    value.as_object_mut()?.shift_remove(key)
}

/// Takes away every null, as a typed server that decodes an object does.
pub(super) fn without_nulls(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, inner| !inner.is_null());
            map.values_mut().for_each(without_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(without_nulls),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Now, in the words of the API.
pub(super) fn now() -> String {
    crate::clock::now().to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
}

/// Bytes that nobody can guess.
fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    // Without a source of randomness the clock has to do.
    if getrandom::fill(&mut bytes).is_err() {
        let nanos = crate::clock::boot_ms().to_le_bytes();
        bytes
            .iter_mut()
            .zip(nanos.iter().cycle())
            .for_each(|(b, n)| *b = *n);
    }
    bytes
}

/// A new UUID of the fourth version.
pub(super) fn uid() -> String {
    let mut b = random::<16>();
    b[6] = (b[6] & 0x0f) | 0x40;
    b[8] = (b[8] & 0x3f) | 0x80;
    let hex: String = b.iter().map(|b| format!("{b:02x}")).collect();
    format!(
        "{}-{}-{}-{}-{}",
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..]
    )
}

/// Five letters for a generated name.
pub(super) fn suffix() -> String {
    const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    let letter = |b: &u8| char::from(LETTERS[usize::from(*b) % LETTERS.len()]);
    random::<5>().iter().map(letter).collect()
}

/// A part of a path or a query without its percent signs.
pub(super) fn decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut i = 0;
    while i < bytes.len() {
        let hex = text
            .get(i + 1..i + 3)
            .and_then(|h| u8::from_str_radix(h, 16).ok());
        match (bytes[i], hex) {
            (b'%', Some(byte)) => {
                out.push(byte);
                i += 3;
            }
            (byte, _) => {
                out.push(byte);
                i += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}
/// The bytes of a base64 text, as lenient as the decoder of a real server: the ends of lines do not count.
pub(super) fn from_base64(text: &str) -> Option<Vec<u8>> {
    let lenient = GeneralPurpose::new(&STANDARD, PAD.with_decode_allow_trailing_bits(true));
    lenient.decode(text.replace(['\n', '\r'], "")).ok()
}
