//! `dpay label`: labels of the running node's torrents.

use anyhow::Result;
use reqwest::Method;
use serde_json::json;

use super::remote::{node, rows, which};
use crate::config::Global;
use crate::session::view::{ActionResult, LabelRequest, TorrentRow};
use crate::torrent::printable;

/// Labels of torrents: shown, set or taken away.
#[derive(Debug, clap::Args)]
pub struct LabelArgs {
    /// Info hashes, their beginnings, or names; or "all"; none: show all labels
    #[arg(value_name = "TORRENT|all")]
    pub torrents: Vec<String>,
    /// Give them this label in place of the one that they have: 1 to 40 characters
    #[arg(
        long,
        value_name = "LABEL",
        requires = "torrents",
        conflicts_with = "none"
    )]
    pub set: Option<String>,
    /// Take their label away
    #[arg(long, requires = "torrents")]
    pub none: bool,
}

/// `dpay label`.
///
/// # Errors
/// Torrents or labels that are none, what was not done, or no running node.
pub async fn label(args: LabelArgs, global: &Global) -> Result<u8> {
    let node = node(global).await?;
    let hashes = match args.torrents.is_empty() {
        true => None,
        false => Some(which(&node, &args.torrents).await?),
    };
    if let Some(info_hashes) = hashes.clone().filter(|_| args.set.is_some() || args.none) {
        let request = LabelRequest {
            label: args.set,
            info_hashes,
        };
        let result: ActionResult = node
            .change(Method::PUT, "/torrents/label", &request)
            .await?;
        super::remote::all_done(&result)?;
    }
    let rows = rows(&node).await?;
    let wanted = |row: &&TorrentRow| match &hashes {
        Some(hashes) => hashes.contains(&row.info_hash),
        None => row.label.is_some(),
    };
    for row in rows.iter().filter(wanted) {
        let line = json!({ "info_hash": row.info_hash, "name": row.name, "label": row.label });
        super::say(global.json, &line, || {
            let label = row
                .label
                .as_deref()
                .map_or("no label".to_owned(), printable);
            format!("{}: {label}", printable(&row.name))
        });
    }
    if hashes.is_none() && !global.json && !rows.iter().any(|row| row.label.is_some()) {
        println!("no torrent has a label; give one with: dpay label TORRENT --set LABEL");
    }
    Ok(super::EXIT_DONE)
}
