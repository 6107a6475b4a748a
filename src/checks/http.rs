//! The hands of an HTTP check: a GET, its status, and what stands in its JSON.

use super::{Seen, Trouble};
use crate::{
    domain::{
        expect::{Comparison, Expect},
        runbook::{System, kinds::http::Words},
    },
    systems::http::{get, trouble},
};
use serde_json::Value;
use std::time::Duration;

/// More of an answer than this is not read.
const LONGEST: usize = 4 << 20;

pub(super) async fn look(
    words: &Words,
    system: &System,
    timeout: Duration,
) -> Result<Seen, Trouble> {
    let mut response = get(system, &words.get, timeout).await?;
    let status = response.status();
    let wanted = words
        .status
        .as_deref()
        .and_then(|s| s.trim().parse::<u16>().ok());
    let right = match wanted {
        Some(code) => status.as_u16() == code,
        None => status.is_success(),
    };
    if !right {
        let seen = format!("status {status}");
        if matches!(status.as_u16(), 401 | 403 | 407) {
            return Err(Trouble::cannot_tell(
                seen,
                "the server refused our credentials: see `bearer:` and `headers:`",
            ));
        }
        // What is asked of a good answer often stands in a bad one, too, and says what is wrong.
        let said = match words.json.is_empty() {
            true => None,
            false => whole(&mut response).await.ok(),
        };
        let said = said.and_then(|body| serde_json::from_slice::<Value>(&body).ok());
        return Err(Trouble::Down(match said {
            Some(json) => format!("{seen}; {}", shown(words, &json).0),
            None => seen,
        }));
    }
    let body = whole(&mut response).await?;
    if words.json.is_empty() {
        let text = String::from_utf8_lossy(&body).into_owned();
        return Ok(Seen::text(text).or_shown(format!("status {status}")));
    }
    let json: Value = serde_json::from_slice(&body)
        .map_err(|_| Trouble::Down(format!("status {status}, but the answer is not JSON")))?;
    Ok(judge(words, &json))
}

/// The body, as long as it may be.
async fn whole(response: &mut reqwest::Response) -> Result<Vec<u8>, Trouble> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|e| trouble(&e))? {
        body.extend_from_slice(&chunk);
        if body.len() > LONGEST {
            return Err(Trouble::Down(format!(
                "the answer is longer than {LONGEST} bytes"
            )));
        }
    }
    Ok(body)
}

fn judge(words: &Words, json: &Value) -> Seen {
    let (text, holds) = shown(words, json);
    Seen::judged(text, holds)
}

/// What is at the pointers, and whether all of it is as wanted.
fn shown(words: &Words, json: &Value) -> (String, bool) {
    let mut holds = true;
    let mut shown = Vec::new();
    for (pointer, expected) in &words.json {
        let found = at(json, &pointer.text);
        let expect = Expect::parse(expected).ok();
        let good = !found.is_empty()
            && expect.is_some_and(|e| found.iter().all(|v| e.judge(&text(v)) == Comparison::Holds));
        holds &= good;
        let values: Vec<String> = found.iter().map(|v| text(v)).collect();
        shown.push(match values.len() {
            0 => format!("{pointer} is missing"),
            _ => format!("{pointer} {}", values.join(", ")),
        });
    }
    (shown.join("; "), holds)
}

/// The values at a pointer in which `*` means every element.
fn at<'v>(json: &'v Value, pointer: &str) -> Vec<&'v Value> {
    let mut here = vec![json];
    for part in pointer.split('/').skip(1) {
        let key = part.replace("~1", "/").replace("~0", "~");
        here = here
            .into_iter()
            .flat_map(|value| -> Vec<&Value> {
                match value {
                    Value::Array(items) if part == "*" => items.iter().collect(),
                    Value::Object(map) if part == "*" => map.values().collect(),
                    Value::Array(items) => key
                        .parse::<usize>()
                        .ok()
                        .and_then(|i| items.get(i))
                        .into_iter()
                        .collect(),
                    Value::Object(map) => map.get(&key).into_iter().collect(),
                    Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
                        Vec::new()
                    }
                }
            })
            .collect();
    }
    here
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::runbook::Name;

    #[test]
    fn a_star_means_every_element_and_nothing_is_no_success() {
        let json = serde_json::json!({"agents": [{"ok": true}, {"ok": false}], "none": []});
        let words = |pointer: &str| Words {
            system: Name::new("api"),
            get: "/".into(),
            status: None,
            json: vec![(Name::new(pointer), "true".into())],
        };
        assert_eq!(judge(&words("/agents/0/ok"), &json).holds, Some(true));
        assert_eq!(judge(&words("/agents/*/ok"), &json).holds, Some(false));
        assert_eq!(judge(&words("/none/*/ok"), &json).holds, Some(false));
    }
}
