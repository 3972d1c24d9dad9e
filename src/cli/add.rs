//! `dpay add`: torrents for the running node, and the yes to what one may cost.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use base64::Engine as _;
use reqwest::Method;
use serde_json::{Value, json};

use super::remote::{fits, node, rows};
use crate::config::Global;
use crate::http::node::client::NodeClient;
use crate::session::view::{AddRequest, Added, Estimate, Source, State, TermsChange, TorrentRow};
use crate::torrent::printable;
use crate::units::{InfoHash, PricePerGib, Units};

/// How often, and how long between, it is looked whether a torrent waits for a yes.
const LOOKS: u32 = 30;
const LOOK: Duration = Duration::from_millis(100);

/// A torrent to add to the running node.
#[derive(Debug, clap::Args)]
pub struct AddArgs {
    /// .torrent files, magnet links, http addresses of .torrent files; or, of one in the list, its info hash or
    /// the beginning of that
    #[arg(value_name = "TORRENT|MAGNET|URL", required = true)]
    pub torrents: Vec<String>,
    /// Folder to put it into (default: the node's setting); that of one that is there stays
    #[arg(short, long, value_name = "DIR")]
    pub output: Option<std::path::PathBuf>,
    /// Only add it, do not start it
    #[arg(long)]
    pub paused: bool,
    /// Take from free peers only, pay nothing
    #[arg(long)]
    pub free_only: bool,
    /// Yes to what it may cost, whatever the setting spending.ask_above says
    #[arg(short, long)]
    pub yes: bool,
    /// The highest price to pay, in units per GiB
    #[arg(long, value_name = "UNITS_PER_GIB")]
    pub max_price: Option<PricePerGib>,
    /// The most it may cost in all
    #[arg(long, value_name = "UNITS", value_parser = clap::value_parser!(u64).range(1..))]
    pub budget: Option<u64>,
    /// Price to ask of leechers, in units per GiB
    #[arg(long, value_name = "UNITS_PER_GIB")]
    pub price: Option<PricePerGib>,
    /// Its label: 1 to 40 characters
    #[arg(long, value_name = "LABEL")]
    pub label: Option<String>,
    /// Indexes of the files to download, separated by commas
    #[arg(long, value_name = "N,N,...", value_delimiter = ',')]
    pub files: Option<Vec<u32>>,
    /// A peer to begin with, or to add to a torrent that is there; may be repeated
    #[arg(long = "peer", value_name = "ADDR")]
    pub peers: Vec<String>,
}

fn source(text: &str, rows: &[TorrentRow]) -> Result<Source> {
    if let Some(row) = begun(text, rows)? {
        return Ok(Source {
            magnet: Some(row.info_hash.to_string()),
            ..Source::default()
        });
    }
    let is_link = text.starts_with("magnet:") || text.parse::<InfoHash>().is_ok();
    if is_link {
        return Ok(Source {
            magnet: Some(text.to_owned()),
            ..Source::default()
        });
    }
    if text.starts_with("http://") || text.starts_with("https://") {
        return Ok(Source {
            url: Some(text.to_owned()),
            ..Source::default()
        });
    }
    let bytes = super::node::read_torrent(Path::new(text))?;
    let file = base64::engine::general_purpose::STANDARD.encode(bytes);
    Ok(Source {
        file: Some(file),
        ..Source::default()
    })
}

/// The torrent in the list whose info hash begins so; a file that is called so goes before.
fn begun<'a>(text: &str, rows: &'a [TorrentRow]) -> Result<Option<&'a TorrentRow>> {
    let is_short = (4..40).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_hexdigit());
    if !is_short || Path::new(text).exists() {
        return Ok(None);
    }
    let mut fitting = rows.iter().filter(|row| fits(text, row));
    let one = fitting.next();
    match fitting.count() {
        0 => Ok(one),
        more => bail!(
            "{text} fits {} torrents; give more of the info hash",
            more + 1
        ),
    }
}

