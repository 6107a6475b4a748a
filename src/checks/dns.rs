//! The hands of a DNS check.

use super::{Seen, Trouble};
use crate::domain::runbook::kinds::dns::Words;
use hickory_resolver::{
    Resolver,
    config::{NameServerConfig, ResolverConfig},
    name_server::TokioConnectionProvider,
    proto::xfer::Protocol,
};
use std::net::{IpAddr, SocketAddr};

pub(super) async fn look(words: &Words) -> Result<Seen, Trouble> {
    let mut found = match &words.resolver {
        Some(server) => ask(server, &words.host).await?,
        None => as_this_machine(&words.host).await?,
    };
    found.sort();
    found.dedup();
    let shown: Vec<String> = found.iter().map(IpAddr::to_string).collect();
    let seen = shown.join(", ");
    let Some(is) = &words.is else {
        return Ok(Seen::text(seen));
    };
    let wanted: IpAddr = is.trim().parse().map_err(|_| {
        Trouble::cannot_tell(format!("`is: {is}` is not an address"), "write `10.0.0.1`")
    })?;
    let holds = found == [wanted];
    Ok(Seen::judged(seen, holds))
}

async fn as_this_machine(host: &str) -> Result<Vec<IpAddr>, Trouble> {
    match tokio::net::lookup_host((host, 0)).await {
        Ok(found) => Ok(found.map(|a| a.ip()).collect()),
        Err(e) if e.to_string().contains("Temporary failure") => Err(Trouble::cannot_tell(
            format!("no name server answers here: {e}"),
            "does DNS work on this machine (VPN, /etc/resolv.conf)?",
        )),
        Err(_) => Err(Trouble::Down(format!("{host} does not resolve"))),
    }
}

async fn ask(server: &str, host: &str) -> Result<Vec<IpAddr>, Trouble> {
    let address: SocketAddr = server
        .parse()
        .or_else(|_| server.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, 53)))
        .map_err(|_| {
            Trouble::cannot_tell(
                format!("`resolver: {server}` is not an address"),
                "write `8.8.8.8:53`",
            )
        })?;
    let mut config = ResolverConfig::new();
    config.add_name_server(NameServerConfig::new(address, Protocol::Udp));
    let mut builder = Resolver::builder_with_config(config, TokioConnectionProvider::default());
    builder.options_mut().attempts = 1;
    let answer = builder.build().lookup_ip(host).await;
    match answer {
        Ok(found) => Ok(found.iter().collect()),
        Err(e) if e.is_no_records_found() || e.is_nx_domain() => Err(Trouble::Down(format!(
            "{host} does not resolve at {server}"
        ))),
        Err(e) => Err(Trouble::cannot_tell(
            format!("{server} does not answer: {e}"),
            "is it a name server, and is there a route to it?",
        )),
    }
}
