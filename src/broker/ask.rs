//! What an account asks, as JSON bodies: shared by the server and the client.

use serde::{Deserialize, Serialize};

use super::WithdrawalId;
use crate::coin::ids::HoldingId;
use crate::coin::keys::PublicKey;
use crate::units::Units;

/// Route of the account's state.
pub const ACCOUNT: &str = "POST /v1/account";
/// Route of purchases.
pub const PURCHASE: &str = "POST /v1/purchase";
/// Route of certificates on holder keys.
pub const CERTIFICATES: &str = "POST /v1/certificates";
/// Route of redemptions.
pub const REDEEM: &str = "POST /v1/redeem";
/// Route of presenting.
pub const PRESENT: &str = "POST /v1/present";
/// Route of withdrawals.
pub const WITHDRAW: &str = "POST /v1/withdraw";
/// Route of what is known about a holding.
pub const HOLDING: &str = "POST /v1/holding";
/// Route of proofs of fraud.
pub const PROOF: &str = "POST /v1/proof";
/// Route of all that the broker knows of an account's keys, coins and holdings.
pub const RECOVER: &str = "POST /v1/recover";
/// Route of what happened to an account.
pub const NOTICES: &str = "POST /v1/notices";
/// Route of whether a withdrawal was paid out.
pub const PAYOUT: &str = "POST /v1/payout";

/// Most keys, coins and holdings, or notices, on one page.
pub const MAX_PAGE: u32 = 100;

/// Body of `POST /v1/account`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AskAccount {}

/// Body of `POST /v1/purchase`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AskPurchase {
    /// The coins wanted.
    pub coins: Vec<AskCoin>,
}

/// One coin wanted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AskCoin {
    /// 16, 64, 256, 1 024 or 4 096 units.
    pub value: Units,
    /// Its first holder's key.
    pub holder: PublicKey,
}

/// Body of `POST /v1/certificates`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AskCertificates {
    /// Holder keys to certify.
    pub holders: Vec<PublicKey>,
}

/// Body of `POST /v1/redeem`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AskRedeem {
    /// Holdings to redeem.
    pub items: Vec<AskRedeemItem>,
}

/// One holding to redeem.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AskRedeemItem {
    /// The path's bytes, as hex.
    #[serde(with = "hex_bytes")]
    pub path: Vec<u8>,
    /// The 256 bytes of the redeem part, as hex.
    #[serde(with = "hex_bytes")]
    pub redeem: Vec<u8>,
}

/// Body of `POST /v1/present`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AskPresent {
    /// Paths to present.
    pub items: Vec<AskPresentItem>,
}

/// One path to present.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AskPresentItem {
    /// The path's bytes, as hex.
    #[serde(with = "hex_bytes")]
    pub path: Vec<u8>,
    /// The 422 bytes of the open spend that follows it, as hex; empty: none.
    #[serde(with = "hex_bytes", default)]
    pub open: Vec<u8>,
}

/// Body of `POST /v1/withdraw`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AskWithdraw {
    /// How much.
    pub units: Units,
    /// Where to, for the operator to read; at most 200 bytes.
    pub destination: String,
}

/// Body of `POST /v1/holding`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AskHolding {
    /// The holding.
    pub holding: HoldingId,
}

/// Body of `POST /v1/proof`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AskProof {
    /// The proof's bytes (`record::FraudProof`), as hex.
    #[serde(with = "hex_bytes")]
    pub proof: Vec<u8>,
}

/// Body of `POST /v1/recover`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AskRecover {
    /// Where the page before ended, as that page said; absent: from the beginning.
    #[serde(default)]
    pub after: Option<String>,
    /// Most entries on the page, 1 to 100.
    pub limit: u32,
}

/// Body of `POST /v1/notices`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AskNotices {
    /// The number of the last notice that is known; 0: from the first.
    #[serde(default)]
    pub after: u64,
    /// Most notices on the page, 1 to 100.
    pub limit: u32,
}

/// Body of `POST /v1/payout`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AskPayout {
    /// The withdrawal, by the broker's id of it.
    pub withdrawal: WithdrawalId,
}

/// Bytes as lower-case hex text.
mod hex_bytes {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&hex::encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(from)?;
        hex::decode(text.as_ref()).map_err(D::Error::custom)
    }
}
