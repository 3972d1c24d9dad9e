//! The broker that a setting is to name: whether it is one, and not another than the wallet's.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use super::Session;
use super::money::ask;
use super::view::{Advice, Problem, ProblemCode};
use crate::cashier::wallet::{CashierError, Wallet, home};
use crate::coin::keys::PublicKey;

/// The setting.
const KEY: &str = "broker.url";

/// Asks the broker at `url` who it is, for the wallet in `home`. Returns what to warn of: nobody there, somebody
/// who is no broker, or a wallet that cannot be read, so that nobody knows whether it is its broker.
///
/// # Errors
/// Another broker than the wallet's: its money lies with the old one.
pub async fn check_broker(home: &Path, url: &str) -> Result<Option<String>, Problem> {
    let info = match ask(url).await {
        Ok(info) => info,
        Err(error) => return Ok(Some(format!("{KEY} is kept, but {error}"))),
    };
    let pinned = match pinned(home).await {
        Ok(pinned) => pinned,
        Err(error) => {
            return Ok(Some(format!(
                "{KEY} is kept, but whether {} is this wallet's broker is not known: {error}",
                info.broker
            )));
        }
    };
    let Some(pinned) = pinned.filter(|key| *key != info.broker) else {
        return Ok(None);
    };
    let error = format!(
        "at {url} is the broker {}, and this wallet belongs to {pinned}",
        info.broker
    );
    let problem = Problem::new(ProblemCode::Broker, error, Advice::OtherHome);
    Err(problem.about(info.broker))
}

/// The key of the broker that the wallet in a home belongs to, if there is a wallet and it has one.
async fn pinned(home: &Path) -> Result<Option<PublicKey>, CashierError> {
    if !home::has_wallet(home) {
        return Ok(None);
    }
    Ok(Wallet::read(home).await?.balance().await?.broker)
}

impl Session {
    /// As [`check_broker`], where a change names another address than the one that is set.
    pub(super) async fn check_named(
        &self,
        change: &BTreeMap<String, Value>,
    ) -> Result<Option<String>, Problem> {
        let Some(Value::String(url)) = change.get(KEY) else {
            return Ok(None);
        };
        let is_web = |url: &url::Url| matches!(url.scheme(), "http" | "https");
        // What is no address is refused as every setting is.
        let is_url = url::Url::parse(url).is_ok_and(|url| is_web(&url));
        if !is_url || self.settings().broker.url.as_ref() == Some(url) {
            return Ok(None);
        }
        check_broker(&self.inner.options.home, url).await
    }
}
