//! Holder keys: fresh indices, and the stock of certified payee keys (`docs/protocol.md` section 2).

use std::collections::BTreeMap;

use super::change::Change;
use super::error::WalletError;
use super::rows::{Meta, PayeeKeyRow, Rows};
use crate::coin::certificate::PseudonymCertificate;
use crate::coin::keys::PublicKey;
use crate::units::UnixMs;

/// How long a key that was given to a connection and not used is kept from others.
pub const GIVEN_MS: u64 = 60_000;

/// Takes `count` indices that were never used. They are used up once the change is durable, whatever
/// becomes of them.
///
/// # Errors
/// [`WalletError::Overflow`] where there are no more.
pub fn take(rows: &Rows, count: u32) -> Result<(Change, Vec<u32>), WalletError> {
    let first = rows.meta.next_key;
    let next = first.checked_add(count).ok_or(WalletError::Overflow)?;
    let mut change = Change::on(rows);
    change.meta = Some(Meta {
        next_key: next,
        ..rows.meta.clone()
    });
    Ok((change, (first..next).collect()))
}

/// Keys that could be given to a payer now: certified, live for a day more, unused.
pub fn stock(rows: &Rows, now: UnixMs) -> impl Iterator<Item = &PayeeKeyRow> {
    rows.keys
        .values()
        .filter(move |row| !row.used && now.day().plus(1) < row.certificate.expires)
}

/// Picks a key for a connection: one that nobody has, or had for a minute without using it.
#[must_use]
pub fn pick(rows: &Rows, given: &BTreeMap<u32, UnixMs>, now: UnixMs) -> Option<PayeeKeyRow> {
    let is_idle = |index: &u32| {
        given
            .get(index)
            .is_none_or(|at| !now.is_within(GIVEN_MS, *at))
    };
    let never = stock(rows, now).find(|row| !given.contains_key(&row.index));
    never
        .or_else(|| stock(rows, now).find(|row| is_idle(&row.index)))
        .cloned()
}

/// Stores certificates that the broker gave for `asked`.
///
/// # Errors
/// [`WalletError::BrokerAnswer`] unless each certificate is the pinned broker's, for its key, and live.
pub fn certified(
    rows: &Rows,
    asked: &[(u32, PublicKey)],
    certificates: Vec<PseudonymCertificate>,
    now: UnixMs,
) -> Result<Change, WalletError> {
    if certificates.len() != asked.len() {
        return Err(WalletError::BrokerAnswer(format!(
            "{} certificates for {} keys",
            certificates.len(),
            asked.len()
        )));
    }
    let pinned = rows.meta.broker.as_ref().map(|broker| broker.key);
    let mut change = Change::on(rows);
    for ((index, key), certificate) in asked.iter().zip(certificates) {
        let good = Some(certificate.broker) == pinned
            && certificate.holder == *key
            && now.day() < certificate.expires
            && certificate.verify();
        if !good {
            return Err(WalletError::BrokerAnswer(format!(
                "the certificate for key {key} does not hold"
            )));
        }
        change.keys.push(PayeeKeyRow {
            index: *index,
            certificate,
            used: false,
        });
    }
    Ok(change)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wallet::fixture::{NOW, Side};

    #[test]
    fn a_clock_that_is_set_back_holds_no_key_for_longer_than_a_minute() {
        let mut side = Side::new(1);
        side.certify(1, NOW);
        let given = BTreeMap::from([(0, NOW.plus_ms(3 * 3_600_000))]);
        let picked = pick(&side.rows, &given, NOW).map(|row| row.index);
        assert_eq!(picked, Some(0));
        let given = BTreeMap::from([(0, NOW)]);
        assert_eq!(pick(&side.rows, &given, NOW.plus_ms(GIVEN_MS - 1)), None);
    }
}
