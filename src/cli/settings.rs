//! `dpay config`: settings, of the running node where there is one, else in its file.

use std::io::IsTerminal;
use std::path::Path;

use anyhow::{Context, Result, bail};
use comfy_table::Cell;
use reqwest::Method;
use serde_json::{Value, json};

use super::remote::table;
use crate::config::{Global, Settings, keys};
use crate::http::node::client::NodeClient;
use crate::http::node::login::Logins;
use crate::session::view::Done;
use crate::session::view::settings::SettingList;

/// What to do with settings.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum ConfigCommand {
    /// Show one setting
    Get {
        /// Its name, as section.name
        #[arg(value_name = "KEY")]
        key: String,
    },
    /// Change one setting
    Set {
        /// Its name, as section.name
        #[arg(value_name = "KEY")]
        key: String,
        /// Its value; "default" for the default, several texts separated by commas
        #[arg(value_name = "VALUE", allow_hyphen_values = true)]
        value: String,
    },
    /// Show all settings
    List,
    /// Set the password for the page, from standard input or a prompt; empty takes it away
    Password,
}

/// Runs one command.
///
/// # Errors
/// Settings or values that are none, a file that cannot be used.
pub async fn run(command: ConfigCommand, global: &Global) -> Result<u8> {
    let home = global.home()?;
    let node = NodeClient::find(&home).await;
    match command {
        ConfigCommand::Get { key } => {
            let settings = current(&home, node.as_ref()).await?;
            let value = keys::get(&settings, &key)?;
            super::say(global.json, &json!({ "key": key, "value": value }), || {
                shown(&value)
            });
        }
        ConfigCommand::Set { key, value } => {
            let value = keys::parse(&key, &value)?;
            let asks = node.is_none() && key == "broker.url";
            let mut warning = match value.as_str().filter(|_| asks) {
                Some(url) => named(&home, url).await?,
                None => None,
            };
            warning = put(&home, node.as_ref(), &key, value).await?.or(warning);
            if let Some(warning) = warning {
                eprintln!("{warning}");
            }
            let value = keys::get(&current(&home, node.as_ref()).await?, &key)?;
            let waits = node.is_some() && keys::find(&key).is_some_and(|key| key.restart);
            super::say(
                global.json,
                &json!({ "key": key, "value": value, "restart": waits }),
                || {
                    let later = if waits {
                        "; takes effect when the node is started anew"
                    } else {
                        ""
                    };
                    format!("{key} = {}{later}", shown(&value))
                },
            );
        }
        ConfigCommand::List => list(&current(&home, node.as_ref()).await?, global.json),
        ConfigCommand::Password => password(&home, node.as_ref(), global.json).await?,
    }
    Ok(super::EXIT_DONE)
}

/// Changes one setting: of `node`, which runs in this home, or in the home's file. Returns what it warns of.
///
/// # Errors
/// A value that the setting cannot have, a file that cannot be used.
pub(super) async fn put(
    home: &Path,
    node: Option<&NodeClient>,
    key: &str,
    value: Value,
) -> Result<Option<String>> {
    let Some(node) = node else {
        crate::cashier::wallet::home::prepare(home)?;
        // Commands that change it at once do so one after the other, so that no change is lost.
        let alone = std::fs::File::create(home.join("config.lock"))?;
        alone.lock()?;
        keys::set(&Settings::read(home)?, [(key, value)])?.write(home)?;
        return Ok(None);
    };
    let change = json!({ key: value });
    let list: SettingList = node.change(Method::PATCH, "/settings", &change).await?;
    Ok(list.warning)
}

/// The settings that hold: those of `node`, which runs in this home, or those of the file. Where the file says
/// otherwise than the node that is told.
async fn current(home: &Path, node: Option<&NodeClient>) -> Result<Settings> {
    let Some(node) = node else {
        return Ok(Settings::read(home)?);
    };
    let list: SettingList = node.get("/settings").await?;
    let of_node = list.settings.into_iter();
    let of_node = of_node.map(|setting| (setting.key, setting.value));
    let settings = keys::of(of_node)?;
    match Settings::read(home) {
        Ok(file) if file == settings => {}
        Ok(file) => {
            let edited = keys::differences(&file, &settings);
            eprintln!(
                "{} was edited beside the running node: {edited}; {ANEW}",
                list.path
            );
        }
        Err(error) => eprintln!("{error}; the running node has its settings of before"),
    }
    Ok(settings)
}

/// When an edited file counts.
const ANEW: &str = "what the file says counts when the node is started anew";

/// Asks the broker at an address whether it is one, where no node runs that would.
async fn named(home: &Path, url: &str) -> Result<Option<String>> {
    // What is no address is refused before anybody is asked.
    keys::set(&Settings::default(), [("broker.url", json!(url))])?;
    let checked = crate::session::check_broker(home, url).await;
    checked.map_err(|problem| anyhow::anyhow!("{problem}"))
}

fn shown(value: &Value) -> String {
    match value {
        Value::Null => "none".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts.iter().map(shown).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}

fn list(settings: &Settings, is_json: bool) {
    let all = keys::all(settings);
    if is_json {
        for (key, value, default) in all {
            let line = json!({
                "key": key.name, "value": value, "default": default,
                "help": key.help, "restart": key.restart,
            });
            println!("{line}");
        }
        return;
    }
    let mut rows = table(&["setting", "value", "what it does"]);
    for (key, value, _) in all {
        rows.add_row([
            Cell::new(key.name),
            Cell::new(shown(&value)),
            Cell::new(key.help),
        ]);
    }
    println!("{rows}");
}

async fn password(home: &Path, node: Option<&NodeClient>, json: bool) -> Result<()> {
    let text = match std::io::stdin().is_terminal() {
        true => rpassword::prompt_password("New password for the page (empty: none): ")
            .context("the password could not be read")?,
        false => {
            let mut line = String::new();
            std::io::stdin().read_line(&mut line)?;
            line.trim_end_matches(['\r', '\n']).to_owned()
        }
    };
    let password = (!text.is_empty()).then_some(text.as_str());
    match node {
        Some(node) => {
            let change = json!({ "password": password });
            let _: Done = node.change(Method::PUT, "/login/password", &change).await?;
        }
        None => {
            crate::cashier::wallet::home::prepare(home)?;
            let set = Logins::open(home)?.set_password(password);
            if let Err(problem) = set {
                bail!("{problem}");
            }
        }
    }
    super::say(json, &json!({ "password": password.is_some() }), || {
        match password {
            Some(_) => "the password is set; browsers that were logged in are logged out",
            None => "there is no password any more",
        }
        .to_owned()
    });
    Ok(())
}
