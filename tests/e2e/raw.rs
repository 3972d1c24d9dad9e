//! A BitTorrent peer by hand, for what no honest client does: it speaks BEP 3, BEP 10 and `dp_pay` over a
//! real socket and does exactly what a test tells it to.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use dpay::wire::message::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// The extended id under which this peer takes `dp_pay`.
const OUR_PAY_ID: u8 = 7;
pub const BLOCK_BYTES: u32 = 16 * 1024;

/// What the other side sent.
#[derive(Debug)]
pub enum Event {
    KeepAlive,
    Choke,
    Unchoke,
    Interested,
    Request {
        piece: u32,
        begin: u32,
        length: u32,
    },
    Piece {
        piece: u32,
        begin: u32,
        data: Vec<u8>,
    },
    Pay(Box<Message>),
    Other,
}

pub struct RawPeer {
    stream: TcpStream,
    their_pay_id: Option<u8>,
}

async fn exactly(stream: &mut TcpStream, n: usize) -> Result<Vec<u8>> {
    let mut bytes = vec![0; n];
    stream.read_exact(&mut bytes).await?;
    Ok(bytes)
}

impl RawPeer {
    /// Dials a peer.
    pub async fn connect(to: &str, info_hash: [u8; 20], peer_id: &[u8; 20]) -> Result<RawPeer> {
        let stream = TcpStream::connect(to).await?;
        RawPeer::shake(stream, info_hash, peer_id, true).await
    }

    /// Takes the next peer that dials.
    pub async fn accept(
        listener: &TcpListener,
        info_hash: [u8; 20],
        peer_id: &[u8; 20],
        pays: bool,
    ) -> Result<RawPeer> {
        let (stream, _) = listener.accept().await?;
        RawPeer::shake(stream, info_hash, peer_id, pays).await
    }

    async fn shake(
        mut stream: TcpStream,
        info_hash: [u8; 20],
        peer_id: &[u8; 20],
        pays: bool,
    ) -> Result<RawPeer> {
        stream.set_nodelay(true)?;
        let mut hello = b"\x13BitTorrent protocol\0\0\0\0\0\x10\0\0".to_vec();
        hello.extend(info_hash);
        hello.extend(peer_id);
        stream.write_all(&hello).await?;
        let theirs = exactly(&mut stream, 68).await?;
        ensure!(&theirs[..20] == b"\x13BitTorrent protocol", "no handshake");
        ensure!(theirs[28..48] == info_hash, "another torrent");
        let mut peer = RawPeer {
            stream,
            their_pay_id: None,
        };
        let extended: &[u8] = if pays {
            b"d1:md6:dp_payi7eee"
        } else {
            b"d1:mdee"
        };
        peer.extended(0, extended).await?;
        Ok(peer)
    }

    async fn frame(&mut self, id: u8, body: &[u8]) -> Result<()> {
        let mut frame = u32::try_from(body.len() + 1)?.to_be_bytes().to_vec();
        frame.push(id);
        frame.extend(body);
        self.stream.write_all(&frame).await?;
        Ok(())
    }

    async fn extended(&mut self, id: u8, body: &[u8]) -> Result<()> {
        let mut all = vec![id];
        all.extend(body);
        self.frame(20, &all).await
    }

    pub async fn interested(&mut self) -> Result<()> {
        self.frame(2, &[]).await
    }

    pub async fn unchoke(&mut self) -> Result<()> {
        self.frame(1, &[]).await
    }

    /// Says that it has the first `pieces` pieces.
    pub async fn has_all(&mut self, pieces: u32) -> Result<()> {
        let mut bits = vec![0u8; pieces.div_ceil(8) as usize];
        for piece in 0..pieces {
            bits[(piece / 8) as usize] |= 0x80 >> (piece % 8);
        }
        self.frame(5, &bits).await
    }

    pub async fn request(&mut self, piece: u32, begin: u32, length: u32) -> Result<()> {
        let mut body = Vec::new();
        for number in [piece, begin, length] {
            body.extend(number.to_be_bytes());
        }
        self.frame(6, &body).await
    }

