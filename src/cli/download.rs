//! `dpay download`: fetch a torrent and pay, per verified piece, the seeders that ask for it.

use std::io::{IsTerminal, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::node::{self, ServingArgs};
use super::stop::Stop;
use super::totals::{Told, Totals};
use crate::cashier::wallet::{Cheat, Trick, Tried};
use crate::clock;
use crate::config::{Global, Settings};
use crate::engine::{Handle, Progress, TorrentSource, TorrentState};
use crate::gateway::GatewayEvent;
use crate::node::{Node, StaysOpen, Terms};
use crate::session::hold_to_budgets;
use crate::torrent::{Magnet, printable};
use crate::units::{PricePerGib, Units};

/// How often progress is told.
const TICK: Duration = Duration::from_millis(200);

/// Options of `dpay download`.
#[derive(Debug, clap::Args)]
pub struct DownloadArgs {
    /// A .torrent file or a magnet link
    #[arg(value_name = "TORRENT|MAGNET")]
    pub torrent: String,
    /// The folder to download into
    #[arg(short, long, value_name = "DIR")]
    pub output: PathBuf,
    /// The highest price to pay, in units per GiB (16 to 65536); dearer seeders are asked for free service only
    #[arg(long, value_name = "UNITS_PER_GIB", default_value = "4000")]
    pub max_price: PricePerGib,
    /// The most this torrent may cost in all; then it goes on with free peers. The budgets of the settings for a
    /// day and for all torrents hold too
    #[arg(long, value_name = "UNITS", value_parser = clap::value_parser!(u64).range(1..))]
    pub budget: Option<u64>,
    /// Take from free peers only, pay nothing
    #[arg(long, conflicts_with = "budget")]
    pub free_only: bool,
    /// A peer to begin with; may be repeated
    #[arg(long = "peer", value_name = "ADDR")]
    pub peers: Vec<SocketAddr>,
    /// Go on seeding when it is complete
    #[arg(long)]
    pub seed: bool,
    /// Do not ask before paying
    #[arg(short, long)]
    pub yes: bool,
    /// What is asked of leechers.
    #[command(flatten)]
    pub serving: ServingArgs,
    /// Cheat those who are paid, to see what comes of it; for `dpay demo --cheat`
    #[arg(long, value_name = "TRICK", hide = true)]
    pub cheat: Vec<Trick>,
}

enum Ended {
    Finished,
    Stopped,
}

/// Downloads until the torrent is complete, or told to stop.
///
/// # Errors
/// What is no torrent, a wallet or an address that cannot be used, a disk that is full.
pub async fn run(args: DownloadArgs, global: &Global) -> Result<u8> {
    let stop = Stop::new(global.with_parent);
    let source = source(&args.torrent)?;
    std::fs::create_dir_all(&args.output)
        .with_context(|| format!("cannot make the folder {}", args.output.display()))?;
    let (told, tried) = unbounded_channel();
    let tricks = args.cheat.clone();
    let cheat = (!tricks.is_empty()).then_some(Cheat { tricks, told });
    let is_cheat = cheat.is_some();
    let running = node::start(global, true, args.serving.keep, cheat).await?;
    if is_cheat {
        play(&running, tried);
    }
    let can_pay = args.free_only || node::knows_broker(global, &running).await?;
    if !can_pay {
        tell_no_broker(global.json);
    }
    if can_pay && !agreed(&args, &running, &source).await? {
        node::shut_down(running).await?;
        return Ok(super::EXIT_INTERRUPTED);
    }
    let home = global.home()?;
    let settings = Settings::read(&home)?;
    hold_to_budgets(&home, &settings, &running.wallet, clock::now().day()).await?;
    let started = Instant::now();
    let mut totals = Totals::new(&running);
    super::say(
        global.json,
        &json!({
            "event": "ready",
            "listen": running.gateway.listen_addr().to_string(),
            "account": running.wallet.account().to_string(),
        }),
        || format!("listening on {}", running.gateway.listen_addr()),
    );
    let terms = Terms {
        price: args.serving.price,
        max_price: (!args.free_only).then_some(args.max_price),
        free: args.serving.free,
        budget: args.budget.map(Units),
        earns: true,
    };
    let adding = running.add(source, args.output.clone(), args.peers.clone(), terms);
    let handle = tokio::select! {
        added = adding => added?,
        () = stop.wait() => {
            node::shut_down(running).await?;
            return Ok(super::EXIT_INTERRUPTED);
        }
    };
    let ended = follow(&running, &handle, &mut totals, &stop, global.json).await?;
    let wall = started.elapsed();
    let finished = matches!(ended, Ended::Finished);
    if finished {
        if global.json {
            let line = report(&running, &handle, &totals, wall, &[], "complete");
            println!("{line}");
        } else if args.seed {
            println!("complete; seeding until Ctrl-C");
        }
    }
    if finished && args.seed {
        keep_seeding(&mut totals, &stop, global.json).await;
    }
    let open = node::close(&running, &mut totals, global.json).await;
    let event = if finished { "done" } else { "stopped" };
    let line = report(&running, &handle, &totals, wall, &open, event);
    super::say(global.json, &line, || {
        summary(&line) + &node::open_lines(&open)
    });
    node::shut_down(running).await?;
    Ok(if finished {
        super::EXIT_DONE
    } else {
        super::EXIT_INTERRUPTED
    })
}

/// Lets the wallet of `running` cheat, and tells what it tries as JSON lines.
fn play(running: &Node, mut tried: UnboundedReceiver<Tried>) {
    let (wallet, mut events) = (running.wallet.clone(), running.gateway.events());
    tokio::spawn(async move {
        loop {
            tokio::select! {
                tried = tried.recv() => match tried {
                    Some(tried) => println!("{}", json!({"event": "cheat", "tried": tried})),
                    None => return,
                },
                event = events.recv() => match event {
                    Ok(GatewayEvent::PaymentAccepted { peer, by_us: false, .. }) => {
                        let _ = wallet.accepted_by(peer.to_string()).await;
                    }
                    Err(RecvError::Closed) => return,
                    _ => {}
                },
            }
        }
    });
}

/// Without a broker there is nobody to buy coins from.
fn tell_no_broker(json: bool) {
    const WHY: &str = "no broker is known, so this download cannot pay: it gets what peers serve for \
                       nothing, and waits in front of seeders that want to be paid";
    const WHAT_TO_DO: &str = "name the broker with --broker URL, or for good with: dpay config set \
                              broker.url URL";
    let line = json!({"event": "no_broker", "error": WHY, "what_to_do": WHAT_TO_DO});
    super::say(json, &line, || format!("{WHY}; {WHAT_TO_DO}"));
}

fn source(text: &str) -> Result<TorrentSource> {
    if text.starts_with("magnet:") {
        Magnet::parse(text)?;
        return Ok(TorrentSource::Magnet(text.to_owned()));
    }
    let path = Path::new(text);
    if !path.exists() {
        bail!(
            "{} is neither a file nor a magnet link; give a .torrent file or magnet:?xt=urn:btih:...",
            printable(text)
        );
    }
    let bytes = node::read_torrent(path)?;
    Ok(TorrentSource::Metainfo(node::decode_torrent(path, &bytes)?))
}

/// Says what it may cost and asks, unless told not to.
async fn agreed(args: &DownloadArgs, running: &Node, source: &TorrentSource) -> Result<bool> {
    if args.yes || args.free_only {
        return Ok(true);
    }
    let balance = running.wallet.balance().await?;
    let about = match source {
        TorrentSource::Metainfo(metainfo) => {
            let most = args.max_price.due(metainfo.length_bytes());
            let most = args.budget.map_or(most, |budget| most.min(Units(budget)));
            let name = printable(metainfo.name());
            let mib = metainfo.length_bytes() as f64 / f64::from(1 << 20);
            format!("{name}: {mib:.1} MiB, at most {most:#}")
        }
        _ => match args.budget.map(Units) {
            Some(budget) => format!("a size that only peers can tell, at most {budget:#}"),
            None => "a size that only peers can tell, and no --budget".to_owned(),
        },
    };
    let about = format!(
        "{about} at up to {} units per GiB; {}",
        args.max_price,
        node::balance_words(&balance),
    );
    if !std::io::stdin().is_terminal() {
        bail!("{about}. There is no terminal to ask on; add --yes to pay, or --free-only");
    }
    print!("{about}\nDownload and pay? [Y/n] ");
    std::io::stdout().flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "" | "y" | "Y" | "yes"))
}

