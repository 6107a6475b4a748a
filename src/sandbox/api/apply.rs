//! Server-side apply, and the notes on which manager owns which field.

use super::{
    fields::{self, Set},
    tree::{self, at, map},
};
use serde_json::{Map, Value, json};

/// Who writes, and how.
#[derive(Debug, Clone)]
pub(super) struct Manager {
    pub name: String,
    pub api_version: String,
    pub subresource: Option<String>,
}

/// Fields that another manager owns and that would change.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Conflict {
    /// `"kubectl" using apps/v1`.
    pub manager: String,
    pub fields: Vec<String>,
}

/// The words in which a real server tells of conflicts.
pub(super) fn told(conflicts: &[Conflict]) -> String {
    let count: usize = conflicts.iter().map(|c| c.fields.len()).sum();
    if let ([one], 1) = (conflicts, count) {
        let fields = one.fields.join("");
        return format!(
            "Apply failed with 1 conflict: conflict with {}: {fields}",
            one.manager
        );
    }
    let mut lines = Vec::new();
    for conflict in conflicts {
        lines.push(format!("conflicts with {}:", conflict.manager));
        lines.extend(conflict.fields.iter().map(|f| format!("- {f}")));
    }
    format!("Apply failed with {count} conflicts: {}", lines.join("\n"))
}

/// Fields that belong to the server and have no manager.
const OWN: [&str; 11] = [
    "name",
    "generateName",
    "namespace",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "selfLink",
    "managedFields",
];

/// The part of an object whose fields have managers when a subresource, or the object itself, is written.
fn managed(object: &Value, subresource: Option<&str>) -> Value {
    let mut out = object.clone();
    let all = map(&mut out);
    all.retain(|key, _| match subresource {
        Some("status") => key == "status",
        Some(_) => key != "status",
        None => true,
    });
    all.shift_remove("apiVersion");
    all.shift_remove("kind");
    if let Some(Value::Object(meta)) = all.get_mut("metadata") {
        meta.retain(|key, _| !OWN.contains(&key.as_str()));
        if meta.is_empty() {
            all.shift_remove("metadata");
        }
    }
    out
}

fn entries(object: Option<&Value>) -> Vec<Value> {
    let held = object.and_then(|o| o["metadata"]["managedFields"].as_array());
    held.cloned().unwrap_or_default()
}

fn set_of(entry: &Value) -> Set {
    entry["fieldsV1"].as_object().cloned().unwrap_or_default()
}

impl Manager {
    fn is(&self, entry: &Value, operation: &str) -> bool {
        entry["manager"] == self.name.as_str()
            && entry["operation"] == operation
            && entry["subresource"].as_str() == self.subresource.as_deref()
    }

    fn entry(&self, operation: &str, set: Set) -> Value {
        let mut entry = json!({
            "manager": self.name,
            "operation": operation,
            "apiVersion": self.api_version,
            "time": tree::now(),
            "fieldsType": "FieldsV1",
            "fieldsV1": set,
        });
        if let Some(subresource) = &self.subresource {
            entry["subresource"] = json!(subresource);
        }
        entry
    }

    /// Puts a configuration over what is there. Fields of others that would change are conflicts, unless
    /// they are taken by force; fields that were applied before and now are not, and that nobody else owns,
    /// go away.
    pub(super) fn apply(
        &self,
        live: Option<&Value>,
        config: &Value,
        force: bool,
    ) -> Result<Value, Vec<Conflict>> {
        let part = managed(config, self.subresource.as_deref());
        let own = fields::all_of("", &part);
        let mut all = entries(live);
        let was = all
            .iter()
            .position(|e| self.is(e, "Apply"))
            .map(|at| all.remove(at));
        let nothing = Value::Null;
        let there = live.unwrap_or(&nothing);
        let mut conflicts = Vec::new();
        let mut taken = Map::new();
        for entry in &all {
            let theirs = set_of(entry);
            let (set, paths) = fields::disputed("", (&own, &part), (&theirs, there), "");
            if !paths.is_empty() {
                conflicts.push(Conflict {
                    manager: called(entry),
                    fields: paths,
                });
                fields::join(&mut taken, &set);
            }
        }
        if !conflicts.is_empty() && !force {
            return Err(conflicts);
        }
        disown(&mut all, &taken);
        let mut out = match live {
            Some(live) => live.clone(),
            None => json!({ "metadata": config["metadata"] }),
        };
        fields::merge("", &mut out, &part);
        if let Some(was) = &was {
            let mut gone = set_of(was);
            let mut kept = own.clone();
            all.iter()
                .for_each(|entry| fields::join(&mut kept, &set_of(entry)));
            fields::without(&mut gone, &kept);
            fields::strip("", &mut out, &gone, &kept);
        }
        let mut entry = self.entry("Apply", own);
        if let Some(was) = was.filter(|was| was["fieldsV1"] == entry["fieldsV1"]) {
            entry["time"] = was["time"].clone();
        }
        all.push(entry);
        *at(&mut out, &["metadata", "managedFields"]) = Value::Array(all);
        Ok(out)
    }

