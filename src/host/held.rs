//! Scripts that go on for as long as they are held: their stdin ends with the hold, and with the
//! controller.

use super::connection::Connection;
use super::error::HostError;
use super::framing::frame;
use crate::ssh::Pipe;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// How long a script may take to say its first line, and to end once it is let go.
const LIMIT: Duration = Duration::from_secs(10);
/// The longest that a login's noise and the first line may be.
const LONGEST: usize = 64 << 10;

/// A script that runs until this is dropped, or the connection ends.
pub struct Held {
    pipe: Pipe,
}

impl Held {
    /// Lets the script end and waits for it, a bounded time.
    pub async fn end(mut self) {
        let ended = async {
            // Whatever is wrong with the line, the script is gone with it.
            let _ = self.pipe.shutdown().await;
            let mut rest = [0; 512];
            while matches!(self.pipe.read(&mut rest).await, Ok(count) if count > 0) {}
        };
        let _ = tokio::time::timeout(LIMIT, ended).await;
    }
}

impl Connection {
    /// Starts a script that goes on until its stdin ends, and gives the first line that it says.
    ///
    /// # Errors
    /// It says nothing in time, or the host cannot be reached.
    pub async fn hold(&self, what: &str, script: &str) -> Result<(Held, String), HostError> {
        let framed = frame(script, self.r#become());
        let ssh = |source| HostError::Ssh { host: self.host().to_owned(), source };
        let garbled = |problem: &str| HostError::Garbled {
            host: self.host().to_owned(),
            what: what.to_owned(),
            problem: problem.to_owned(),
        };
        let mut pipe = self.session().pipe(&framed.command).await.map_err(ssh)?;
        let said = async {
            pipe.write_all(framed.head.as_bytes()).await?;
            pipe.flush().await?;
            let (mut said, mut part) = (Vec::new(), [0; 4096]);
            loop {
                let count = pipe.read(&mut part).await?;
                said.extend_from_slice(&part[..count]);
                if let Some(line) = framed.first_line(&said) {
                    return Ok(Some(line));
                }
                if count == 0 || said.len() > LONGEST {
                    return Ok::<_, std::io::Error>(None);
                }
            }
        };
        match tokio::time::timeout(LIMIT, said).await {
            Ok(Ok(Some(line))) => Ok((Held { pipe }, line)),
            Ok(Ok(None)) => Err(garbled("it ends early")),
            Ok(Err(error)) => Err(garbled(&error.to_string())),
            Err(_) => Err(garbled("it said nothing")),
        }
    }
}
