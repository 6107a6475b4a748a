//! What an API server says when it refuses, in words that name who refused.

use super::trouble;
use crate::systems::Trouble;
use kube::core::Status;

/// What was said, and what to do about it.
pub struct Refusal {
    pub what: String,
    pub help: String,
}

/// A request that may have reached the API server, and whose answer did not come back.
pub fn is_unanswered(error: &kube::Error) -> bool {
    if matches!(error, kube::Error::Api(_) | kube::Error::Auth(_)) {
        return false;
    }
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(cause) = source {
        if let Some(io) = cause.downcast_ref::<std::io::Error>() {
            match io.kind() {
                std::io::ErrorKind::ConnectionRefused
                | std::io::ErrorKind::HostUnreachable
                | std::io::ErrorKind::NetworkUnreachable
                | std::io::ErrorKind::NotFound => return false,
                std::io::ErrorKind::TimedOut
                | std::io::ErrorKind::ConnectionReset
                | std::io::ErrorKind::BrokenPipe
                | std::io::ErrorKind::UnexpectedEof => return true,
                _ => {}
            }
        }
        source = cause.source();
    }
    let said = super::deepest(error);
    // What hyper says of a connection that ended before its answer was whole.
    said.contains("connection closed") || said.contains("incomplete")
}

pub fn of(error: &kube::Error) -> Refusal {
    match error {
        kube::Error::Api(status) => of_status(status),
        other => match trouble(other) {
            Trouble::Down(why) => Refusal {
                what: format!("the API server is gone: {why}"),
                help: "it may have taken effect all the same: look before you try again".to_owned(),
            },
            Trouble::CannotTell { why, help } => Refusal { what: why, help },
        },
    }
}

fn of_status(status: &Status) -> Refusal {
    let message = status.message.as_str();
    let causes: Vec<String> = status
        .details
        .iter()
        .flat_map(|d| &d.causes)
        .map(|c| match c.field.is_empty() {
            true => c.message.clone(),
            false => format!("{}: {}", c.field, c.message),
        })
        .collect();
    let mut what = match message.is_empty() {
        true => format!("{} ({})", status.reason, status.code),
        false => format!("{} ({}): {message}", status.reason, status.code),
    };
    for cause in causes.iter().filter(|c| !message.contains(c.as_str())) {
        what.push_str(&format!("\n  {cause}"));
    }
    let webhook = message
        .split_once("admission webhook \"")
        .and_then(|(_, rest)| rest.split('"').next());
    let by_manager = status
        .details
        .iter()
        .flat_map(|d| &d.causes)
        .any(|c| c.reason == "FieldManagerConflict");
    let help = match (status.code, webhook) {
        (_, Some(name)) => format!(
            "the admission webhook `{name}` refused it: what does its policy want? kubectl get validatingwebhookconfigurations,mutatingwebhookconfigurations"
        ),
        (500 | 503 | 504, None) if message.contains("failed calling webhook") => {
            "a webhook does not answer: is what serves it running? it refuses everything until then"
                .to_owned()
        }
        (401, _) => "our login has expired or is unknown there: sign in again".to_owned(),
        (403, _) if message.contains("exceeded quota") => {
            "the quota of the namespace is used up: kubectl describe resourcequota".to_owned()
        }
        (403, _) => "we may not do this: ask for the right, or use another account".to_owned(),
        (409, _) if by_manager => {
            "another manager owns these fields: change them there, or take them with `force: true`"
                .to_owned()
        }
        (409, _) if message.contains("being terminated") => {
            "it is being deleted: wait until it is gone".to_owned()
        }
        (409, _) => "somebody changed it meanwhile: look at it, then try again".to_owned(),
        (404, _) => "is the name right, and the namespace?".to_owned(),
        (422, _) => "the API server does not take these values: see what it says above".to_owned(),
        (429, _) => "the API server has too much to do: try again in a minute".to_owned(),
        (_, None) => String::new(),
    };
    Refusal { what, help }
}
