//! Waiting for a change by a watch: what is waited for is looked at again as soon as something happens
//! to it. A watch that ends (too old, timed out, a restarted API server) is begun anew; the look that
//! follows sees what happened between.

use super::Cluster;
use futures::{StreamExt, stream::BoxStream};
use http::Request;
use kube::core::WatchEvent;
use serde_json::Value;
use std::time::Duration;
use tokio::time::{Instant, sleep_until, timeout_at};

/// Looks follow each other no faster than this.
const SHORTEST: Duration = Duration::from_millis(100);
/// After a watch that failed.
const PAUSE: Duration = Duration::from_secs(1);

/// A watch of one collection.
pub struct Watch {
    cluster: Cluster,
    /// Path and selectors, without the words of the watch.
    path: String,
    stream: Option<BoxStream<'static, Result<WatchEvent<Value>, kube::Error>>>,
}

impl Watch {
    pub fn new(cluster: Cluster, path: String) -> Self {
        Self {
            cluster,
            path,
            stream: None,
        }
    }

    /// Returns when something has happened, and at `latest`.
    pub async fn changed(&mut self, latest: Instant) {
        let soonest = (Instant::now() + SHORTEST).min(latest);
        if self.stream.is_none() && !self.begin(latest).await {
            sleep_until((Instant::now() + PAUSE).min(latest)).await;
            return;
        }
        if let Some(stream) = &mut self.stream {
            match timeout_at(latest, stream.next()).await {
                Ok(Some(Ok(
                    WatchEvent::Added(_) | WatchEvent::Modified(_) | WatchEvent::Deleted(_),
                ))) => {}
                Ok(Some(Ok(WatchEvent::Bookmark(_)))) | Err(_) => {}
                // Too old, or cut: it begins anew, with all that is there.
                Ok(Some(Ok(WatchEvent::Error(_)) | Err(_)) | None) => {
                    self.stream = None;
                    sleep_until((Instant::now() + PAUSE).min(latest)).await;
                }
            }
        }
        sleep_until(soonest).await;
    }

    /// Without a version it begins with what is there, so that nothing is missed between two watches.
    async fn begin(&mut self, latest: Instant) -> bool {
        let mark = if self.path.contains('?') { '&' } else { '?' };
        let path = format!("{}{mark}watch=true&timeoutSeconds=300", self.path);
        let Ok(request) = Request::get(path).body(Vec::new()) else {
            return false;
        };
        let begun = self.cluster.client.request_events::<Value>(request);
        match timeout_at(latest, begun).await {
            Ok(Ok(stream)) => {
                self.stream = Some(stream.boxed());
                true
            }
            Ok(Err(_)) | Err(_) => false,
        }
    }
}
