//! When a payer opens a channel, and how large (`docs/protocol.md` sections 5 and 7).

use super::channel::{Channel, State};
use super::{Payer, PayerAction};
use crate::channel::MAX_CHANNELS;
use crate::channel::window::{Windows, coin_for};
use crate::units::{AT_HAND, Units, UnixMs};

/// Channels on their way to acceptance at once, after the first was accepted. Until then one: a
/// stranger has no more than one coin to lose.
const MAX_PENDING: usize = 4;

/// The least and the largest holding that the next channel should have, and the largest of the one after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Size {
    at_least: Units,
    at_most: Units,
    then: Units,
}

impl Payer {
    /// So many payees, this one included, are paid for what the torrent still needs: channels are sized for a
    /// part of it.
    pub fn handle_sellers(&mut self, sellers: u32) {
        self.sellers = sellers.max(1);
    }

    /// Asks the wallet for a holding where the next channel is due; when stopping, closes everything
    /// as soon as nothing on its way could still pay what is owed.
    pub(super) fn plan(&mut self, now: UnixMs) {
        self.enough_until_bytes = 0;
        if self.stopping {
            let is_pending = self.channels.values().any(Channel::is_pending);
            if !is_pending || self.owed().is_zero() {
                self.close_all(now);
            }
            return;
        }
        if self.recall_due && self.wanted_bytes > 0 {
            self.recall_due = false;
            self.recalling = Some(now);
            self.actions.push_back(PayerAction::Recall);
        }
        let Some(size) = self.next_size(now) else {
            return;
        };
        let Some(channel) = self.number() else {
            return;
        };
        self.insert(channel, State::Reserving, now);
        self.actions.push_back(PayerAction::Reserve {
            channel,
            at_least: size.at_least,
            at_most: size.at_most,
            then: size.then,
        });
    }

    fn next_size(&mut self, now: UnixMs) -> Option<Size> {
        let terms = self.accepted_offer()?;
        let is_recalling = self.recalling.is_some();
        if is_recalling
            || self.is_blocked(now)
            || self.is_idle
            || !self.has_use()
            || !self.may_add_channel(terms.windows)
        {
            return None;
        }
        let capacity = self.planned_capacity();
        let bought_bytes = terms.windows.price().bytes_bought(capacity);
        let needed_bytes = self.needed_bytes();
        let owed = terms.windows.price().due(needed_bytes);
        if self.accepted_once {
            let came_bytes = self.came_bytes();
            let rest_bytes = bought_bytes.saturating_sub(came_bytes);
            let window_bytes = terms.windows.accepted_bytes(self.paid());
            let least_bytes = window_bytes.max(self.pace.ahead_bytes());
            if bought_bytes >= needed_bytes || rest_bytes >= least_bytes {
                // Half of what is to spare, since the pace may rise meanwhile.
                let spare_bytes = match bought_bytes >= needed_bytes && !self.is_short {
                    true => u64::MAX,
                    false => rest_bytes.saturating_sub(least_bytes) / 2,
                };
                self.enough_until_bytes = came_bytes.saturating_add(spare_bytes);
                return None;
            }
        }
        let needed = owed.saturating_sub(capacity).max(Units(1));
        let part_bytes = self
            .came_bytes()
            .saturating_add(self.part_bytes(&terms.windows));
        let part = terms.windows.price().due(part_bytes);
        let part = part.saturating_sub(capacity).max(Units(1)).min(needed);
        let most = self.most(terms.windows);
        let least = terms.windows.least_channel().min(needed);
        let at_least = least.max(terms.smallest_channel);
        let at_most = coin_for(part.min(most)).max(at_least).max(AT_HAND);
        let rest = needed.saturating_sub(at_most).min(part);
        let then = match rest.is_zero() {
            true => Units::ZERO,
            false => coin_for(rest.min(terms.windows.largest_channel(at_most))),
        };
        Some(Size {
            at_least,
            at_most,
            then,
        })
    }

    /// Bytes that this payee delivers of what is wanted, if all who are paid deliver as much: but no fewer than
    /// come while another channel is accepted.
    fn part_bytes(&self, windows: &Windows) -> u64 {
        let part_bytes = self.wanted_bytes.div_ceil(u64::from(self.sellers));
        let window_bytes = windows.accepted_bytes(self.paid());
        part_bytes.max(window_bytes).max(self.pace.ahead_bytes())
    }

    /// The largest channel at present.
    fn most(&self, windows: Windows) -> Units {
        windows.largest_channel(self.paid())
    }

    /// What is on its way stays below the largest channel, so that less than twice that is at risk.
    fn may_add_channel(&self, windows: Windows) -> bool {
        let pending = || self.channels.values().filter(|c| c.is_pending());
        let worth = Units::checked_sum(pending().map(Channel::worth));
        let reserving = pending().any(|c| matches!(c.state, State::Reserving));
        let most = if self.accepted_once { MAX_PENDING } else { 1 };
        pending().count() < most
            && worth.is_some_and(|worth| worth < self.most(windows))
            && !reserving
            && self.channels.len() < MAX_CHANNELS
    }

    /// Bytes that come in all, if everything wanted comes: what is verified, and what is wanted.
    /// Where the payee holds requests back because the channels do not buy them, bytes that came
    /// and will never verify use them up, and so count too.
    fn needed_bytes(&self) -> u64 {
        let base = match self.is_short {
            true => self.came_bytes(),
            false => self.verified_bytes,
        };
        base.saturating_add(self.wanted_bytes)
    }

    /// Bytes that came, verified or not.
    pub(super) fn came_bytes(&self) -> u64 {
        self.delivered_bytes.max(self.verified_bytes)
    }
}
