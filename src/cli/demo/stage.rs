//! Where the demonstration plays: a world, something to download, seeders that have it, and a leecher.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{DemoArgs, Proc, SAMPLE, SAMPLE_NAME, STOP_TIMEOUT, Steps, World, WorldOptions};
use super::{number, write_payload};

/// Units put into the leecher's account.
pub(super) const DEPOSIT_UNITS: u64 = 200_000;

fn sha256(path: &Path) -> Result<Vec<u8>> {
    let mut file =
        fs::File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        let got = std::io::Read::read(&mut file, &mut buffer)?;
        if got == 0 {
            return Ok(hasher.finalize().to_vec());
        }
        hasher.update(&buffer[..got]);
    }
}

/// A world with its seeders, and the leecher's wallet filled.
pub(super) struct Stage {
    pub(super) world: World,
    payload: PathBuf,
    torrent: PathBuf,
    output: PathBuf,
    /// Name, process and address of each.
    pub(super) seeders: Vec<(String, Proc, String)>,
}

impl Stage {
    pub(super) async fn set(
        args: &DemoArgs,
        root: &Path,
        steps: &Steps,
        options: WorldOptions,
    ) -> Result<Stage> {
        let exe = std::env::current_exe().context("cannot find this program's own file")?;
        steps.say(format!(
            "starting {} DHT nodes and a broker",
            options.dht_nodes
        ));
        let world = World::start(&exe, root, options).await?;
        let data = root.join("seeded");
        fs::create_dir_all(&data)?;
        let payload = match args.size_mib {
            Some(mib) => {
                let path = data.join(format!("payload-{mib}-mib.bin"));
                write_payload(&path, mib << 20)?;
                path
            }
            None => {
                let path = data.join(SAMPLE_NAME);
                fs::write(&path, SAMPLE)?;
                path
            }
        };
        let torrent = root.join("payload.torrent");
        let (payload_text, torrent_text) =
            (payload.display().to_string(), torrent.display().to_string());
        let piece_kib = args.piece_kib.or(args.size_mib.is_none().then_some(64));
        let piece_kib = piece_kib.map(|kib| kib.to_string());
        let mut create = vec!["create", &payload_text, "-o", &torrent_text];
        if let Some(kib) = &piece_kib {
            create.extend(["--piece-kib", kib]);
        }
        world.must("maker", &create).await?;
        steps.say(format!("starting {} seeders", args.seeders));
        let price = args.price.to_string();
        let mut seeders = Vec::new();
        for n in 1..=args.seeders {
            let name = format!("seeder-{n}");
            world.wallet(&name, 0).await?;
            let extra = ["--price", price.as_str(), "--free", "off"];
            let (seeder, address) = world.seeder(&name, &torrent, &data, &extra).await?;
            seeders.push((name, seeder, address));
        }
        steps.say("funding the leecher's wallet".into());
        world.wallet("leecher", DEPOSIT_UNITS).await?;
        Ok(Stage {
            world,
            payload,
            torrent,
            output: root.join("downloaded"),
            seeders,
        })
    }

    /// Starts the download from all seeders.
    pub(super) fn leecher(&self, args: &DemoArgs, more: &[&str]) -> Result<Proc> {
        let price = args.price.to_string();
        let mut extra: Vec<&str> = vec!["--max-price", &price];
        for (_, _, address) in &self.seeders {
            extra.extend(["--peer", address]);
        }
        extra.extend(more);
        let torrent = self.torrent.display().to_string();
        self.world
            .download("leecher", &torrent, &self.output, &extra)
    }

    /// Whether what was downloaded has the bytes of what was seeded.
    pub(super) fn is_same(&self) -> Result<bool> {
        Ok(match self.payload.file_name() {
            Some(name) => sha256(&self.payload)? == sha256(&self.output.join(name))?,
            None => false,
        })
    }

    /// Stops the broker; the number of requests that it answered.
    pub(super) async fn stop_broker(&mut self) -> Result<u64> {
        let Some(mut broker) = self.world.broker.take() else {
            return Ok(0);
        };
        broker.stop(STOP_TIMEOUT).await?;
        let stopped = broker.last("stopped");
        number(
            stopped.context("the broker did not stop in order")?,
            "requests",
        )
    }
}

/// Stops a seeder, which closes its channels; the line in which it says how.
pub(super) async fn stop(name: &str, seeder: &mut Proc) -> Result<Value> {
    let code = seeder.stop(STOP_TIMEOUT).await?;
    ensure!(
        code == 0,
        "{name} stopped with code {code}: {}",
        seeder.stderr().await
    );
    let line = seeder.last("stopped").cloned();
    line.with_context(|| format!("{name} did not say how it stopped"))
}
