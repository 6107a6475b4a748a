//! Flexible servers: a point-in-time restore makes a real server beside the old one, as the database was at
//! that moment.

use super::{Answer, Asked, Refused, begin, held, id};
use crate::sandbox::world::{World, arbitex::host_of};
use axum::http::{Method, StatusCode};
use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Value, json};
use std::{collections::BTreeMap, net::Ipv4Addr, sync::Arc};

const KIND: &str = "Microsoft.DBforPostgreSQL/flexibleServers";
/// Azure does not restore to a moment that is younger.
const YOUNGEST: i64 = 300;

/// A server as the subscription knows it.
pub(crate) struct Managed {
    pub state: String,
    pub earliest: DateTime<Utc>,
    pub rules: BTreeMap<String, (String, String)>,
}

/// A server that is there from the beginning.
pub(crate) fn knows(world: &World, name: &str, earliest: DateTime<Utc>) {
    let rule = ("10.0.0.0".to_owned(), "10.0.255.255".to_owned());
    let managed = Managed {
        state: "Ready".to_owned(),
        earliest,
        rules: BTreeMap::from([("aks".to_owned(), rule)]),
    };
    held(world).servers.insert(name.to_owned(), managed);
}

/// The service that restores answers nobody any more.
pub(crate) fn disturbed(world: &World) {
    held(world).backups_disturbed = true;
}

impl Managed {
    fn shown(&self, group: &str, name: &str) -> Value {
        let earliest = self.earliest.to_rfc3339_opts(SecondsFormat::Secs, false);
        json!({ "id": id(group, KIND, name), "name": name, "type": KIND, "location": "West Europe",
            "sku": { "name": "Standard_D2ds_v5", "tier": "GeneralPurpose" },
            "properties": { "state": self.state, "fullyQualifiedDomainName": host_of(name), "version": "15", "administratorLogin": "arbitex_admin",
                "backup": { "backupRetentionDays": 35, "geoRedundantBackup": "Disabled", "earliestRestoreDate": earliest },
                "network": { "publicNetworkAccess": "Enabled" }, "highAvailability": { "mode": "Disabled" }, "storage": { "storageSizeGB": 32 } } })
    }
}

pub(super) async fn answer(world: &Arc<World>, asked: &Asked<'_>) -> Result<Answer, Refused> {
    match asked.rest {
        [] => {
            let azure = held(world);
            let all: Vec<Value> = azure
                .servers
                .iter()
                .map(|(n, s)| s.shown("arbitex-prod-rg", n))
                .collect();
            Ok(Answer::Is(json!({ "value": all })))
        }
        [name] if *asked.method == Method::PUT => restore(world, asked, name),
        [name] => match held(world).servers.get(*name) {
            Some(server) => Ok(Answer::Is(server.shown(asked.group, name))),
            None => Err(Refused::missing(KIND, asked.group, name)),
        },
        [name, _rules, rule @ ..] => rules(world, asked, name, rule.first().copied()),
    }
}

fn rules(
    world: &Arc<World>,
    asked: &Asked<'_>,
    name: &str,
    rule: Option<&str>,
) -> Result<Answer, Refused> {
    let mut azure = held(world);
    let Some(server) = azure.servers.get_mut(name) else {
        return Err(Refused::missing(KIND, asked.group, name));
    };
    let shown = |rule: &str, (first, last): &(String, String)| json!({ "name": rule, "id": format!("{}/firewallRules/{rule}", id(asked.group, KIND, name)), "properties": { "startIpAddress": first, "endIpAddress": last } });
    let Some(rule) = rule else {
        let all: Vec<Value> = server.rules.iter().map(|(n, r)| shown(n, r)).collect();
        return Ok(Answer::Is(json!({ "value": all })));
    };
    if *asked.method == Method::PUT {
        let text = |key: &str| {
            asked.body["properties"][key]
                .as_str()
                .unwrap_or_default()
                .to_owned()
        };
        let range = (text("startIpAddress"), text("endIpAddress"));
        let made = shown(rule, &range);
        server.rules.insert(rule.to_owned(), range);
        // An operation is written down under the same lock.
        drop(azure);
        return Ok(Answer::Goes(made, begin(world, async { Ok(()) })));
    }
    match server.rules.get(rule) {
        Some(found) => Ok(Answer::Is(shown(rule, found))),
        None => Err(Refused::missing(
            &format!("{KIND}/firewallRules"),
            asked.group,
            rule,
        )),
    }
}

