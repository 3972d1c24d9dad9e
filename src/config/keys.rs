//! Every setting by its key, `section.name`: what it is, what it does, and how it is read and changed.

use serde_json::Value;

use super::settings::{Settings, SettingsError};

/// What a setting's value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// true or false.
    Bool,
    /// An amount of units, or none.
    Units,
    /// A price in units per GiB.
    Price,
    /// Bytes a second, or none.
    Speed,
    /// A whole number.
    Number,
    /// Hundredths of something, or none.
    Percent,
    /// A folder, or none.
    Folder,
    /// HOST:PORT.
    Address,
    /// A URL, or none.
    Url,
    /// A label, or none.
    Label,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// Several texts.
    List,
}

/// What a setting is.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// `section.name`.
    pub name: &'static str,
    /// What its value is.
    pub kind: Kind,
    /// What it does.
    pub help: &'static str,
    /// Whether it takes effect only when the node is started anew.
    pub restart: bool,
}

const fn key(name: &'static str, kind: Kind, help: &'static str) -> Key {
    Key {
        name,
        kind,
        help,
        restart: false,
    }
}

const fn at_start(name: &'static str, kind: Kind, help: &'static str) -> Key {
    Key {
        name,
        kind,
        help,
        restart: true,
    }
}

/// All settings, in the order of the file.
pub const KEYS: &[Key] = &[
    at_start(
        "node.listen",
        Kind::Address,
        "Where peers reach the node (port 0: any free one)",
    ),
    at_start(
        "node.forward_port",
        Kind::Bool,
        "Whether the router is asked to forward that port, so that peers reach the node (UPnP)",
    ),
    at_start(
        "node.dht_bootstrap",
        Kind::List,
        "DHT nodes to start from, as HOST:PORT; empty: mainline's own",
    ),
    at_start(
        "node.piece_memory_mib",
        Kind::Number,
        "Most memory for unfinished pieces, in MiB (16 to 65536)",
    ),
    at_start(
        "web.listen",
        Kind::Address,
        "Where the page and the API are served; other than loopback needs a password",
    ),
    at_start(
        "web.hosts",
        Kind::List,
        "Further host names under which browsers may ask for the page",
    ),
    key(
        "broker.url",
        Kind::Url,
        "The broker's address, as http://HOST:PORT",
    ),
    key("folders.downloads", Kind::Folder, "Where downloads go"),
    key(
        "folders.watch",
        Kind::Folder,
        ".torrent and .magnet files that appear here are added",
    ),
    key(
        "folders.watch_label",
        Kind::Label,
        "The label of torrents from the watch folder (1 to 40 characters)",
    ),
    key(
        "spending.pays",
        Kind::Bool,
        "Whether new torrents pay seeders",
    ),
    key(
        "spending.max_price",
        Kind::Price,
        "The highest price paid to seeders, in units per GiB (16 to 65536)",
    ),
    key(
        "spending.budget_torrent",
        Kind::Units,
        "The most that a new torrent may cost",
    ),
    key(
        "spending.budget_day",
        Kind::Units,
        "The most that all torrents together may cost in a day (UTC)",
    ),
    key(
        "spending.budget_total",
        Kind::Units,
        "The most that all torrents together may cost, counted from when this is set",
    ),
    key(
        "spending.ask_above",
        Kind::Units,
        "Above this expected cost a torrent waits for a yes",
    ),
    key(
        "spending.budget_automatic",
        Kind::Units,
        "The most that a torrent from the watch folder may cost; none: it pays nothing",
    ),
    key(
        "seeding.earns",
        Kind::Bool,
        "Whether leechers may pay for new torrents",
    ),
    key(
        "seeding.price",
        Kind::Price,
        "The price asked of leechers of new torrents, in units per GiB (16 to 65536)",
    ),
    key(
        "seeding.free",
        Kind::Choice(&["off", "leftover", "on"]),
        "Whom new torrents serve for nothing: nobody, whoever is there while nobody pays, everybody",
    ),
    key(
        "seeding.ratio_limit_percent",
        Kind::Percent,
        "Where a seed has sent so many percent of what it received it is paused (1 to 1000000); none: it seeds on",
    ),
    key(
        "limits.download_bytes_per_s",
        Kind::Speed,
        "Most payload coming in a second, all torrents together",
    ),
    key(
        "limits.upload_bytes_per_s",
        Kind::Speed,
        "Most payload going out a second, all torrents together",
    ),
    key(
        "limits.downloads_at_once",
        Kind::Number,
        "Most torrents that download at once; those beyond wait in the order in which they were added; none: all download",
    ),
    key(
        "rules.at_hand",
        Kind::Units,
        "Units kept at hand in coins of 64 for the first payments, bought by themselves (0 to 2048; rounded down to whole coins)",
    ),
    key(
        "rules.buy_below",
        Kind::Units,
        "Below so many units in coins more are bought from the broker",
    ),
    key(
        "rules.buy_units",
        Kind::Units,
        "How many units are bought then",
    ),
    key(
        "rules.redeem_from",
        Kind::Units,
        "So many earned units and change are kept to pay with, and what is beyond is redeemed (unless set: 1024)",
    ),
    key(
        "rules.low_balance",
        Kind::Units,
        "Below so many units in coins a notice says so",
    ),
    key(
        "log.level",
        Kind::Choice(&["error", "warn", "info", "debug"]),
        "How much is logged",
    ),
    at_start(
        "log.keep_days",
        Kind::Number,
        "Log files kept, a file a day (1 to 365)",
    ),
    key(
        "ui.guide_done",
        Kind::Bool,
        "Whether the first-run guide was finished or put away",
    ),
    key(
        "ui.words_due",
        Kind::Bool,
        "Whether the words of a wallet that was made on the page have yet to be tried",
    ),
];

