//! What a broker signs: coins, and pseudonyms of payees (`docs/protocol.md` section 4).
//!
//! `decode` looks at lengths, version and kind only; `check` looks at everything that makes the
//! certificate good, in the order the protocol gives.

use thiserror::Error;

use super::Reader;
use super::hash::tagged;
use super::ids::HoldingId;
use super::keys::{KeyFault, PublicKey, SecretKey, Signature};
use crate::units::{Day, MAX_COIN_UNITS, Units};

const VERSION: u8 = 1;
const KIND_COIN: u8 = 1;
const KIND_PSEUDONYM: u8 = 2;

/// Days from a coin's issue to its expiry.
pub const COIN_LIFE_DAYS: u32 = 30;
/// Days after a coin's expiry during which the broker still redeems it.
pub const REDEEM_GRACE_DAYS: u32 = 30;
/// A payee takes a coin only while today + this < expires.
pub const PAYEE_MARGIN_DAYS: u32 = 1;
/// The values that coins are sold in, smallest first.
pub const COIN_VALUES: [Units; 5] = [Units(16), Units(64), Units(256), Units(1024), Units(4096)];

/// Why a certificate is not good, in the order in which it is looked at.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum CertificateError {
    /// Too few or too many bytes.
    #[error("a certificate of this kind has {expected} bytes, this has {got}")]
    Length {
        /// Bytes it should have.
        expected: usize,
        /// Bytes it has.
        got: usize,
    },
    /// A version other than 1.
    #[error("certificate of version {0}, only version 1 is known")]
    Version(u8),
    /// Not the kind that is wanted here.
    #[error("certificate of kind {got}, wanted kind {wanted} (1 coin, 2 pseudonym)")]
    Kind {
        /// The kind that is wanted.
        wanted: u8,
        /// The kind it has.
        got: u8,
    },
    /// The broker is none that we take certificates from.
    #[error("broker {0} is not accepted here")]
    BrokerNotAccepted(PublicKey),
    /// A coin worth nothing, or more than any coin can be.
    #[error("a coin of {0} units: coins are worth 1 to 4096")]
    Value(Units),
    /// The holder's key is no valid key.
    #[error("the holder's key is no valid key: {0}")]
    HolderKey(KeyFault),
    /// The broker's signature is not strictly valid.
    #[error("the broker's signature is not valid")]
    Signature,
    /// The certificate has expired, or will within the margin asked for.
    #[error("expires on day {}, today is day {} and {margin_days} days must remain", expires.0, today.0)]
    Expired {
        /// The day that was taken as today.
        today: Day,
        /// Days that must remain after today.
        margin_days: u32,
        /// The certificate's own date.
        expires: Day,
    },
}

/// A coin: the broker's word that a value belongs to a first holder until a date.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CoinCertificate {
    /// The broker that sold it.
    pub broker: PublicKey,
    /// 1 to 4 096 units, once checked. (What does not fit into 32 bits is encoded as 2^32 - 1,
    /// which nobody accepts.)
    pub value: Units,
    /// Key of the first holder.
    pub holder: PublicKey,
    /// Day of issue.
    pub issued: Day,
    /// First day on which the coin is no longer live.
    pub expires: Day,
    /// Drawn by the broker after the key is known, so that nobody can choose a coin's id.
    pub nonce: [u8; 16],
    /// The broker's signature over H("DPay1/coin", body).
    pub signature: Signature,
}

impl CoinCertificate {
    /// Bytes of the encoding.
    pub const SIZE: usize = 158;
    /// Bytes before the signature.
    pub const BODY_SIZE: usize = 94;
    /// Where the holder's key begins.
    const HOLDER_AT: usize = 38;

    /// A coin signed by the broker whose key is `broker`.
    #[must_use]
    pub fn issue(
        broker: &SecretKey,
        value: Units,
        holder: PublicKey,
        issued: Day,
        expires: Day,
        nonce: [u8; 16],
    ) -> CoinCertificate {
        let mut coin = CoinCertificate {
            broker: broker.public(),
            value,
            holder,
            issued,
            expires,
            nonce,
            signature: Signature([0; 64]),
        };
        coin.signature = broker.sign(&coin.signed_message());
        coin
    }