fn restore(world: &Arc<World>, asked: &Asked<'_>, name: &str) -> Result<Answer, Refused> {
    let bad = |code: &str, said: String| Refused::new(StatusCode::BAD_REQUEST, code, said);
    if held(world).backups_disturbed {
        let said = "The service is temporarily unavailable. Please try again later.";
        return Err(Refused::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "ServiceUnavailable",
            said,
        ));
    }
    let properties = &asked.body["properties"];
    let source = properties["sourceServerResourceId"]
        .as_str()
        .unwrap_or_default();
    let source = source.rsplit('/').next().unwrap_or_default();
    let target = properties["pointInTimeUTC"]
        .as_str()
        .or(properties["restorePointInTime"].as_str())
        .unwrap_or_default();
    let Some(target) = DateTime::parse_from_rfc3339(target)
        .ok()
        .map(|t| t.to_utc())
    else {
        return Err(bad(
            "InvalidParameterValue",
            format!("Invalid value given for parameter pointInTimeUTC: {target}."),
        ));
    };
    let (earliest, taken) = {
        let azure = held(world);
        let Some(server) = azure.servers.get(source) else {
            return Err(Refused::missing(KIND, asked.group, source));
        };
        (server.earliest, azure.servers.contains_key(name))
    };
    if taken {
        return Err(bad(
            "ServerNameAlreadyExists",
            format!("Specified server name is already used: {name}."),
        ));
    }
    let latest = crate::clock::now() - chrono::TimeDelta::seconds(YOUNGEST);
    if target < earliest || target > latest {
        let said = format!(
            "The value for property pointInTimeUTC is out of range: it has to lie between {} and {}.",
            earliest.to_rfc3339(),
            latest.to_rfc3339()
        );
        return Err(bad("InvalidParameterValue", said));
    }
    let managed = Managed {
        state: "Provisioning".to_owned(),
        earliest: crate::clock::now(),
        rules: BTreeMap::new(),
    };
    let shown = managed.shown(asked.group, name);
    let number = {
        let mut azure = held(world);
        azure.servers.insert(name.to_owned(), managed);
        u8::try_from(azure.servers.len()).unwrap_or(u8::MAX)
    };
    let address = Ipv4Addr::new(127, 10, 0, number);
    let (then, name) = (world.clone(), name.to_owned());
    let operation = begin(world, async move {
        let made = make(&then, &name, address, target).await;
        let state = if made.is_ok() { "Ready" } else { "Failed" };
        if let Some(server) = held(&then).servers.get_mut(&name) {
            state.clone_into(&mut server.state);
        }
        made.map_err(|e| {
            Refused::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "InternalServerError",
                e.to_string(),
            )
        })
    });
    Ok(Answer::Goes(shown, operation))
}

async fn make(
    world: &Arc<World>,
    name: &str,
    address: Ipv4Addr,
    target: DateTime<Utc>,
) -> std::io::Result<()> {
    let target = target.format("%Y-%m-%d %H:%M:%S+00").to_string();
    // The newest WAL has to be in the archive before a moment of it can be asked for.
    let (estate, of) = (world.estate.clone(), name.to_owned());
    let restored =
        tokio::task::spawn_blocking(move || estate.restored(&of, address, &target)).await;
    let mut server = restored.map_err(std::io::Error::other)??;
    let host = host_of(name);
    server.shows(&world.authority.sign(&[&host])?)?;
    server.start(false).await?;
    world.names.set(&host, &[address]);
    world.databases.lock().await.insert(name.to_owned(), server);
    Ok(())
}
