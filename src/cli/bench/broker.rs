//! `dpay bench broker`: purchases and redemptions over HTTP and SQLite, against the signatures alone
//! that they need, in alternating parts of one run.
//!
//! The signatures alone are all that the broker checks and makes for the same requests, by the same
//! code, on all cores at once: of a request the account's checked and the answer's made; of a coin
//! sold its holder's key checked and its certificate made; of a path redeemed the coin's checked, of each link the certificate, the
//! three of the spend and the three of the close, and the three of the redeem. The client's own share
//! (HTTP; its signatures are made before) counts against the broker; how much that is, and what the ratio
//! is on the rest of the cores, is said beside it. Bare signatures are made and checked one by one; the
//! broker makes those of a request's coins together, and checks the three of a record together, with the
//! same outcome: the rate of bare ones done so is said too.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde::Serialize;

use super::super::demo::TempDir;
use super::checks::Checks;
use super::client::{Client, Sent, process_cpu, thread_cpu};
use super::compared::{Compared, Part, Rate};
use crate::broker::answer::{Answer, Envelope, ItemAnswer, Outcome};
use crate::broker::ask::{self, AskCoin, AskPurchase, AskRedeem, AskRedeemItem};
use crate::broker::audit::Auditor;
use crate::broker::signing::{
    ACCOUNT_HEADER, REQUEST_HEADER, SIGNATURE_HEADER, TIME_HEADER, body_hash, request_hash,
};
use crate::broker::terms::MAX_BATCH;
use crate::broker::{Broker, Operation, RequestId, Terms};
use crate::coin::certificate::{CoinCertificate, PseudonymCertificate};
use crate::coin::chain::Chain;
use crate::coin::ids::{ChainValue, RecordKey};
use crate::coin::keys::{PublicKey, SecretKey, Signature};
use crate::http::broker::{BrokerServer, RateLimit};
use crate::record::{ClosePart, Link, MAX_LINKS_REDEEM, OpenSpend, Path, RedeemPart, Role};
use crate::store::broker::{BrokerStore, Identity, SqliteBrokerStore, SqliteLimits};
use crate::units::Units;
use crate::{clock, random};

/// What is compared with what.
const COMPARED: &str = "\
Compares the broker (HTTP, SQLite with synchronous=FULL, many requests in one commit) with the signatures alone
that it checks and makes for the same requests, by the same code, on all cores at once. Both do one part of the
requests after another, from the first byte sent to the last answer, and take turns in being first:
  each request    the account's signature checked, the answer's made
  a coin sold     its holder's key checked, its certificate's signature made
  a redemption    the coin's checked; of each link the certificate's, three of the spend, three of the close; three
                  of the redeem
Bare signatures are made and checked one by one, as the library does. The broker makes those of a request's coins together,
the same to the byte, and checks the three of a record together, with the same outcome. The rate of bare ones done like that
is printed too, with the ids of the coins.
Not in the bare rate: hashes of chains, sealing of records, whatever is read and written. The client runs on the same cores, and
its HTTP counts against the broker: the CPU time of its thread is printed, and the ratio on what it leaves of the cores. What
the client signs was signed before.";
/// Units of each coin.
const COIN: Units = Units(64);
/// Units that each payment takes of what is left.
const PAID: u32 = 5;
/// More than all coins of a run cost.
const MONEY: Units = Units(1_000_000_000);

/// Options of `dpay bench broker`.
#[derive(Debug, clap::Args)]
#[command(after_help = COMPARED)]
pub struct BrokerArgs {
    /// Requests of 32 coins
    #[arg(long, value_name = "N", default_value_t = 5120, value_parser = clap::value_parser!(u32).range(4..=100_000))]
    pub requests: u32,
    /// Requests of 32 paths that redeem the first of these coins (0: purchases only)
    #[arg(long, value_name = "N", default_value_t = 320)]
    pub redeem: u32,
    /// Links of each redeemed path
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=8))]
    pub depth: u32,
    /// Requests under way at once
    #[arg(long, value_name = "N", default_value_t = 128, value_parser = clap::value_parser!(u32).range(1..=256))]
    pub clients: u32,
    /// Parts that the requests are cut into, fewer if they hold less than eight purchases, or two redemptions, for each
    /// under way at once
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub rounds: u32,
    /// Keep the database below this directory instead of the system's temporary one
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
}

/// A signed request, ready to be sent.
struct Prepared {
    /// All of its bytes, head and body.
    bytes: Vec<u8>,
    /// What its account signed.
    hash: [u8; 32],
    signature: Signature,
}

