//! Settings as the API shows and takes them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What a setting's value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SettingKind {
    /// true or false.
    Bool,
    /// An amount of units, or null for none.
    Units,
    /// A price in units per GiB.
    Price,
    /// Bytes a second, or null for no limit.
    Speed,
    /// A whole number.
    Number,
    /// Hundredths of something, or null for none.
    Percent,
    /// A folder, or null for none.
    Folder,
    /// An address, HOST:PORT.
    Address,
    /// A URL, or null for none.
    Url,
    /// A label, or null for none.
    Label,
    /// One of the words in `choices`.
    Choice,
    /// Several texts.
    List,
}

/// A setting.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Setting {
    /// Its name, `section.name`, as in the file and in `dpay config`.
    pub key: String,
    /// What its value is.
    pub kind: SettingKind,
    /// The value.
    pub value: serde_json::Value,
    /// The value that it has unless set.
    pub default: serde_json::Value,
    /// What it does, in English.
    pub help: String,
    /// For a choice, the words.
    pub choices: Vec<String>,
    /// Whether it takes effect only when the node is started anew.
    pub restart: bool,
}

/// All settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SettingList {
    /// In the order of the file.
    pub settings: Vec<Setting>,
    /// The file.
    pub path: String,
    /// After a change: what was kept and may be wrong all the same, in English.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warning: Option<String>,
}

/// Settings to change: key to value, null for the default. All of them or none.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(transparent)]
#[schema(value_type = Object)]
pub struct SettingsChange(pub BTreeMap<String, serde_json::Value>);
