//! The version that the whole cluster has agreed upon, which no RPC tells.

use super::error::transport_error;
use super::{CallError, MemberClient};
use crate::timing::round_trip;
use std::future::poll_fn;
use std::pin::Pin;
use tonic::codegen::{Body as _, Service as _, http};

/// What errors call it.
const CALL: &str = "GET /version";
/// No member says more than a few dozen bytes.
const MOST: usize = 4096;

impl MemberClient {
    /// The version whose features all members have: the lowest minor among them, such as `3.4.0`.
    /// etcd raises it within seconds after the last member of an older minor is gone, and from then on
    /// refuses to run that minor.
    ///
    /// # Errors
    /// The call failed, or the answer is not etcd's.
    pub async fn cluster_version(&self) -> Result<String, CallError> {
        let answer = async {
            match tokio::time::timeout(self.limit, self.get_version()).await {
                Ok(answer) => cluster_version(&answer?),
                Err(_) => Err(CallError::Timeout { call: CALL, limit: self.limit }),
            }
        };
        round_trip(&self.host, CALL).of(answer).await
    }

    /// etcd answers plain HTTP requests on the port of its RPCs.
    async fn get_version(&self) -> Result<Vec<u8>, CallError> {
        let mut channel = self.channel.clone();
        let mut request = http::Request::new(tonic::body::Body::empty());
        *request.uri_mut() = http::Uri::from_static("/version");
        poll_fn(|context| channel.poll_ready(context)).await.map_err(|error| transport_error(&error))?;
        let answer = channel.call(request).await.map_err(|error| transport_error(&error))?;
        if !answer.status().is_success() {
            return Err(refused(format!("HTTP status {}", answer.status())));
        }
        let mut body = answer.into_body();
        let mut bytes = Vec::new();
        while let Some(frame) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
            let frame = frame.map_err(|status| refused(super::tame(status.message())))?;
            bytes.extend_from_slice(frame.data_ref().map(AsRef::as_ref).unwrap_or_default());
            if bytes.len() > MOST {
                return Err(refused(format!("the answer is longer than {MOST} bytes")));
            }
        }
        Ok(bytes)
    }
}

fn refused(message: String) -> CallError {
    CallError::Refused { call: CALL, message }
}

/// The version in etcd's answer: `{"etcdserver":"3.5.16","etcdcluster":"3.5.0"}`.
fn cluster_version(answer: &[u8]) -> Result<String, CallError> {
    let said: serde_json::Value = serde_json::from_slice(answer).unwrap_or_default();
    let version = said.get("etcdcluster").and_then(|version| version.as_str());
    let version = version.filter(|version| semver::Version::parse(version).is_ok());
    version.map(str::to_owned).ok_or_else(|| refused("the answer names no cluster version".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::cluster_version;

    #[test]
    fn the_cluster_s_version_is_found() {
        let none = "`GET /version`: the answer names no cluster version";
        for (answer, want) in [
            (r#"{"etcdserver":"3.5.16","etcdcluster":"3.4.0"}"#, "3.4.0"),
            // As long as there is no leader.
            (r#"{"etcdserver":"3.5.16","etcdcluster":"not_decided"}"#, none),
            (r#"{"etcdserver":"3.5.16"}"#, none),
            ("404 page not found", none),
            ("", none),
        ] {
            let got = cluster_version(answer.as_bytes()).unwrap_or_else(|error| error.to_string());
            assert_eq!(got, want, "{answer}");
        }
    }
}
