//! A stand-in for `az`, the command line of Azure.

use super::{
    az_aks, az_backup,
    azure::{Azure, Failed},
    output,
};
use reqwest::Method;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Options that every command has.
const COMMON: &[&str] = &[
    "subscription",
    "query",
    "output",
    "only-show-errors",
    "verbose",
    "debug",
    "help",
];
/// Options that stand alone.
const FLAGS: &[&str] = &[
    "only-show-errors",
    "verbose",
    "debug",
    "help",
    "no-wait",
    "yes",
    "overwrite-existing",
    "admin",
    "keep-empty-record-set",
    "enable-managed-identity",
    "no-ssh-key",
    "generate-ssh-keys",
    "include-deprecated",
];
const SHORT: &[(&str, &str)] = &[
    ("-g", "resource-group"),
    ("-n", "name"),
    ("-o", "output"),
    ("-l", "location"),
    ("-y", "yes"),
    ("-f", "file"),
];

/// A command with its options.
pub(super) struct Asked {
    pub options: BTreeMap<String, Vec<String>>,
}

impl Asked {
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.options
            .get(name)
            .and_then(|v| v.first())
            .map(String::as_str)
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.options.contains_key(name)
    }

    pub(super) fn need(&self, name: &str, shown: &str) -> Result<&str, Failed> {
        self.get(name)
            .ok_or_else(|| Failed::usage(format!("the following arguments are required: {shown}")))
    }

    /// The path of a kind in the group that was named, or in the whole subscription.
    pub(super) fn path(&self, kind: &str) -> String {
        let subscription = self
            .get("subscription")
            .unwrap_or(super::super::azure::SUBSCRIPTION);
        match self.get("resource-group") {
            Some(group) => {
                format!("/subscriptions/{subscription}/resourceGroups/{group}/providers/{kind}")
            }
            None => format!("/subscriptions/{subscription}/providers/{kind}"),
        }
    }

    pub(super) fn of(&self, kind: &str, name: &str) -> Result<String, Failed> {
        self.need("resource-group", "--resource-group/-g")?;
        Ok(format!("{}/{name}", self.path(kind)))
    }
}

pub(super) async fn run(words: &[String]) -> u8 {
    match answer(words).await {
        Ok(text) => {
            print!("{text}");
            0
        }
        Err(failed) => {
            eprintln!("ERROR: {}", failed.said);
            failed.code
        }
    }
}

async fn answer(words: &[String]) -> Result<String, Failed> {
    let command: Vec<&str> = words
        .iter()
        .take_while(|w| !w.starts_with('-'))
        .map(String::as_str)
        .collect();
    let rest = &words[command.len()..];
    if command.is_empty() {
        return match rest.first().map(String::as_str) {
            Some("--version") => {
                Ok("azure-cli                         2.91.0 (stand-in of a drill)\n".to_owned())
            }
            _ => Ok("az: a stand-in of a drill; it knows what the runbooks use\n".to_owned()),
        };
    }
    let name = command.join(" ");
    let Some((_, own)) = known().find(|(n, _)| *n == name) else {
        return Err(unknown(&command));
    };
    let asked = read(rest, own)?;
    if asked.has("help") {
        return Ok(format!(
            "\nCommand\n    az {name}\n\nArguments\n    --{}\n",
            own.replace(' ', "\n    --")
        ));
    }
    let value = answered(&name, &asked).await?;
    let value = match asked.get("query") {
        Some(expression) => output::query(&value, expression).map_err(Failed::usage)?,
        None => value,
    };
    Ok(output::written(
        &value,
        asked.get("output").unwrap_or("json"),
    ))
}

fn known() -> impl Iterator<Item = &'static (&'static str, &'static str)> {
    KNOWN.iter().chain(az_aks::KNOWN).chain(az_backup::KNOWN)
}

/// The first word that no command has in its place.
fn unknown(command: &[&str]) -> Failed {
    let bad = (1..=command.len()).find(|n| {
        let start = command[..*n].join(" ");
        !known().any(|(name, _)| *name == start || name.starts_with(&format!("{start} ")))
    });
    match bad {
        Some(n) => Failed::usage(format!(
            "'{}' is misspelled or not recognized by the system.\n\nDid you mean one of these?\n    az {} --help",
            command[n - 1],
            command[..n - 1].join(" ")
        )),
        None => Failed::usage(format!("{}: a subcommand is missing", command.join(" "))),
    }
}

