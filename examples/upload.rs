//! Connects to hosts at once and uploads a file to each, as a deploy does it, without anything around:
//! `upload IDENTITY KNOWN_HOSTS FILE HOST...`. For `tests/lab/bench upload`.

use bytes::Bytes;
use etcd_ha::ssh::{HostKeyChecking, Input, Limits, Session, Target};
use futures::future::try_join_all;
use std::time::Duration;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [identity, known_hosts, file, hosts @ ..] = &words[..] else {
        return Err("usage: upload IDENTITY KNOWN_HOSTS FILE HOST...".into());
    };
    try_join_all(hosts.iter().map(|host| async move {
        let target = Target {
            address: host.clone(),
            port: 22,
            user: "root".to_owned(),
            identity: vec![identity.into()],
            known_hosts: vec![known_hosts.into()],
            host_key_checking: HostKeyChecking::Strict,
            connect_timeout: Duration::from_secs(10),
            keepalive: Duration::from_secs(5),
        };
        let session = Session::connect(&target).await?;
        let input = Input::File { head: Bytes::new(), path: file.into(), progress: None };
        let output = session.exec("cat >/root/archive", input, &Limits::default()).await?;
        session.close().await;
        if output.success() { Ok(()) } else { Err(format!("{host}: {}", output.status).into()) }
    }))
    .await
    .map(|_: Vec<()>| ())
    .map_err(|error: Box<dyn std::error::Error>| error)
}
