//! Long lines to near hosts: TCP proxies in this process that hold everything back for a while, each way.
//! They take as much as they are given, so it is SSH's own windows and round trips that are measured.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::unbounded_channel;
use tokio::time::{Instant, sleep_until};

/// Proxies, on addresses of their own; they end with the process.
pub struct Lines {
    hosts: Vec<String>,
    port: u16,
}

impl Lines {
    pub fn to(hosts: &[String], port: u16, delay: Duration) -> Self {
        let near: Vec<String> =
            (0..hosts.len()).map(|index| Ipv4Addr::new(127, 78, 1, index as u8 + 1).to_string()).collect();
        // The kernel takes connections from here on, while the thread still starts.
        let bind = |index: usize, port: u16| std::net::TcpListener::bind((near[index].as_str(), port)).unwrap();
        let first = bind(0, 0);
        let port_here = first.local_addr().unwrap().port();
        let listeners: Vec<_> =
            std::iter::once(first).chain((1..hosts.len()).map(|index| bind(index, port_here))).collect();
        let targets: Vec<SocketAddr> = hosts.iter().map(|host| SocketAddr::new(host.parse().unwrap(), port)).collect();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                for (listener, target) in listeners.into_iter().zip(targets) {
                    listener.set_nonblocking(true).unwrap();
                    tokio::spawn(serve(TcpListener::from_std(listener).unwrap(), target, delay));
                }
                std::future::pending::<()>().await;
            });
        });
        Self { hosts: near, port: port_here }
    }

    pub fn hosts(&self) -> Vec<String> {
        self.hosts.clone()
    }

    pub fn port(&self) -> u16 {
        self.port
    }
}

async fn serve(listener: TcpListener, target: SocketAddr, delay: Duration) {
    while let Ok((near, _)) = listener.accept().await {
        tokio::spawn(async move {
            // The three-way handshake has to cross the line, too.
            tokio::time::sleep(2 * delay).await;
            let far = TcpStream::connect(target).await.unwrap();
            near.set_nodelay(true).unwrap();
            far.set_nodelay(true).unwrap();
            let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
            tokio::join!(hold_back(near_in, far_out, delay), hold_back(far_in, near_out, delay));
        });
    }
}

async fn hold_back(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, delay: Duration) {
    let (queue, mut queued) = unbounded_channel::<(Instant, Vec<u8>)>();
    let sending = async {
        while let Some((due, data)) = queued.recv().await {
            sleep_until(due).await;
            if to.write_all(&data).await.is_err() {
                return;
            }
        }
        let _ = to.shutdown().await;
    };
    let reading = async move {
        let mut buffer = vec![0; 64 << 10];
        while let Ok(count @ 1..) = from.read(&mut buffer).await {
            if queue.send((Instant::now() + delay, buffer[..count].to_vec())).is_err() {
                return;
            }
        }
    };
    tokio::join!(sending, reading);
}