async fn follow(
    running: &Node,
    handle: &Handle,
    totals: &mut Totals,
    stop: &Stop,
    json: bool,
) -> Result<Ended> {
    let bar = Bar::new(json);
    let mut tick = tokio::time::interval(TICK);
    let mut last = Value::Null;
    let finished = handle.wait_finished();
    tokio::pin!(finished);
    loop {
        tokio::select! {
            done = &mut finished => {
                done?;
                return Ok(Ended::Finished);
            }
            () = stop.wait() => return Ok(Ended::Stopped),
            told = totals.next() => {
                if let Some(mut told) = told {
                    told.line["bytes"] = handle.progress().bytes_have.into();
                    told.line["cpu_ms"] = node::own_use().0.into();
                    bar.tell(&told, json);
                }
            }
            _ = tick.tick() => {
                totals.refresh(running).await;
                let progress = handle.progress();
                bar.show(&progress, totals);
                let line = progress_line(&progress, totals);
                if json && line != last {
                    let mut with_use = line.clone();
                    with_use["cpu_ms"] = node::own_use().0.into();
                    println!("{with_use}");
                    last = line;
                }
            }
        }
    }
}

async fn keep_seeding(totals: &mut Totals, stop: &Stop, json: bool) {
    loop {
        tokio::select! {
            () = stop.wait() => return,
            told = totals.next() => {
                if let Some(told) = told {
                    super::say(json, &told.line, || told.text);
                }
            }
        }
    }
}