fn read(words: &[String], own: &str) -> Result<Asked, Failed> {
    let mut options: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut strange = Vec::new();
    let mut at = 0;
    while at < words.len() {
        let (word, given) = match words[at].split_once('=') {
            Some((name, value)) if name.starts_with("--") => {
                (name.to_owned(), Some(value.to_owned()))
            }
            _ => (words[at].clone(), None),
        };
        at += 1;
        let name = SHORT
            .iter()
            .find(|(s, _)| *s == word)
            .map(|(_, l)| (*l).to_owned());
        let name = name.or_else(|| word.strip_prefix("--").map(str::to_owned));
        let known = |n: &String| COMMON.contains(&n.as_str()) || own.split(' ').any(|o| o == n);
        let Some(name) = name.filter(known) else {
            strange.push(word);
            while at < words.len() && !words[at].starts_with('-') {
                strange.push(words[at].clone());
                at += 1;
            }
            continue;
        };
        let mut values: Vec<String> = given.into_iter().collect();
        if !FLAGS.contains(&name.as_str()) {
            while at < words.len()
                && !words[at].starts_with("--")
                && (values.is_empty() || !words[at].starts_with('-'))
            {
                values.push(words[at].clone());
                at += 1;
            }
            if values.is_empty() {
                return Err(Failed::usage(format!(
                    "argument --{name}: expected one argument"
                )));
            }
        }
        options.entry(name).or_default().extend(values);
    }
    match strange.is_empty() {
        true => Ok(Asked { options }),
        false => Err(Failed::usage(format!(
            "unrecognized arguments: {}",
            strange.join(" ")
        ))),
    }
}

/// Commands and the options of their own.
const KNOWN: &[(&str, &str)] = &[
    ("version", ""),
    ("login", "service-principal username password tenant"),
    ("account show", ""),
    ("account set", ""),
    ("extension list", ""),
    ("extension add", "name"),
    ("group show", "name resource-group"),
    ("postgres flexible-server list", "resource-group"),
    ("postgres flexible-server show", "resource-group name"),
    (
        "postgres flexible-server restore",
        "resource-group name source-server restore-time no-wait yes subnet vnet private-dns-zone zone",
    ),
    (
        "postgres flexible-server firewall-rule list",
        "resource-group name server-name",
    ),
    (
        "postgres flexible-server firewall-rule create",
        "resource-group name server-name rule-name start-ip-address end-ip-address",
    ),
    ("snapshot list", "resource-group"),
    ("snapshot show", "resource-group name"),
    (
        "snapshot create",
        "resource-group name source incremental tags location sku",
    ),
    ("snapshot delete", "resource-group name ids"),
    ("disk list", "resource-group"),
    ("disk show", "resource-group name ids"),
    (
        "disk create",
        "resource-group name source sku zone location size-gb no-wait tags",
    ),
    (
        "network dns record-set a show",
        "resource-group zone-name name",
    ),
    (
        "network dns record-set a add-record",
        "resource-group zone-name record-set-name ipv4-address ttl",
    ),
    (
        "network dns record-set a remove-record",
        "resource-group zone-name record-set-name ipv4-address keep-empty-record-set",
    ),
];

const SERVERS: &str = "Microsoft.DBforPostgreSQL/flexibleServers";
const DISKS: &str = "Microsoft.Compute/disks";
const SNAPSHOTS: &str = "Microsoft.Compute/snapshots";
const ZONES: &str = "Microsoft.Network/dnsZones";

