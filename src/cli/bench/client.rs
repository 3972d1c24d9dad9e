//! As little of an HTTP client as a measurement needs, and what it costs.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Result, ensure};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// Bytes read at once.
const BUFFER: usize = 32 * 1024;

/// How long it took to have requests answered.
pub(super) struct Sent {
    pub(super) time: Duration,
    /// CPU time of the client.
    pub(super) client: Duration,
    /// CPU time of the client and the broker.
    pub(super) cpu: Duration,
}

/// A connection that is kept: no more of a client than HTTP needs, for it shares the machine.
pub(super) struct Client(BufReader<TcpStream>);

impl Client {
    /// Connects.
    pub(super) async fn connect(address: SocketAddr) -> Result<Client> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Client(BufReader::with_capacity(BUFFER, stream)))
    }

    /// Sends a request and reads the answer's body.
    pub(super) async fn post(&mut self, request: &[u8]) -> Result<Vec<u8>> {
        self.0.get_mut().write_all(request).await?;
        let (mut length, mut done, mut line) = (0, false, String::new());
        loop {
            line.clear();
            ensure!(
                self.0.read_line(&mut line).await? > 0,
                "the connection ended"
            );
            if line.starts_with("HTTP/1.1 ") {
                done = line.starts_with("HTTP/1.1 200 ");
            }
            if let Some(value) = line.strip_prefix("content-length: ") {
                length = value.trim().parse()?;
            }
            if line == "\r\n" {
                break;
            }
        }
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).await?;
        ensure!(done, "{}", String::from_utf8_lossy(&body));
        Ok(body)
    }
}

/// The CPU time that this process had so far, in steps of 10 ms; zero where it is not Linux.
pub(super) fn process_cpu() -> Duration {
    Duration::from_millis(crate::cli::node::process_cpu_ms("self"))
}

/// The CPU time that this thread had so far, as Linux tells it; zero elsewhere.
pub(super) fn thread_cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let on_cpu_ns = stat
        .split_whitespace()
        .next()
        .and_then(|ns| ns.parse().ok());
    Duration::from_nanos(on_cpu_ns.unwrap_or_default())
}
