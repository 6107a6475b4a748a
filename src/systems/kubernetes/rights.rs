//! May we do this? Asked of the API server beforehand, once for each right.

use super::{Body, Cluster, Trouble, kinds::Place};
use crate::domain::native::Right;
use futures::future::join_all;
use http::Method;
use serde_json::json;

const REVIEWS: &str = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";

/// Those rights of a list that we do not have, each as people say it: `delete persistentvolumeclaims
/// (data)`.
pub async fn missing(cluster: &Cluster, rights: &[Right]) -> Result<Vec<String>, Trouble> {
    let asked = rights.iter().map(|right| one(cluster, right));
    let mut out = Vec::new();
    for answer in join_all(asked).await {
        out.extend(answer?.filter(|said| !out.contains(said)));
    }
    Ok(out)
}

async fn one(cluster: &Cluster, right: &Right) -> Result<Option<String>, Trouble> {
    let place = match Place::of(cluster, &format!("{}/{}", right.kind, right.name)).await {
        Ok(place) => place,
        // A kind that is made during the recovery: nobody can say yet.
        Err(Trouble::Down(_)) => return Ok(None),
        Err(trouble) => return Err(trouble),
    };
    let group = place.group_version().split_once('/').map_or("", |(g, _)| g);
    let namespace = right.namespace.as_deref().unwrap_or(&cluster.namespace);
    let mut attributes = json!({
        "verb": right.verb,
        "group": group,
        "resource": place.plural,
        "subresource": right.subresource,
        "name": right.name,
    });
    if place.namespaced() {
        attributes["namespace"] = json!(namespace);
    }
    let body = json!({
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": { "resourceAttributes": attributes },
    });
    let answer = cluster
        .send(Method::POST, REVIEWS, Body::Json, &body)
        .await
        .map_err(|e| super::trouble(&e))?;
    if answer["status"]["allowed"] == true {
        return Ok(None);
    }
    let mut said = format!("{} {}", right.verb, place.plural);
    if !right.subresource.is_empty() {
        said.push_str(&format!("/{}", right.subresource));
    }
    if !right.name.is_empty() {
        said.push_str(&format!(" ({})", right.name));
    }
    if place.namespaced() {
        said.push_str(&format!(" in {namespace}"));
    }
    Ok(Some(said))
}
