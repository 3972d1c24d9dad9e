//! What no type can say of settings.

use super::settings::{Settings, SettingsError};
use crate::torrent::check_label;

fn is_host_and_port(text: &str) -> bool {
    let parts = text.rsplit_once(':');
    let is_host =
        |host: &str| !host.is_empty() && !host.contains(|c: char| c == ',' || c.is_whitespace());
    parts.is_some_and(|(host, port)| is_host(host) && port.parse::<u16>().is_ok())
}

/// Most units that the rules may be told of.
const MOST_UNITS: u64 = 1_000_000_000;

/// Refuses amounts that nobody means, where they are given: a file that has one from before is read as it is.
pub(super) fn bound(name: &str, value: &serde_json::Value) -> Result<(), SettingsError> {
    let most = match name {
        // As many as may be bought at once.
        "rules.buy_below" => 1_000_000,
        "rules.redeem_from" | "rules.low_balance" => MOST_UNITS,
        _ => return Ok(()),
    };
    match value.as_u64().filter(|units| *units > most) {
        None => Ok(()),
        Some(units) => Err(SettingsError::Value {
            key: name.to_owned(),
            value: units.to_string(),
            reason: format!("give 0 to {most}, or none"),
        }),
    }
}

/// Refuses what cannot be, by its key.
pub(super) fn check(settings: &Settings) -> Result<(), SettingsError> {
    let wrong = |key: &str, value: String, reason: &str| {
        Err(SettingsError::Value {
            key: key.to_owned(),
            value,
            reason: reason.to_owned(),
        })
    };
    let nodes = &settings.node.dht_bootstrap;
    if let Some(node) = nodes.iter().find(|node| !is_host_and_port(node)) {
        return wrong("node.dht_bootstrap", format!("{node:?}"), "give HOST:PORT");
    }
    let spending = &settings.spending;
    for (key, budget) in [
        ("spending.budget_torrent", spending.budget_torrent),
        ("spending.budget_automatic", spending.budget_automatic),
    ] {
        if budget.is_some_and(|units| units.is_zero()) {
            let reason = "give 1 or more, or none; to pay nothing set spending.pays to false";
            return wrong(key, "0".to_owned(), reason);
        }
    }
    let memory = settings.node.piece_memory_mib;
    if !(16..=65_536).contains(&memory) {
        return wrong(
            "node.piece_memory_mib",
            memory.to_string(),
            "give 16 to 65536",
        );
    }
    let days = settings.log.keep_days;
    if !(1..=365).contains(&days) {
        return wrong("log.keep_days", days.to_string(), "give 1 to 365");
    }
    let units = settings.rules.at_hand.0;
    if units > 2048 {
        return wrong("rules.at_hand", units.to_string(), "give 0 to 2048");
    }
    let units = settings.rules.buy_units.0;
    if !(16..=1_000_000).contains(&units) {
        return wrong("rules.buy_units", units.to_string(), "give 16 to 1000000");
    }
    if let Some(percent) = settings.seeding.ratio_limit_percent
        && !(1..=1_000_000).contains(&percent)
    {
        let reason = "give 1 to 1000000 percent, or none";
        return wrong("seeding.ratio_limit_percent", percent.to_string(), reason);
    }
    if let Some(url) = &settings.broker.url
        && !url::Url::parse(url).is_ok_and(|url| matches!(url.scheme(), "http" | "https"))
    {
        return wrong("broker.url", url.clone(), "give it as http://HOST:PORT");
    }
    for (key, limit) in [
        (
            "limits.download_bytes_per_s",
            settings.limits.download_bytes_per_s,
        ),
        (
            "limits.upload_bytes_per_s",
            settings.limits.upload_bytes_per_s,
        ),
    ] {
        // Less than a block a second is no limit that a torrent could work under.
        if let Some(speed) = limit
            && speed < 16_384
        {
            return wrong(key, speed.to_string(), "give at least 16384, or none");
        }
    }
    if settings.limits.downloads_at_once == Some(0) {
        let reason = "give 1 or more, or none";
        return wrong("limits.downloads_at_once", "0".to_owned(), reason);
    }
    for (key, folder) in [
        ("folders.downloads", &settings.folders.downloads),
        ("folders.watch", &settings.folders.watch),
    ] {
        if let Some(folder) = folder
            && !folder.is_absolute()
        {
            return wrong(
                key,
                folder.display().to_string(),
                "give a path from the root",
            );
        }
    }
    if let Some(label) = &settings.folders.watch_label
        && let Err(fault) = check_label(label)
    {
        return wrong(
            "folders.watch_label",
            format!("{label:?}"),
            &fault.to_string(),
        );
    }
    if settings.node.listen.is_ipv6() {
        let listen = settings.node.listen.to_string();
        return wrong(
            "node.listen",
            listen,
            "only IPv4 addresses are served so far",
        );
    }
    Ok(())
}