/// What is known of a key.
#[must_use]
pub fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

fn unknown(name: &str) -> SettingsError {
    let name: String = name.chars().take(100).collect();
    let last = name.rsplit('.').next().unwrap_or(&name);
    let near = KEYS.iter().find(|key| {
        let own = key.name.rsplit('.').next().unwrap_or(key.name);
        own == last || (last.len() > 3 && (own.contains(last) || last.contains(own)))
    });
    SettingsError::Unknown {
        nearest: near.map_or_else(String::new, |key| format!("did you mean {:?}? ", key.name)),
        key: name,
    }
}

/// A setting's value; null where it has none.
///
/// # Errors
/// [`SettingsError::Unknown`].
pub fn get(settings: &Settings, name: &str) -> Result<Value, SettingsError> {
    find(name).ok_or_else(|| unknown(name))?;
    Ok(lookup(&whole(settings), name))
}

fn whole(settings: &Settings) -> Value {
    serde_json::to_value(settings).unwrap_or_default()
}

fn lookup(whole: &Value, name: &str) -> Value {
    let (section, field) = name.split_once('.').unwrap_or((name, ""));
    whole[section][field].clone()
}

/// All settings with their values and defaults.
#[must_use]
pub fn all(settings: &Settings) -> Vec<(&'static Key, Value, Value)> {
    let (now, default) = (whole(settings), whole(&Settings::default()));
    let line = |key: &'static Key| (key, lookup(&now, key.name), lookup(&default, key.name));
    KEYS.iter().map(line).collect()
}

/// Refuses to write `asked` over the file in `home` where somebody edited it since it said `known` and the edit
/// would be lost.
///
/// # Errors
/// [`SettingsError::Edited`] with both values.
pub fn keep_edits(
    home: &std::path::Path,
    known: &Settings,
    asked: &Settings,
) -> Result<(), SettingsError> {
    let path = home.join(super::settings::FILE);
    if !path.exists() {
        return Ok(());
    }
    let what = match Settings::read(home) {
        Ok(file) => edits(known, &file, asked),
        Err(SettingsError::File { reason, .. }) => reason,
        // What cannot be read is not known to be edited; writing it says what hinders.
        Err(_) => return Ok(()),
    };
    match what.is_empty() {
        true => Ok(()),
        false => Err(SettingsError::Edited { path, what }),
    }
}

/// Settings from their values by key.
///
/// # Errors
/// A key or value that this program does not know.
pub fn of(values: impl IntoIterator<Item = (String, Value)>) -> Result<Settings, SettingsError> {
    let values: Vec<(String, Value)> = values.into_iter().collect();
    let given = values.iter().map(|(key, value)| (key.as_str(), value));
    let mut all = whole(&Settings::default());
    for (name, value) in given.filter(|(_, value)| !value.is_null()) {
        let (section, field) = name.split_once('.').unwrap_or((name, ""));
        if let Some(section) = all[section].as_object_mut() {
            section.insert(field.to_owned(), value.clone());
        }
    }
    serde_json::from_value(all).map_err(|error| SettingsError::Value {
        key: "a setting of the node".to_owned(),
        value: "read".to_owned(),
        reason: error.to_string(),
    })
}

/// Where a file says otherwise than the node that runs, in words.
#[must_use]
pub fn differences(file: &Settings, node: &Settings) -> String {
    edits(node, file, node)
}

/// What of `file` differs from `known` and would be lost with `asked`, in words.
fn edits(known: &Settings, file: &Settings, asked: &Settings) -> String {
    let (known, asked) = (whole(known), whole(asked));
    let lost = all(file).into_iter().filter_map(|(key, value, _)| {
        let (was, new) = (lookup(&known, key.name), lookup(&asked, key.name));
        (value != was && value != new)
            .then(|| format!("{} is {value} in the file and {was} in the node", key.name))
    });
    lost.collect::<Vec<_>>().join(", ")
}

