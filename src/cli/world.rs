//! A whole small world on loopback: DHT nodes, a broker, seeders and leechers, each a child process of
//! this same binary. They share nothing but sockets. `dpay demo`, `dpay bench` and the end-to-end tests
//! run in it.

mod proc;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

pub use proc::Proc;

/// How long a child may take to say that it is ready.
const READY_TIMEOUT: Duration = Duration::from_secs(60);
/// How often the DHT's nodes are started when a port was taken meanwhile.
const START_TRIES: u32 = 5;

/// What a one-shot command did.
#[derive(Debug)]
pub struct Output {
    /// Exit code.
    pub code: i32,
    /// The last JSON object on standard output, or null.
    pub json: Value,
    /// All of them.
    pub lines: Vec<Value>,
    /// Standard error.
    pub stderr: String,
}

/// Size of the world's infrastructure.
#[derive(Clone, Debug)]
pub struct WorldOptions {
    /// DHT nodes, a process each.
    pub dht_nodes: usize,
    /// Whether the DHT's nodes get only what others leave of the processors: elsewhere they run on other
    /// people's, and what is measured here is what one's own machine does.
    pub dht_yields: bool,
    /// Seconds for which the broker holds redeemed units back.
    pub hold_s: u64,
    /// Seconds between the two readings that decide a contest; none: the broker's own default.
    pub contest_gap_s: Option<u64>,
}

impl Default for WorldOptions {
    fn default() -> Self {
        WorldOptions {
            dht_nodes: 16,
            dht_yields: false,
            hold_s: 0,
            contest_gap_s: None,
        }
    }
}

/// The running world.
pub struct World {
    exe: PathBuf,
    /// Directory that holds every home and output.
    pub root: PathBuf,
    /// The DHT's nodes.
    pub dht: Vec<Proc>,
    /// Addresses to bootstrap from.
    pub bootstrap: Vec<String>,
    /// The broker, unless it was stopped.
    pub broker: Option<Proc>,
    /// Where the broker answers.
    pub broker_url: String,
    /// The broker's key, as hex.
    pub broker_key: String,
    /// Seconds by which the clocks of whatever starts from now on are ahead; DHT nodes have none.
    pub clock_offset_s: i64,
    dht_addresses: Vec<String>,
    options: WorldOptions,
}

/// Ports that nobody uses at this moment, as addresses.
fn free_udp_ports(count: usize) -> Result<Vec<String>> {
    let sockets: Vec<std::net::UdpSocket> = (0..count)
        .map(|_| std::net::UdpSocket::bind("127.0.0.1:0"))
        .collect::<std::io::Result<_>>()
        .context("no free UDP ports on 127.0.0.1")?;
    let address = |socket: &std::net::UdpSocket| Ok(socket.local_addr()?.to_string());
    sockets.iter().map(address).collect()
}

fn text(value: &Value, key: &str) -> Result<String> {
    value[key]
        .as_str()
        .map(str::to_owned)
        .with_context(|| format!("no {key} in {value}"))
}

impl World {
    /// Starts DHT nodes and a broker below `root`, and waits until they answer.
    ///
    /// # Errors
    /// When one of them does not start.
    pub async fn start(exe: &Path, root: &Path, options: WorldOptions) -> Result<World> {
        let mut world = World {
            exe: exe.to_owned(),
            root: root.to_owned(),
            dht: Vec::new(),
            bootstrap: Vec::new(),
            broker: None,
            broker_url: String::new(),
            broker_key: String::new(),
            clock_offset_s: 0,
            dht_addresses: Vec::new(),
            options,
        };
        world.start_dht().await?;
        world.start_broker("127.0.0.1:0").await?;
        Ok(world)
    }

    /// Starts the nodes, again on other ports where somebody else was quicker at one of them.
    async fn start_dht(&mut self) -> Result<()> {
        let mut tries = 1;
        loop {
            match self.start_dht_nodes().await {
                Err(_) if tries < START_TRIES => tries += 1,
                done => return done,
            }
        }
    }

