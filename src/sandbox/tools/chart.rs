//! A chart, rendered as far as the charts of the drills go: values by their path, what is known of the release
//! and of the chart, and a few functions.

use crate::domain::yaml;
use regex::{Captures, Regex};
use serde_json::{Map, Value, json};
use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// In this order objects are made: what others need comes first.
const ORDER: &[&str] = &[
    "Namespace",
    "NetworkPolicy",
    "ResourceQuota",
    "ServiceAccount",
    "Secret",
    "ConfigMap",
    "StorageClass",
    "PersistentVolume",
    "PersistentVolumeClaim",
    "Role",
    "RoleBinding",
    "Service",
    "DaemonSet",
    "Pod",
    "ReplicaSet",
    "Deployment",
    "StatefulSet",
    "Job",
    "CronJob",
    "Ingress",
];

/// A chart in a folder.
pub(super) struct Chart {
    folder: PathBuf,
    pub metadata: Value,
}

/// What templates may ask of the release.
pub(super) struct Release<'a> {
    pub name: &'a str,
    pub namespace: &'a str,
    pub revision: u64,
}

/// A template, rendered.
pub(super) struct Rendered {
    /// `chart/templates/file.yaml`.
    pub source: String,
    pub text: String,
    pub objects: Vec<Value>,
}

fn opened(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|e| match e.kind() {
        io::ErrorKind::NotFound => format!("open {}: no such file or directory", path.display()),
        io::ErrorKind::PermissionDenied => format!("open {}: permission denied", path.display()),
        _ => format!("open {}: {e}", path.display()),
    })
}

fn parsed(text: &str) -> Result<Value, String> {
    // JSON is YAML, and templates that are nothing else are read sooner so.
    if let Ok(value) = serde_json::from_str(text) {
        return Ok(value);
    }
    let node = yaml::read(text.as_bytes()).map_err(|f| {
        format!(
            "error converting YAML to JSON: yaml: line {}: {}",
            f.at.line, f.message
        )
    })?;
    Ok(node.to_json())
}

impl Chart {
    pub(super) fn load(path: &str) -> Result<Self, String> {
        let folder = PathBuf::from(path);
        if !folder.exists() {
            return Err(format!("path \"{path}\" not found"));
        }
        if !folder.join("Chart.yaml").is_file() {
            return Err("Chart.yaml file is missing".to_owned());
        }
        let metadata = parsed(&opened(&folder.join("Chart.yaml"))?)?;
        match metadata["name"].is_string() {
            true => Ok(Self { folder, metadata }),
            false => Err("validation: chart.metadata.name is required".to_owned()),
        }
    }

    pub(super) fn name(&self) -> &str {
        self.metadata["name"].as_str().unwrap_or_default()
    }

    /// Its own values, and those of files over them.
    pub(super) fn values(&self, files: &[String]) -> Result<Value, String> {
        let own = self.folder.join("values.yaml");
        let mut all = match own.is_file() {
            true => parsed(&opened(&own)?)?,
            false => json!({}),
        };
        for file in files {
            let given = parsed(&opened(Path::new(file))?)
                .map_err(|e| format!("failed to parse {file}: {e}"))?;
            laid_over(&mut all, given);
        }
        Ok(all)
    }

    /// Every template in the order of its name; the objects of all are put into their order by `objects`.
    pub(super) fn rendered(
        &self,
        values: &Value,
        release: &Release<'_>,
    ) -> Result<Vec<Rendered>, String> {
        let folder = self.folder.join("templates");
        let mut files: Vec<PathBuf> = fs::read_dir(&folder)
            .map(|all| all.flatten().map(|e| e.path()).collect())
            .unwrap_or_default();
        files.retain(|f| f.extension().is_some_and(|e| e == "yaml" || e == "yml"));
        files.sort();
        let mut out = Vec::new();
        for file in files {
            let name = file
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            let source = format!("{}/templates/{name}", self.name());
            let known = json!({ "Values": values, "Release": { "Name": release.name, "Namespace": release.namespace, "Revision": release.revision, "Service": "Helm" },
                "Chart": { "Name": self.name(), "Version": self.metadata["version"], "AppVersion": self.metadata["appVersion"] } });
            let text = filled(&opened(&file)?, &source, &known)?;
            let mut objects = Vec::new();
            for part in text.split("\n---").filter(|p| !p.trim().is_empty()) {
                let object = parsed(part.trim_start_matches("---"))
                    .map_err(|e| format!("YAML parse error on {source}: {e}"))?;
                if object.is_object() {
                    objects.push(object);
                }
            }
            out.push(Rendered {
                source,
                text,
                objects,
            });
        }
        Ok(out)
    }
}

/// The objects of all templates, in the order in which they are made.
pub(super) fn objects(all: &[Rendered]) -> Vec<Value> {
    let mut out: Vec<Value> = all.iter().flat_map(|r| r.objects.iter().cloned()).collect();
    let place = |object: &Value| {
        ORDER
            .iter()
            .position(|kind| object["kind"] == *kind)
            .unwrap_or(ORDER.len())
    };
    out.sort_by_key(place);
    out
}

fn laid_over(below: &mut Value, above: Value) {
    match (below, above) {
        (Value::Object(below), Value::Object(above)) => {
            for (key, value) in above {
                laid_over(below.entry(key).or_insert(Value::Null), value);
            }
        }
        // A file that holds nothing changes nothing.
        (Value::Object(_), Value::Null) => {}
        (below, above) => *below = above,
    }
}

