//! What a torrent costs and may cost, and how that is changed.

use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

use crate::units::{InfoHash, PricePerGib, Units};

/// Whom to serve for nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum FreeService {
    /// Nobody.
    Off,
    /// Whoever is there while nobody pays.
    Leftover,
    /// Everybody.
    On,
}

/// What a torrent costs and may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Terms {
    /// Whether seeders are paid.
    pub pays: bool,
    /// The highest price paid to seeders.
    pub max_price: PricePerGib,
    /// The most it may cost in all.
    pub budget: Option<Units>,
    /// Whether leechers may pay us.
    pub earns: bool,
    /// The price asked of leechers.
    pub price: PricePerGib,
    /// Whom to serve for nothing.
    pub free: FreeService,
    /// The most payload a second that may come in; the limit for all torrents holds besides.
    #[serde(default)]
    pub download_bytes_per_s: Option<u32>,
    /// The most payload a second that may go out; the limit for all torrents holds besides.
    #[serde(default)]
    pub upload_bytes_per_s: Option<u32>,
    /// Where it has sent so many percent of what it received it is paused; 0: it seeds on; none: as the
    /// setting `seeding.ratio_limit_percent` says.
    #[serde(default)]
    pub ratio_limit_percent: Option<u32>,
}

/// Changes to a torrent's terms; what is left out stays, and `null` lifts a limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TermsChange {
    /// Whether seeders are paid.
    pub pays: Option<bool>,
    /// The highest price paid to seeders.
    pub max_price: Option<PricePerGib>,
    /// The most it may cost in all, 1 at least; `null` lifts the limit.
    #[serde(
        default,
        deserialize_with = "given",
        skip_serializing_if = "Option::is_none"
    )]
    #[schema(value_type = Option<Units>)]
    pub budget: Option<Option<Units>>,
    /// Whether leechers may pay us.
    pub earns: Option<bool>,
    /// The price asked of leechers.
    pub price: Option<PricePerGib>,
    /// Whom to serve for nothing.
    pub free: Option<FreeService>,
    /// The most payload a second that may come in; `null` or 0 lifts the limit.
    #[serde(
        default,
        deserialize_with = "given",
        skip_serializing_if = "Option::is_none"
    )]
    #[schema(value_type = Option<u32>)]
    pub download_bytes_per_s: Option<Option<u32>>,
    /// The most payload a second that may go out; `null` or 0 lifts the limit.
    #[serde(
        default,
        deserialize_with = "given",
        skip_serializing_if = "Option::is_none"
    )]
    #[schema(value_type = Option<u32>)]
    pub upload_bytes_per_s: Option<Option<u32>>,
    /// Where it has sent so many percent of what it received it is paused; 0: it seeds on, whatever the
    /// setting says; `null`: as the setting says.
    #[serde(
        default,
        deserialize_with = "given",
        skip_serializing_if = "Option::is_none"
    )]
    #[schema(value_type = Option<u32>)]
    pub ratio_limit_percent: Option<Option<u32>>,
}

/// A field that is there, be it `null`: one that is left out is not read at all.
fn given<'de, D, T>(field: D) -> Result<Option<Option<T>>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    Option::deserialize(field).map(Some)
}

/// The terms of one of the torrents.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TermsOf {
    /// Which.
    pub info_hash: InfoHash,
    /// What it costs and may cost.
    pub terms: Terms,
}

/// A change to the terms of some torrents.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TermsRequest {
    /// The change.
    pub change: TermsChange,
    /// Of which.
    pub info_hashes: Vec<InfoHash>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_set_lifted_or_left_as_it_is() {
        let read = |text: &str| serde_json::from_str::<TermsChange>(text).expect("reads");
        assert_eq!(read(r#"{"budget":5}"#).budget, Some(Some(Units(5))));
        assert_eq!(read(r#"{"budget":null}"#).budget, Some(None));
        assert_eq!(read("{}").budget, None);
        let lifted = TermsChange {
            upload_bytes_per_s: Some(None),
            ..TermsChange::default()
        };
        let sent = serde_json::to_string(&lifted).expect("writes");
        assert_eq!(read(&sent), lifted, "{sent}");
    }
}