async fn answered(name: &str, asked: &Asked) -> Result<Value, Failed> {
    let azure = Azure::new()?;
    let named = || asked.need("name", "--name/-n");
    match name {
        "version" => Ok(json!({ "azure-cli": "2.91.0", "extensions": {} })),
        "login" | "account set" | "extension add" => Ok(Value::Null),
        "account show" => {
            azure
                .get(&format!(
                    "/subscriptions/{}",
                    asked
                        .get("subscription")
                        .unwrap_or(super::super::azure::SUBSCRIPTION)
                ))
                .await
        }
        "extension list" => Ok(
            json!([{ "name": "dataprotection", "version": "1.6.0" }, { "name": "k8s-extension", "version": "1.6.4" }]),
        ),
        "group show" => {
            let group = asked.get("name").or(asked.get("resource-group"));
            let group = group
                .ok_or_else(|| Failed::usage("the following arguments are required: --name/-n"))?;
            let subscription = asked
                .get("subscription")
                .unwrap_or(super::super::azure::SUBSCRIPTION);
            azure
                .get(&format!(
                    "/subscriptions/{subscription}/resourceGroups/{group}"
                ))
                .await
        }
        "postgres flexible-server list" => azure.list(&asked.path(SERVERS)).await.map(|v| flat(&v)),
        "postgres flexible-server show" => azure
            .get(&asked.of(SERVERS, named()?)?)
            .await
            .map(|v| flat(&v)),
        "postgres flexible-server restore" => restore(&azure, asked).await,
        "postgres flexible-server firewall-rule list" => {
            let server = asked.need("server-name", "--server-name")?;
            azure
                .list(&format!("{}/firewallRules", asked.of(SERVERS, server)?))
                .await
                .map(|v| flat(&v))
        }
        "postgres flexible-server firewall-rule create" => {
            let server = asked.need("server-name", "--server-name")?;
            let first = asked.need("start-ip-address", "--start-ip-address")?;
            let last = asked.get("end-ip-address").unwrap_or(first);
            let rule = asked
                .get("rule-name")
                .or(asked.get("name"))
                .unwrap_or("FirewallIPAddress");
            let body = json!({ "properties": { "startIpAddress": first, "endIpAddress": last } });
            azure
                .put(
                    &format!("{}/firewallRules/{rule}", asked.of(SERVERS, server)?),
                    &body,
                    false,
                )
                .await
                .map(|v| flat(&v))
        }
        "snapshot list" => azure.list(&asked.path(SNAPSHOTS)).await.map(|v| flat(&v)),
        "snapshot show" => azure
            .get(&asked.of(SNAPSHOTS, named()?)?)
            .await
            .map(|v| flat(&v)),
        "snapshot create" => {
            let source = asked.need("source", "--source")?;
            let body = json!({ "location": asked.get("location").unwrap_or("westeurope"), "tags": tags(asked),
                "properties": { "incremental": true, "creationData": { "createOption": "Copy", "sourceResourceId": source } } });
            azure
                .put(&asked.of(SNAPSHOTS, named()?)?, &body, false)
                .await
                .map(|v| flat(&v))
        }
        "snapshot delete" => {
            let path = match asked.get("ids") {
                Some(id) => id.to_owned(),
                None => asked.of(SNAPSHOTS, named()?)?,
            };
            azure
                .ask(Method::DELETE, &path, None)
                .await
                .map(|_| Value::Null)
        }
        "disk list" => {
            asked.need("resource-group", "--resource-group/-g")?;
            azure.list(&asked.path(DISKS)).await.map(|v| flat(&v))
        }
        "disk show" => {
            let path = match asked.get("ids") {
                Some(id) => id.to_owned(),
                None => asked.of(DISKS, named()?)?,
            };
            azure.get(&path).await.map(|v| flat(&v))
        }
        "disk create" => {
            let source = asked.get("source").map_or_else(
                || json!({ "createOption": "Empty" }),
                |s| json!({ "createOption": "Copy", "sourceResourceId": s }),
            );
            let zones = asked.options.get("zone").map_or(Value::Null, |z| json!(z));
            let body = json!({ "location": asked.get("location").unwrap_or("westeurope"), "tags": tags(asked), "zones": zones,
                "sku": { "name": asked.get("sku").unwrap_or("Premium_LRS") }, "properties": { "creationData": source } });
            azure
                .put(&asked.of(DISKS, named()?)?, &body, asked.has("no-wait"))
                .await
                .map(|v| flat(&v))
        }
        _ if name.starts_with("network dns record-set a ") => records(&azure, name, asked).await,
        _ => az_aks::answered(&azure, name, asked).await,
    }
}