/// A template with what is between its braces in place of it.
fn filled(template: &str, source: &str, known: &Value) -> Result<String, String> {
    let braces =
        Regex::new(r"(?s)\s*\{\{-\s+(.*?)\s*(?:-\}\}\s*|\}\})|\{\{\s*(.*?)\s*(?:\s-\}\}\s*|\}\})")
            .map_err(|e| e.to_string())?;
    let mut wrong = None;
    let text = braces.replace_all(template, |found: &Captures<'_>| {
        let at = found.get(0).map_or(0, |m| m.start());
        let inner = found.get(1).or(found.get(2)).map_or("", |m| m.as_str());
        let written = said(inner.trim(), known);
        written.unwrap_or_else(|e| {
            let before = &template[..at];
            let line = before.matches('\n').count() + 1;
            let column = at - before.rfind('\n').map_or(0, |n| n + 1);
            wrong.get_or_insert_with(|| e.placed(source, line, column));
            String::new()
        })
    });
    let text = text.into_owned();
    match wrong {
        None => Ok(text),
        Some(why) => Err(why),
    }
}

enum Wrong {
    Unknown(String),
    Missing { path: String, key: String },
}

impl Wrong {
    fn placed(&self, source: &str, line: usize, column: usize) -> String {
        match self {
            Self::Unknown(what) => format!("parse error at ({source}:{line}): {what}"),
            Self::Missing { path, key } => {
                format!(
                    "template: {source}:{line}:{column}: executing \"{source}\" at <{path}>: nil pointer evaluating interface {{}}.{key}"
                )
            }
        }
    }
}

/// What stands between two braces, evaluated.
fn said(inner: &str, known: &Value) -> Result<String, Wrong> {
    if inner.starts_with("/*") {
        return Ok(String::new());
    }
    let mut parts = inner.split('|').map(str::trim);
    let mut value = operand(parts.next().unwrap_or_default(), known)?;
    for function in parts {
        let (name, rest) = function.split_once(' ').unwrap_or((function, ""));
        value = match name {
            "quote" => json!(Value::String(plain(&value)).to_string()),
            "toString" => json!(plain(&value)),
            "toJson" => json!(value.to_string()),
            "int" => json!(plain(&value).parse::<i64>().unwrap_or(0)),
            "default" => match plain(&value).is_empty() {
                true => operand(rest.trim(), known)?,
                false => value,
            },
            other => return Err(Wrong::Unknown(format!("function \"{other}\" not defined"))),
        };
    }
    Ok(plain(&value))
}

fn operand(text: &str, known: &Value) -> Result<Value, Wrong> {
    if let Some(path) = text.strip_prefix('.') {
        return reached(text, path, known);
    }
    match serde_json::from_str::<Value>(text) {
        Ok(value) if value.is_string() || value.is_number() || value.is_boolean() => Ok(value),
        Ok(_) | Err(_) => {
            let word = text.split(' ').next().unwrap_or_default();
            Err(Wrong::Unknown(format!("function \"{word}\" not defined")))
        }
    }
}

/// A value by its path. What is missing at the end of it is empty; what is missing on the way is an error.
fn reached(text: &str, path: &str, known: &Value) -> Result<Value, Wrong> {
    let mut at = known;
    for key in path.split('.') {
        if at.is_null() {
            return Err(Wrong::Missing {
                path: text.to_owned(),
                key: key.to_owned(),
            });
        }
        at = &at[key];
    }
    Ok(at.clone())
}

fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// What a chart says of itself in a release.
pub(super) fn of_release(chart: &Chart) -> Map<String, Value> {
    let mut out = Map::new();
    out.insert("metadata".to_owned(), chart.metadata.clone());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(template: &str) -> Result<String, String> {
        let known = json!({ "Values": { "image": { "tag": "2.14.0" }, "replicas": 3 }, "Release": { "Name": "arbitex" } });
        filled(template, "chart/templates/x.yaml", &known)
    }

    #[test]
    fn values_the_release_and_quotes() {
        let text = "n: {{ .Release.Name }}\nr: {{ .Values.replicas }}\nt: {{ .Values.image.tag | quote }}\nm: {{ .Values.image.more | default \"x\" }}\n";
        assert_eq!(
            written(text).expect("as written here"),
            "n: arbitex\nr: 3\nt: \"2.14.0\"\nm: x\n"
        );
    }

    #[test]
    fn what_is_missing_on_the_way_is_named_with_its_place() {
        let said = written("a: 1\nb: {{ .Values.redis.tag }}\n").expect_err("a refusal");
        assert_eq!(
            said,
            "template: chart/templates/x.yaml:2:3: executing \"chart/templates/x.yaml\" at <.Values.redis.tag>: nil pointer evaluating interface {}.tag"
        );
    }

    #[test]
    fn files_are_laid_over_each_other() {
        let mut below = json!({ "a": { "b": 1, "c": 2 }, "d": 1 });
        laid_over(&mut below, json!({ "a": { "b": 3 }, "e": 4 }));
        assert_eq!(below, json!({ "a": { "b": 3, "c": 2 }, "d": 1, "e": 4 }));
    }
}
