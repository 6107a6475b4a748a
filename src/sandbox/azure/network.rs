//! DNS zones of the subscription: a record that is changed there changes where the name leads.

use super::{Answer, Asked, Refused, held, id};
use crate::sandbox::world::World;
use axum::http::{Method, StatusCode};
use serde_json::{Value, json};
use std::net::Ipv4Addr;

/// A record that is there from the beginning.
pub(crate) fn knows(world: &World, zone: &str, record: &str, address: Ipv4Addr) {
    held(world)
        .records
        .insert((zone.to_owned(), record.to_owned()), vec![address]);
}

pub(super) fn answer(world: &World, asked: &Asked<'_>) -> Result<Answer, Refused> {
    let (Some(zone), Some(kind), Some(record)) =
        (asked.rest.first(), asked.rest.get(1), asked.rest.get(2))
    else {
        return Err(Refused::new(
            StatusCode::NOT_FOUND,
            "NotFound",
            "the zone itself cannot be asked here",
        ));
    };
    let at = ((*zone).to_owned(), (*record).to_owned());
    if *asked.method == Method::PUT || *asked.method == Method::PATCH {
        let listed = &asked.body["properties"]["ARecords"];
        let listed = if listed.is_array() {
            listed
        } else {
            &asked.body["properties"]["aRecords"]
        };
        let all: Vec<Ipv4Addr> = listed
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|r| r["ipv4Address"].as_str()?.parse().ok())
            .collect();
        world.names.set(&format!("{record}.{zone}"), &all);
        held(world).records.insert(at.clone(), all);
    }
    let found = held(world).records.get(&at).cloned();
    let Some(found) = found else {
        let said = format!(
            "The resource record '{record}' does not exist in resource group '{}' of subscription.",
            asked.group
        );
        return Err(Refused::new(StatusCode::NOT_FOUND, "NotFound", said));
    };
    let records: Vec<Value> = found
        .iter()
        .map(|a| json!({ "ipv4Address": a.to_string() }))
        .collect();
    let name = format!("{zone}/{kind}/{record}");
    Ok(Answer::Is(
        json!({ "id": id(asked.group, "Microsoft.Network/dnsZones", &name), "name": record, "type": "Microsoft.Network/dnszones/A",
        "properties": { "TTL": 60, "fqdn": format!("{record}.{zone}."), "ARecords": records, "provisioningState": "Succeeded" } }),
    ))
}
