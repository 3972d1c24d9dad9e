//! A path proves a holding: a coin, then one link for each time it was split on the way
//! (`docs/protocol.md` section 4).

use std::collections::{BTreeMap, VecDeque};

use sha2::{Digest, Sha256};
use thiserror::Error;

use super::item::SignedRecord;
use super::link::{Link, LinkFault};
use crate::coin::{CertificateError, CoinCertificate, HoldingId, PublicKey};
use crate::units::{Day, Units};

/// The most links in a path that is proposed.
pub const MAX_LINKS_PROPOSE: usize = 7;
/// The most links in a path that is redeemed, and in any path at all.
pub const MAX_LINKS_REDEEM: usize = 8;

/// Bytes of a path without links: the certificate and the number of links.
const BASE: usize = CoinCertificate::SIZE + 1;

/// Why a path does not prove a holding.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum PathError {
    /// Not 159 + 651 n bytes for the n that it names.
    #[error("a path of {got} bytes: not 159 and 651 for each link")]
    Length {
        /// Bytes given.
        got: usize,
    },
    /// More links than are taken here.
    #[error("a path of {links} links, at most {max} are taken")]
    TooManyLinks {
        /// Links that the path has.
        links: usize,
        /// The most that are taken.
        max: usize,
    },
    /// The coin is not good.
    #[error("the coin: {0}")]
    Coin(CertificateError),
    /// A link is not good; links are counted from 0, the root.
    #[error("link {index}: {fault}")]
    Link {
        /// Which link.
        index: usize,
        /// What is wrong with it.
        fault: LinkFault,
    },
}

/// Units that can be spent once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Holding {
    /// Its position.
    pub id: HoldingId,
    /// What it is worth: 1 to 4 096 units.
    pub value: Units,
    /// The holder's key.
    pub key: PublicKey,
    /// The coin's broker.
    pub broker: PublicKey,
    /// Id of the coin it comes from.
    pub coin: HoldingId,
    /// First day on which the coin is no longer live.
    pub expires: Day,
}

impl Holding {
    /// The holding that a coin is.
    #[must_use]
    pub fn of_coin(coin: &CoinCertificate) -> Holding {
        let id = coin.id();
        Holding {
            id,
            value: coin.value,
            key: coin.holder,
            broker: coin.broker,
            coin: id,
            expires: coin.expires,
        }
    }
}

/// A coin and the links that lead from it to a holding. As decoded it proves nothing:
/// [`Path::verify`] says whether it does.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Path {
    /// The coin at the root.
    pub coin: CoinCertificate,
    /// The links, from the root.
    pub links: Vec<Link>,
}

