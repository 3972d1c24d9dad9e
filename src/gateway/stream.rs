//! The two sockets of a connection: one task that reads where it can write on, and writes at once
//! what it has read.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use super::link::Link;
use super::report::Close;
use super::shared::Command;
use crate::clock;
use crate::units::UnixMs;

/// The peer may take so long to hang up after us.
const PARTING: Duration = Duration::from_secs(1);

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
    };
    let why = match pair.carry(commands).await {
        Ok(()) if pair.link.stopping => Close::Stopped,
        Ok(()) => Close::ByEngine,
        Err(close) => return close,
    };
    pair.part().await;
    why
}

struct Pair<'a> {
    link: &'a mut Link,
    peer: TcpStream,
    engine: Option<TcpStream>,
}

impl Pair<'_> {
    async fn carry(
        &mut self,
        commands: &mut mpsc::UnboundedReceiver<Command>,
    ) -> Result<(), Close> {
        let mut look = self.link.tick(clock::now())?;
        loop {
            self.flush(None)?;
            if self.link.to_peer.is_empty() && self.link.may_end(clock::now()) {
                return Ok(());
            }
            match self.next(commands, look).await {
                Next::Read(side) => {
                    self.read(side)?;
                    tokio::task::yield_now().await;
                }
                Next::Write => {}
                Next::Command(Some(command)) => self.link.obey(clock::now(), command)?,
                Next::Command(None) => return Err(Close::Stopped),
                Next::Tick => look = self.link.tick(clock::now())?,
            }
        }
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

    async fn next(&self, commands: &mut mpsc::UnboundedReceiver<Command>, look: UnixMs) -> Next {
        let pause_ms = self.link.due(look).since_ms(clock::now());
        let pause = Duration::from_millis(pause_ms.max(1));
        let engine = self.engine.as_ref().unwrap_or(&self.peer);
        let engine_open = self.engine.is_some();
        tokio::select! {
            _ = self.peer.readable(), if self.link.to_engine.is_empty() => Next::Read(Side::Peer),
            _ = engine.readable(), if engine_open && self.link.to_peer.is_empty() => {
                Next::Read(Side::Engine)
            }
            _ = self.peer.writable(), if !self.link.to_peer.is_empty() => Next::Write,
            _ = engine.writable(), if engine_open && !self.link.to_engine.is_empty() => {
                Next::Write
            }
            command = commands.recv() => Next::Command(command),
            () = tokio::time::sleep(pause) => Next::Tick,
        }
    }

    /// One read, parsed where it lies, and one write of what it comes to.
    fn read(&mut self, side: Side) -> Result<(), Close> {
        let pool = self.link.shared.pool.clone();
        let socket = match (side, &self.engine) {
            (Side::Engine, Some(engine)) => engine,
            (Side::Engine, None) => return Ok(()),
            (Side::Peer, _) => &self.peer,
        };
        let mut buffer = pool.take();
        let bytes = match socket.try_read(&mut buffer) {
            Ok(0) => {
                pool.give(buffer);
                return self.hung_up(side);
            }
            Ok(bytes) => bytes,
            Err(e) => {
                pool.give(buffer);
                return match e.kind() {
                    io::ErrorKind::WouldBlock => Ok(()),
                    io::ErrorKind::ConnectionReset => self.hung_up(side),
                    _ => Err(failed(side, &e)),
                };
            }
        };
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
        outcome
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
        if !self.link.to_peer.is_empty() {
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
