//! Commands that talk to a running node: list, pause, resume, recheck, remove, files, open, stop.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use comfy_table::{Cell, CellAlignment, Table, presets};
use reqwest::Method;
use serde_json::json;

use crate::config::Global;
use crate::http::node::NodeServer;
use crate::http::node::client::NodeClient;
use crate::session::view::node::dht_silent;
use crate::session::view::{
    Action, ActionFailure, ActionRequest, ActionResult, Advice, Done, FileChoice, FileRow,
    FilesChosen, LoginCode, NodeView, State, TorrentList, TorrentRow,
};
use crate::torrent::printable;
use crate::units::InfoHash;

/// How long a node may take to end: closing channels takes half a minute, last requests a while more.
const STOPPED: Duration = Duration::from_secs(120);
/// Between looks whether it has.
const STOPPED_LOOK: Duration = Duration::from_millis(50);

/// Which torrents.
#[derive(Debug, clap::Args)]
pub struct WhichArgs {
    /// Info hashes, their beginnings, or names; or "all"
    #[arg(value_name = "TORRENT|all", required = true)]
    pub torrents: Vec<String>,
}

/// Which torrents to take out.
#[derive(Debug, clap::Args)]
pub struct RemoveArgs {
    /// Which.
    #[command(flatten)]
    pub which: WhichArgs,
    /// Delete the files too
    #[arg(long)]
    pub data: bool,
}

/// A torrent's files.
#[derive(Debug, clap::Args)]
pub struct FilesArgs {
    /// Info hash, its beginning, or the name
    #[arg(value_name = "TORRENT")]
    pub torrent: String,
    /// Download these files and no others, by their indexes separated by commas
    #[arg(
        long,
        value_name = "N,N,...",
        value_delimiter = ',',
        conflicts_with = "all"
    )]
    pub only: Option<Vec<u32>>,
    /// Download all files
    #[arg(long)]
    pub all: bool,
}

/// The running node, or an error that says how to start one.
///
/// # Errors
/// None runs with this home.
pub async fn node(global: &Global) -> Result<NodeClient> {
    let home = global.home()?;
    NodeClient::find(&home).await.with_context(|| {
        format!(
            "no node runs with the home {}; start one with: dpay node",
            home.display()
        )
    })
}

pub(super) async fn rows(node: &NodeClient) -> Result<Vec<TorrentRow>> {
    let list: TorrentList = node.get("/torrents").await?;
    Ok(list.torrents)
}

/// `dpay list`.
///
/// # Errors
/// No running node.
pub async fn list(global: &Global) -> Result<u8> {
    let node = node(global).await?;
    let rows = rows(&node).await?;
    let view: NodeView = node.get("/node").await?;
    if let Some(since) = view.dht_silent_since {
        eprintln!("{}", dht_silent(since));
    }
    if let Some(problem) = &view.home_problem {
        eprintln!("{}", problem.text);
    }
    if global.json {
        for row in &rows {
            println!("{}", serde_json::to_string(row)?);
        }
        return Ok(super::EXIT_DONE);
    }
    let mut table = table(&[
        "hash", "name", "label", "state", "done", "down/s", "up/s", "peers", "paid", "earned",
    ]);
    for row in &rows {
        let state = serde_json::to_value(row.state)?;
        table.add_row([
            Cell::new(&row.info_hash.to_string()[..8]),
            Cell::new(printable(&row.name).chars().take(50).collect::<String>()),
            Cell::new(row.label.as_deref().map(printable).unwrap_or_default()),
            Cell::new(state.as_str().unwrap_or("").replace('_', " ")),
            right(format!("{:.1} %", row.progress * 100.0)),
            right(row.down_bytes_per_s),
            right(row.up_bytes_per_s),
            right(row.peers),
            right(row.units_paid),
            right(row.units_earned),
        ]);
    }
    println!("{table}");
    for row in &rows {
        if let Some(why) = why_it_waits(row) {
            println!("{}: {why}", printable(&row.name));
        }
    }
    Ok(super::EXIT_DONE)
}

