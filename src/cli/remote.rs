//! Commands that talk to a running node: list, pause, resume, recheck, remove, files, limit, open.

use anyhow::{Context, Result, bail};
use comfy_table::{Cell, CellAlignment, Table, presets};
use reqwest::Method;
use serde_json::{Value, json};

use crate::config::Global;
use crate::http::node::client::NodeClient;
use crate::session::view::{
    Action, ActionRequest, ActionResult, Done, FileChoice, FileRow, LoginCode, State, TermsChange,
    TorrentList, TorrentRow,
};
use crate::torrent::printable;
use crate::units::{InfoHash, PricePerGib, Units};

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

/// Limits on speed, on how much a seed sends, and on what a torrent may cost: of the torrents that are named, or
/// of all together.
#[derive(Debug, clap::Args)]
pub struct LimitArgs {
    /// Info hashes, their beginnings, or names; none: the limit for all torrents together
    #[arg(value_name = "TORRENT")]
    pub torrents: Vec<String>,
    /// Most payload coming in, in bytes a second, or "none"
    #[arg(long, value_name = "BYTES_PER_S|none")]
    pub down: Option<String>,
    /// Most payload going out, in bytes a second, or "none"
    #[arg(long, value_name = "BYTES_PER_S|none")]
    pub up: Option<String>,
    /// Pause a seed that has sent so many times what it received, as in 1.5, or "none"; of a torrent also
    /// "default", as for all
    #[arg(long, value_name = "RATIO|none|default")]
    pub ratio: Option<String>,
    /// The highest price that a torrent pays, in units per GiB
    #[arg(long, value_name = "UNITS_PER_GIB", requires = "torrents")]
    pub max_price: Option<PricePerGib>,
    /// The most that a torrent may cost in all, in units, or "none"
    #[arg(long, value_name = "UNITS|none", requires = "torrents")]
    pub budget: Option<String>,
}

