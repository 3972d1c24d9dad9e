//! `dpay add`: torrents for the running node, and the yes to what one may cost.

use std::path::Path;

use anyhow::{Result, bail};
use base64::Engine as _;
use reqwest::Method;
use serde_json::json;

use super::remote::{node, rows};
use crate::config::Global;
use crate::http::node::client::NodeClient;
use crate::session::view::{
    Action, ActionRequest, ActionResult, AddRequest, Added, Estimate, Source, State, TermsChange,
};
use crate::torrent::printable;
use crate::units::{InfoHash, PricePerGib, Units};

/// A torrent to add to the running node.
#[derive(Debug, clap::Args)]
pub struct AddArgs {
    /// .torrent files, magnet links, or http addresses of .torrent files
    #[arg(value_name = "TORRENT|MAGNET|URL", required = true)]
    pub torrents: Vec<String>,
    /// Folder to put it into (default: the node's setting)
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
    /// Indexes of the files to download, separated by commas
    #[arg(long, value_name = "N,N,...", value_delimiter = ',')]
    pub files: Option<Vec<u32>>,
    /// A peer to begin with; may be repeated
    #[arg(long = "peer", value_name = "ADDR")]
    pub peers: Vec<String>,
}

fn source(text: &str) -> Result<Source> {
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
    for text in &args.torrents {
        let request = AddRequest {
            source: source(text)?,
            folder: folder.as_ref().map(|folder| folder.display().to_string()),
            paused: args.paused,
            ask: false,
            confirmed: args.yes,
            only_files: args.files.clone(),
            terms: TermsChange {
                pays: args.free_only.then_some(false),
                max_price: args.max_price,
                budget: args.budget.map(Units),
                price: args.price,
                ..TermsChange::default()
            },
            peers: args.peers.clone(),
        };
        let added: Added = node.change(Method::POST, "/torrents", &request).await?;
        if added.already && args.says_terms() {
            bail!(
                "{} is there already, and nothing of it was changed: its price and budget are changed on its page, its files \
                 by `dpay files`; or remove it and add it anew",
                added.info_hash
            );
        }
        let asks = asks(&node, &args, &added).await?;
        let mut line = serde_json::to_value(&added)?;
        line["asks"] = json!(asks);
        super::say(global.json, &line, || {
            let how = if added.already {
                "is there already"
            } else {
                "added"
            };
            let asks =
                asks.map_or_else(String::new, |asks| format!("; {}", question(&asks, &added)));
            format!(
                "{how}: {} ({}){asks}",
                printable(&added.name),
                added.info_hash
            )
        });
    }
    Ok(super::EXIT_DONE)
}

impl AddArgs {
    /// Whether terms or files are given that a torrent in the list may not have.
    fn says_terms(&self) -> bool {
        let has_amount = self.max_price.is_some() || self.budget.is_some() || self.price.is_some();
        has_amount || self.files.is_some()
    }
}

/// What it may cost, where it waits for a yes. One that was there already gets the answer that was given.
async fn asks(node: &NodeClient, args: &AddArgs, added: &Added) -> Result<Option<Estimate>> {
    let hash = added.info_hash;
    let is_asking = async || {
        let rows = rows(node).await?;
        let mut rows = rows.iter();
        Ok::<_, anyhow::Error>(rows.any(|r| r.info_hash == hash && r.state == State::Asking))
    };
    let stops_paying = args.free_only && added.already;
    if !stops_paying && !is_asking().await? {
        return Ok(None);
    }
    let answer = match (args.yes, args.free_only) {
        (_, true) => Some(Action::FreeOnly),
        (true, false) => Some(Action::Confirm),
        (false, false) => None,
    };
    if let Some(action) = answer.filter(|_| added.already) {
        let request = ActionRequest {
            action,
            info_hashes: vec![hash],
        };
        let result: ActionResult = node
            .change(Method::POST, "/torrents/actions", &request)
            .await?;
        if let Some(failure) = result.failed.first() {
            bail!("{}", failure.problem);
        }
        return Ok(None);
    }
    Ok(Some(node.get(&format!("/torrents/{hash}/estimate")).await?))
}

fn question(asks: &Estimate, added: &Added) -> String {
    let expected = asks.expected_units.map_or_else(
        || "no price is known yet".to_owned(),
        |units| format!("{units} units are expected"),
    );
    format!(
        "it waits for a yes: {expected}, {} at your highest price. Say yes with: dpay add --yes {}; or take from free \
         peers only with --free-only",
        asks.most_units, added.info_hash
    )
}
