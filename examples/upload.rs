//! Connects to hosts at once and uploads a file to each, as a deploy does it, without anything around:
//! `upload IDENTITY KNOWN_HOSTS FILE HOST...`. For `tests/lab/bench upload`.

use bytes::Bytes;
use etcd_ha::ssh::{ConfigFile, Connector, Input, Limits, Target};
use futures::future::try_join_all;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [identity, known_hosts, file, hosts @ ..] = &words[..] else {
        return Err("usage: upload IDENTITY KNOWN_HOSTS FILE HOST...".into());
    };
    let connector = &Connector::default();
    try_join_all(hosts.iter().map(|host| async move {
        let target = Target {
            user: Some("root".to_owned()),
            identity: vec![identity.into()],
            known_hosts: vec![known_hosts.into()],
            config: ConfigFile::None,
            ..Target::new(host, host)
        };
        let session = connector.connect(&target).await?;
        let input = Input::File { head: Bytes::new(), path: file.into(), progress: None };
        let output = session.exec("cat >/root/archive", input, &Limits::default()).await?;
        session.close().await;
        if output.success() { Ok(()) } else { Err(format!("{host}: {}", output.status).into()) }
    }))
    .await
    .map(|_: Vec<()>| ())
    .map_err(|error: Box<dyn std::error::Error>| error)
}
