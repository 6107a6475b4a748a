//! A kubeconfig as the stand-in for `az` writes it: one context beside those that are there already.

use crate::{domain::yaml, private};
use serde_json::{Value, json};
use std::{io, path::Path};

pub(super) fn read(bytes: &[u8]) -> Result<Value, String> {
    let node = yaml::read(bytes).map_err(|f| {
        format!(
            "failed to parse the kubeconfig: line {}: {}",
            f.at.line, f.message
        )
    })?;
    Ok(node.to_json())
}

/// Gives the current context another name.
pub(super) fn renamed(config: &mut Value, context: &str) {
    let before = config["current-context"].clone();
    for one in config["contexts"].as_array_mut().into_iter().flatten() {
        if one["name"] == before {
            one["name"] = json!(context);
        }
    }
    config["current-context"] = json!(context);
}

/// Puts what is new beside what is there. Something else of the same name is replaced only with `overwrite`.
pub(super) fn merged(mut all: Value, new: &Value, overwrite: bool) -> Result<Value, String> {
    for list in ["clusters", "users", "contexts"] {
        let mut kept: Vec<Value> = all[list].as_array().cloned().unwrap_or_default();
        for one in new[list].as_array().into_iter().flatten() {
            let there = kept.iter().position(|k| k["name"] == one["name"]);
            match there {
                None => kept.push(one.clone()),
                Some(at) if kept[at] == *one || overwrite => kept[at] = one.clone(),
                Some(_) => {
                    let name = one["name"].as_str().unwrap_or_default();
                    return Err(format!(
                        "A different object named {name} already exists in {list} in your kubeconfig file."
                    ));
                }
            }
        }
        all[list] = Value::Array(kept);
    }
    all["current-context"] = new["current-context"].clone();
    Ok(all)
}

/// Writes it so that only its owner can read it. JSON is YAML, too.
pub(super) fn write(file: &Path, config: &Value) -> io::Result<()> {
    if let Some(parent) = file.parent().filter(|p| !p.as_os_str().is_empty()) {
        std::fs::create_dir_all(parent)?;
    }
    private::replace_lazily(file, format!("{config:#}\n").as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(server: &str) -> Value {
        let text = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: new\nclusters:\n- name: c\n  cluster: {{ server: \"{server}\" }}\nusers:\n- name: u\n  user: {{ token: t }}\ncontexts:\n- name: new\n  context: {{ cluster: c, user: u }}\n"
        );
        read(text.as_bytes()).expect("as written here")
    }

    #[test]
    fn another_object_of_the_same_name_is_not_replaced_silently() {
        let (old, new) = (config("https://a:443"), config("https://b:443"));
        let said = merged(old.clone(), &new, false).expect_err("a refusal");
        assert_eq!(
            said,
            "A different object named c already exists in clusters in your kubeconfig file."
        );
        assert_eq!(
            merged(old, &new, true).expect("as written here")["clusters"],
            new["clusters"]
        );
    }

    #[test]
    fn a_context_gets_the_name_that_was_asked_for() {
        let mut new = config("https://a:443");
        renamed(&mut new, "other");
        assert_eq!(new["contexts"][0]["name"], "other");
        assert_eq!(new["current-context"], "other");
    }
}