/// Why a torrent does nothing, where there is something to say.
fn why_it_waits(row: &TorrentRow) -> Option<String> {
    if row.state == State::Asking {
        let hash = row.info_hash;
        return Some(format!(
            "waits for a yes to what it may cost; nothing is fetched before: dpay add --yes {hash}"
        ));
    }
    let why = row.waits.as_ref().map(|waits| waits.text.clone());
    why.or_else(|| row.error.as_deref().map(printable))
}

pub(super) fn table(head: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_BORDERS_ONLY);
    table.set_header(head.iter().map(|h| Cell::new(*h)));
    table
}

pub(super) fn right(value: impl ToString) -> Cell {
    Cell::new(value.to_string()).set_alignment(CellAlignment::Right)
}

/// Whether a torrent's info hash begins so.
pub(super) fn fits(word: &str, row: &TorrentRow) -> bool {
    let lower = word.to_ascii_lowercase();
    lower.len() >= 4 && row.info_hash.to_string().starts_with(&lower)
}

/// Whether a word may have been meant as the beginning of an info hash.
fn too_short(word: &str) -> bool {
    (1..4).contains(&word.len()) && word.chars().all(|c| c.is_ascii_hexdigit())
}

/// Torrents that are listed where a word fits several.
const MOST_NAMED: usize = 5;

/// What a word that fits several torrents may have meant: their names, and the digits that tell them apart.
fn ambiguous(word: &str, rows: &[&TorrentRow]) -> String {
    let hashes: Vec<String> = rows.iter().map(|row| row.info_hash.to_string()).collect();
    let apart = |hash: &String| {
        let others = || hashes.iter().filter(|other| *other != hash);
        let end =
            (8..hash.len()).find(|&end| !others().any(|other| other.starts_with(&hash[..end])));
        hash[..end.unwrap_or(hash.len())].to_owned()
    };
    let mut text = format!(
        "{:?} fits {} torrents; give one of these beginnings of their info hashes:",
        printable(word),
        rows.len()
    );
    for (row, hash) in rows.iter().zip(&hashes).take(MOST_NAMED) {
        text.push_str(&format!("\n  {}  {}", apart(hash), printable(&row.name)));
    }
    if rows.len() > MOST_NAMED {
        text.push_str(&format!(
            "\n  and {} more: dpay list",
            rows.len() - MOST_NAMED
        ));
    }
    text
}

/// The torrents that words name.
pub(super) async fn which(node: &NodeClient, words: &[String]) -> Result<Vec<InfoHash>> {
    let rows = rows(node).await?;
    let mut found = Vec::new();
    for word in words {
        if word == "all" {
            return Ok(rows.iter().map(|row| row.info_hash).collect());
        }
        let hit =
            |row: &&TorrentRow| row.name == *word || row.name == printable(word) || fits(word, row);
        let hits: Vec<&TorrentRow> = rows.iter().filter(hit).collect();
        match hits.as_slice() {
            [one] => found.push(one.info_hash),
            [] if too_short(word) => bail!(
                "{:?} is too short for the beginning of an info hash: give 4 digits of it or more, or the \
                 whole name; see them with: dpay list",
                printable(word)
            ),
            [] => bail!(
                "no torrent here is called {:?}; see them with: dpay list",
                printable(word)
            ),
            more => bail!("{}", ambiguous(word, more)),
        }
    }
    Ok(found)
}

/// `dpay pause`, `resume`, `remove`.
///
/// # Errors
/// Torrents that are none, what was not done, or no running node.
pub async fn act(action: Action, which_args: &WhichArgs, global: &Global) -> Result<u8> {
    let node = node(global).await?;
    let info_hashes = which(&node, &which_args.torrents).await?;
    let request = ActionRequest {
        action,
        info_hashes,
    };
    let result: ActionResult = node
        .change(Method::POST, "/torrents/actions", &request)
        .await?;
    let is_held = |failed: &&ActionFailure| failed.problem.advice == Advice::HoldsUntilStop;
    let held = result.failed.iter().filter(is_held).count();
    super::say(global.json, &serde_json::to_value(&result)?, || {
        format!("done with {}", result.done.len() + held)
    });
    all_done(&result)?;
    Ok(super::EXIT_DONE)
}