    /// Signs coins that have all but their signature, as [`CoinCertificate::issue`] does.
    pub fn sign_each<'c>(broker: &SecretKey, coins: impl Iterator<Item = &'c mut CoinCertificate>) {
        let coins: Vec<_> = coins.collect();
        let messages: Vec<_> = coins.iter().map(|coin| coin.signed_message()).collect();
        for (coin, signature) in coins.into_iter().zip(broker.sign_each(&messages)) {
            coin.signature = signature;
        }
    }

    /// The holder's key in an encoded certificate of this length.
    #[must_use]
    pub fn holder_in(encoded: &[u8; Self::SIZE]) -> PublicKey {
        let (_, from) = encoded.split_at(Self::HOLDER_AT);
        PublicKey(std::array::from_fn(|n| from[n]))
    }

    /// All bytes before the signature.
    #[must_use]
    pub fn body(&self) -> [u8; Self::BODY_SIZE] {
        let value = u32::try_from(self.value.0).unwrap_or(u32::MAX);
        let mut out = [0; Self::BODY_SIZE];
        out[0] = VERSION;
        out[1] = KIND_COIN;
        out[2..34].copy_from_slice(&self.broker.0);
        out[34..38].copy_from_slice(&value.to_be_bytes());
        out[38..70].copy_from_slice(&self.holder.0);
        out[70..74].copy_from_slice(&self.issued.0.to_be_bytes());
        out[74..78].copy_from_slice(&self.expires.0.to_be_bytes());
        out[78..94].copy_from_slice(&self.nonce);
        out
    }

    /// The 32 bytes that the broker signs.
    #[must_use]
    pub fn signed_message(&self) -> [u8; 32] {
        tagged("DPay1/coin", &[&self.body()])
    }

    /// The certificate's bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; Self::SIZE] {
        let mut out = [0; Self::SIZE];
        out[..Self::BODY_SIZE].copy_from_slice(&self.body());
        out[Self::BODY_SIZE..].copy_from_slice(&self.signature.0);
        out
    }

    /// Reads a coin. Its fields are as a stranger wrote them until [`CoinCertificate::check`].
    ///
    /// # Errors
    /// Length, version or kind.
    pub fn decode(bytes: &[u8]) -> Result<CoinCertificate, CertificateError> {
        let mut reader = header(bytes, Self::SIZE, KIND_COIN)?;
        let read = |reader: &mut Reader| -> Option<CoinCertificate> {
            Some(CoinCertificate {
                broker: PublicKey(reader.array()?),
                value: Units(u64::from(reader.u32()?)),
                holder: PublicKey(reader.array()?),
                issued: Day(reader.u32()?),
                expires: Day(reader.u32()?),
                nonce: reader.array()?,
                signature: Signature(reader.array()?),
            })
        };
        read(&mut reader).ok_or(wrong_length(bytes, Self::SIZE))
    }

    /// The id of the holding that this coin is.
    #[must_use]
    pub fn id(&self) -> HoldingId {
        HoldingId::of_coin(&self.body())
    }

    /// Whether today + margin < expires.
    #[must_use]
    pub fn is_live(&self, today: Day, margin_days: u32) -> bool {
        u64::from(today.0) + u64::from(margin_days) < u64::from(self.expires.0)
    }

    /// Whether the broker still redeems this coin's holdings: today < expires + 30 days.
    #[must_use]
    pub fn is_redeemable(&self, today: Day) -> bool {
        u64::from(today.0) < u64::from(self.expires.0) + u64::from(REDEEM_GRACE_DAYS)
    }

    /// Whether this is a good coin of a broker that `accepts` names. `today` is the date and the days
    /// that must remain; `None` leaves expiry to the caller.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(
        &self,
        accepts: &dyn Fn(&PublicKey) -> bool,
        today: Option<(Day, u32)>,
    ) -> Result<(), CertificateError> {
        self.check_terms(accepts)?;
        if !(self.broker).verify_strict(&self.signed_message(), &self.signature) {
            return Err(CertificateError::Signature);
        }
        self.check_date(today)
    }

    /// What [`CoinCertificate::check`] looks at before the signature.
    pub(crate) fn check_terms(
        &self,
        accepts: &dyn Fn(&PublicKey) -> bool,
    ) -> Result<(), CertificateError> {
        if !accepts(&self.broker) {
            return Err(CertificateError::BrokerNotAccepted(self.broker));
        }
        if self.value.is_zero() || self.value.0 > MAX_COIN_UNITS {
            return Err(CertificateError::Value(self.value));
        }
        self.holder.check().map_err(CertificateError::HolderKey)
    }

    /// What [`CoinCertificate::check`] looks at after the signature.
    pub(crate) fn check_date(&self, today: Option<(Day, u32)>) -> Result<(), CertificateError> {
        match today {
            Some((today, margin_days)) if !self.is_live(today, margin_days) => {
                Err(CertificateError::Expired {
                    today,
                    margin_days,
                    expires: self.expires,
                })
            }
            _ => Ok(()),
        }
    }
}