/// `dpay add`.
///
/// # Errors
/// What is no torrent, or no running node.
pub async fn add(args: AddArgs, global: &Global) -> Result<u8> {
    let node = node(global).await?;
    let folder = args
        .output
        .as_deref()
        .map(std::path::absolute)
        .transpose()?;
    let listed = rows(&node).await?;
    for text in &args.torrents {
        let request = AddRequest {
            source: source(text, &listed)?,
            folder: folder.as_ref().map(|folder| folder.display().to_string()),
            paused: args.paused,
            ask: false,
            confirmed: args.yes,
            only_files: args.files.clone(),
            terms: TermsChange {
                pays: args.free_only.then_some(false),
                max_price: args.max_price,
                budget: args.budget.map(|budget| Some(Units(budget))),
                price: args.price,
                ..TermsChange::default()
            },
            label: args.label.clone(),
            peers: args.peers.clone(),
        };
        let added = node.change(Method::POST, "/torrents", &request).await;
        let added: Added = added.with_context(|| format!("{} is not added", printable(text)))?;
        let asks = asks(&node, &added).await?;
        let paid = match args.budget {
            Some(_) => Some(paid(&node, added.info_hash).await?),
            None => None,
        };
        let mut line = serde_json::to_value(&added)?;
        line["asks"] = json!(asks);
        if let Some(paid) = paid {
            line["units_paid"] = json!(paid);
        }
        super::say(global.json, &line, || {
            let how = how(&added);
            let asks = asks.map_or_else(String::new, |asks| format!("; {}", question(&asks)));
            let (budget, paid) = (json!(args.budget), json!(paid));
            let beyond = is_paid(&budget, &paid).then(|| budget_words(&budget, &paid));
            let beyond = beyond.map_or_else(String::new, |words| format!("; budget: {words}"));
            format!(
                "{how}: {} ({}){asks}{beyond}",
                printable(&added.name),
                added.info_hash
            )
        });
    }
    Ok(super::EXIT_DONE)
}

/// What was paid for a torrent, ever: also before it was removed and added again.
async fn paid(node: &NodeClient, hash: InfoHash) -> Result<Units> {
    let rows = rows(node).await?;
    let row = rows.iter().find(|row| row.info_hash == hash);
    Ok(row.map_or(Units::ZERO, |row| row.units_paid))
}

/// Whether as much as a budget is paid already.
fn is_paid(budget: &Value, paid: &Value) -> bool {
    matches!((budget.as_u64(), paid.as_u64()), (Some(units), Some(paid)) if paid >= units)
}

fn how(added: &Added) -> String {
    if !added.already {
        return "added".to_owned();
    }
    let mut how = "is there already".to_owned();
    for (new, what) in [(added.new_trackers, "tracker"), (added.new_peers, "peer")] {
        match new {
            0 => {}
            1 => how += &format!(", has 1 more {what}"),
            new => how += &format!(", has {new} more {what}s"),
        }
    }
    if added.confirmed {
        how += ", goes on and is paid for as its terms say";
    }
    how
}

/// What it may cost, where it waits for a yes: in most cases its size is known in a moment.
async fn asks(node: &NodeClient, added: &Added) -> Result<Option<Estimate>> {
    let hash = added.info_hash;
    if !added.asking {
        return Ok(None);
    }
    for _ in 0..LOOKS {
        let rows = rows(node).await?;
        let row = rows.iter().find(|row| row.info_hash == hash);
        match row.map(|row| row.state) {
            Some(State::Asking) => break,
            Some(State::Checking | State::FetchingMetadata) => tokio::time::sleep(LOOK).await,
            // It costs less than it would ask for, or is paused, or there is no more of it to be had.
            _ => return Ok(None),
        }
    }
    Ok(Some(node.get(&format!("/torrents/{hash}/estimate")).await?))
}

pub(super) fn question(asks: &Estimate) -> String {
    let yes = format!(
        "Say yes with: dpay add --yes {}; or take from free peers only with --free-only",
        asks.info_hash
    );
    if !asks.has_metadata {
        return format!(
            "it asks once its size is known, and nothing of it is fetched before. {yes}"
        );
    }
    let expected = asks.expected_units.map_or_else(
        || "no price is known yet".to_owned(),
        |units| format!("{units:#} are expected"),
    );
    format!(
        "it waits for a yes: {expected}, {} at your highest price. {yes}",
        asks.most_units
    )
}

/// A torrent's budget, and whether as much is paid already.
pub(super) fn budget_words(budget: &Value, paid: &Value) -> String {
    match budget.as_u64().map(Units) {
        None => "none".to_owned(),
        Some(units) if is_paid(budget, paid) => {
            format!("{units:#}, and {paid} are paid already: it pays nothing more")
        }
        Some(units) => format!("{units:#}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_below_what_is_paid_says_so() {
        let words = |budget: Value, paid: u64| budget_words(&budget, &json!(paid));
        assert_eq!(words(json!(50), 48), "50 units");
        assert_eq!(words(Value::Null, 48), "none");
        let said = words(json!(10), 48);
        assert!(said.contains("10 units, and 48 are paid already"), "{said}");
    }
}