fn progress_line(progress: &Progress, totals: &Totals) -> Value {
    json!({
        "event": "progress",
        "state": state_word(&progress.state),
        "pieces_total": progress.pieces_total,
        "pieces_verified": progress.pieces_have,
        "bytes_total": progress.bytes_total,
        "bytes": progress.bytes_have,
        "download_bytes_per_s": progress.download_bytes_per_s,
        "peers": progress.peers_live,
        "units_paid": totals.paid().0,
    })
}

fn state_word(state: &TorrentState) -> &'static str {
    match state {
        TorrentState::FetchingMetadata => "fetching metadata",
        TorrentState::Checking => "checking",
        TorrentState::Downloading => "downloading",
        TorrentState::Seeding => "seeding",
        TorrentState::Paused => "paused",
        TorrentState::Failed(_) => "failed",
    }
}

fn report(
    running: &Node,
    handle: &Handle,
    totals: &Totals,
    wall: Duration,
    open: &[StaysOpen],
    event: &str,
) -> Value {
    let progress = handle.progress();
    let dht = running.dht.counters();
    let (cpu_ms, peak_memory_kib) = node::own_use();
    json!({
        "event": event,
        "pieces_total": progress.pieces_total,
        "pieces_verified": progress.pieces_have,
        "piece_length_bytes": handle.metainfo().map_or(0, |m| m.piece_length_bytes()),
        "bytes": progress.bytes_have,
        "units_paid": totals.paid().0,
        "units_earned": totals.earned().0,
        "seeders": totals.lines(),
        "acceptance_ms": totals.acceptance_ms(),
        "open_channels": open,
        "dht_puts": dht.puts,
        "dht_gets": dht.gets,
        "dht_requests": dht.requests,
        "dht_wakes": dht.wakes,
        "wall_seconds": wall.as_secs_f64(),
        "cpu_ms": cpu_ms,
        "peak_memory_kib": peak_memory_kib,
    })
}

fn summary(line: &Value) -> String {
    let paid = |of: &Value| Units(of["units_paid"].as_u64().unwrap_or_default());
    let mut text = format!(
        "{} of {} pieces, {} bytes in {:.1} s; paid {:#}",
        line["pieces_verified"],
        line["pieces_total"],
        line["bytes"],
        line["wall_seconds"].as_f64().unwrap_or(0.0),
        paid(line),
    );
    for peer in line["seeders"].as_array().into_iter().flatten() {
        text.push_str(&format!(
            "\n  {}  {} bytes, {:#}",
            peer["address"].as_str().unwrap_or("?"),
            peer["bytes"],
            paid(peer),
        ));
    }
    text
}

struct Bar(Option<ProgressBar>);

impl Bar {
    fn new(json: bool) -> Bar {
        Bar((!json).then(|| {
            let bar = ProgressBar::no_length();
            let template =
                "{bar:40.green} {bytes}/{total_bytes} {bytes_per_sec}, {eta} left  {msg}";
            if let Ok(style) = ProgressStyle::with_template(template) {
                bar.set_style(style);
            }
            bar
        }))
    }

    fn show(&self, progress: &Progress, totals: &Totals) {
        if let Some(bar) = &self.0 {
            if progress.bytes_total > 0 && bar.length() != Some(progress.bytes_total) {
                bar.set_length(progress.bytes_total);
            }
            bar.set_position(progress.bytes_have);
            bar.set_message(format!(
                "{} peers, {:#} paid",
                progress.peers_live,
                totals.paid()
            ));
        }
    }

    fn tell(&self, told: &Told, json: bool) {
        if json {
            println!("{}", told.line);
        } else if let Some(bar) = &self.0 {
            bar.suspend(|| println!("{}", told.text));
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}