/// A ratio as the API has it, in percent; no limit is none for all torrents, and 0 for one, of which none is
/// "as for all".
fn percent(text: &str, of_one: bool) -> Result<Option<u32>> {
    match text {
        "none" | "null" => return Ok(of_one.then_some(0)),
        "default" => return Ok(None),
        _ => {}
    }
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let hundredths = format!("{whole}{part:0<2}").parse::<u32>().ok();
    let percent = hundredths.filter(|percent| part.len() <= 2 && (1..=1_000_000).contains(percent));
    let percent =
        percent.with_context(|| format!("{text:?} is no ratio: give 0.01 to 10000, or none"))?;
    Ok(Some(percent))
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
    let rows = rows(&node(global).await?).await?;
    if global.json {
        for row in &rows {
            println!("{}", serde_json::to_string(row)?);
        }
        return Ok(super::EXIT_DONE);
    }
    let mut table = table(&[
        "hash", "name", "state", "done", "down/s", "up/s", "peers", "paid", "earned",
    ]);
    for row in &rows {
        let state = serde_json::to_value(row.state)?;
        table.add_row([
            Cell::new(&row.info_hash.to_string()[..8]),
            Cell::new(printable(&row.name).chars().take(50).collect::<String>()),
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

/// The torrents that words name.
async fn which(node: &NodeClient, words: &[String]) -> Result<Vec<InfoHash>> {
    let rows = rows(node).await?;
    let mut found = Vec::new();
    for word in words {
        if word == "all" {
            return Ok(rows.iter().map(|row| row.info_hash).collect());
        }
        let lower = word.to_ascii_lowercase();
        let hit = |row: &&TorrentRow| {
            row.name == *word || (lower.len() >= 4 && row.info_hash.to_string().starts_with(&lower))
        };
        let hits: Vec<&TorrentRow> = rows.iter().filter(hit).collect();
        match hits.as_slice() {
            [one] => found.push(one.info_hash),
            [] => bail!(
                "no torrent here is called {:?}; see them with: dpay list",
                printable(word)
            ),
            more => bail!(
                "{:?} fits {} torrents; give more of the info hash",
                printable(word),
                more.len()
            ),
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
    super::say(global.json, &serde_json::to_value(&result)?, || {
        format!("done with {}", result.done.len())
    });
    if let Some(failed) = result.failed.first() {
        bail!(
            "not done with {}: {}: {}",
            result.failed.len(),
            failed.info_hash,
            failed.problem
        );
    }
    Ok(super::EXIT_DONE)
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
    let mut files: Vec<FileRow> = node.get(&path).await?;
    let wanted = match (args.only, args.all) {
        (Some(only), _) => Some(only),
        (None, true) => Some(files.iter().map(|file| file.index).collect()),
        (None, false) => None,
    };
    if let Some(wanted) = wanted {
        let _: Done = node
            .change(Method::PUT, &path, &FileChoice { wanted })
            .await?;
        files = node.get(&path).await?;
    }
    if global.json {
        for file in &files {
            println!("{}", serde_json::to_string(file)?);
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
    Ok(super::EXIT_DONE)
}

/// The setting for how much a seed sends.
const RATIO: &str = "seeding.ratio_limit_percent";

/// `dpay limit`.
///
/// # Errors
/// Limits that are none, or no running node.
pub async fn limit(args: LimitArgs, global: &Global) -> Result<u8> {
    let node = node(global).await?;
    if !args.torrents.is_empty() {
        return limit_torrents(&node, &args, global).await;
    }
    let mut change = serde_json::Map::new();
    for (key, text) in [
        ("limits.download_bytes_per_s", &args.down),
        ("limits.upload_bytes_per_s", &args.up),
    ] {
        if let Some(text) = text {
            change.insert(key.to_owned(), crate::config::keys::parse(key, text)?);
        }
    }
    if let Some(text) = &args.ratio {
        change.insert(RATIO.to_owned(), json!(percent(text, false)?));
    }
    let list: Value = match change.is_empty() {
        true => node.get("/settings").await?,
        false => node.change(Method::PATCH, "/settings", &change).await?,
    };
    let value = |key: &str| {
        let settings = list["settings"].as_array().into_iter().flatten();
        let mut hit = settings.filter(|setting| setting["key"] == key);
        hit.next()
            .map_or(Value::Null, |setting| setting["value"].clone())
    };
    let (down, up) = (
        value("limits.download_bytes_per_s"),
        value("limits.upload_bytes_per_s"),
    );
    let percent = value(RATIO);
    let line = json!({
        "download_bytes_per_s": down,
        "upload_bytes_per_s": up,
        "ratio_limit_percent": percent,
    });
    super::say(global.json, &line, || {
        let (down, up) = (speed(&down), speed(&up));
        format!("down: {down}, up: {up}, ratio: {}", ratio(&percent))
    });
    Ok(super::EXIT_DONE)
}

fn speed(value: &Value) -> String {
    match value.as_u64() {
        Some(speed) => format!("{speed} bytes/s"),
        None => "no limit".to_owned(),
    }
}

fn ratio(percent: &Value) -> String {
    match percent.as_u64().filter(|percent| *percent > 0) {
        Some(percent) => format!("{}.{:02}", percent / 100, percent % 100),
        None => "no limit".to_owned(),
    }
}

/// A budget as it is given: units, or none at all.
fn budget(text: &str) -> Result<Option<Units>> {
    if text == "none" {
        return Ok(None);
    }
    let units = text.parse().ok().filter(|units| *units > 0).map(Units);
    let units = units.with_context(|| format!("{text:?} is no budget: give units, or \"none\""))?;
    Ok(Some(units))
}

/// Shows the limits of some torrents, changed first where there is something to change.
async fn limit_torrents(node: &NodeClient, args: &LimitArgs, global: &Global) -> Result<u8> {
    let change_of = |key: &str, text: &Option<String>| -> Result<Option<Option<u32>>> {
        let Some(text) = text else {
            return Ok(None);
        };
        let value = crate::config::keys::parse(key, text)?;
        if value.is_null() {
            return Ok(Some(None));
        }
        let bytes = value.as_u64().and_then(|bytes| u32::try_from(bytes).ok());
        let bytes = bytes.with_context(|| {
            format!("{text:?} is no limit: give bytes a second, 1 to 4294967295, or `none`")
        })?;
        Ok(Some(Some(bytes)))
    };
    let change = TermsChange {
        download_bytes_per_s: change_of("limits.download_bytes_per_s", &args.down)?,
        upload_bytes_per_s: change_of("limits.upload_bytes_per_s", &args.up)?,
        ratio_limit_percent: (args.ratio.as_deref())
            .map(|text| percent(text, true))
            .transpose()?,
        max_price: args.max_price,
        budget: args.budget.as_deref().map(budget).transpose()?,
        ..TermsChange::default()
    };
    for hash in which(node, &args.torrents).await? {
        if change != TermsChange::default() {
            let path = format!("/torrents/{hash}/terms");
            let _: Value = node.change(Method::PATCH, &path, &change).await?;
        }
        let detail: Value = node.get(&format!("/torrents/{hash}")).await?;
        let terms = &detail["terms"];
        let (down, up) = (&terms["download_bytes_per_s"], &terms["upload_bytes_per_s"]);
        let line = json!({
            "info_hash": hash,
            "download_bytes_per_s": down,
            "upload_bytes_per_s": up,
            "ratio_limit_percent": terms["ratio_limit_percent"],
            "max_price": terms["max_price"],
            "budget": terms["budget"],
            "units_paid": detail["row"]["units_paid"],
        });
        super::say(global.json, &line, || {
            let name = printable(detail["row"]["name"].as_str().unwrap_or_default());
            let share = match &terms["ratio_limit_percent"] {
                Value::Null => "as for all".to_owned(),
                percent => ratio(percent),
            };
            let budget = super::add::budget_words(&terms["budget"], &detail["row"]["units_paid"]);
            format!(
                "{name}: down: {}, up: {}, ratio: {share}, pays up to {} per GiB, budget: {budget}",
                speed(down),
                speed(up),
                terms["max_price"],
            )
        });
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

/// `dpay node stop`.
///
/// # Errors
/// No running node.
pub async fn stop(global: &Global) -> Result<u8> {
    let node = node(global).await?;
    let _: Done = node.change(Method::POST, "/node/stop", &json!({})).await?;
    super::say(global.json, &json!({ "event": "stopping" }), || {
        "the node closes its channels and stops".to_owned()
    });
    Ok(super::EXIT_DONE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_is_read_to_the_hundredth() {
        let good = [
            ("2", 200),
            ("1.5", 150),
            ("0.01", 1),
            (".25", 25),
            ("10000", 1_000_000),
        ];
        for (text, wanted) in good {
            assert_eq!(
                percent(text, true).expect("a ratio"),
                Some(wanted),
                "{text}"
            );
        }
        assert_eq!(percent("none", false).expect("lifted"), None);
        assert_eq!(percent("none", true).expect("exempt"), Some(0));
        assert_eq!(percent("default", true).expect("as for all"), None);
        for text in ["", "0", "0.001", "-1", "1.2.3", "10001", "1e3", "much"] {
            let error = percent(text, true).expect_err(text).to_string();
            assert!(error.contains("0.01 to 10000"), "{text}: {error}");
        }
    }
}