/// The payer: an account, and a holder key for each coin.
#[derive(Default)]
struct Keys(HashMap<PublicKey, SecretKey>);

impl Keys {
    /// A fresh one.
    fn draw(&mut self) -> PublicKey {
        let key = SecretKey::from_bytes(random::bytes());
        let public = key.public();
        self.0.insert(public, key);
        public
    }
}

/// Measures, prints, and checks the books.
///
/// # Errors
/// When the broker does not start, or an answer is not what it should be.
pub async fn run(args: &BrokerArgs, as_json: bool) -> Result<u8> {
    let dir = TempDir::within(args.dir.as_deref())?;
    let bench = Bench::start(args, &dir).await?;
    let mut keys = Keys::default();
    let (bought, mut coins) = bench.purchases(&mut keys).await?;
    coins.truncate(args.redeem as usize * MAX_BATCH);
    let redeemed = bench.redemptions(&coins, &keys).await?;
    let redeemed = Some(redeemed).filter(|redeemed| !redeemed.parts.is_empty());
    let books = bench.stop().await?;
    ensure!(books, "the books do not balance after the run");
    let of_path = 7 * args.depth as usize + 4;
    let signatures = (MAX_BATCH + 2, MAX_BATCH * of_path + 2);
    if as_json {
        println!("{}", bought.json("purchase", signatures.0));
        if let Some(redeemed) = redeemed {
            println!("{}", redeemed.json("redeem", signatures.1));
        }
    } else {
        println!(
            "signatures alone on all cores against the broker: HTTP, SQLite, synchronous=FULL"
        );
        println!("purchase of a coin: {bought}");
        if let Some(redeemed) = redeemed {
            println!("redemption, {} links deep: {redeemed}", args.depth);
        }
        println!(
            "requests of {MAX_BATCH} items, {} at once; the books balance",
            args.clients
        );
    }
    Ok(super::super::EXIT_DONE)
}

struct Bench {
    requests: usize,
    depth: u32,
    clients: usize,
    rounds: usize,
    broker: Arc<Broker>,
    store: SqliteBrokerStore,
    server: BrokerServer,
    payer: SecretKey,
}

impl Bench {
    async fn start(args: &BrokerArgs, dir: &TempDir) -> Result<Bench> {
        let key = SecretKey::from_bytes(random::bytes());
        let identity = Identity {
            broker: key.public(),
            currency: None,
        };
        let path = dir.path.join("broker.sqlite");
        let store = SqliteBrokerStore::open(&path, &identity, SqliteLimits::default()).await?;
        let terms = Terms {
            bond: MONEY,
            ..Terms::default()
        };
        let broker = Arc::new(Broker::new(key, terms));
        let server = BrokerServer::start(
            "127.0.0.1:0".parse().context("loopback")?,
            broker.clone(),
            Arc::new(store.clone()),
            Arc::new(clock::now),
            RateLimit {
                per_second: 0,
                burst: 0,
            },
        )
        .await?;
        let payer = SecretKey::from_bytes(random::bytes());
        let deposit = Operation::Deposit {
            account: payer.public(),
            units: Units(MONEY.0 * 2),
            reference: "bench".to_owned(),
        };
        server.cashier().operate(deposit).await?;
        Ok(Bench {
            requests: args.requests as usize,
            depth: args.depth,
            clients: args.clients as usize,
            rounds: args.rounds as usize,
            broker,
            store,
            server,
            payer,
        })
    }

    async fn purchases(&self, keys: &mut Keys) -> Result<(Compared, Vec<CoinCertificate>)> {
        let mut holders = Vec::new();
        let mut prepared = Vec::new();
        for _ in 0..self.requests {
            let drawn: Vec<PublicKey> = (0..MAX_BATCH).map(|_| keys.draw()).collect();
            let coins = drawn.iter().map(|holder| AskCoin {
                value: COIN,
                holder: *holder,
            });
            let ask = AskPurchase {
                coins: coins.collect(),
            };
            prepared.push(self.prepare(ask::PURCHASE, &ask)?);
            holders.push(drawn);
        }
        let mut compared = Compared::default();
        let mut coins = Vec::new();
        let size = self.part(prepared.len(), 8);
        for (part, holders) in prepared.chunks(size).zip(holders.chunks(size)) {
            let both: Vec<_> = part.iter().zip(holders).collect();
            let bare = || {
                on_all_cores(&both, |(request, keys)| {
                    self.sign_around(request) && self.sign_coins(keys)
                })
            };
            let items = part.len() * MAX_BATCH;
            let answers = self.both(&mut compared, part, items, bare).await?;
            let together = on_all_cores(&both, |(request, keys)| {
                self.sign_around(request) && self.sign_together(keys)
            });
            if let Some(part) = compared.parts.last_mut() {
                part.together = Some(Rate::of(items, together));
            }
            for answer in answers {
                let Answer::Purchase { coins: sold, .. } = answer else {
                    bail!("not a purchase: {answer:?}");
                };
                for text in sold {
                    coins.push(CoinCertificate::decode(&hex::decode(text)?)?);
                }
            }
        }
        Ok((compared, coins))
    }