async fn restore(azure: &Azure, asked: &Asked) -> Result<Value, Failed> {
    let name = asked.need("name", "--name/-n")?;
    let source = asked.need("source-server", "--source-server")?;
    let source = match source.starts_with('/') {
        true => source.to_owned(),
        false => asked.of(SERVERS, source)?,
    };
    // The source is looked at first, as the real one does.
    azure
        .get(&source)
        .await
        .map_err(|e| Failed { code: 1, ..e })?;
    let now = chrono::Utc::now().to_rfc3339();
    let time = asked.get("restore-time").unwrap_or(&now);
    if chrono::DateTime::parse_from_rfc3339(time).is_err() {
        return Err(Failed::usage(
            "The restore point in time value has incorrect date format. Please use ISO format e.g., 2024-10-22T00:08:23+00:00.",
        ));
    }
    let body = json!({ "location": "West Europe", "properties": { "createMode": "PointInTimeRestore", "sourceServerResourceId": source, "pointInTimeUTC": time } });
    azure
        .put(&asked.of(SERVERS, name)?, &body, asked.has("no-wait"))
        .await
        .map(|v| flat(&v))
}

async fn records(azure: &Azure, name: &str, asked: &Asked) -> Result<Value, Failed> {
    let zone = asked.need("zone-name", "--zone-name/-z")?;
    let set = asked.get("record-set-name").or(asked.get("name"));
    let set = set.ok_or_else(|| {
        Failed::usage("the following arguments are required: --record-set-name/-n")
    })?;
    let path = format!("{}/A/{set}", asked.of(ZONES, zone)?);
    let shown = |v: Value| {
        let properties = v["properties"].clone();
        let mut shown = v;
        shown["aRecords"] = properties["ARecords"].clone();
        shown["ttl"] = properties["TTL"].clone();
        flat(&shown)
    };
    if name.ends_with("show") {
        return azure.get(&path).await.map(shown);
    }
    let address = asked.need("ipv4-address", "--ipv4-address/-a")?;
    let now = azure.get(&path).await.unwrap_or(Value::Null);
    let mut all: Vec<Value> = now["properties"]["ARecords"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    all.retain(|r| r["ipv4Address"] != address);
    if name.ends_with("add-record") {
        all.push(json!({ "ipv4Address": address }));
    }
    let body = json!({ "properties": { "TTL": 60, "ARecords": all } });
    azure.put(&path, &body, false).await.map(shown)
}

fn tags(asked: &Asked) -> Value {
    let given = asked.options.get("tags").into_iter().flatten();
    let pairs = given
        .filter_map(|t| t.split_once('='))
        .map(|(k, v)| (k.to_owned(), json!(v)));
    Value::Object(pairs.collect())
}

/// As the tool shows resources: what is under `properties` stands beside the name.
pub(super) fn flat(value: &Value) -> Value {
    match value {
        Value::Array(all) => Value::Array(all.iter().map(flat).collect()),
        Value::Object(all) => {
            let mut out = all.clone();
            if let Some(Value::Object(inner)) = out.shift_remove("properties") {
                for (name, value) in inner {
                    let name = if name == "diskSizeGB" {
                        "diskSizeGb".to_owned()
                    } else {
                        name
                    };
                    out.insert(name, value);
                }
            }
            Value::Object(out)
        }
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(words: &str) -> (String, u8) {
        let words: Vec<String> = words.split(' ').map(str::to_owned).collect();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("as written here");
        match runtime.block_on(answer(&words)) {
            Ok(text) => (text, 0),
            Err(failed) => (failed.said, failed.code),
        }
    }

    #[test]
    fn an_option_that_does_not_exist_is_named() {
        let (said, code) =
            said("postgres flexible-server restore --restore-point-in-time 2026-03-10T14:30:00Z");
        assert_eq!(
            said,
            "unrecognized arguments: --restore-point-in-time 2026-03-10T14:30:00Z"
        );
        assert_eq!(code, 2);
    }

    #[test]
    fn a_command_that_does_not_exist_is_named() {
        let (said, code) = said("disk snapshot-policy create");
        assert!(
            said.starts_with("'snapshot-policy' is misspelled or not recognized by the system."),
            "{said}"
        );
        assert_eq!(code, 2);
    }

    #[test]
    fn a_missing_option_is_named() {
        let (said, _) = said("disk show --resource-group g");
        assert_eq!(said, "the following arguments are required: --name/-n");
    }
}