/// The broker's word that a payee's holder key belongs to an account it knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PseudonymCertificate {
    /// The broker that certifies.
    pub broker: PublicKey,
    /// The payee's holder key.
    pub holder: PublicKey,
    /// First day on which nobody should spend to the key any more. Later verifiers ignore it.
    pub expires: Day,
    /// The broker's signature over H("DPay1/cert", body).
    pub signature: Signature,
}

impl PseudonymCertificate {
    /// Bytes of the encoding.
    pub const SIZE: usize = 134;
    /// Bytes before the signature.
    pub const BODY_SIZE: usize = 70;

    /// A certificate for `holder`, signed by the broker whose key is `broker`.
    #[must_use]
    pub fn issue(broker: &SecretKey, holder: PublicKey, expires: Day) -> PseudonymCertificate {
        let mut certificate = PseudonymCertificate {
            broker: broker.public(),
            holder,
            expires,
            signature: Signature([0; 64]),
        };
        certificate.signature = broker.sign(&certificate.signed_message());
        certificate
    }

    /// All bytes before the signature.
    #[must_use]
    pub fn body(&self) -> [u8; Self::BODY_SIZE] {
        let mut out = [0; Self::BODY_SIZE];
        out[0] = VERSION;
        out[1] = KIND_PSEUDONYM;
        out[2..34].copy_from_slice(&self.broker.0);
        out[34..66].copy_from_slice(&self.holder.0);
        out[66..70].copy_from_slice(&self.expires.0.to_be_bytes());
        out
    }

    /// The 32 bytes that the broker signs.
    #[must_use]
    pub fn signed_message(&self) -> [u8; 32] {
        tagged("DPay1/cert", &[&self.body()])
    }

    /// The certificate's bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; Self::SIZE] {
        let mut out = [0; Self::SIZE];
        out[..Self::BODY_SIZE].copy_from_slice(&self.body());
        out[Self::BODY_SIZE..].copy_from_slice(&self.signature.0);
        out
    }

    /// Reads a certificate. Its fields are as a stranger wrote them until
    /// [`PseudonymCertificate::check`].
    ///
    /// # Errors
    /// Length, version or kind.
    pub fn decode(bytes: &[u8]) -> Result<PseudonymCertificate, CertificateError> {
        let mut reader = header(bytes, Self::SIZE, KIND_PSEUDONYM)?;
        let read = |reader: &mut Reader| -> Option<PseudonymCertificate> {
            Some(PseudonymCertificate {
                broker: PublicKey(reader.array()?),
                holder: PublicKey(reader.array()?),
                expires: Day(reader.u32()?),
                signature: Signature(reader.array()?),
            })
        };
        read(&mut reader).ok_or(wrong_length(bytes, Self::SIZE))
    }

    /// Whether today < expires. Asked by whoever signs to the key or takes payment with it.
    #[must_use]
    pub fn is_live(&self, today: Day) -> bool {
        today < self.expires
    }

    /// Whether the broker's signature is strictly valid.
    #[must_use]
    pub fn verify(&self) -> bool {
        self.broker
            .verify_strict(&self.signed_message(), &self.signature)
    }

    /// Whether this is a good certificate of a broker that `accepts` names. `today` of `None` leaves
    /// expiry alone, as every later verifier does.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(
        &self,
        accepts: &dyn Fn(&PublicKey) -> bool,
        today: Option<Day>,
    ) -> Result<(), CertificateError> {
        if !accepts(&self.broker) {
            return Err(CertificateError::BrokerNotAccepted(self.broker));
        }
        self.holder.check().map_err(CertificateError::HolderKey)?;
        if !self.verify() {
            return Err(CertificateError::Signature);
        }
        match today {
            Some(today) if !self.is_live(today) => Err(CertificateError::Expired {
                today,
                margin_days: 0,
                expires: self.expires,
            }),
            _ => Ok(()),
        }
    }
}

