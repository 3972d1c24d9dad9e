//! The two doors: our engine comes in by SOCKS and goes out to peers, peers come in by the public
//! listener and go on to the engine's listener on loopback.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use super::link::Link;
use super::report::{Close, GatewayEvent};
use super::shared::{Command, Handle, OpenedBy, Shared};
use super::socks::{self, Login, Reply};
use super::stream;
use crate::clock;
use crate::units::InfoHash;
use crate::wire::frame::{Handshake, PROTOCOL};

/// Greeting, dialling and handshake may each take so long.
const PATIENCE: Duration = Duration::from_secs(10);
/// Inbound connections that have not shaken hands yet, at most.
const MAX_STRANGERS: usize = 256;
/// How long a connection that our engine hung up may go on settling when it dials the same peer again,
/// in milliseconds.
const SETTLE_MS: u64 = 3_000;
/// A pause after the system refused to accept, out of file descriptors for example.
const REFUSED_PAUSE: Duration = Duration::from_millis(200);

async fn patient<T>(work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    match tokio::time::timeout(PATIENCE, work).await {
        Ok(outcome) => outcome,
        Err(_) => Err(io::ErrorKind::TimedOut.into()),
    }
}

/// Lets our engine out, for ever.
pub async fn serve_socks(shared: Rc<Shared>, listener: TcpListener, login: Login) {
    loop {
        let Ok((client, _)) = listener.accept().await else {
            tokio::time::sleep(REFUSED_PAUSE).await;
            continue;
        };
        let (shared, login) = (Rc::clone(&shared), login.clone());
        tokio::task::spawn_local(async move {
            if let Err(error) = let_out(shared, client, &login).await {
                tracing::debug!(%error, "a SOCKS client was turned away");
            }
        });
    }
}

async fn let_out(
    shared: Rc<Shared>,
    mut client: TcpStream,
    login: &Login,
) -> Result<(), socks::SocksError> {
    client.set_nodelay(true)?;
    let greeted = tokio::time::timeout(PATIENCE, socks::greet(&mut client, login)).await;
    let address = greeted.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    let is_blocked = {
        let list = shared.block_list.borrow();
        list.refuses_address(clock::now(), address)
    };
    if is_blocked || is_self(&shared, address) {
        socks::answer(&mut client, Reply::NotAllowed).await?;
        return Ok(());
    }
    let mut target = match patient(TcpStream::connect(address)).await {
        Ok(target) => target,
        Err(e) => {
            let reply = match e.kind() {
                io::ErrorKind::ConnectionRefused => Reply::Refused,
                _ => Reply::HostUnreachable,
            };
            socks::answer(&mut client, reply).await?;
            return Ok(());
        }
    };
    target.set_nodelay(true)?;
    socks::answer(&mut client, Reply::Succeeded).await?;
    let Some(first) = first_to_shake(&client, &target, PATIENCE).await? else {
        // An HTTP tracker, a .torrent download: none of our business.
        tokio::io::copy_bidirectional(&mut client, &mut target).await?;
        return Ok(());
    };
    if let Some(info_hash) = handshake_of(first).await {
        outlive_old(&shared, address, info_hash).await;
    }
    carry(shared, OpenedBy::Us, address, target, Some(client)).await;
    Ok(())
}

/// Whether an address is our own listener, as far as can be told before a handshake.
fn is_self(shared: &Shared, address: SocketAddr) -> bool {
    let ip = address.ip().to_canonical();
    let own = shared.listen.ip().to_canonical();
    address.port() == shared.listen.port()
        && (ip == own || (own.is_unspecified() && ip.is_loopback()))
}