    /// Requests of a part, so many for each client at least. A short one shows how a broker begins and ends, when
    /// it waits for its last commits with nothing else to do, and not how fast it is.
    fn part(&self, requests: usize, each: usize) -> usize {
        requests.div_ceil(self.rounds).max(each * self.clients)
    }

    /// One part by both sides; the one that goes first changes with each part.
    async fn both(
        &self,
        compared: &mut Compared,
        part: &[Prepared],
        items: usize,
        bare: impl Fn() -> Duration,
    ) -> Result<Vec<Answer>> {
        let bare_first = compared.parts.len().is_multiple_of(2);
        let before = bare_first.then(&bare);
        let (sent, answers) = self.send(part, &mut compared.latencies_ms).await?;
        let alone = before.unwrap_or_else(bare);
        compared.parts.push(Part {
            bare: Rate::of(items, alone),
            broker: Rate::of(items, sent.time),
            together: None,
            client: sent.client,
            cpu: sent.cpu,
        });
        Ok(answers)
    }

    /// The signatures around any request: the account's checked, the answer's made.
    fn sign_around(&self, request: &Prepared) -> bool {
        let answer = self.broker.key().sign(&request.hash);
        let account = self.payer.public();
        account.verify_strict(&request.hash, &request.signature) && answer.0 != [0; 64]
    }

    /// The signatures of the coins of one purchase, on keys that are checked.
    fn sign_coins(&self, holders: &[PublicKey]) -> bool {
        let today = clock::now().day();
        holders.iter().all(|holder| {
            let key = self.broker.key();
            let valid = holder.check().is_ok();
            let coin = CoinCertificate::issue(key, COIN, *holder, today, today.plus(30), [1; 16]);
            valid && coin.signature.0 != [0; 64]
        })
    }

    /// The same in the way of the broker.
    fn sign_together(&self, holders: &[PublicKey]) -> bool {
        let wanted: Vec<_> = holders.iter().map(|key| (COIN, *key, [1; 16])).collect();
        let offers = self.broker.offer_coins(&wanted, clock::now().day());
        offers.iter().all(Result::is_ok)
    }

    async fn redemptions(&self, coins: &[CoinCertificate], keys: &Keys) -> Result<Compared> {
        let (mut prepared, mut checks) = (Vec::new(), Vec::new());
        for batch in coins.chunks(MAX_BATCH) {
            let (mut items, mut each) = (Vec::new(), Vec::new());
            for coin in batch {
                let (path, redeem) = self.path(coin, keys)?;
                each.push(Checks::of(&path, &redeem)?);
                items.push(AskRedeemItem {
                    path: path.encode(),
                    redeem: redeem.encode().to_vec(),
                });
            }
            prepared.push(self.prepare(ask::REDEEM, &AskRedeem { items })?);
            checks.push(each);
        }
        let mut compared = Compared::default();
        let size = self.part(prepared.len(), 2);
        for (part, checks) in prepared.chunks(size).zip(checks.chunks(size)) {
            let items = checks.iter().map(Vec::len).sum();
            let both: Vec<_> = part.iter().zip(checks).collect();
            let bare = || {
                on_all_cores(&both, |(request, each)| {
                    self.sign_around(request) && each.iter().all(Checks::hold)
                })
            };
            let answers = self.both(&mut compared, part, items, bare).await?;
            let together = on_all_cores(&both, |(request, each)| {
                self.sign_around(request) && each.iter().all(Checks::hold_together)
            });
            if let Some(part) = compared.parts.last_mut() {
                part.together = Some(Rate::of(items, together));
            }
            for answer in answers {
                let Answer::Redeem { items, .. } = answer else {
                    bail!("not a redemption: {answer:?}");
                };
                for item in items {
                    ensure!(matches!(item, ItemAnswer::Redeemed { .. }), "{item:?}");
                }
            }
        }
        Ok(compared)
    }

