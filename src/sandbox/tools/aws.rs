//! A stand-in for `aws`, the command line of Amazon Web Services (its second version's words and codes).

use super::output;
use serde_json::{Value, json};
use std::collections::BTreeMap;

const FLAGS: &[&str] = &["include-deprecated", "no-cli-pager", "debug"];

pub(super) async fn run(words: &[String]) -> u8 {
    match answer(words).await {
        Ok(text) => {
            print!("{text}");
            0
        }
        Err((said, code)) => {
            eprintln!("\n{said}");
            code
        }
    }
}

async fn answer(words: &[String]) -> Result<String, (String, u8)> {
    if words.first().is_some_and(|w| w == "--version") {
        return Ok("aws-cli/2.31.0 (stand-in of a drill)\n".to_owned());
    }
    let command: Vec<&str> = words
        .iter()
        .take_while(|w| !w.starts_with('-'))
        .map(String::as_str)
        .collect();
    let options = read(&words[command.len()..])?;
    let get = |name: &str| options.get(name).map(String::as_str);
    let region = get("region")
        .map(str::to_owned)
        .or_else(|| std::env::var("AWS_DEFAULT_REGION").ok());
    let region = region.ok_or_else(|| ("You must specify a region. You can also configure your region by running \"aws configure\".".to_owned(), 253))?;
    if std::env::var("AWS_ACCESS_KEY_ID").is_err() {
        return Err((
            "Unable to locate credentials. You can configure credentials by running \"aws login\"."
                .to_owned(),
            253,
        ));
    }
    let secret = || {
        get("secret-id").ok_or_else(|| {
            (
                "aws: [ERROR]: the following arguments are required: --secret-id".to_owned(),
                252,
            )
        })
    };
    let (service, target, name, body) = match command[..] {
        ["sts", "get-caller-identity"] => ("sts", "", "GetCallerIdentity", Value::Null),
        ["secretsmanager", "describe-secret"] => (
            "secretsmanager",
            "DescribeSecret",
            "DescribeSecret",
            json!({ "SecretId": secret()? }),
        ),
        ["secretsmanager", "list-secret-version-ids"] => (
            "secretsmanager",
            "ListSecretVersionIds",
            "ListSecretVersionIds",
            json!({ "SecretId": secret()?, "IncludeDeprecated": options.contains_key("include-deprecated") }),
        ),
        ["secretsmanager", "get-secret-value"] => {
            let mut body = json!({ "SecretId": secret()? });
            for (option, key) in [
                ("version-id", "VersionId"),
                ("version-stage", "VersionStage"),
            ] {
                if let Some(value) = get(option) {
                    body[key] = json!(value);
                }
            }
            ("secretsmanager", "GetSecretValue", "GetSecretValue", body)
        }
        _ => {
            return Err((
                format!(
                    "aws: [ERROR]: argument command: Found invalid choice '{}'",
                    command.join(" ")
                ),
                252,
            ));
        }
    };
    let value = ask(service, &region, target, name, &body).await?;
    let value = match get("query") {
        Some(expression) => output::query(&value, expression).map_err(|e| (e, 252))?,
        None => value,
    };
    Ok(match get("output").unwrap_or("json") {
        "text" if value.is_null() => "None\n".to_owned(),
        "text" => output::written(&value, "tsv"),
        _ => output::written(&value, "json"),
    })
}

fn read(words: &[String]) -> Result<BTreeMap<String, String>, (String, u8)> {
    let mut out = BTreeMap::new();
    let mut at = 0;
    while at < words.len() {
        let Some(name) = words[at].strip_prefix("--") else {
            return Err((format!("aws: [ERROR]: Unknown options: {}", words[at]), 252));
        };
        at += 1;
        let value = match FLAGS.contains(&name) {
            true => String::new(),
            false => {
                at += 1;
                words.get(at - 1).cloned().ok_or_else(|| {
                    (
                        format!("aws: [ERROR]: argument --{name}: expected one argument"),
                        252,
                    )
                })?
            }
        };
        out.insert(name.to_owned(), value);
    }
    Ok(out)
}

async fn ask(
    service: &str,
    region: &str,
    target: &str,
    name: &str,
    body: &Value,
) -> Result<Value, (String, u8)> {
    let broken = |e: String| (e, 255);
    let client = super::client("AWS_CA_BUNDLE").map_err(broken)?.build();
    let client = client.map_err(|e| broken(e.to_string()))?;
    let url = format!("https://{service}.{region}.amazonaws.com/");
    let request = match target {
        "" => client
            .post(&url)
            .header("content-type", "application/x-www-form-urlencoded")
            .body(format!("Action={name}&Version=2011-06-15")),
        _ => client
            .post(&url)
            .header("x-amz-target", format!("secretsmanager.{target}"))
            .header("content-type", "application/x-amz-json-1.1")
            .body(body.to_string()),
    };
    let answer = request
        .send()
        .await
        .map_err(|_| broken(format!("Could not connect to the endpoint URL: \"{url}\"")))?;
    let good = answer.status().is_success();
    let text = answer.text().await.unwrap_or_default();
    if target.is_empty() {
        let part = |tag: &str| {
            let (_, rest) = text.split_once(&format!("<{tag}>"))?;
            Some(rest.split_once('<')?.0.to_owned())
        };
        return Ok(
            json!({ "UserId": part("UserId"), "Account": part("Account"), "Arn": part("Arn") }),
        );
    }
    let value: Value = serde_json::from_str(&text).unwrap_or(Value::Null);
    if good {
        return Ok(value);
    }
    let kind = value["__type"].as_str().unwrap_or("InternalServiceError");
    let said = value["message"]
        .as_str()
        .or(value["Message"].as_str())
        .unwrap_or_default();
    Err((
        format!(
            "aws: [ERROR]: An error occurred ({kind}) when calling the {name} operation: {said}"
        ),
        254,
    ))
}