/// Changes settings, all or none; null gives a setting its default.
///
/// # Errors
/// [`SettingsError::Unknown`], [`SettingsError::Value`]: nothing is changed then.
pub fn set<'a>(
    settings: &Settings,
    changes: impl IntoIterator<Item = (&'a str, Value)>,
) -> Result<Settings, SettingsError> {
    let mut now = settings.clone();
    let default = whole(&Settings::default());
    for (name, value) in changes {
        find(name).ok_or_else(|| unknown(name))?;
        super::check::bound(name, &value)?;
        let mut all = whole(&now);
        let (section, field) = name.split_once('.').unwrap_or((name, ""));
        let given = value.clone();
        let value = if value.is_null() {
            lookup(&default, name)
        } else {
            value
        };
        if let Some(section) = all[section].as_object_mut() {
            section.insert(field.to_owned(), value);
        }
        now = serde_json::from_value(all).map_err(|error| SettingsError::Value {
            key: name.to_owned(),
            value: given.to_string(),
            reason: shape(name).unwrap_or_else(|| error.to_string()),
        })?;
    }
    super::check::check(&now)?;
    Ok(now)
}

/// What a value of this setting looks like, where that helps.
fn shape(name: &str) -> Option<String> {
    let form = match find(name)?.kind {
        Kind::Bool => "give true or false",
        Kind::Units => "give a whole number of units, or none",
        Kind::Price => "give 16 to 65536 units per GiB",
        Kind::Speed => "give a whole number of bytes a second, at most 4294967295, or none",
        Kind::Number => "give a whole number",
        Kind::Percent => "give 1 to 1000000 percent, or none",
        Kind::Address => "give ADDRESS:PORT, as in 127.0.0.1:7979",
        _ => return None,
    };
    Some(form.to_owned())
}

/// A value from the command line: JSON where it is JSON of the setting's kind, else text.
///
/// # Errors
/// [`SettingsError::Unknown`].
pub fn parse(name: &str, text: &str) -> Result<Value, SettingsError> {
    let key = find(name).ok_or_else(|| unknown(name))?;
    if matches!(text, "none" | "null" | "default") {
        return Ok(Value::Null);
    }
    Ok(match key.kind {
        Kind::Bool | Kind::Units | Kind::Price | Kind::Speed | Kind::Number | Kind::Percent => {
            serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()))
        }
        Kind::List => {
            let parts = text
                .split(',')
                .map(str::trim)
                .filter(|part| !part.is_empty());
            parts.map(|part| Value::String(part.to_owned())).collect()
        }
        _ => Value::String(text.to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::json;

    use super::*;

    #[test]
    fn every_field_has_its_key_and_every_key_its_field() {
        let mut full = Settings::default();
        full.broker.url = Some("http://127.0.0.1:1".into());
        full.folders.downloads = Some("/a".into());
        full.folders.watch = Some("/b".into());
        full.folders.watch_label = Some("c".into());
        let some = Some(crate::units::Units(1));
        full.spending.budget_torrent = some;
        full.spending.budget_day = some;
        full.spending.budget_total = some;
        full.spending.ask_above = some;
        full.spending.budget_automatic = some;
        full.seeding.ratio_limit_percent = Some(1);
        full.limits.download_bytes_per_s = Some(1);
        full.limits.upload_bytes_per_s = Some(1);
        full.limits.downloads_at_once = Some(1);
        full.rules.buy_below = some;
        full.rules.redeem_from = some;
        let whole = whole(&full);
        let sections = whole.as_object().expect("sections");
        let fields = sections.iter().flat_map(|(section, fields)| {
            let fields = fields.as_object().expect("fields").keys();
            fields.map(move |field| format!("{section}.{field}"))
        });
        let fields: BTreeSet<String> = fields.collect();
        let keys: BTreeSet<String> = KEYS.iter().map(|key| key.name.to_owned()).collect();
        assert_eq!(fields, keys);
    }

    #[test]
    fn a_change_is_all_or_nothing() {
        let before = Settings::default();
        let good = [
            ("spending.budget_day", json!(500)),
            ("seeding.free", json!("off")),
        ];
        let after = set(&before, good).expect("set");
        assert_eq!(
            get(&after, "spending.budget_day").expect("known"),
            json!(500)
        );
        let lifted = set(&after, [("spending.budget_day", Value::Null)]).expect("set");
        assert_eq!(
            get(&lifted, "spending.budget_day").expect("known"),
            Value::Null
        );
        for bad in [
            ("spending.max_price", json!(15)),
            ("seeding.free", json!("maybe")),
            ("log.keep_days", json!(0)),
            ("folders.watch", json!("here")),
            ("folders.watch_label", json!("\u{200b}")),
            ("limits.upload_bytes_per_s", json!(5)),
            ("limits.downloads_at_once", json!(0)),
            ("rules.buy_below", json!(1_000_001)),
            ("rules.redeem_from", json!(1_000_000_001)),
            ("rules.low_balance", json!(u64::MAX)),
            ("seeding.ratio_limit_percent", json!(0)),
        ] {
            let error = set(&before, [bad.clone()]).expect_err("refused");
            assert!(error.to_string().contains(bad.0), "{error}");
        }
        let error = get(&before, "max_price").expect_err("unknown").to_string();
        assert!(error.contains("spending.max_price"), "{error}");
    }
}
