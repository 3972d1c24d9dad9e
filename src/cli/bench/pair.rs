//! A seeder and a leecher of one torrent, in the ways that are compared.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::cli::demo::{TempDir, write_payload};
use crate::cli::world::{Proc, World, WorldOptions};

/// No download, and no end of a process, takes longer.
pub const LIMIT: Duration = Duration::from_secs(600);
const DEPOSIT_UNITS: u64 = 10_000_000;

/// How bytes come from seeder to leecher.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum Way {
    /// librqbit to librqbit.
    Plain,
    /// The same once more: how far two equal runs differ.
    PlainAgain,
    /// Through both gateways, paid.
    Paid,
    /// Through both gateways, for nothing.
    GatewayFree,
}

impl Way {
    /// Every way, in the order of a round.
    pub const ALL: [Way; 4] = [Way::Plain, Way::Paid, Way::GatewayFree, Way::PlainAgain];
}

impl std::fmt::Display for Way {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Way::Plain => "plain",
            Way::PlainAgain => "plain_again",
            Way::Paid => "paid",
            Way::GatewayFree => "gateway_free",
        })
    }
}

/// What is downloaded.
#[derive(Clone, Debug, clap::Args)]
pub struct PayloadArgs {
    /// Piece length in KiB
    #[arg(long, value_name = "N", default_value_t = 1024)]
    pub piece_kib: u32,
    /// Price in units per GiB
    #[arg(long, value_name = "N", default_value_t = 1000)]
    pub price: u64,
    /// Work below this directory instead of the system's temporary one
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
}

/// A payload with its torrent, and a world to seed and fetch it in.
pub struct Bench {
    pub world: World,
    exe: PathBuf,
    root: PathBuf,
    data: PathBuf,
    torrent: PathBuf,
    price: String,
    _temporary: TempDir,
}

impl Bench {
    /// Makes payload, torrent and wallets, and starts the world. The leecher has coins at hand.
    pub async fn start(args: &PayloadArgs, size_mib: u64) -> Result<Bench> {
        let temporary = TempDir::within(args.dir.as_deref())?;
        let root = temporary.path.clone();
        let exe = std::env::current_exe().context("cannot find this program's own file")?;
        let options = WorldOptions {
            dht_yields: true,
            ..WorldOptions::default()
        };
        let world = World::start(&exe, &root, options).await?;
        let data = root.join("payload");
        std::fs::create_dir_all(&data)?;
        let payload = data.join("payload.bin");
        write_payload(&payload, size_mib << 20)?;
        let torrent = root.join("payload.torrent");
        let kib = args.piece_kib.to_string();
        let (from, to) = (payload.display().to_string(), torrent.display().to_string());
        world
            .must("maker", &["create", &from, "-o", &to, "--piece-kib", &kib])
            .await?;
        world.wallet("seeder", 0).await?;
        world.wallet("leecher", DEPOSIT_UNITS).await?;
        world.must("leecher", &["wallet", "buy", "512"]).await?;
        Ok(Bench {
            world,
            exe,
            root,
            data,
            torrent,
            price: args.price.to_string(),
            _temporary: temporary,
        })
    }

    /// Starts a seeder and waits until it serves; returns it and its address.
    pub async fn seeder(&self, way: Way) -> Result<(Proc, String)> {
        let free = match way {
            Way::Plain | Way::PlainAgain => return self.plain_seeder().await,
            Way::Paid => "off",
            Way::GatewayFree => "on",
        };
        let extra = ["--price", self.price.as_str(), "--free", free];
        self.world
            .seeder("seeder", &self.torrent, &self.data, &extra)
            .await
    }

    async fn plain_seeder(&self) -> Result<(Proc, String)> {
        let args = self.plain_args(&self.data);
        let mut seeder = Proc::start("plain seeder", &self.exe, &args)?;
        let ready = seeder.wait_for("ready", LIMIT).await?;
        let address = ready["listen"].as_str().context("no address")?.to_owned();
        Ok((seeder, address))
    }

    fn plain_args(&self, folder: &Path) -> Vec<String> {
        vec![
            "bench".to_owned(),
            "plain-peer".into(),
            self.torrent.display().to_string(),
            folder.display().to_string(),
        ]
    }

    /// Starts a leecher that fetches from `peer` into an empty folder.
    pub fn leecher(&self, way: Way, peer: &str) -> Result<Proc> {
        let output = self.root.join("downloaded");
        if output.exists() {
            std::fs::remove_dir_all(&output)?;
        }
        let torrent = self.torrent.display().to_string();
        let extra = ["--peer", peer, "--free-only"];
        let extra = match way {
            Way::Plain | Way::PlainAgain => {
                let mut args = self.plain_args(&output);
                args.extend(["--peer".into(), peer.to_owned()]);
                return Proc::start("plain leecher", &self.exe, &args);
            }
            Way::Paid => &extra[..2],
            Way::GatewayFree => &extra[..],
        };
        self.world.download("leecher", &torrent, &output, extra)
    }
}
