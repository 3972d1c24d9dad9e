//! Copies of the spent list that do not come, or are not the broker's.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dpay::cashier::wallet::BrokerDoor;
use dpay::cashier::wallet::counter::Counter;
use dpay::clock;
use dpay::coin::keys::SecretKey;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::house::House;

/// What happens to answers to requests that begin so.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Lost(&'static str),
    Spoiled(&'static str),
    Passed,
}

/// A way to the broker.
struct Relay {
    url: String,
    fate: Arc<Mutex<Fate>>,
}

impl Relay {
    async fn to(broker: SocketAddr) -> Relay {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let fate = Arc::new(Mutex::new(Fate::Passed));
        let of_all = Arc::clone(&fate);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(pass(client, broker, Arc::clone(&of_all)));
            }
        });
        Relay { url, fate }
    }

    fn set(&self, fate: Fate) {
        *self.fate.lock().expect("whole") = fate;
    }
}

/// One connection, until something is lost.
async fn pass(mut client: TcpStream, broker: SocketAddr, fate: Arc<Mutex<Fate>>) {
    let Ok(mut server) = TcpStream::connect(broker).await else {
        return;
    };
    let (mut asked, mut told) = ([0; 16_384], [0; 65_536]);
    let mut is_spoiled = false;
    loop {
        let passed = tokio::select! {
            Ok(n) = client.read(&mut asked) => {
                let begins = |with: &str| asked[..n].starts_with(with.as_bytes());
                let fate = *fate.lock().expect("whole");
                match fate {
                    Fate::Lost(with) if begins(with) => return,
                    Fate::Spoiled(with) => is_spoiled = begins(with),
                    _ => is_spoiled = false,
                }
                n > 0 && server.write_all(&asked[..n]).await.is_ok()
            }
            Ok(n) = server.read(&mut told) => {
                if is_spoiled && n > 0 {
                    // The end of the body, where the signature is.
                    told[n - 1] ^= 1;
                }
                n > 0 && client.write_all(&told[..n]).await.is_ok()
            }
            else => false,
        };
        if !passed {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spent_list_that_does_not_come_or_is_not_the_brokers_makes_the_old_one_no_newer() {
    let house = House::open().await;
    let relay = Relay::to(house.server.address()).await;
    let door = Counter::new(&relay.url, None, SecretKey::from_bytes([9; 32])).expect("a door");
    let old = door.spent_list().await.expect("comes");
    assert!(old.is_fresh(clock::now()));
    let fates = [
        Fate::Lost("GET /v1/spent"),
        Fate::Spoiled("GET /v1/spent"),
        Fate::Lost("GET /v1/suspended"),
        Fate::Spoiled("GET /v1/suspended"),
    ];
    for (fate, hours) in fates.into_iter().zip(2..) {
        clock::shift(hours * 3_600);
        relay.set(fate);
        let refused = tokio::time::timeout(Duration::from_secs(60), door.spent_list()).await;
        assert!(refused.expect("answers").is_err(), "{fate:?}");
        assert!(!old.is_fresh(clock::now()), "{fate:?}");
        relay.set(Fate::Passed);
        let new = door.spent_list().await.expect("comes");
        assert!(new.is_fresh(clock::now()), "after {fate:?}");
    }
}