    /// Starts the nodes again at the addresses where they were, with nothing stored, after they were
    /// killed.
    ///
    /// # Errors
    /// When one of them does not start: somebody else may have its port.
    pub async fn restart_dht(&mut self) -> Result<()> {
        let addresses = self.dht_addresses.clone();
        self.start_dht_at(&addresses).await
    }

    async fn start_dht_nodes(&mut self) -> Result<()> {
        let addresses = free_udp_ports(self.options.dht_nodes)?;
        self.start_dht_at(&addresses).await
    }

    /// Every node is told of all others: the crate's nodes do not learn of those that only ask them.
    async fn start_dht_at(&mut self, addresses: &[String]) -> Result<()> {
        self.dht.clear();
        for (n, own) in addresses.iter().enumerate() {
            let mut args: Vec<String> = ["dht-node", "--json", "--with-parent", "--listen"]
                .map(str::to_owned)
                .to_vec();
            args.push(own.clone());
            for other in addresses.iter().filter(|other| *other != own) {
                args.extend(["--dht-bootstrap".into(), other.clone()]);
            }
            let name = format!("dht node {n}");
            let node = match self.options.dht_yields {
                true => {
                    let exe = self.exe.display().to_string();
                    args.splice(0..0, ["--idle".into(), "0".into(), exe]);
                    Proc::start(&name, Path::new("chrt"), &args)?
                }
                false => Proc::start(&name, &self.exe, &args)?,
            };
            self.dht.push(node);
        }
        let starting = self.dht.iter_mut();
        let starting = starting.map(|node| node.wait_for("ready", READY_TIMEOUT));
        futures::future::try_join_all(starting).await?;
        self.bootstrap = addresses.iter().take(3).cloned().collect();
        self.dht_addresses = addresses.to_vec();
        Ok(())
    }

