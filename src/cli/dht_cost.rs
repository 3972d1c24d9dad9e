//! `dpay bench dht-cost`: what payments cost the DHT, in packets per paid GiB, for one seeder and
//! for many: each seeder opens channels of its own, and each channel has records of its own.

use std::path::PathBuf;

use anyhow::Result;
use serde_json::{Value, json};

use super::demo::{DemoArgs, Steps, TempDir, play};
use crate::config::Global;

/// Options of `dpay bench dht-cost`.
#[derive(Debug, clap::Args)]
pub struct DhtCostArgs {
    /// Seeders, one download for each number
    #[arg(long, value_name = "N,..", value_delimiter = ',', default_value = "1,5,30", value_parser = clap::value_parser!(u8).range(1..=60))]
    pub seeders: Vec<u8>,
    /// Size of the payload in MiB
    #[arg(long, value_name = "N", default_value_t = 512, value_parser = clap::value_parser!(u64).range(8..=65_536))]
    pub size_mib: u64,
    /// Price in units per GiB
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u64).range(16..=65_536))]
    pub price: u64,
    /// DHT nodes, a process each
    #[arg(long, value_name = "N", default_value_t = 24, value_parser = clap::value_parser!(u8).range(8..=64))]
    pub dht_nodes: u8,
    /// Work below this directory instead of the system's temporary one
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
}

/// Downloads once for each number of seeders and prints what it cost.
///
/// # Errors
/// When a part does not start or a download does not finish.
pub async fn run(args: DhtCostArgs, global: &Global) -> Result<u8> {
    let mut lines = Vec::new();
    for &seeders in &args.seeders {
        let temporary = TempDir::within(args.dir.as_deref())?;
        let demo = DemoArgs {
            size_mib: Some(args.size_mib),
            piece_kib: None,
            seeders,
            price: args.price,
            dht_nodes: args.dht_nodes,
            keep: None,
            cheat: false,
            ui: false,
            web: ([127, 0, 0, 1], 0).into(),
        };
        let report = play(&demo, &temporary.path, &Steps::new(true)).await?;
        let gib = report.bytes as f64 / (1u64 << 30) as f64;
        let channels = report.acceptance_ms.len();
        let per_channel = |count: u64| count as f64 / channels.max(1) as f64;
        let line = json!({
            "seeders": seeders,
            "paid_gib": gib,
            "channels": channels,
            "places_read": report.dht_gets,
            "places_put": report.dht_puts,
            "requests_of_records": report.dht_requests,
            "requests_of_records_per_channel": per_channel(report.dht_requests),
            "udp_packets": report.udp_packets,
            "udp_packets_per_channel": per_channel(report.udp_packets),
            "udp_packets_per_paid_gib": report.udp_packets as f64 / gib,
        });
        if !global.json {
            println!("{}", text(&line));
        }
        lines.push(line);
    }
    if global.json {
        let line = json!({
            "size_mib": args.size_mib,
            "price": args.price,
            "dht_nodes": args.dht_nodes,
            "downloads": lines,
        });
        println!("{line}");
    }
    Ok(super::EXIT_DONE)
}

fn text(line: &Value) -> String {
    let number = |key: &str| line[key].as_f64().unwrap_or(f64::NAN);
    format!(
        "{} seeders: {} channels for {:.2} GiB; {} places read, {} put; {:.0} requests for records a channel; \
         {:.0} UDP packets a channel, {:.0} a paid GiB (all programs of this machine, answers and look-ups of peers included)",
        line["seeders"],
        line["channels"],
        number("paid_gib"),
        line["places_read"],
        line["places_put"],
        number("requests_of_records_per_channel"),
        number("udp_packets_per_channel"),
        number("udp_packets_per_paid_gib"),
    )
}
