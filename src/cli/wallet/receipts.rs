//! Receipts of the history, for people and programs.

use anyhow::Result;

use crate::report::moment;
use crate::wallet::receipt::{About, ChannelReceipt, Receipt};

/// Prints receipts: JSON one a line, text with one value a line.
pub(super) fn show(receipts: &[Receipt], is_json: bool) -> Result<()> {
    for receipt in receipts {
        if is_json {
            println!("{}", serde_json::to_string(receipt)?);
            continue;
        }
        for entry in &receipt.lines {
            let what = entry.line.kind.name().replace('_', " ");
            println!(
                "{:>6}  {} UTC  {what}, {:#}",
                entry.number,
                moment(entry.line.at),
                entry.line.units
            );
        }
        about(&receipt.about);
        println!();
    }
    Ok(())
}

fn row(name: &str, value: &dyn std::fmt::Display) {
    println!("  {name:<22} {value}");
}

fn maybe(name: &str, value: Option<&str>, otherwise: &str) {
    row(name, &value.unwrap_or(otherwise));
}

fn about(about: &About) {
    match about {
        About::Payment(channel) => self::channel("paid to", channel),
        About::Earning(channel) => self::channel("paid by", channel),
        About::Purchase {
            request,
            state,
            coins,
        } => {
            row("purchase", request);
            row("state", state);
            for coin in coins {
                let certificate = coin.certificate.as_deref();
                maybe(
                    &format!("coin of {:#}", coin.value),
                    certificate,
                    "did not come",
                );
            }
        }
        About::Redemption {
            request,
            holdings,
            answer,
            signature,
            ..
        } => {
            row("redemption", request);
            for holding in holdings {
                row("holding", &holding.holding);
                row("  units", &holding.value);
                row("  state", &holding.state);
                row("  path", &holding.path);
            }
            maybe("broker's answer", answer.as_deref(), "not there yet");
            maybe(
                "signed by the broker",
                signature.as_deref(),
                "not there yet",
            );
        }
        About::Withdrawal {
            request,
            units,
            destination,
            state,
            withdrawal,
            answer,
            signature,
            ..
        } => {
            row("withdrawal", request);
            row("units", units);
            row("to", destination);
            row("state", state);
            maybe("broker's id of it", withdrawal.as_deref(), "none");
            maybe("broker's answer", answer.as_deref(), "none");
            maybe("signed by the broker", signature.as_deref(), "none");
        }
        About::Line => row("receipt", &"this line needs none"),
    }
}

fn channel(with: &str, channel: &ChannelReceipt) {
    row(with, &channel.peer);
    row("payee's key", &channel.payee);
    row("torrent", &channel.info_hash);
    row("units paid", &channel.paid);
    row("units locked", &channel.value);
    row("since", &moment(channel.opened_unix_ms));
    row("spend", &channel.spend);
    row("holding", &channel.holding);
    row("passed on before", &format!("{} times", channel.links));
    row("path of the holding", &channel.path);
    row("payee's certificate", &channel.payee_certificate);
    let open = "only the seed signs it again";
    maybe("signed spend", channel.open.as_deref(), open);
    maybe("signed close", channel.close.as_deref(), "not there yet");
    let presented = channel.presented_unix_ms.map(moment);
    maybe("shown to the broker", presented.as_deref(), "not yet");
}
