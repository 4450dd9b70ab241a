//! A command whose stdin and stdout lead to the machine (ssh_config(5), ProxyCommand).

use std::io;
use std::pin::Pin;
use std::process::Stdio;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite, BufReader, ReadBuf};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::watch;
use tokio::time::timeout;

use super::wire::printable;

/// How long a command whose stdout ended may take to end its stderr, too.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// The last thing that the command said on stderr.
#[derive(Debug)]
pub(super) struct LastWords(watch::Receiver<Option<String>>);

impl LastWords {
    /// Waits until the command says nothing more, a bounded time.
    pub(super) async fn last(mut self) -> Option<String> {
        // The sender goes away at the end of the command's stderr.
        let _ = timeout(LAST_WORDS, async { while self.0.changed().await.is_ok() {} }).await;
        self.0.borrow().clone()
    }
}

/// The running command; killed when dropped.
pub(super) struct CommandStream {
    _child: Child,
    stdin: ChildStdin,
    stdout: ChildStdout,
}

/// Starts the command by the shell, as OpenSSH does.
pub(super) fn start(command: &str) -> io::Result<(CommandStream, LastWords)> {
    let mut child = Command::new("sh")
        .args(["-c", &format!("exec {command}")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let (Some(stdin), Some(stdout), Some(stderr)) = (child.stdin.take(), child.stdout.take(), child.stderr.take())
    else {
        return Err(io::ErrorKind::BrokenPipe.into());
    };
    let (heard, words) = watch::channel(None);
    tokio::spawn(async move {
        // It must be read, or the command would stand still one day.
        let mut lines = BufReader::new(stderr).split(b'\n');
        while let Ok(Some(line)) = lines.next_segment().await {
            let line = printable(&String::from_utf8_lossy(&line));
            if !line.is_empty() {
                heard.send_replace(Some(line));
            }
        }
    });
    Ok((CommandStream { _child: child, stdin, stdout }, LastWords(words)))
}

impl AsyncRead for CommandStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stdout).poll_read(cx, buf)
    }
}

impl AsyncWrite for CommandStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stdin).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stdin).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stdin).poll_shutdown(cx)
    }
}
