//! Taking money out of the account at the broker.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::units::{Day, Units};

/// What to withdraw.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WithdrawRequest {
    /// Units; none: all that can be had now.
    #[schema(value_type = Option<u64>, minimum = 1, maximum = 1_000_000_000_000_000_u64)]
    pub units: Option<Units>,
    /// Where to, in words that the broker's operator understands: one line of 1 to 200 bytes.
    pub destination: String,
    /// The bond too, for whoever leaves: all that can be is redeemed first, and nothing is bought by itself
    /// from then on, until somebody buys.
    #[serde(default)]
    pub bond: bool,
}

/// What a withdrawal came to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Withdrawn {
    /// How much was asked for.
    pub units: Units,
    /// Its receipt: `GET /api/v1/wallet/receipts/{reference}`, once it is answered.
    pub reference: String,
    /// The broker's id of it; none while it is not answered.
    pub withdrawal: Option<String>,
    /// Why it is not answered yet; it is asked for again by itself, and not to be asked for twice.
    pub error: Option<String>,
    /// Redeemed before, as the bond was asked for.
    pub redeemed: Units,
    /// What could not be redeemed now: not answered, refused, or not readable in the DHT.
    pub not_redeemed: Units,
    /// Balance that is left; none where the broker did not say.
    pub balance: Option<Units>,
    /// What could be withdrawn besides now: that balance, and the bond if it is free.
    pub withdrawable: Option<Units>,
    /// Still pending.
    pub pending: Option<Units>,
    /// Still bond.
    pub bond: Option<Units>,
    /// Coins that nobody has redeemed: while there are some the bond is bound.
    pub outstanding: Option<Units>,
    /// The day on which the last of them is settled; the bond is free then at the latest.
    pub bond_until: Option<Day>,
}