    pub async fn piece(&mut self, piece: u32, begin: u32, data: &[u8]) -> Result<()> {
        let mut body = Vec::new();
        body.extend(piece.to_be_bytes());
        body.extend(begin.to_be_bytes());
        body.extend(data);
        self.frame(7, &body).await
    }

    /// Sends a payment message under the id that the other side gave.
    pub async fn pay(&mut self, message: &Message) -> Result<()> {
        let id = self
            .their_pay_id
            .context("the other side has not said that it speaks dp_pay")?;
        self.extended(id, &message.encode()).await
    }

    /// The next frame; an error when the other side is gone.
    pub async fn next(&mut self) -> Result<Event> {
        loop {
            let length = self.stream.read_u32().await?;
            if length == 0 {
                return Ok(Event::KeepAlive);
            }
            ensure!(length <= 1 << 20, "a frame of {length} bytes");
            let frame = exactly(&mut self.stream, length as usize).await?;
            let (id, body) = (frame[0], &frame[1..]);
            let number = |at: usize| {
                body[at * 4..]
                    .first_chunk()
                    .map_or(0, |n| u32::from_be_bytes(*n))
            };
            return Ok(match id {
                0 => Event::Choke,
                1 => Event::Unchoke,
                2 => Event::Interested,
                6 => Event::Request {
                    piece: number(0),
                    begin: number(1),
                    length: number(2),
                },
                7 => Event::Piece {
                    piece: number(0),
                    begin: number(1),
                    data: body[8..].to_vec(),
                },
                20 if body.first() == Some(&0) => {
                    self.their_pay_id = find_pay_id(&body[1..]);
                    Event::Other
                }
                20 if body.first() == Some(&OUR_PAY_ID) => match Message::decode(&body[1..])? {
                    Some(message) => Event::Pay(Box::new(message)),
                    None => continue,
                },
                _ => Event::Other,
            });
        }
    }

    /// Reads on until the other side has said that it speaks `dp_pay`.
    pub async fn until_extended(&mut self) -> Result<()> {
        while self.their_pay_id.is_none() {
            self.next().await?;
        }
        Ok(())
    }

    /// The next frame within `limit`; `None` when nothing came.
    pub async fn next_within(&mut self, limit: Duration) -> Result<Option<Event>> {
        match tokio::time::timeout(limit, self.next()).await {
            Ok(event) => event.map(Some),
            Err(_) => Ok(None),
        }
    }

    /// Reads on until a payment message satisfies `wanted`.
    pub async fn until_pay(
        &mut self,
        what: &str,
        limit: Duration,
        mut wanted: impl FnMut(&Message) -> bool,
    ) -> Result<Message> {
        let deadline = tokio::time::Instant::now() + limit;
        let mut seen = Vec::new();
        loop {
            match tokio::time::timeout_at(deadline, self.next()).await {
                Err(_) => bail!("no {what} within {limit:?}; there came {seen:?}"),
                Ok(Err(error)) => {
                    return Err(error.context(format!("no {what}; there came {seen:?}")));
                }
                Ok(Ok(Event::Pay(message))) if wanted(&message) => return Ok(*message),
                Ok(Ok(Event::Pay(message))) => seen.push(message.kind()),
                Ok(Ok(_)) => {}
            }
        }
    }

    /// Reads on until the other side closes the connection.
    pub async fn until_gone(&mut self, limit: Duration) -> Result<()> {
        let end = async { while self.next().await.is_ok() {} };
        tokio::time::timeout(limit, end)
            .await
            .context("the other side did not close the connection")
    }
}

fn find_pay_id(handshake: &[u8]) -> Option<u8> {
    let at = handshake.windows(9).position(|w| w == b"6:dp_payi")? + 9;
    let digits: Vec<u8> = handshake[at..]
        .iter()
        .copied()
        .take_while(u8::is_ascii_digit)
        .collect();
    String::from_utf8(digits).ok()?.parse().ok()
}
