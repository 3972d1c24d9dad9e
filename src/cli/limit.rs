//! `dpay limit`: how fast the running node may be, what its torrents may cost and what they ask.

use anyhow::{Context, Result};
use reqwest::Method;
use serde_json::{Value, json};

use super::remote::{node, which};
use crate::config::Global;
use crate::http::node::client::NodeClient;
use crate::session::view::{FreeService, TermsChange};
use crate::torrent::printable;
use crate::units::{PricePerGib, Units};

/// Limits on speed, on how much a seed sends, on what a torrent may cost, and what it asks: of the torrents that are named, or
/// of all together.
#[derive(Debug, clap::Args)]
pub struct LimitArgs {
    /// Info hashes, their beginnings, or names; none: the limit for all torrents together
    #[arg(value_name = "TORRENT")]
    pub torrents: Vec<String>,
    /// Most payload coming in, in bytes a second, or as in 500k, 2M or 512KiB; 0 or "none" lifts it
    #[arg(long, value_name = "BYTES_PER_S|none")]
    pub down: Option<String>,
    /// Most payload going out, in bytes a second, or as in 500k, 2M or 512KiB; 0 or "none" lifts it
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
    /// The price that is asked of leechers, in units per GiB
    #[arg(long, value_name = "UNITS_PER_GIB", requires = "torrents")]
    pub price: Option<PricePerGib>,
    /// Whom to serve for nothing: nobody (off), whoever is there when nobody pays (leftover), everybody (on)
    #[arg(long, value_name = "POLICY", requires = "torrents")]
    pub free: Option<FreeService>,
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
            change.insert(key.to_owned(), speed_limit(key, text)?);
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

/// A limit on speed as it is given: 0 is none, as elsewhere. Below 1 KiB/s that is said.
fn speed_limit(key: &str, text: &str) -> Result<Value> {
    let bytes = bytes_per_s(text);
    if let Some(bytes) = bytes.filter(|bytes| (1..1 << 10).contains(bytes)) {
        eprintln!(
            "{bytes} B/s is less than 1 KiB/s: hardly anything moves; {bytes}k would be {bytes} kB/s"
        );
    }
    let value = match bytes {
        Some(bytes) => json!(bytes),
        None => crate::config::keys::parse(key, text)?,
    };
    Ok(if value == 0 { Value::Null } else { value })
}

/// Bytes a second, as in 500000, 500k, 1.5M, 2MiB or 2MiB/s: k, M and G count in thousands, Ki, Mi and Gi in 1024.
fn bytes_per_s(text: &str) -> Option<u64> {
    let text = text.trim();
    let text = text.strip_suffix("/s").unwrap_or(text);
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.');
    let (number, unit) = text.split_at(end.unwrap_or(text.len()));
    let unit = unit.trim().to_ascii_lowercase();
    let factor: u64 = match unit.strip_suffix('b').unwrap_or(&unit) {
        "" => 1,
        "k" => 1000,
        "m" => 1_000_000,
        "g" => 1_000_000_000,
        "ki" => 1 << 10,
        "mi" => 1 << 20,
        "gi" => 1 << 30,
        _ => return None,
    };
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    let whole: u64 = whole.parse().ok()?;
    let part = match part {
        "" => 0,
        digits if digits.len() <= 6 && factor > 1 => {
            digits.parse::<u64>().ok()? * factor / 10_u64.pow(u32::try_from(digits.len()).ok()?)
        }
        _ => return None,
    };
    whole.checked_mul(factor)?.checked_add(part)
}

fn speed(value: &Value) -> String {
    match value.as_u64() {
        Some(speed) if speed < 1 << 10 => format!("{speed} B/s"),
        Some(speed) => format!("{speed} B/s ({:.1} KiB/s)", speed as f64 / 1024.0),
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
        let value = speed_limit(key, text)?;
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
        price: args.price,
        free: args.free,
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
            "price": terms["price"],
            "free": terms["free"],
        });
        super::say(global.json, &line, || {
            let name = printable(detail["row"]["name"].as_str().unwrap_or_default());
            let share = match &terms["ratio_limit_percent"] {
                Value::Null => "as for all".to_owned(),
                percent => ratio(percent),
            };
            let budget = super::add::budget_words(&terms["budget"], &detail["row"]["units_paid"]);
            format!(
                "{name}: down: {}, up: {}, ratio: {share}, pays up to {} per GiB, budget: {budget}, \
                 asks {} per GiB, free: {}",
                speed(down),
                speed(up),
                terms["max_price"],
                terms["price"],
                terms["free"].as_str().unwrap_or_default(),
            )
        });
    }
    Ok(super::EXIT_DONE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_speed_is_read_with_its_unit() {
        let good = [
            ("1", 1),
            ("500000", 500_000),
            ("500k", 500_000),
            ("1.5M", 1_500_000),
            ("2MiB", 2 << 20),
            ("20 KiB/s", 20 << 10),
            ("1kB/s", 1000),
        ];
        for (text, wanted) in good {
            assert_eq!(bytes_per_s(text), Some(wanted), "{text}");
        }
        for text in [
            "",
            "k",
            "-1",
            "1.5",
            "2x",
            "1.2.3M",
            "none",
            "99999999999999999999G",
        ] {
            assert_eq!(bytes_per_s(text), None, "{text}");
        }
        assert_eq!(speed(&json!(1)), "1 B/s");
        assert_eq!(speed(&json!(500_000)), "500000 B/s (488.3 KiB/s)");
    }

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
