//! `dpay wallet backup` and `dpay wallet restore`.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args;
use reqwest::Method;
use serde_json::json;
use zeroize::Zeroizing;

use super::{PassphraseSource, WalletGlobal};
use crate::cashier::wallet::{Passphrase, Wallet, WalletConfig, backup as sealed, home};
use crate::http::node::client::NodeClient;
use crate::report::moment;
use crate::session::view::{Done, PassphraseChange};
use crate::units::UnixMs;
use crate::wallet::Balance;

/// How long `restore` waits for the broker to tell what it knows.
const ASK_BROKER: Duration = Duration::from_secs(30);

/// Where a backup goes.
#[derive(Clone, Debug, Args)]
pub struct BackupArgs {
    /// The file to write; it must not be there yet
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
}

/// What a wallet is made from again.
#[derive(Clone, Debug, Args)]
pub struct RestoreArgs {
    /// A file that `dpay wallet backup` wrote
    #[arg(
        value_name = "FILE",
        required_unless_present = "words",
        conflicts_with = "words"
    )]
    pub file: Option<PathBuf>,
    /// The 24 words alone, in this file
    #[arg(long, value_name = "FILE")]
    pub words: Option<PathBuf>,
    /// With --words: no passphrase, so that whoever can read the home has the money
    #[arg(long, requires = "words")]
    pub no_passphrase: bool,
}

/// The passphrase that is to come.
#[derive(Clone, Debug, Args)]
pub struct NewPassphraseArgs {
    /// The new passphrase is in this file; without it, it is asked for
    #[arg(long, value_name = "FILE", conflicts_with = "no_passphrase")]
    pub new_passphrase_file: Option<PathBuf>,
    /// No passphrase from now on: whoever can read the home has the money
    #[arg(long)]
    pub no_passphrase: bool,
}

/// Asks for the old passphrase, then changes it; by the node, where one runs in this home.
pub(super) async fn change_passphrase(
    args: NewPassphraseArgs,
    global: &WalletGlobal,
) -> Result<()> {
    let old = global.passphrase.text_of(&global.home)?;
    let source = match args.new_passphrase_file {
        Some(file) => PassphraseSource::File(file),
        None => PassphraseSource::Ask,
    };
    let new = match args.no_passphrase {
        true => None,
        false => Some(source.make_text()?),
    };
    match NodeClient::find(&global.home).await {
        Some(node) => {
            let text =
                |text: &Option<Zeroizing<String>>| text.as_ref().map(|text| text.to_string());
            let change = PassphraseChange {
                passphrase: text(&old),
                new: text(&new),
            };
            let _: Done = node
                .change(Method::PUT, "/wallet/passphrase", &change)
                .await?;
        }
        None => {
            let [old, new] = [&old, &new].map(|text| match text {
                Some(text) => Passphrase::new(text),
                None => Ok(Passphrase::none()),
            });
            Wallet::change_passphrase(&global.home, &old?, &new?)?;
        }
    }
    if global.json {
        println!(
            "{}",
            json!({ "changed": true, "has_passphrase": new.is_some() })
        );
        return Ok(());
    }
    match new {
        Some(_) => println!("From now on the wallet opens with the new passphrase only."),
        None => {
            println!("The wallet has no passphrase now: whoever can read the home has the money.")
        }
    }
    println!("Backups that were made before open with the old one. Where a node is started with a");
    println!("--passphrase-file or DPAY_PASSPHRASE, put the new one there.");
    Ok(())
}

/// Writes seed and journal into one encrypted file, also while a node uses the wallet.
pub(super) async fn backup(args: BackupArgs, global: &WalletGlobal) -> Result<()> {
    let passphrase = global.passphrase.open(&global.home)?;
    let bytes = Wallet::backup(&global.home, &passphrase, &args.file).await?;
    if global.json {
        println!("{}", json!({ "file": args.file, "bytes": bytes }));
        return Ok(());
    }
    println!("wrote {bytes} bytes to {}", args.file.display());
    match passphrase_is_none(&global.home)? {
        true => println!("This wallet has no passphrase: whoever can read the file has the money."),
        false => println!("It opens with the wallet's passphrase and with nothing else."),
    }
    Ok(())
}