/// Whichever side speaks first, if that is a BitTorrent handshake: a peer that is dialled need not wait for
/// ours. Nothing is taken, and who begins one and goes no further is hung up on.
async fn first_to_shake<'a>(
    client: &'a TcpStream,
    target: &'a TcpStream,
    patience: Duration,
) -> io::Result<Option<&'a TcpStream>> {
    // Not `readable`, which may say so of bytes that were taken before.
    let (mut ours, mut theirs) = ([0; 1], [0; 1]);
    let first = tokio::select! {
        biased;
        seen = client.peek(&mut ours) => seen.map(|_| client)?,
        seen = target.peek(&mut theirs) => seen.map(|_| target)?,
    };
    let mut head = [0u8; PROTOCOL.len()];
    let opens = async {
        loop {
            let seen = first.peek(&mut head).await?;
            if seen == 0 || head[..seen] != PROTOCOL[..seen] {
                return Ok(None);
            }
            if seen == head.len() {
                return Ok(Some(first));
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let outcome = tokio::time::timeout(patience, opens).await;
    outcome.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
}

/// Our engine dials a peer again: it has hung up an earlier connection to it, which may still stand to
/// settle payments. The peer would refuse this one as a second, and the engine try again a minute later.
/// So the earlier one has a moment to end, and is ended then; what it left open is resumed here.
async fn outlive_old(shared: &Shared, address: SocketAddr, info_hash: InfoHash) {
    let began = clock::now();
    while let Some(old) = shared.dialled(address, info_hash) {
        if clock::now().since_ms(began) >= SETTLE_MS {
            let _ = old.send(Command::Close(Close::ByEngine));
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Lets peers in, for ever.
pub async fn serve_peers(shared: Rc<Shared>, listener: TcpListener) {
    let strangers = Rc::new(tokio::sync::Semaphore::new(MAX_STRANGERS));
    loop {
        let Ok((peer, address)) = listener.accept().await else {
            tokio::time::sleep(REFUSED_PAUSE).await;
            continue;
        };
        let is_blocked = {
            let list = shared.block_list.borrow();
            list.refuses_address(clock::now(), address)
        };
        if is_blocked || strangers.available_permits() == 0 {
            continue;
        }
        let (shared, strangers) = (Rc::clone(&shared), Rc::clone(&strangers));
        tokio::task::spawn_local(async move {
            let permit = strangers.acquire().await;
            if peer.set_nodelay(true).is_err() || handshake_of(&peer).await.is_none() {
                return;
            }
            drop(permit);
            carry(shared, OpenedBy::Peer, address, peer, None).await;
        });
    }
}

/// Waits until a peer has sent its whole handshake, without taking it; says of which torrent.
async fn handshake_of(peer: &TcpStream) -> Option<InfoHash> {
    let wait = async {
        let mut head = [0u8; crate::wire::frame::HANDSHAKE_BYTES];
        loop {
            peer.readable().await?;
            let seen = peer.peek(&mut head).await?;
            let name = seen.min(PROTOCOL.len());
            if seen == 0 || head[..name] != PROTOCOL[..name] {
                return Ok(None);
            }
            if seen == head.len() {
                let shaken = Handshake::decode(&head).ok();
                return Ok(shaken.map(|handshake| handshake.info_hash));
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    patient(wait).await.ok().flatten()
}

/// A connection from its first byte to its last. Without `engine`, our engine is dialled once the
/// peer's handshake is found good.
async fn carry(
    shared: Rc<Shared>,
    opened_by: OpenedBy,
    address: SocketAddr,
    peer: TcpStream,
    engine: Option<TcpStream>,
) {
    let now = clock::now();
    let id = shared.next_id();
    let (commands, mut orders) = mpsc::unbounded_channel();
    let own = commands.clone();
    let mut link = Link::new(now, id, Rc::clone(&shared), opened_by, address, own);
    let handle = Handle {
        commands,
        peer: None,
        opened_by,
        since: now,
        heard_at: Rc::clone(&link.heard_at),
        lingers: Rc::clone(&link.lingers),
        is_unserved: Rc::clone(&link.is_unserved),
        snapshot: Rc::clone(&link.snapshot),
    };
    shared.connections.borrow_mut().insert(id, handle);
    let engine = match engine {
        Some(engine) => Ok(engine),
        None => reach_engine(&mut link, &peer).await,
    };
    let why = match engine {
        Ok(engine) => stream::run(&mut link, peer, engine, &mut orders).await,
        Err(why) => why,
    };
    link.end(clock::now(), &why);
    link.show();
    let last = link.snapshot.borrow().clone();
    shared.connections.borrow_mut().remove(&id);
    shared.depart(id, last.clone());
    shared.tell(GatewayEvent::Closed {
        info_hash: link.info_hash(),
        peer: address,
        why,
        last: Box::new(last),
    });
}

/// Takes an inbound peer's handshake and dials our engine for it.
async fn reach_engine(link: &mut Link, peer: &TcpStream) -> Result<TcpStream, Close> {
    let failed = |side: &'static str, e: io::Error| Close::Socket {
        side,
        error: e.to_string(),
    };
    let mut head = [0u8; crate::wire::frame::HANDSHAKE_BYTES];
    let read = peer.try_read(&mut head).map_err(|e| failed("peer", e))?;
    let head = head.get(..read).unwrap_or_default();
    link.read_from_peer(clock::now(), head)?;
    link.to_engine.own(head);
    let Some(address) = link.shared.engine_listen.get() else {
        return Err(failed("engine", io::ErrorKind::NotConnected.into()));
    };
    let waker = link.shared.waker.borrow().clone();
    if let (Some(wake), Some(info_hash)) = (waker, link.info_hash()) {
        wake(info_hash).await;
    }
    let engine = patient(TcpStream::connect(address)).await;
    let engine = engine.map_err(|e| failed("engine", e))?;
    engine.set_nodelay(true).map_err(|e| failed("engine", e))?;
    Ok(engine)
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::*;

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
        let address = listener.local_addr().expect("an address");
        let near = TcpStream::connect(address).await.expect("connects");
        (near, listener.accept().await.expect("accepts").0)
    }

    #[tokio::test]
    async fn who_is_dialled_and_says_only_half_of_a_handshake_is_hung_up_on() {
        let ((client, _engine), (target, mut peer)) = (pair().await, pair().await);
        let (half, rest) = PROTOCOL.split_at(9);
        peer.write_all(half).await.expect("writes");
        let patience = Duration::from_millis(100);
        let stays = tokio::time::timeout(PATIENCE, first_to_shake(&client, &target, patience));
        let hung_up = stays
            .await
            .expect("is not waited for")
            .map_err(|e| e.kind());
        assert_eq!(hung_up.err(), Some(io::ErrorKind::TimedOut));
        peer.write_all(rest).await.expect("writes");
        let first = first_to_shake(&client, &target, PATIENCE).await;
        assert!(std::ptr::eq(
            first.expect("reads").expect("is one"),
            &raw const target
        ));
    }
}
