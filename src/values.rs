//! Values on their way to the edge: the real text for what runs, its masked twin for what is shown.

use crate::domain::{
    runbook::{Check, System},
    template,
};
use indexmap::IndexMap;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// Plain values and secrets by name. Serialized only into the pipe of an attempt, never into a file.
#[derive(Clone, Default, Serialize, Deserialize)]
pub struct Values {
    pub plain: IndexMap<String, String>,
    pub secrets: IndexMap<String, String>,
}

/// A value that a text needs and nobody has given.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` has no value")]
pub struct Missing(pub String);

impl Values {
    /// The real text: for the edge only.
    pub fn fill(&self, text: &str) -> Result<String, Missing> {
        template::fill(text, |name| {
            self.plain
                .get(name)
                .or_else(|| self.secrets.get(name))
                .cloned()
        })
        .map_err(|name| Missing(name.to_owned()))
    }

    /// The masked twin: for everything that people see. A missing value shows as its name.
    pub fn masked(&self, text: &str) -> String {
        template::fill(text, |name| {
            Some(
                match (self.plain.get(name), self.secrets.contains_key(name)) {
                    (Some(value), _) => value.clone(),
                    (None, true) => format!("[masked:{name}]"),
                    (None, false) => format!("${{{name}}}"),
                },
            )
        })
        .unwrap_or_else(|_| text.to_owned())
    }

    pub fn check(&self, check: &Check) -> Result<Check, Missing> {
        let at = check.at;
        let mut filled = rewrite(check, &mut |text| self.fill(text))?;
        filled.at = at;
        Ok(filled)
    }

    /// The same check as people see it.
    pub fn masked_check(&self, check: &Check) -> Check {
        rewrite(check, &mut |text| Ok(self.masked(text))).unwrap_or_else(|_: Missing| check.clone())
    }

    /// Every text of a value, filled in.
    pub fn json(&self, value: &serde_json::Value) -> Result<serde_json::Value, Missing> {
        use serde_json::Value as Json;
        Ok(match value {
            Json::String(text) => Json::String(self.fill(text)?),
            Json::Array(items) => {
                let items: Result<Vec<Json>, Missing> =
                    items.iter().map(|item| self.json(item)).collect();
                Json::Array(items?)
            }
            Json::Object(map) => {
                let mut out = serde_json::Map::new();
                for (key, value) in map {
                    out.insert(key.clone(), self.json(value)?);
                }
                Json::Object(out)
            }
            Json::Null | Json::Bool(_) | Json::Number(_) => value.clone(),
        })
    }

    /// The same as people see it.
    pub fn masked_json(&self, value: &serde_json::Value) -> serde_json::Value {
        let mut shown = value.clone();
        let masked = walk(&mut shown, &mut |text| Ok(self.masked(text)));
        masked.map_or_else(|_: Missing| value.clone(), |()| shown)
    }

    /// The same as people see it.
    pub fn masked_system(&self, system: &System) -> System {
        rewrite(system, &mut |text| Ok(self.masked(text)))
            .unwrap_or_else(|_: Missing| system.clone())
    }

    /// A cluster that took the place of another one has the kubeconfig that was written for it.
    pub fn system(&self, system: &System) -> Result<System, Missing> {
        let mut filled = rewrite(system, &mut |text| self.fill(text))?;
        let name = &system.name.text;
        for (key, value) in [
            ("kubeconfig", kubeconfig_of(name)),
            ("context", context_of(name)),
        ] {
            if let Some(value) = self.plain.get(&value) {
                filled.fields.insert(key.to_owned(), value.clone());
            }
        }
        Ok(filled)
    }
}

/// The value that holds a replaced cluster's kubeconfig. No variable can be called so.
pub fn kubeconfig_of(system: &str) -> String {
    format!("kubeconfig@{system}")
}

/// The value that holds its context.
pub fn context_of(system: &str) -> String {
    format!("context@{system}")
}

/// Every text of a value rewritten, scripts and queries left as they are: they get values by the
/// environment and by parameters.
fn rewrite<T: Serialize + DeserializeOwned + Clone>(
    value: &T,
    change: &mut dyn FnMut(&str) -> Result<String, Missing>,
) -> Result<T, Missing> {
    let mut json = serde_json::to_value(value).expect("words of a runbook are plain data");
    walk(&mut json, change)?;
    Ok(serde_json::from_value(json).expect("the shape is unchanged"))
}

fn walk(
    json: &mut serde_json::Value,
    change: &mut dyn FnMut(&str) -> Result<String, Missing>,
) -> Result<(), Missing> {
    use serde_json::Value as Json;
    match json {
        Json::String(text) => {
            if text.contains("${") {
                *text = change(text)?;
            }
        }
        Json::Array(items) => {
            for item in items {
                walk(item, change)?;
            }
        }
        Json::Object(map) => {
            for (key, value) in map {
                if key != "text" && key != "query" {
                    walk(value, change)?;
                }
            }
        }
        Json::Null | Json::Bool(_) | Json::Number(_) => {}
    }
    Ok(())
}
