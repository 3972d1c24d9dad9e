//! What a peer may have now, and on what account; how the accounts stand.

use super::hold::Account;
use super::link::{Link, PeerKind};
use super::pay::Pay;
use super::report::Why;
use super::terms::TorrentTerms;
use crate::channel::PayeeStatus;
use crate::units::UnixMs;

/// A payer whose channels are used up and that proposes nothing for so long is served as one that
/// does not pay.
const USED_UP_MS: u64 = 5_000;

/// A payer whose requests are held so long while its spend is not accepted is served as one that does
/// not pay.
const UNACCEPTED_MS: u64 = 3_000;

/// Whether a payer has proposed something good, or is about to.
fn is_under_payment(status: &PayeeStatus) -> bool {
    status.channels > 0 || status.is_provisional || status.is_accepted
}

impl Link {
    /// Whether the peer is served as one that pays us.
    pub fn is_under_payment(&self) -> bool {
        let status = self.pay.as_ref().and_then(|pay| pay.payee_status());
        status.is_some_and(|status| is_under_payment(&status))
    }

    /// On what account a held block may be served now, if on any.
    pub fn account_for(&mut self, now: UnixMs, bytes: u64) -> Option<Account> {
        // A block whose payload is passing is let through, and not yet counted as served.
        let passing = match self.serving {
            Some((block, Some(Account::Paid))) => u64::from(block.length_bytes),
            _ => 0,
        };
        let admitted = self.hold.admitted_bytes(Account::Paid) + passing;
        let take = || {
            let mut free = self.shared.free.borrow_mut();
            free.take(now, self.id, bytes).then_some(Account::Free)
        };
        if self.kind == PeerKind::Unknown {
            return None;
        }
        let Some(payee) = self.pay.as_mut().and_then(|pay| pay.payee.as_mut()) else {
            return take();
        };
        let status = payee.status();
        let is_under_payment = is_under_payment(&status);
        if is_under_payment && payee.allowance_bytes() >= admitted + bytes {
            return Some(Account::Paid);
        }
        let is_used_up = status.channels == 0 && status.left.is_zero() && status.due <= status.paid;
        self.used_up_since = match self.used_up_since {
            since @ Some(_) if is_used_up => since,
            _ => is_used_up.then_some(now),
        };
        let is_used_up = self
            .used_up_since
            .is_some_and(|since| now.since_ms(since) >= USED_UP_MS);
        // Nor does the DHT hold a piece back: who waits for acceptance is served like a stranger.
        let waiting_since = self.hold.waiting_since().unwrap_or(now);
        let is_unaccepted = !status.is_accepted && now.since_ms(waiting_since) >= UNACCEPTED_MS;
        if (!is_under_payment || is_used_up || is_unaccepted)
            && let Some(account) = take()
        {
            return Some(account);
        }
        payee.handle_held(now);
        None
    }

    pub(super) fn count_provisional(&self, pay: &mut Pay, is_provisional: bool) {
        if is_provisional != pay.is_provisional {
            pay.is_provisional = is_provisional;
            let count = self.shared.provisional.get();
            self.shared.provisional.set(match is_provisional {
                true => count + 1,
                false => count.saturating_sub(1),
            });
        }
    }

    pub(super) fn count_seller(&self, pay: &mut Pay, is_seller: bool) {
        if is_seller == pay.is_seller {
            return;
        }
        pay.is_seller = is_seller;
        if let Some(torrent) = self.shared.torrents.borrow_mut().get_mut(&pay.info_hash) {
            torrent.sellers = match is_seller {
                true => torrent.sellers.saturating_add(1),
                false => torrent.sellers.saturating_sub(1),
            };
        }
    }

    /// Paid bytes were handed to the socket.
    pub fn pay_served(&mut self, now: UnixMs, bytes: u64) {
        if let Some(payee) = self.pay.as_mut().and_then(|pay| pay.payee.as_mut()) {
            payee.handle_served(now, bytes);
        }
    }

    /// Whether our engine's requests may go out.
    pub fn may_ask(&self, now: UnixMs) -> bool {
        match (self.kind, &self.pay) {
            (PeerKind::Unknown, _) => false,
            (PeerKind::Pays, Some(pay)) => pay.is_decided(now),
            _ => true,
        }
    }

    /// A torrent that is paid for no more, or not at such a price: its channels are closed.
    pub(super) fn stop_where_terms_forbid(&mut self, now: UnixMs) {
        let terms = self.info_hash().and_then(|hash| self.shared.terms(hash));
        let Some(payer) = self.pay.as_mut().and_then(|pay| pay.payer.as_mut()) else {
            return;
        };
        let price = payer.status().price;
        let forbids =
            |terms: TorrentTerms| !terms.pays || price.is_some_and(|price| price > terms.max_price);
        if terms.is_some_and(forbids) {
            payer.handle_stop(now);
        }
    }

    pub(super) fn show_accounts(&self, pay: &Pay) {
        let mut snapshot = self.snapshot.borrow_mut();
        if let Some(payer) = &pay.payer {
            let status = payer.status();
            snapshot.paid = status.paid;
            snapshot.paying = status.channels;
            snapshot.left = status.left;
            let waits = snapshot.why.filter(|why| !matches!(why, Why::Free(_)));
            snapshot.why = status.unpaid.map(Why::Free).or(waits);
        }
        if let Some(payee) = &pay.payee {
            let status = payee.status();
            snapshot.earned = status.paid;
            snapshot.owed = status.due.saturating_sub(status.paid);
            snapshot.earning = status.channels;
            snapshot.window_bytes = payee.allowance_bytes();
        }
    }

    /// Brings the snapshot up to date.
    pub fn show(&self) {
        if let Some(pay) = &self.pay {
            self.show_accounts(pay);
        }
        self.snapshot.borrow_mut().held_requests = self.hold.held() as u64;
    }
}
