//! The play world of the page's "try it first": a broker, a DHT and seeders, each a child process of
//! this same binary on loopback, and a wallet with play money.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use async_trait::async_trait;
use tokio::sync::Mutex;

use super::demo::{SAMPLE, SAMPLE_NAME, TempDir, write_payload};
use super::node::{decode_torrent, read_torrent};
use super::world::{Proc, World, WorldOptions};
use crate::session::play::{PlayWorld, Player};
use crate::session::view::{PlaySample, Saying};
use crate::torrent::Magnet;

const SEEDERS: usize = 3;
const DHT_NODES: usize = 12;
/// Units in the player's account.
const PLAY_UNITS: u64 = 500_000;
/// Units per GiB that seeders ask: some hundred units for the larger sample, and no more than a new
/// node pays.
const PRICE: &str = "4000";
/// Name and size in MiB of the larger sample.
const LARGER: (&str, u64) = ("play-film.bin", 96);
const READY: Duration = Duration::from_secs(60);
const STOP: Duration = Duration::from_secs(40);

/// Makes play worlds on loopback.
#[derive(Debug, Default)]
pub struct LoopbackPlayer {}

#[async_trait]
impl Player for LoopbackPlayer {
    async fn make(
        &self,
        say: &(dyn Fn(Saying) + Send + Sync),
    ) -> Result<Arc<dyn PlayWorld>, String> {
        let made = Loopback::make(say).await;
        made.map(|world| Arc::new(world) as Arc<dyn PlayWorld>)
            .map_err(|error| format!("{error:#}"))
    }
}

struct Loopback {
    home: PathBuf,
    broker_url: String,
    bootstrap: Vec<String>,
    samples: Vec<PlaySample>,
    parts: Mutex<Option<(World, Vec<Proc>)>>,
    _dir: TempDir,
}

impl Loopback {
    async fn make(say: &(dyn Fn(Saying) + Send + Sync)) -> Result<Loopback> {
        let dir = TempDir::within(None)?;
        let exe = std::env::current_exe().context("cannot find this program's own file")?;
        say(Saying::new(
            "play_world",
            format!("starting {DHT_NODES} DHT nodes and a broker"),
            &[("n", DHT_NODES.to_string())],
        ));
        let options = WorldOptions {
            dht_nodes: DHT_NODES,
            ..WorldOptions::default()
        };
        let world = World::start(&exe, &dir.path, options).await?;
        say(Saying::new("play_samples", "making two samples", &[]));
        let data = dir.path.join("seeded");
        std::fs::create_dir_all(&data)?;
        std::fs::write(data.join(SAMPLE_NAME), SAMPLE)?;
        write_payload(&data.join(LARGER.0), LARGER.1 << 20)?;
        let mut torrents = Vec::new();
        for (name, piece_kib) in [(SAMPLE_NAME, "64"), (LARGER.0, "256")] {
            let (payload, torrent) = (data.join(name), dir.path.join(format!("{name}.torrent")));
            let (payload, out) = (payload.display().to_string(), torrent.display().to_string());
            let create = ["create", &payload, "-o", &out, "--piece-kib", piece_kib];
            world.must("maker", &create).await?;
            torrents.push(torrent);
        }
        let mut seeders = Vec::new();
        let mut addresses = Vec::new();
        for n in 1..=SEEDERS {
            let values = [("n", n.to_string()), ("all", SEEDERS.to_string())];
            let text = format!("starting seeder {n} of {SEEDERS}");
            say(Saying::new("play_seeder", text, &values));
            let (seeder, address) = seeder(&world, n, &torrents, &data).await?;
            seeders.push(seeder);
            addresses.push(address);
        }
        say(Saying::new(
            "play_wallet",
            "filling a wallet with play money",
            &[],
        ));
        world.wallet("player", PLAY_UNITS).await?;
        let samples = torrents.iter().map(|torrent| sample(torrent, &addresses));
        Ok(Loopback {
            home: world.home("player"),
            broker_url: world.broker_url.clone(),
            bootstrap: world.bootstrap.clone(),
            samples: samples.collect::<Result<_>>()?,
            parts: Mutex::new(Some((world, seeders))),
            _dir: dir,
        })
    }
}

async fn seeder(
    world: &World,
    n: usize,
    torrents: &[PathBuf],
    data: &Path,
) -> Result<(Proc, String)> {
    let name = format!("seeder-{n}");
    world.wallet(&name, 0).await?;
    let mut args = vec!["seed".to_owned()];
    args.extend(torrents.iter().map(|torrent| torrent.display().to_string()));
    let rest = [
        "--data",
        &data.display().to_string(),
        "--price",
        PRICE,
        "--free",
        "off",
    ];
    args.extend(rest.map(str::to_owned));
    let mut seeder = world.spawn(&name, &args)?;
    let ready = seeder.wait_for("ready", READY).await?;
    let address = ready["listen"]
        .as_str()
        .context("a seeder without address")?;
    let address = address.to_owned();
    Ok((seeder, address))
}

fn sample(torrent: &Path, seeders: &[String]) -> Result<PlaySample> {
    let metainfo = decode_torrent(torrent, &read_torrent(torrent)?)?;
    let mut magnet = Magnet::new(metainfo.info_hash());
    magnet.name = Some(metainfo.name().to_owned());
    magnet.peers = seeders
        .iter()
        .map(|address| address.parse())
        .collect::<Result<_, _>>()?;
    Ok(PlaySample {
        name: metainfo.name().to_owned(),
        size_bytes: metainfo.length_bytes(),
        magnet: magnet.to_string(),
    })
}

#[async_trait]
impl PlayWorld for Loopback {
    fn home(&self) -> PathBuf {
        self.home.clone()
    }

    fn broker_url(&self) -> String {
        self.broker_url.clone()
    }

    fn bootstrap(&self) -> Vec<String> {
        self.bootstrap.clone()
    }

    fn samples(&self) -> Vec<PlaySample> {
        self.samples.clone()
    }

    async fn stop(&self) {
        let Some((mut world, mut seeders)) = self.parts.lock().await.take() else {
            return;
        };
        for seeder in &mut seeders {
            if let Err(error) = seeder.stop(STOP).await {
                tracing::warn!("a seeder of the play world: {error:#}");
            }
        }
        if let Some(mut broker) = world.broker.take()
            && let Err(error) = broker.stop(STOP).await
        {
            tracing::warn!("the broker of the play world: {error:#}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::PRICE;
    use crate::config::Settings;

    #[test]
    fn a_new_node_pays_what_the_seeders_of_the_play_world_ask() {
        let price: u32 = PRICE.parse().expect("a number");
        assert!(price <= Settings::default().spending.max_price.get());
    }
}
