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
        #[arg(value_name = "VALUE")]
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
            let settings = read(&home)?;
            let value = keys::get(&settings, &key)?;
            super::say(global.json, &json!({ "key": key, "value": value }), || {
                shown(&value)
            });
        }
        ConfigCommand::Set { key, value } => {
            let value = keys::parse(&key, &value)?;
            put(&home, node.as_ref(), &key, value).await?;
            let value = keys::get(&read(&home)?, &key)?;
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
        ConfigCommand::List => list(&read(&home)?, global.json),
        ConfigCommand::Password => password(&home, node.as_ref(), global.json).await?,
    }
    Ok(super::EXIT_DONE)
}

/// Changes one setting: of `node`, which runs in this home, or in the home's file.
///
/// # Errors
/// A value that the setting cannot have, a file that cannot be used.
pub(super) async fn put(
    home: &Path,
    node: Option<&NodeClient>,
    key: &str,
    value: Value,
) -> Result<()> {
    let Some(node) = node else {
        crate::cashier::wallet::home::prepare(home)?;
        // Commands that change it at once do so one after the other, so that no change is lost.
        let alone = std::fs::File::create(home.join("config.lock"))?;
        alone.lock()?;
        keys::set(&read(home)?, [(key, value)])?.write(home)?;
        return Ok(());
    };
    let change = json!({ key: value });
    let _: Value = node.change(Method::PATCH, "/settings", &change).await?;
    Ok(())
}

fn read(home: &Path) -> Result<Settings> {
    Ok(Settings::read(home)?)
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