    /// Starts the broker, on `listen`; again after it was stopped.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn start_broker(&mut self, listen: &str) -> Result<()> {
        let args = self.broker_args(listen);
        let mut broker = Proc::start("broker", &self.exe, &args)?;
        let ready = broker.wait_for("ready", READY_TIMEOUT).await?;
        self.broker_url = text(&ready, "broker_url")?;
        self.broker_key = text(&ready, "broker_key")?;
        self.broker = Some(broker);
        Ok(())
    }

    /// What the broker is started with, to listen on `listen`.
    #[must_use]
    pub fn broker_args(&self, listen: &str) -> Vec<String> {
        let mut args: Vec<String> = vec![
            "broker".into(),
            "run".into(),
            "--json".into(),
            "--with-parent".into(),
            "--home".into(),
            self.home("broker").display().to_string(),
            "--listen".into(),
            listen.into(),
            "--hold".into(),
            self.options.hold_s.to_string(),
            "--clock-offset-s".into(),
            self.clock_offset_s.to_string(),
        ];
        if let Some(gap_s) = self.options.contest_gap_s {
            args.extend(["--contest-gap".into(), gap_s.to_string()]);
        }
        for address in &self.bootstrap {
            args.extend(["--dht-bootstrap".into(), address.clone()]);
        }
        args
    }

    /// The home directory of `name`.
    #[must_use]
    pub fn home(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// The options that tell a command of `name` where everything is.
    #[must_use]
    pub fn global(&self, name: &str) -> Vec<String> {
        let mut args = vec![
            "--json".to_owned(),
            "--home".into(),
            self.home(name).display().to_string(),
            "--broker".into(),
            self.broker_url.clone(),
            "--listen".into(),
            "127.0.0.1:0".into(),
            "--clock-offset-s".into(),
            self.clock_offset_s.to_string(),
        ];
        for address in &self.bootstrap {
            args.extend(["--dht-bootstrap".into(), address.clone()]);
        }
        args
    }

    /// Runs a command to its end.
    ///
    /// # Errors
    /// When it cannot be started or prints what is not JSON; its own failure is in [`Output::code`].
    pub async fn run(&self, args: &[String]) -> Result<Output> {
        let mut child = Proc::start(&args.join(" "), &self.exe, args)?;
        let code = child.finish(Duration::from_secs(120)).await?;
        Ok(Output {
            code,
            json: child.seen.back().cloned().unwrap_or(Value::Null),
            lines: child.seen.iter().cloned().collect(),
            stderr: child.stderr().await,
        })
    }

    /// Runs a command of `name` that must succeed, and returns what it printed.
    ///
    /// # Errors
    /// When it fails.
    pub async fn must(&self, name: &str, args: &[&str]) -> Result<Value> {
        let mut all: Vec<String> = args.iter().map(|&a| a.to_owned()).collect();
        all.extend(self.global(name));
        let output = self.run(&all).await?;
        if output.code != 0 {
            bail!(
                "dpay {} failed with code {}: {}",
                args.join(" "),
                output.code,
                output.stderr.trim()
            );
        }
        Ok(output.json)
    }

    /// Makes a wallet for `name`, puts `units` into its account, and returns the account.
    ///
    /// # Errors
    /// When wallet or broker refuse.
    pub async fn wallet(&self, name: &str, units: u64) -> Result<String> {
        let made = self
            .must(name, &["wallet", "init", "--no-passphrase"])
            .await?;
        let account = text(&made, "account")?;
        if units > 0 {
            self.deposit(&account, units).await?;
        }
        Ok(account)
    }

    /// Puts units into an account; the same amount once.
    ///
    /// # Errors
    /// When the broker refuses.
    pub async fn deposit(&self, account: &str, units: u64) -> Result<()> {
        let units = units.to_string();
        let reference = format!("{units} for {account}");
        let of = [
            "--account",
            account,
            "--units",
            &units,
            "--reference",
            &reference,
        ];
        let args = [&["broker", "deposit"][..], &of].concat();
        self.must("broker", &args).await.map(drop)
    }

    /// Starts a long-running command of `name`.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn spawn(&self, name: &str, args: &[String]) -> Result<Proc> {
        self.spawn_with(name, args, &[])
    }

    /// The same with these variables in its environment.
    ///
    /// # Errors
    /// As [`World::spawn`].
    pub fn spawn_with(&self, name: &str, args: &[String], env: &[(&str, &str)]) -> Result<Proc> {
        let mut all = args.to_vec();
        all.extend(self.global(name));
        all.push("--with-parent".into());
        Proc::start_with(name, &self.exe, &all, env)
    }

    /// Starts a seeder of `torrents` (files) with their payload below `data`, and waits until it serves.
    /// Returns it and its address.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn seeder(
        &self,
        name: &str,
        torrent: &Path,
        data: &Path,
        extra: &[&str],
    ) -> Result<(Proc, String)> {
        let mut args = vec![
            "seed".to_owned(),
            torrent.display().to_string(),
            "--data".into(),
            data.display().to_string(),
        ];
        args.extend(extra.iter().map(|&a| a.to_owned()));
        let mut seeder = self.spawn(name, &args)?;
        let ready = seeder.wait_for("ready", READY_TIMEOUT).await?;
        let address = text(&ready, "listen")?;
        Ok((seeder, address))
    }

    /// Starts the download of `torrent` (file or magnet) by `name` into `output`.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn download(
        &self,
        name: &str,
        torrent: &str,
        output: &Path,
        extra: &[&str],
    ) -> Result<Proc> {
        let mut args = vec![
            "download".to_owned(),
            torrent.to_owned(),
            "-o".into(),
            output.display().to_string(),
            "--yes".into(),
        ];
        args.extend(extra.iter().map(|&a| a.to_owned()));
        self.spawn(name, &args)
    }
}