    /// The change of a change and so on, down to the depth asked for, and its redeem.
    fn path(&self, coin: &CoinCertificate, keys: &Keys) -> Result<(Path, RedeemPart)> {
        let holder = keys.0.get(&coin.holder).context("a coin for another key")?;
        let mut path = Path {
            coin: *coin,
            links: Vec::new(),
        };
        let expires = Terms::pseudonym_expires(clock::now().day());
        for _ in 0..self.depth.min(MAX_LINKS_REDEEM as u32) {
            let holding = path.holding()?;
            let payee = SecretKey::from_bytes(random::bytes());
            let certificate =
                PseudonymCertificate::issue(self.broker.key(), payee.public(), expires);
            let value = u32::try_from(holding.value.0)?;
            let chain = Chain::new(ChainValue(random::bytes()), value);
            let spend = OpenSpend::sign(
                holder,
                &holding.id,
                certificate,
                chain.anchor(),
                RecordKey(random::bytes()),
            );
            let wk = chain.reveal(PAID).context("a chain value")?;
            let close = ClosePart::sign(&payee, &holding.id, &spend, PAID, wk);
            path = path.extend(Link {
                role: Role::Change,
                spend,
                close,
            });
        }
        let redeem = RedeemPart::sign(
            holder,
            &path.holding()?.id,
            self.payer.public(),
            RecordKey(random::bytes()),
        );
        Ok((path, redeem))
    }

    fn prepare(&self, route: &'static str, ask: &impl Serialize) -> Result<Prepared> {
        let body = serde_json::to_vec(ask)?;
        let (account, now) = (self.payer.public(), clock::now());
        let id = RequestId(random::bytes());
        let hash = body_hash(route, &body);
        let signed = request_hash(&self.broker.public(), &account, &id, now, &hash);
        let signature = self.payer.sign(&signed);
        let head = format!(
            "POST {} HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
             {ACCOUNT_HEADER}: {account}\r\n{REQUEST_HEADER}: {id}\r\n{TIME_HEADER}: {}\r\n\
             {SIGNATURE_HEADER}: {signature}\r\n\r\n",
            route.trim_start_matches("POST "),
            self.server.address(),
            body.len(),
            now.0,
        );
        Ok(Prepared {
            bytes: [head.as_bytes(), &body].concat(),
            hash: signed,
            signature,
        })
    }

    /// Sends requests, some at once; the time from the first byte to the last answer. All clients are on
    /// this thread.
    async fn send(
        &self,
        requests: &[Prepared],
        latencies_ms: &mut Vec<f64>,
    ) -> Result<(Sent, Vec<Answer>)> {
        let next = AtomicUsize::new(0);
        let mut connections = Vec::new();
        for _ in 0..self.clients {
            connections.push(Client::connect(self.server.address()).await?);
        }
        let (started, used, all) = (Instant::now(), thread_cpu(), process_cpu());
        let clients = connections.into_iter().map(|mut client| {
            let next = &next;
            async move {
                let mut done = Vec::new();
                while let Some(request) = requests.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let sent = Instant::now();
                    let body = client.post(&request.bytes).await?;
                    done.push((sent.elapsed(), body));
                }
                Ok::<_, anyhow::Error>(done)
            }
        });
        let done = futures::future::try_join_all(clients).await?;
        let sent = Sent {
            time: started.elapsed(),
            client: thread_cpu().saturating_sub(used),
            cpu: process_cpu().saturating_sub(all),
        };
        let mut answers = Vec::with_capacity(requests.len());
        for (latency, body) in done.into_iter().flatten() {
            latencies_ms.push(latency.as_secs_f64() * 1e3);
            let envelope: Envelope = serde_json::from_slice(&body)?;
            match envelope.outcome {
                Outcome::Answer(answer) => answers.push(answer),
                Outcome::Refused(refusal) => bail!("refused: {refusal}"),
            }
        }
        Ok((sent, answers))
    }

    /// Whether the books balance.
    async fn stop(self) -> Result<bool> {
        self.server.stop().await;
        let mut auditor = Auditor::default();
        self.store.audit(&mut auditor).await?;
        self.store.close().await;
        Ok(auditor.finish().balanced)
    }
}

/// How long all cores take together.
fn on_all_cores<T: Sync>(items: &[T], work: impl Fn(&T) -> bool + Sync) -> Duration {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let next = AtomicUsize::new(0);
    let started = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
                    assert!(work(item), "a signature of the measurement does not hold");
                }
            });
        }
    });
    started.elapsed()
}
