//! The two sockets of a connection: one task that reads where it can write on, and writes at once
//! what it has read.
//!
//! While blocks come in from one side, the requests for more of them trickle in from the other, one
//! for each block. To wake up for each would cost more than to pass it on. So as long as enough is
//! on its way already, the other side is not listened to: it is read whenever blocks come, and
//! [`PATIENCE_MS`] later at the latest.

use std::io;
use std::pin::Pin;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{Instant, Sleep};

use super::link::Link;
use super::output::BUFFER_BYTES;
use super::report::Close;
use super::shared::Command;
use crate::clock;
use crate::units::UnixMs;

/// The peer may take so long to hang up after us.
const PARTING: Duration = Duration::from_secs(1);

/// A read of so many bytes has blocks in it.
const BULK_BYTES: usize = 8 * 1024;
/// With so many blocks on their way, the requests for more can wait a little.
const MANY_BLOCKS: usize = 16;
/// How long they wait at most when no more blocks come.
const PATIENCE_MS: u64 = 2;

/// Which socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Peer,
    Engine,
}

/// What to do next.
enum Next {
    Read(Side),
    Write,
    Command(Option<Command>),
    Tick,
    Impatient,
}

/// A timer that is set anew only when it has to be.
struct Alarm {
    sleep: Pin<Box<Sleep>>,
    at: Option<UnixMs>,
}

impl Alarm {
    fn new() -> Alarm {
        Alarm {
            sleep: Box::pin(tokio::time::sleep(Duration::ZERO)),
            at: None,
        }
    }

    /// Goes off at `at`, a millisecond from now at the soonest.
    fn set(&mut self, at: UnixMs) {
        if self.at != Some(at) {
            self.at = Some(at);
            let pause = Duration::from_millis(at.since_ms(clock::now()).max(1));
            self.sleep.as_mut().reset(Instant::now() + pause);
        }
    }

    async fn goes_off(&mut self) {
        self.sleep.as_mut().await;
        self.at = None;
    }
}

/// Carries a connection until it ends; says why it did.
pub async fn run(
    link: &mut Link,
    peer: TcpStream,
    engine: TcpStream,
    commands: &mut mpsc::UnboundedReceiver<Command>,
) -> Close {
    let mut pair = Pair {
        link,
        peer,
        engine: Some(engine),
        blocks_from: None,
        look: Alarm::new(),
        patience: Alarm::new(),
        rides: false,
    };
    let why = match pair.carry(commands).await {
        Ok(()) if pair.link.stopping => Close::Stopped,
        Ok(()) => pair.link.given_up.take().unwrap_or(Close::ByEngine),
        Err(close) => return close,
    };
    pair.part().await;
    why
}

struct Pair<'a> {
    link: &'a mut Link,
    peer: TcpStream,
    engine: Option<TcpStream>,
    /// Where blocks last came from, and when.
    blocks_from: Option<(Side, UnixMs)>,
    look: Alarm,
    patience: Alarm,
    /// What is to go to the peer is the payment for a piece, and can go with the next requests.
    rides: bool,
}

