//! Peers that serve only who pays, and get no payment from us: their connection is given up, so that our
//! engine asks others for what it asked of them, and is not made again for a while
//! (`docs/protocol.md` section 9).

use std::collections::HashMap;

use super::link::Link;
use super::report::Close;
use crate::units::{InfoHash, UnixMs};

/// Such a peer is not dialled for so long.
const SHUNNED_MS: u64 = 10 * 60_000;
/// One that wants something of us may be about to pay us: it is waited for.
const PATIENCE_MS: u64 = 5_000;
/// Peers remembered, at most.
const MAX_SHUNNED: usize = 1_000;

/// Until when whom our engine dials in vain, by torrent and address.
#[derive(Debug, Default)]
pub struct Shunned {
    until: HashMap<(InfoHash, String), UnixMs>,
}

impl Shunned {
    fn note(&mut self, now: UnixMs, info_hash: InfoHash, peer: String) {
        self.until.retain(|_, until| *until > now);
        if self.until.len() < MAX_SHUNNED {
            let until = now.plus_ms(SHUNNED_MS);
            self.until.insert((info_hash, peer), until);
        }
    }

    fn contains(&self, now: UnixMs, info_hash: InfoHash, peer: String) -> bool {
        let until = self.until.get(&(info_hash, peer));
        until.is_some_and(|until| *until > now)
    }

    /// A torrent has other terms: who was not paid may be now.
    pub fn forget(&mut self, info_hash: InfoHash) {
        self.until.retain(|(of, _), _| *of != info_hash);
    }
}

impl Link {
    /// Why the peer serves nothing to us; `None` where it does, or may before long.
    fn unserved(&self) -> Option<String> {
        let pay = self.pay.as_ref().filter(|pay| pay.serves_payers_only)?;
        if self.lingering.is_some() || self.stopping {
            return None;
        }
        match &pay.payer {
            Some(payer) => payer.given_up().map(|why| why.to_string()),
            None => Some("nothing is paid for this torrent".to_owned()),
        }
    }

    /// Gives the connection up where the peer leaves our requests open because it gets no payment, and
    /// somebody else may answer them. As long as nobody may, it stays: payment may become possible.
    pub(super) fn give_up_if_unserved(&mut self, now: UnixMs) {
        let unserved = self.unserved();
        self.is_unserved.set(unserved.is_some());
        let Some(unserved) = unserved else {
            self.unserved_since = None;
            return;
        };
        let since = *self.unserved_since.get_or_insert(now);
        let is_patient = self.peer_wants && now.since_ms(since) < PATIENCE_MS;
        let earns = (self.pay.as_ref()).and_then(|pay| pay.payee_status());
        let is_earning = earns.is_some_and(|status| status.channels > 0);
        let asks = self.asked.is_waiting() || !self.asking.is_empty();
        let Some(info_hash) = self.info_hash().filter(|_| asks) else {
            return;
        };
        if is_patient || is_earning || !self.others_may_serve(info_hash) {
            return;
        }
        let mut shunned = self.shared.shunned.borrow_mut();
        shunned.note(now, info_hash, self.peer_name());
        drop(shunned);
        self.given_up = Some(Close::Unserved(unserved));
    }

    /// Whether a connection that our engine makes is to one that was given up a moment ago.
    ///
    /// # Errors
    /// It is.
    pub(super) fn refuse_shunned(&self, now: UnixMs, info_hash: InfoHash) -> Result<(), Close> {
        let shunned = self.shared.shunned.borrow();
        if shunned.contains(now, info_hash, self.peer_name()) && self.others_may_serve(info_hash) {
            let why = "it was found so a while ago".to_owned();
            return Err(Close::Unserved(why));
        }
        Ok(())
    }

    /// Whether another peer of the torrent has something, and is not known to keep it from us.
    fn others_may_serve(&self, info_hash: InfoHash) -> bool {
        let connections = self.shared.connections.borrow();
        connections.iter().any(|(id, other)| {
            *id != self.id
                && other.peer.is_some_and(|(of, _)| of == info_hash)
                && !other.lingers.get()
                && !other.is_unserved.get()
                && other.snapshot.borrow().has.count() > 0
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_shunned_is_so_for_one_torrent_until_its_terms_change() {
        let (one, other) = (InfoHash([1; 20]), InfoHash([2; 20]));
        let (dear, poor) = (|| "1.2.3.4:5".to_owned(), || "1.2.3.4:6".to_owned());
        let (now, mut shunned) = (UnixMs(7), Shunned::default());
        shunned.note(now, one, dear());
        shunned.note(now, other, dear());
        for (later, is_shunned) in [(0, true), (SHUNNED_MS - 1, true), (SHUNNED_MS, false)] {
            let then = now.plus_ms(later);
            assert_eq!(shunned.contains(then, one, dear()), is_shunned);
        }
        assert!(!shunned.contains(now, one, poor()));
        shunned.forget(one);
        assert!(!shunned.contains(now, one, dear()));
        assert!(shunned.contains(now, other, dear()));
    }
}
