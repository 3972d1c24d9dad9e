//! `dpay bench first-byte`: how soon the first byte comes from a seeder that is paid, and from one
//! that serves for nothing.
//!
//! Leecher and seeder speak through a relay that holds every byte for half a round trip, so that
//! what is counted in round trips stands out from what a machine needs for its work. Time runs from
//! the connection to the head of the first block.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::figures::{Spread, words};
use super::pair::{Bench, LIMIT, PayloadArgs, Way};
use crate::config::Global;
use crate::wire::frame::{FrameReader, Part};

/// Enough for an allowance before acceptance and some windows.
const SIZE_MIB: u64 = 8;

/// Options of `dpay bench first-byte`.
#[derive(Clone, Debug, clap::Args)]
pub struct FirstByteArgs {
    /// Round-trip time between leecher and seeder in milliseconds
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u64).range(2..=2_000))]
    pub rtt_ms: u64,
    /// Rounds; each downloads once in every way
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub rounds: u32,
    /// What is downloaded.
    #[command(flatten)]
    pub payload: PayloadArgs,
}

/// The first byte of one download.
#[derive(Clone, Debug, Serialize)]
struct First {
    round: u32,
    way: Way,
    ms: f64,
}

/// Measures, and tells the figures.
///
/// # Errors
/// When a part does not start or no block comes.
pub async fn run(args: FirstByteArgs, global: &Global) -> Result<u8> {
    let bench = Bench::start(&args.payload, SIZE_MIB).await?;
    let mut all = Vec::new();
    for round in 1..=args.rounds {
        let mut ways = [Way::Plain, Way::GatewayFree, Way::Paid];
        if round % 2 == 0 {
            ways.reverse();
        }
        for way in ways {
            let ms = one(&bench, way, args.rtt_ms).await?;
            all.push(First { round, way, ms });
        }
    }
    let rtt_ms = args.rtt_ms as f64;
    let of = |way: Way| Spread::of(all.iter().filter(|f| f.way == way).map(|f| f.ms));
    let extra = Spread::of(
        all.iter()
            .filter(|f| f.way == Way::Paid)
            .filter_map(|paid| {
                let is_pair = |f: &&First| f.way == Way::GatewayFree && f.round == paid.round;
                Some((paid.ms - all.iter().find(is_pair)?.ms) / rtt_ms)
            }),
    );
    let line: Value = json!({
        "rtt_ms": args.rtt_ms,
        "plain_ms": of(Way::Plain),
        "gateway_free_ms": of(Way::GatewayFree),
        "paid_ms": of(Way::Paid),
        "paid_after_free_round_trips": extra,
        "runs": all,
    });
    super::super::say(global.json, &line, || {
        format!(
            "from the connection to the first block, medians (least to greatest) of {} rounds at {} ms a round trip:\n\
             plain librqbit             {} ms\n\
             free, through the gateways {} ms\n\
             paid                       {} ms\n\
             paid after free            {} round trips",
            args.rounds,
            args.rtt_ms,
            words(of(Way::Plain)),
            words(of(Way::GatewayFree)),
            words(of(Way::Paid)),
            words(extra),
        )
    });
    Ok(crate::cli::EXIT_DONE)
}

async fn one(bench: &Bench, way: Way, rtt_ms: u64) -> Result<f64> {
    let (mut seeder, address) = bench.seeder(way).await?;
    let address: SocketAddr = address.parse().context("a seeder without an address")?;
    let mut relay = Relay::start(address, Duration::from_millis(rtt_ms) / 2).await?;
    let mut leecher = bench.leecher(way, &relay.listen.to_string())?;
    let first = tokio::time::timeout(LIMIT, relay.first_block.recv()).await;
    let first = first.with_context(|| format!("{way:?}: no block came"))?;
    let first = first.context("the relay has ended")?;
    // To its end, so that its channels are closed: the next round takes none of them up again.
    leecher.wait_for("done", LIMIT).await?;
    leecher.finish(LIMIT).await?;
    drop(relay);
    let code = seeder.stop(LIMIT).await?;
    ensure!(code == 0, "the seeder failed: {}", seeder.stderr().await);
    Ok(first.as_secs_f64() * 1000.0)
}

/// Passes connections on to one address, every byte later than it came.
struct Relay {
    listen: SocketAddr,
    /// From a connection to its first block, for each connection that has one.
    first_block: mpsc::UnboundedReceiver<Duration>,
    accepting: JoinHandle<()>,
}

impl Relay {
    async fn start(to: SocketAddr, delay: Duration) -> Result<Relay> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let listen = listener.local_addr()?;
        let (tell, first_block) = mpsc::unbounded_channel();
        let accepting = tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let Ok(far) = TcpStream::connect(to).await else {
                    continue;
                };
                let begun = Instant::now();
                let (near_read, near_write) = near.into_split();
                let (far_read, far_write) = far.into_split();
                let watch = Some((begun, tell.clone()));
                tokio::spawn(carry(near_read, far_write, delay, None));
                tokio::spawn(carry(far_read, near_write, delay, watch));
            }
        });
        Ok(Relay {
            listen,
            first_block,
            accepting,
        })
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

type Watch = (Instant, mpsc::UnboundedSender<Duration>);

async fn carry(from: OwnedReadHalf, mut to: OwnedWriteHalf, delay: Duration, watch: Option<Watch>) {
    let (later, mut due) = mpsc::unbounded_channel();
    tokio::spawn(read(from, delay, watch, later));
    while let Some((at, bytes)) = due.recv().await {
        tokio::time::sleep_until(at).await;
        if to.write_all(&bytes).await.is_err() {
            return;
        }
    }
}

async fn read(
    mut from: OwnedReadHalf,
    delay: Duration,
    mut watch: Option<Watch>,
    later: mpsc::UnboundedSender<(Instant, Vec<u8>)>,
) {
    let mut reader = FrameReader::new();
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(bytes @ 1..) = from.read(&mut buffer).await {
        let read = &buffer[..bytes];
        let arrives = Instant::now() + delay;
        if let Some((begun, tell)) = watch.take_if(|_| has_block(&mut reader, read)) {
            let _ = tell.send(arrives - begun);
        }
        if later.send((arrives, read.to_vec())).is_err() {
            return;
        }
    }
}

/// Whether a block begins in what came.
fn has_block(reader: &mut FrameReader, input: &[u8]) -> bool {
    let mut at = 0;
    while let Ok(Some(part)) = reader.next(input, &mut at) {
        if matches!(part, Part::PieceHead(..)) {
            return true;
        }
    }
    false
}