impl Pair<'_> {
    async fn carry(
        &mut self,
        commands: &mut mpsc::UnboundedReceiver<Command>,
    ) -> Result<(), Close> {
        let mut look = self.link.tick(clock::now())?;
        loop {
            if self.link.given_up.is_some() && self.engine.take().is_some() {
                self.link.engine_hung_up(clock::now());
            }
            self.flush(None)?;
            if self.link.to_peer.is_empty() && self.link.may_end(clock::now()) {
                return Ok(());
            }
            match self.next(commands, look).await {
                Next::Read(side) => self.read_and_answer(side).await?,
                Next::Write => {}
                Next::Command(Some(command)) => {
                    let is_alone = self.rides || self.link.to_peer.is_empty();
                    self.rides = is_alone && matches!(command, Command::Verified(_));
                    self.link.obey(clock::now(), command)?;
                }
                Next::Command(None) => return Err(Close::Stopped),
                Next::Tick => look = self.link.tick(clock::now())?,
                Next::Impatient => self.blocks_from = None,
            }
        }
    }

    /// Reads one side and, if blocks came, what has trickled in on the other.
    async fn read_and_answer(&mut self, side: Side) -> Result<(), Close> {
        let bytes = self.read(side)?;
        if bytes >= BULK_BYTES {
            self.blocks_from = Some((side, clock::now()));
            let (other, is_free) = match side {
                Side::Peer => (Side::Engine, self.rides || self.link.to_peer.is_empty()),
                Side::Engine => (Side::Peer, self.link.to_engine.is_empty()),
            };
            self.rides = false;
            if is_free {
                self.read(other)?;
            }
        }
        if bytes == BUFFER_BYTES {
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    /// The side that is not listened to, as it only asks for more of what is on its way.
    fn unheard(&self) -> Option<Side> {
        let (from, _) = self.blocks_from?;
        let (other, on_their_way) = match from {
            Side::Peer => (Side::Engine, self.link.asked.open()),
            Side::Engine => (Side::Peer, self.link.hold.admitted()),
        };
        (on_their_way >= MANY_BLOCKS).then_some(other)
    }

    /// Whether what is to go to the peer waits for requests to go with.
    fn waits(&self) -> bool {
        self.rides && self.unheard() == Some(Side::Engine)
    }

    /// Hangs up such that the peer gets all that was sent: closing a socket that has unread bytes
    /// would take back what is on its way.
    async fn part(&mut self) {
        self.engine = None;
        let peer = &mut self.peer;
        let parting = async {
            peer.shutdown().await?;
            let mut rest = vec![0; 16 * 1024];
            while peer.read(&mut rest).await? > 0 {}
            Ok::<(), io::Error>(())
        };
        let _ = tokio::time::timeout(PARTING, parting).await;
    }

    async fn next(
        &mut self,
        commands: &mut mpsc::UnboundedReceiver<Command>,
        look: UnixMs,
    ) -> Next {
        self.look.set(self.link.due(look));
        let unheard = self.unheard();
        if let Some((_, at)) = self.blocks_from {
            self.patience.set(at.plus_ms(PATIENCE_MS));
        }
        let engine = self.engine.as_ref().unwrap_or(&self.peer);
        let engine_open = self.engine.is_some();
        let hears = |side| unheard != Some(side);
        let (to_engine, to_peer) = (&self.link.to_engine, &self.link.to_peer);
        let waits = self.waits();
        tokio::select! {
            biased;
            command = commands.recv() => Next::Command(command),
            // Before the sockets: one that is always ready must not keep it from going off.
            () = self.look.goes_off() => Next::Tick,
            _ = self.peer.readable(), if hears(Side::Peer) && to_engine.is_empty() => {
                Next::Read(Side::Peer)
            }
            _ = engine.readable(), if hears(Side::Engine) && engine_open && to_peer.is_empty() => {
                Next::Read(Side::Engine)
            }
            _ = self.peer.writable(), if !to_peer.is_empty() && !waits => Next::Write,
            _ = engine.writable(), if engine_open && !to_engine.is_empty() => Next::Write,
            () = self.patience.goes_off(), if unheard.is_some() => Next::Impatient,
        }
    }

    /// One read, parsed where it lies, and one write of what it comes to. Returns the bytes read.
    fn read(&mut self, side: Side) -> Result<usize, Close> {
        let pool = self.link.shared.pool.clone();
        let socket = match (side, &self.engine) {
            (Side::Engine, Some(engine)) => engine,
            (Side::Engine, None) => return Ok(0),
            (Side::Peer, _) => &self.peer,
        };
        let mut buffer = pool.take();
        let bytes = match socket.try_read(&mut buffer) {
            Ok(0) => {
                pool.give(buffer);
                return self.hung_up(side).map(|()| 0);
            }
            Ok(bytes) => bytes,
            Err(e) => {
                pool.give(buffer);
                return match e.kind() {
                    io::ErrorKind::WouldBlock => Ok(0),
                    io::ErrorKind::ConnectionReset => self.hung_up(side).map(|()| 0),
                    _ => Err(failed(side, &e)),
                };
            }
        };
        if bytes < buffer.len() {
            // All that was there: saying so spares the read that would find nothing.
            let nothing = || Err::<(), _>(io::Error::from(io::ErrorKind::WouldBlock));
            let _ = socket.try_io(Interest::READABLE, nothing);
        }
        let input = buffer.get(..bytes).unwrap_or_default();
        let now = clock::now();
        let outcome = match side {
            Side::Peer => self.link.read_from_peer(now, input),
            Side::Engine => self.link.read_from_engine(now, input),
        };
        let outcome = outcome.and_then(|()| self.flush(Some((side, input))));
        let output = match side {
            Side::Peer => &mut self.link.to_engine,
            Side::Engine => &mut self.link.to_peer,
        };
        output.settle(buffer, &pool);
        outcome.map(|()| bytes)
    }

    fn hung_up(&mut self, side: Side) -> Result<(), Close> {
        match side {
            Side::Peer => Err(Close::ByPeer),
            Side::Engine => {
                self.engine = None;
                self.link.engine_hung_up(clock::now());
                Ok(())
            }
        }
    }

    /// Writes what the sockets take. `read`: what was read just now, and from where.
    fn flush(&mut self, read: Option<(Side, &[u8])>) -> Result<(), Close> {
        let pool = &self.link.shared.pool;
        let from = |side: Side| match read {
            Some((from, input)) if from == side => Some(input),
            _ => None,
        };
        if !self.link.to_peer.is_empty() && !self.waits() {
            self.rides = false;
            let output = &mut self.link.to_peer;
            let written = output.write(&self.peer, from(Side::Engine));
            written.map_err(|e| failed(Side::Peer, &e))?;
            output.release(pool);
        }
        if !self.link.to_engine.is_empty()
            && let Some(engine) = &self.engine
        {
            let output = &mut self.link.to_engine;
            match output.write(engine, from(Side::Peer)) {
                Ok(()) => output.release(pool),
                Err(_) => {
                    self.engine = None;
                    self.link.engine_hung_up(clock::now());
                }
            }
        }
        Ok(())
    }
}

fn failed(side: Side, error: &io::Error) -> Close {
    match error.kind() {
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset if side == Side::Peer => {
            Close::ByPeer
        }
        _ => Close::Socket {
            side: match side {
                Side::Peer => "peer",
                Side::Engine => "engine",
            },
            error: error.to_string(),
        },
    }
}