/// Says what was not done.
pub(super) fn all_done(result: &ActionResult) -> Result<()> {
    let Some(failed) = result.failed.first() else {
        return Ok(());
    };
    let what = match failed.problem.advice {
        Advice::HoldsUntilStop => "not written down for",
        _ => "not done with",
    };
    bail!(
        "{what} {}: {}: {}",
        result.failed.len(),
        failed.info_hash,
        failed.problem
    );
}

/// `dpay files`.
///
/// # Errors
/// A torrent or files that are none, or no running node.
pub async fn files(args: FilesArgs, global: &Global) -> Result<u8> {
    let node = node(global).await?;
    let hash = which(&node, std::slice::from_ref(&args.torrent)).await?;
    let hash = *hash.first().context("no torrent is named")?;
    let path = format!("/torrents/{hash}/files");
    let mut asks = None;
    let mut files: Vec<FileRow> = node.get(&path).await?;
    let wanted = match (args.only, args.all) {
        (Some(only), _) => Some(only),
        (None, true) => Some(files.iter().map(|file| file.index).collect()),
        (None, false) => None,
    };
    if let Some(wanted) = wanted {
        let choice = FileChoice { wanted };
        let chosen: FilesChosen = node.change(Method::PUT, &path, &choice).await?;
        if chosen.asking {
            let estimate = node.get(&format!("/torrents/{hash}/estimate")).await?;
            asks = Some(super::add::question(&estimate));
        }
        files = node.get(&path).await?;
    }
    if global.json {
        for file in &files {
            println!("{}", serde_json::to_string(file)?);
        }
        if let Some(asks) = asks {
            eprintln!("{asks}");
        }
        return Ok(super::EXIT_DONE);
    }
    let mut table = table(&["index", "wanted", "have", "size", "path"]);
    for file in &files {
        table.add_row([
            right(file.index),
            Cell::new(if file.wanted { "yes" } else { "no" }),
            right(file.have_bytes),
            right(file.size_bytes),
            Cell::new(printable(&file.path)),
        ]);
    }
    println!("{table}");
    if let Some(asks) = asks {
        println!("{asks}");
    }
    Ok(super::EXIT_DONE)
}

/// `dpay open`: opens the page in a browser that is logged in by the link.
///
/// # Errors
/// No running node.
pub async fn open(global: &Global) -> Result<u8> {
    let node = node(global).await?;
    let code: LoginCode = node.change(Method::POST, "/login/code", &json!({})).await?;
    let opened = !global.json && open_browser(&code.url);
    super::say(
        global.json,
        &json!({ "url": code.url, "good_for_s": code.good_for_s }),
        || match opened {
            true => "opened in your browser".to_owned(),
            false => format!(
                "open this within {} minutes, once:\n\n  {}",
                code.good_for_s / 60,
                code.url
            ),
        },
    );
    Ok(super::EXIT_DONE)
}

fn open_browser(url: &str) -> bool {
    use std::process::{Command, Stdio};
    let program = if cfg!(target_os = "macos") {
        "open"
    } else {
        "xdg-open"
    };
    if cfg!(target_os = "linux")
        && std::env::var_os("DISPLAY").is_none()
        && std::env::var_os("WAYLAND_DISPLAY").is_none()
    {
        return false;
    }
    let started = Command::new(program)
        .arg(url)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    started.is_ok_and(|status| status.success())
}

/// `dpay node stop`: returns when another may start with the home.
///
/// # Errors
/// No running node, or one that does not end.
pub async fn stop(global: &Global) -> Result<u8> {
    let node = node(global).await?;
    let _: Done = node.change(Method::POST, "/node/stop", &json!({})).await?;
    super::say(global.json, &json!({ "event": "stopping" }), || {
        "the node closes its channels and stops".to_owned()
    });
    let home = global.home()?;
    let deadline = tokio::time::Instant::now() + STOPPED;
    while NodeServer::is_there(&home) {
        if tokio::time::Instant::now() > deadline {
            bail!(
                "the node did not end within {} s; it goes on closing what is open: see its log in {}",
                STOPPED.as_secs(),
                home.join("logs").display()
            );
        }
        tokio::time::sleep(STOPPED_LOOK).await;
    }
    super::say(global.json, &json!({ "event": "stopped" }), || {
        "stopped".to_owned()
    });
    Ok(super::EXIT_DONE)
}
