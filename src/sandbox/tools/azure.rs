//! The endpoints of Azure as its command line asks them.

use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use std::time::Duration;

const MANAGER: &str = "https://management.azure.com";

/// What went wrong, as the tool says it, and the code that it ends with.
pub(super) struct Failed {
    pub said: String,
    pub code: u8,
}

impl Failed {
    pub(super) fn usage(said: impl Into<String>) -> Self {
        Self {
            said: said.into(),
            code: 2,
        }
    }
}

pub(super) struct Azure {
    client: Client,
}

impl Azure {
    pub(super) fn new() -> Result<Self, Failed> {
        let broken = |why: String| Failed { said: why, code: 1 };
        let client = super::client("REQUESTS_CA_BUNDLE").map_err(broken)?;
        let client = client.timeout(Duration::from_secs(60));
        let client = client.build().map_err(|e| broken(e.to_string()))?;
        Ok(Self { client })
    }

    /// One request. An answer that is none is said in the tool's own way.
    pub(super) async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<(Value, Option<String>), Failed> {
        let url = if path.starts_with("https:") {
            path.to_owned()
        } else {
            format!("{MANAGER}{path}")
        };
        let url = if url.contains("api-version") {
            url
        } else {
            format!("{url}?api-version=2024-01-01")
        };
        let mut request = self.client.request(method, &url).bearer_auth("sandbox");
        if let Some(body) = body {
            request = request.json(body);
        }
        let host = url
            .trim_start_matches("https://")
            .split('/')
            .next()
            .unwrap_or_default()
            .to_owned();
        let answer = request.send().await.map_err(|e| Failed {
            said: format!("HTTPSConnectionPool(host='{host}', port=443): Max retries exceeded with url: {path} (Caused by NewConnectionError: Failed to establish a new connection: {e})"),
            code: 1,
        })?;
        let status = answer.status();
        let operation = answer
            .headers()
            .get("azure-asyncoperation")
            .and_then(|h| h.to_str().ok())
            .map(str::to_owned);
        let text = answer.text().await.unwrap_or_default();
        let value: Value = serde_json::from_str(&text).unwrap_or(Value::Null);
        if status.is_success() {
            return Ok((value, operation));
        }
        Err(refused(status, &value))
    }

    pub(super) async fn get(&self, path: &str) -> Result<Value, Failed> {
        self.ask(Method::GET, path, None)
            .await
            .map(|(value, _)| value)
    }

    /// Everything of a list.
    pub(super) async fn list(&self, path: &str) -> Result<Value, Failed> {
        let found = self.get(path).await?;
        Ok(found.get("value").cloned().unwrap_or(json!([])))
    }

    /// A change; without `no_wait` until it has ended.
    pub(super) async fn put(
        &self,
        path: &str,
        body: &Value,
        no_wait: bool,
    ) -> Result<Value, Failed> {
        self.change(Method::PUT, path, body, no_wait).await
    }

    pub(super) async fn change(
        &self,
        method: Method,
        path: &str,
        body: &Value,
        no_wait: bool,
    ) -> Result<Value, Failed> {
        let (value, operation) = self.ask(method.clone(), path, Some(body)).await?;
        let Some(operation) = operation else {
            return Ok(value);
        };
        if no_wait {
            return Ok(Value::Null);
        }
        loop {
            let state = self.get(&operation).await?;
            match state["status"].as_str().unwrap_or_default() {
                "InProgress" => tokio::time::sleep(Duration::from_millis(300)).await,
                "Succeeded" if method == Method::PUT => return self.get(path).await,
                "Succeeded" => return Ok(Value::Null),
                _ => return Err(refused(StatusCode::OK, &state)),
            }
        }
    }
}

fn refused(status: StatusCode, body: &Value) -> Failed {
    let error = &body["error"];
    let code = error["code"].as_str().unwrap_or("OperationFailed");
    let message = error["message"].as_str().unwrap_or_default();
    Failed {
        said: format!("({code}) {message}\nCode: {code}\nMessage: {message}"),
        // Only some of what is not found has a code of its own.
        code: if status == StatusCode::NOT_FOUND {
            3
        } else {
            1
        },
    }
}