impl Path {
    /// The path's bytes. (More than 255 links do not fit and give bytes that nobody decodes.)
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(BASE + Link::SIZE * self.links.len());
        out.extend_from_slice(&self.coin.encode());
        out.push(u8::try_from(self.links.len()).unwrap_or(u8::MAX));
        for link in &self.links {
            out.extend_from_slice(&link.encode());
        }
        out
    }

    /// Reads a path of at most `max_links` links (and never more than 8). It may prove nothing.
    ///
    /// # Errors
    /// The first thing that is wrong with its form.
    pub fn decode(bytes: &[u8], max_links: usize) -> Result<Path, PathError> {
        match Path::decode_prefix(bytes, max_links)? {
            (path, None) => Ok(path),
            (_, Some(fault)) => Err(fault),
        }
    }

    /// Reads a path and verifies it, naming what is wrong first in the protocol's order even where a
    /// later part is malformed.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn decode_verified(
        bytes: &[u8],
        max_links: usize,
        accepts: &dyn Fn(&PublicKey) -> bool,
        today: Option<(Day, u32)>,
    ) -> Result<(Path, Holding), PathError> {
        let (path, fault) = Path::decode_prefix(bytes, max_links)?;
        let holding = path.verify(accepts, today)?;
        match fault {
            None => Ok((path, holding)),
            Some(fault) => Err(fault),
        }
    }

    /// The links before the first malformed one, and its fault.
    fn decode_prefix(
        bytes: &[u8],
        max_links: usize,
    ) -> Result<(Path, Option<PathError>), PathError> {
        let wrong_length = PathError::Length { got: bytes.len() };
        let (coin, rest) = (bytes.split_at_checked(CoinCertificate::SIZE)).ok_or(wrong_length)?;
        let (n, rest) = rest.split_first().ok_or(wrong_length)?;
        let n = usize::from(*n);
        if rest.len() != n * Link::SIZE {
            return Err(wrong_length);
        }
        let max = max_links.min(MAX_LINKS_REDEEM);
        if n > max {
            return Err(PathError::TooManyLinks { links: n, max });
        }
        let coin = CoinCertificate::decode(coin).map_err(PathError::Coin)?;
        let mut links = Vec::with_capacity(n);
        for (index, link) in rest.chunks_exact(Link::SIZE).enumerate() {
            match Link::decode(link) {
                Ok(link) => links.push(link),
                Err(fault) => {
                    return Ok((Path { coin, links }, Some(PathError::Link { index, fault })));
                }
            }
        }
        Ok((Path { coin, links }, None))
    }

    /// Verifies the path from the root and returns the holding it proves. `accepts` says which
    /// brokers are good; `today` is the date and the days that must remain before expiry, `None`
    /// where expiry does not matter.
    ///
    /// # Errors
    /// The first thing that is wrong, in the protocol's order.
    pub fn verify(
        &self,
        accepts: &dyn Fn(&PublicKey) -> bool,
        today: Option<(Day, u32)>,
    ) -> Result<Holding, PathError> {
        self.verify_cached(accepts, today, &mut PathCache::new(0))
    }

    /// As [`Path::verify`], but what `cache` has seen verified before is not verified again. Broker
    /// and date are looked at each time.
    ///
    /// # Errors
    /// As [`Path::verify`].
    pub fn verify_cached(
        &self,
        accepts: &dyn Fn(&PublicKey) -> bool,
        today: Option<(Day, u32)>,
        cache: &mut PathCache,
    ) -> Result<Holding, PathError> {
        if self.links.len() > MAX_LINKS_REDEEM {
            return Err(PathError::TooManyLinks {
                links: self.links.len(),
                max: MAX_LINKS_REDEEM,
            });
        }
        let prefixes = if cache.limit == 0 {
            Vec::new()
        } else {
            self.prefix_digests()
        };
        let known = (prefixes.iter().enumerate().rev())
            .find_map(|(links, digest)| Some((links, *cache.known.get(digest)?)));
        let (done, mut holding) = match known {
            Some((links, holding)) => {
                self.coin.check_terms(accepts).map_err(PathError::Coin)?;
                self.coin.check_date(today).map_err(PathError::Coin)?;
                (links, holding)
            }
            None => {
                (self.coin.check(accepts, today)).map_err(PathError::Coin)?;
                let holding = Holding::of_coin(&self.coin);
                cache.insert(prefixes.first(), holding);
                (0, holding)
            }
        };
        for (index, link) in self.links.iter().enumerate().skip(done) {
            holding = (link.verify(&holding)).map_err(|fault| PathError::Link { index, fault })?;
            cache.insert(prefixes.get(index + 1), holding);
        }
        Ok(holding)
    }

    /// The holding that the path is about, without any signature or chain checked.
    ///
    /// # Errors
    /// A link that closes at more than there is, or leads to a part worth nothing.
    pub fn holding(&self) -> Result<Holding, PathError> {
        let mut holding = Holding::of_coin(&self.coin);
        for (index, link) in self.links.iter().enumerate() {
            holding = (link.next(&holding)).map_err(|fault| PathError::Link { index, fault })?;
        }
        Ok(holding)
    }

    /// The holding before each link, from the root, and at the end the one that the path is about:
    /// one more than there are links. Nothing is checked but values.
    ///
    /// # Errors
    /// As [`Path::holding`].
    pub fn holdings(&self) -> Result<Vec<Holding>, PathError> {
        let mut holding = Holding::of_coin(&self.coin);
        let mut all = vec![holding];
        for (index, link) in self.links.iter().enumerate() {
            holding = (link.next(&holding)).map_err(|fault| PathError::Link { index, fault })?;
            all.push(holding);
        }
        Ok(all)
    }

    /// The records of every link, from the root, the spend before its close. Call it on verified
    /// paths; of one whose values do not fit it stops there.
    #[must_use]
    pub fn records(&self) -> Vec<SignedRecord> {
        let mut holding = Holding::of_coin(&self.coin);
        let mut records = Vec::with_capacity(2 * self.links.len());
        for link in &self.links {
            records.extend(link.records(&holding));
            match link.next(&holding) {
                Ok(next) => holding = next,
                Err(_) => break,
            }
        }
        records
    }

    /// This path and one link more.
    #[must_use]
    pub fn extend(&self, link: Link) -> Path {
        let mut longer = self.clone();
        longer.links.push(link);
        longer
    }

    /// For each prefix, from the coin alone to the whole path, a digest of all its bytes.
    fn prefix_digests(&self) -> Vec<[u8; 32]> {
        let mut digest: [u8; 32] = Sha256::digest(self.coin.encode()).into();
        let mut all = vec![digest];
        for link in &self.links {
            let mut hash = Sha256::new();
            hash.update(digest);
            hash.update(link.encode());
            digest = hash.finalize().into();
            all.push(digest);
        }
        all
    }
}

/// Remembers verified prefixes of paths by all their bytes, so that a busy payee verifies each link
/// once. Bounded: the oldest goes first.
#[derive(Clone, Debug)]
pub struct PathCache {
    limit: usize,
    known: BTreeMap<[u8; 32], Holding>,
    order: VecDeque<[u8; 32]>,
}

impl PathCache {
    /// A cache of at most `limit` prefixes, some 300 bytes each; 0 remembers nothing.
    #[must_use]
    pub fn new(limit: usize) -> PathCache {
        PathCache {
            limit,
            known: BTreeMap::new(),
            order: VecDeque::new(),
        }
    }

    /// How many prefixes are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// Whether nothing is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    fn insert(&mut self, digest: Option<&[u8; 32]>, holding: Holding) {
        let Some(digest) = digest else { return };
        if self.limit == 0 || self.known.insert(*digest, holding).is_some() {
            return;
        }
        self.order.push_back(*digest);
        if self.order.len() > self.limit
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
    }
}