fn passphrase_is_none(home: &std::path::Path) -> Result<bool> {
    Ok(!home::needs_passphrase(home)?)
}

/// Makes a wallet from a backup or from words, and asks the broker for the rest.
pub(super) async fn restore(args: RestoreArgs, global: &WalletGlobal) -> Result<()> {
    let mut broker = super::broker_setting(global)?;
    let node = NodeClient::find(&global.home).await;
    if node.is_some() {
        // Before: it takes up the wallet as soon as that is there.
        super::remember_broker(broker.take(), global).await?;
    }
    let (passphrase, until) = match (&args.file, &args.words) {
        (Some(file), _) => from_file(file, global).await?,
        (None, Some(words)) => (from_words(words, args.no_passphrase, global).await?, None),
        (None, None) => bail!("name a backup, or a file with the words by --words FILE"),
    };
    super::remember_broker(broker, global).await?;
    let balance = match &node {
        Some(_) => Wallet::read(&global.home).await?.balance().await?,
        None => ask_broker(&passphrase, global).await?,
    };
    if global.json {
        println!("{}", serde_json::to_string(&balance)?);
        return Ok(());
    }
    println!("restored into {}", global.home.display());
    if let Some(until) = until {
        println!(
            "The last line of the backup is of {} UTC: for what happened since, the broker is asked,",
            moment(until)
        );
        println!(
            "and what was earned since and never shown to it comes to the account only at settlement."
        );
    }
    if node.is_some() {
        println!("The node that runs here takes it up and asks the broker for the rest.");
    } else if balance.needs_recovery {
        println!(
            "The broker was not reached: it is asked for the rest as soon as it is. Until then"
        );
        println!("nothing is bought, spent or redeemed. (--broker URL names another address.)");
    }
    println!("Use the wallet in one place only: end every other copy of it before.");
    super::show::balance(&balance, &global.home, false)
}

async fn from_file(
    file: &std::path::Path,
    global: &WalletGlobal,
) -> Result<(Passphrase, Option<UnixMs>)> {
    let passphrase = match sealed::needs_passphrase(file)? {
        true => global.passphrase.read("Passphrase of the backup: ")?,
        false => Passphrase::none(),
    };
    let until = Wallet::restore(&global.home, file, &passphrase).await?;
    Ok((passphrase, until))
}

async fn from_words(
    file: &std::path::Path,
    no_passphrase: bool,
    global: &WalletGlobal,
) -> Result<Passphrase> {
    let words = std::fs::read_to_string(file);
    let words = words.with_context(|| format!("the words file {}", file.display()))?;
    let words = Zeroizing::new(words);
    home::prepare_empty(&global.home)?;
    let passphrase = match no_passphrase {
        true => Passphrase::none(),
        false => global.passphrase.make()?,
    };
    Wallet::init(&global.home, Some(&words), &passphrase).await?;
    Ok(passphrase)
}

/// Opens the wallet so that it asks the broker, and waits for that as long as it is worth it.
async fn ask_broker(passphrase: &Passphrase, global: &WalletGlobal) -> Result<Balance> {
    let config = WalletConfig::for_command(&global.home, global.broker_url.clone());
    let wallet = Wallet::open(config, passphrase).await?;
    let start = Instant::now();
    let balance = loop {
        let balance = wallet.balance().await?;
        let is_over = !balance.needs_recovery || balance.broker_error.is_some();
        if is_over || start.elapsed() > ASK_BROKER {
            break balance;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    wallet.shutdown().await?;
    Ok(balance)
}

impl PassphraseSource {
    /// The passphrase as it is given, or asked for with `question`.
    pub(super) fn read(&self, question: &str) -> Result<Passphrase> {
        match self.given()? {
            Some(passphrase) => Ok(passphrase),
            None => Ok(Passphrase::new(&super::passphrase::ask(question, "")?)?),
        }
    }
}