    /// Notes what an update or a patch changed.
    pub(super) fn note(&self, before: Option<&Value>, now: &mut Value) {
        let subresource = self.subresource.as_deref();
        let old = before.map(|b| managed(b, subresource));
        let new = managed(now, subresource);
        let mut all = entries(before);
        if let Some(set) = fields::changed("", old.as_ref(), &new).filter(|s| !s.is_empty()) {
            let was = all
                .iter()
                .position(|e| self.is(e, "Update"))
                .map(|at| all.remove(at));
            disown(&mut all, &set);
            let mut own = was.as_ref().map(set_of).unwrap_or_default();
            fields::join(&mut own, &set);
            all.push(self.entry("Update", own));
        }
        *at(now, &["metadata", "managedFields"]) = Value::Array(all);
        settle(now);
    }
}

/// Of each manager only the fields that are there; managers without any go.
pub(super) fn settle(object: &mut Value) {
    let mut all = entries(Some(&*object));
    for entry in &mut all {
        fields::only_of(map(&mut entry["fieldsV1"]), "", object);
    }
    all.retain(|entry| {
        entry["fieldsV1"]
            .as_object()
            .is_some_and(|set| !set.is_empty())
    });
    match all.is_empty() {
        true => {
            map(at(object, &["metadata"])).shift_remove("managedFields");
        }
        false => *at(object, &["metadata", "managedFields"]) = Value::Array(all),
    }
}

fn disown(all: &mut Vec<Value>, taken: &Set) {
    for entry in all.iter_mut() {
        fields::without(map(&mut entry["fieldsV1"]), taken);
    }
    all.retain(|entry| {
        entry["fieldsV1"]
            .as_object()
            .is_some_and(|set| !set.is_empty())
    });
}

fn called(entry: &Value) -> String {
    let mut said = entry["manager"].to_string();
    if entry["subresource"].is_string() {
        said.push_str(&format!(" with subresource {}", entry["subresource"]));
    }
    if entry["operation"] == "Update" {
        let version = entry["apiVersion"].as_str().unwrap_or_default();
        said.push_str(&format!(" using {version}"));
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manager(name: &str) -> Manager {
        Manager {
            name: name.into(),
            api_version: "apps/v1".into(),
            subresource: None,
        }
    }

    fn config(replicas: i64, image: &str) -> Value {
        json!({
            "metadata": { "name": "x", "labels": { "app": "x" } },
            "spec": { "replicas": replicas, "template": { "spec": { "containers": [{ "name": "c", "image": image }] } } },
        })
    }

    #[test]
    fn what_is_applied_is_noted_field_by_field() {
        let out = manager("a")
            .apply(None, &config(1, "i"), false)
            .expect("new");
        assert_eq!(
            out["metadata"]["managedFields"][0]["fieldsV1"].to_string(),
            r#"{"f:metadata":{"f:labels":{"f:app":{}}},"f:spec":{"f:replicas":{},"f:template":{"f:spec":{"f:containers":{"k:{\"name\":\"c\"}":{"f:name":{},"f:image":{},".":{}}}}}}}"#
        );
    }

    #[test]
    fn fields_of_another_are_conflicts_until_they_are_taken() {
        let live = manager("a")
            .apply(None, &config(1, "i"), false)
            .expect("new");
        let mut scaled = live.clone();
        scaled["spec"]["replicas"] = json!(3);
        manager("kubectl").note(Some(&live), &mut scaled);
        let conflicts = manager("a")
            .apply(Some(&scaled), &config(1, "i"), false)
            .expect_err("owned");
        assert_eq!(
            told(&conflicts),
            "Apply failed with 1 conflict: conflict with \"kubectl\" using apps/v1: .spec.replicas"
        );
        let out = manager("a")
            .apply(Some(&scaled), &config(1, "i"), true)
            .expect("by force");
        assert_eq!(out["spec"]["replicas"], 1);
        assert_eq!(
            out["metadata"]["managedFields"].as_array().map(Vec::len),
            Some(1)
        );
    }

    #[test]
    fn what_is_not_applied_any_more_goes() {
        let live = manager("a")
            .apply(None, &config(1, "i"), false)
            .expect("new");
        let mut less = config(1, "i");
        less["spec"] = json!({ "template": less["spec"]["template"] });
        let out = manager("a")
            .apply(Some(&live), &less, false)
            .expect("applies");
        assert!(out["spec"].get("replicas").is_none(), "{out}");
        assert_eq!(out["metadata"]["labels"]["app"], "x");
    }

    #[test]
    fn a_container_of_another_manager_stays() {
        let live = manager("a")
            .apply(None, &config(1, "i"), false)
            .expect("new");
        let side = json!({ "spec": { "template": { "spec": { "containers": [{ "name": "side", "image": "s" }] } } } });
        let both = manager("b")
            .apply(Some(&live), &side, false)
            .expect("applies");
        let containers = &both["spec"]["template"]["spec"]["containers"];
        assert_eq!(containers.as_array().map(Vec::len), Some(2));
        let none = json!({ "metadata": { "labels": { "b": "b" } } });
        let out = manager("b")
            .apply(Some(&both), &none, false)
            .expect("applies");
        let containers = &out["spec"]["template"]["spec"]["containers"];
        assert_eq!(containers.to_string(), r#"[{"name":"c","image":"i"}]"#);
    }

    #[test]
    fn applying_the_same_again_changes_nothing() {
        let live = manager("a")
            .apply(None, &config(1, "i"), false)
            .expect("new");
        let again = manager("a")
            .apply(Some(&live), &config(1, "i"), false)
            .expect("applies");
        assert_eq!(live, again);
    }
}