fn wrong_length(bytes: &[u8], expected: usize) -> CertificateError {
    CertificateError::Length {
        expected,
        got: bytes.len(),
    }
}

/// Checks length, version and kind; what is left to read starts behind them.
fn header(bytes: &[u8], size: usize, wanted: u8) -> Result<Reader<'_>, CertificateError> {
    let wrong = wrong_length(bytes, size);
    if bytes.len() != size {
        return Err(wrong);
    }
    let mut reader = Reader::new(bytes);
    let version = reader.u8().ok_or(wrong)?;
    if version != VERSION {
        return Err(CertificateError::Version(version));
    }
    let got = reader.u8().ok_or(wrong)?;
    if got != wanted {
        return Err(CertificateError::Kind { wanted, got });
    }
    Ok(reader)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn coin() -> CoinCertificate {
        let broker = SecretKey::from_bytes([1; 32]);
        let holder = SecretKey::from_bytes([2; 32]).public();
        CoinCertificate::issue(&broker, Units(64), holder, Day(100), Day(130), [3; 16])
    }

    #[test]
    fn a_coin_is_live_until_the_day_before_it_expires() {
        assert!(coin().is_live(Day(129), 0));
        assert!(!coin().is_live(Day(130), 0));
        assert!(coin().is_live(Day(128), PAYEE_MARGIN_DAYS));
        assert!(!coin().is_live(Day(129), PAYEE_MARGIN_DAYS));
        assert!(!coin().is_live(Day(u32::MAX), u32::MAX));
        assert!(coin().is_redeemable(Day(159)) && !coin().is_redeemable(Day(160)));
    }

    #[test]
    fn a_coin_of_a_value_out_of_range_is_good_to_nobody() {
        for value in [0, 4097, u64::MAX] {
            let broker = SecretKey::from_bytes([1; 32]);
            let coin = CoinCertificate::issue(
                &broker,
                Units(value),
                broker.public(),
                Day(0),
                Day(9),
                [0; 16],
            );
            let read = CoinCertificate::decode(&coin.encode()).expect("well formed");
            let refused = Err(CertificateError::Value(read.value));
            assert_eq!(read.check(&|_| true, None), refused);
        }
    }

    #[test]
    fn the_two_kinds_are_not_taken_for_one_another() {
        let broker = SecretKey::from_bytes([1; 32]);
        let certificate = PseudonymCertificate::issue(&broker, broker.public(), Day(9));
        assert!(certificate.verify());
        let mut bytes = [0; CoinCertificate::SIZE];
        bytes[..PseudonymCertificate::SIZE].copy_from_slice(&certificate.encode());
        assert_eq!(
            CoinCertificate::decode(&bytes),
            Err(CertificateError::Kind { wanted: 1, got: 2 })
        );
        assert!(certificate.check(&|_| true, Some(Day(8))).is_ok());
        assert!(certificate.check(&|_| true, Some(Day(9))).is_err());
        assert!(certificate.check(&|_| false, None).is_err());
    }
}
