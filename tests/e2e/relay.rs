//! A slow line between two peers that a test can cut, and whose far end it can move.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What passes at once, and how long it then rests: 16 MiB/s.
const GULP_BYTES: usize = 256 * 1024;
const REST: Duration = Duration::from_millis(16);

pub struct Relay {
    pub address: SocketAddr,
    target: Arc<watch::Sender<SocketAddr>>,
    cuts: watch::Sender<u32>,
    passed: watch::Receiver<u64>,
}

impl Relay {
    pub async fn start(target: &str) -> Relay {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
        let address = listener.local_addr().expect("an address");
        let target = Arc::new(watch::Sender::new(target.parse().expect("an address")));
        let (cuts, is_cut) = watch::channel(0);
        let (count, passed) = watch::channel(0);
        let to = Arc::clone(&target);
        let count = Arc::new(count);
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let (to, count, mut is_cut) = (*to.borrow(), Arc::clone(&count), is_cut.clone());
                is_cut.mark_unchanged();
                tokio::spawn(async move {
                    let Ok(far) = TcpStream::connect(to).await else {
                        return;
                    };
                    tokio::select! {
                        () = pass(near, far, &count) => {}
                        _ = is_cut.changed() => {}
                    }
                });
            }
        });
        Relay {
            address,
            target,
            cuts,
            passed,
        }
    }

    /// Waits until the far end has sent so many bytes in all.
    pub async fn has_passed(&mut self, bytes: u64) {
        let passed = self.passed.wait_for(|passed| *passed >= bytes);
        let waited = tokio::time::timeout(Duration::from_secs(60), passed).await;
        waited.expect("in time").expect("runs");
    }

    pub fn cut(&self) {
        self.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// New connections go there from now on.
    pub fn lead_to(&self, target: &str) {
        self.target
            .send_replace(target.parse().expect("an address"));
    }
}

async fn pass(near: TcpStream, far: TcpStream, count: &watch::Sender<u64>) {
    let (mut near_in, mut near_out) = near.into_split();
    let (mut far_in, mut far_out) = far.into_split();
    let up = tokio::io::copy(&mut near_in, &mut far_out);
    let down = async {
        let mut gulp = vec![0; GULP_BYTES];
        while let Ok(bytes @ 1..) = far_in.read(&mut gulp).await {
            if near_out.write_all(&gulp[..bytes]).await.is_err() {
                return;
            }
            count.send_modify(|passed| *passed += bytes as u64);
            tokio::time::sleep(REST).await;
        }
    };
    tokio::select! {
        _ = up => {}
        () = down => {}
    }
}
