//! The payee of one connection: takes proposals, counts what is served and what is ticked, and says
//! how much more may be served (`docs/protocol.md` sections 6 to 8).

mod account;
mod channel;
mod messages;
mod resume;

use std::collections::{BTreeMap, VecDeque};

use self::channel::{Channel, State};
use super::{OWN_ANSWER_MS, Windows, earliest};
use crate::coin::{ChainValue, Commitment, PseudonymCertificate, PublicKey};
use crate::record::{ClosePart, Holding, OpenSpend, Path, SignedRecord, Verdict};
use crate::units::{PricePerGib, Units, UnixMs};
use crate::wire::message::{
    Due, FreePolicy, Message, Offer, OpenedState, RefuseReason, VERSION, WaitReason,
};

pub use self::account::PayeeStatus;

/// A request held for less than this is not worth a `due`.
const TELL_MS: u64 = 250;

/// What a payee offers.
#[derive(Clone, Debug)]
pub struct PayeeTerms {
    /// Length of the torrent's pieces.
    pub piece_length_bytes: u64,
    /// Price on this connection.
    pub price: PricePerGib,
    /// Brokers whose coins are taken, one to eight, with their URLs (printable ASCII, at most 256
    /// bytes).
    pub brokers: Vec<(PublicKey, String)>,
    /// Least value of a holding that is taken, at least 1.
    pub smallest_channel: Units,
    /// Whom the gateway serves without payment. Only told here.
    pub free: FreePolicy,
    /// Whether this peer is served before its spend is accepted; see [`Payee::set_provisional`].
    pub is_provisional: bool,
}

/// What the driver of a [`Payee`] is to do, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PayeeAction {
    /// Send to the payer.
    Send(Message),
    /// Was the holding opened before, is it or its path on the spent list? Answer by
    /// [`Payee::handle_checked`].
    Check {
        /// The channel.
        channel: u32,
        /// Verified: it proves the holding.
        path: Path,
        /// What it proves.
        holding: Holding,
    },
    /// A holder key for this connection; answer by [`Payee::handle_key`] or
    /// [`Payee::handle_no_key`].
    NeedKey {
        /// The channel.
        channel: u32,
    },
    /// No open came for the connection's key: it may be given again.
    KeyUnused {
        /// Index of the key, as given.
        index: u32,
    },
    /// Record the open, durably and only if no other of this holding is recorded; answer by
    /// [`Payee::handle_open_recorded`].
    RecordOpen {
        /// The channel.
        channel: u32,
        /// The path.
        path: Path,
        /// Verified.
        open: Box<OpenSpend>,
        /// What is spent.
        holding: Holding,
    },
    /// Put and read back all records; answer by [`Payee::handle_verdict`].
    Accept {
        /// The channel.
        channel: u32,
        /// The spend, then all of the path.
        records: Vec<SignedRecord>,
        /// c of the spend.
        spend: Commitment,
    },
    /// Look for a spend of an earlier connection, on disk and on other connections; answer by
    /// [`Payee::handle_taken_up`]. A connection that has it lets it go only where `k` and `wk` are a
    /// new tick ([`Payee::handle_let_go`]).
    TakeUp {
        /// The channel.
        channel: u32,
        /// c of the spend.
        spend: Commitment,
        /// Units that the payer shows.
        k: u32,
        /// What shows them.
        wk: ChainValue,
    },
    /// Close a spend that is on no connection, if (k, wk) is a tick of it; answer by
    /// [`Payee::handle_kept_closed`], also where it is closed already.
    CloseKept {
        /// c of the spend.
        spend: Commitment,
        /// Units that the payer asks to be closed at, at least.
        k: u32,
        /// What shows them.
        wk: ChainValue,
    },
    /// The spend is on this connection no more, and open: it is kept for a later one until its
    /// deadline, then closed.
    Left {
        /// c of the spend.
        spend: Commitment,
        /// Units ticked. The wallet may not have noted the last of them yet.
        k: u32,
        /// What shows them, the anchor for none.
        wk: ChainValue,
        /// Bytes that this connection and earlier ones left unpaid.
        unpaid_bytes: u64,
        /// Whether its payer was here, so that the deadline begins anew.
        is_proven: bool,
    },
    /// Two items of one slot were found, by us or by the payer: the proof holds. Keep it, contest.
    Conflict {
        /// `record::FraudProof`, encoded.
        proof: Vec<u8>,
    },
    /// A good tick came.
    Ticked {
        /// c of the spend.
        spend: Commitment,
        /// Units paid in all on this channel.
        k: u32,
        /// What shows it.
        wk: ChainValue,
    },
    /// Write the close, then sign it, then put it; answer by [`Payee::handle_closed`]. Nothing more
    /// is taken on the channel.
    Close {
        /// The channel.
        channel: u32,
        /// c of the spend.
        spend: Commitment,
        /// Units paid.
        k: u32,
        /// What shows it, the anchor for none.
        wk: ChainValue,
    },
}

/// The key that this connection is paid on.
#[derive(Clone, Copy, Debug)]
struct ConnectionKey {
    index: u32,
    certificate: PseudonymCertificate,
    is_used: bool,
}

/// A request that is held back because nothing more may be served.
#[derive(Clone, Copy, Debug)]
struct Held {
    since: UnixMs,
    is_told: bool,
}

/// The paid side of one connection.
#[derive(Clone, Debug)]
pub struct Payee {
    terms: PayeeTerms,
    windows: Windows,
    channels: BTreeMap<u32, Channel>,
    /// No channel below this is new.
    next_channel: u32,
    key: Option<ConnectionKey>,
    /// Units ticked on channels that are closed.
    done_units: Units,
    failures: u32,
    /// Spends of earlier connections that were asked for.
    resumes: u32,
    /// Proofs of fraud that the payer showed.
    proofs: u32,
    /// Whether a proposal was good: from then on there is an allowance.
    proposed_once: bool,
    accepted_once: bool,
    served_bytes: u64,
    held: Option<Held>,
    active: UnixMs,
    stopping: bool,
    connected: bool,
    actions: VecDeque<PayeeAction>,
}

impl Payee {
    /// A payee whose first action is to send its offer.
    #[must_use]
    pub fn new(terms: PayeeTerms, now: UnixMs) -> Payee {
        let offer = Message::Offer(Offer {
            version: VERSION,
            price: terms.price,
            brokers: terms.brokers.clone(),
            smallest_channel: terms.smallest_channel,
            free: terms.free,
        });
        Payee {
            windows: Windows::new(terms.piece_length_bytes, terms.price),
            terms,
            channels: BTreeMap::new(),
            next_channel: 0,
            key: None,
            done_units: Units::ZERO,
            failures: 0,
            resumes: 0,
            proofs: 0,
            proposed_once: false,
            accepted_once: false,
            served_bytes: 0,
            held: None,
            active: now,
            stopping: false,
            connected: true,
            actions: VecDeque::from([PayeeAction::Send(offer)]),
        }
    }

    /// The next thing to do. Call until `None` after every `handle_*`.
    pub fn poll_action(&mut self) -> Option<PayeeAction> {
        self.actions.pop_front()
    }

    /// Whether this peer is served before its first acceptance. At most 16 peers at once should be;
    /// counting them is the driver's. Matters until the first proposal is found good.
    pub fn set_provisional(&mut self, is_provisional: bool) {
        self.terms.is_provisional = is_provisional;
    }

    /// `bytes` of blocks were handed to the socket under payment.
    pub fn handle_served(&mut self, now: UnixMs, bytes: u64) {
        self.served_bytes = self.served_bytes.saturating_add(bytes);
        self.active = now;
        self.held = None;
    }

    /// A request waits because [`Payee::allowance_bytes`] is less than its block. Say it again after
    /// each block that was served, as long as requests wait.
    pub fn handle_held(&mut self, now: UnixMs) {
        let held = Held {
            since: now,
            is_told: false,
        };
        self.held.get_or_insert(held);
    }

    /// Answer to [`PayeeAction::Check`]. Checking -> Keyed, Keying or refused.
    pub fn handle_checked(&mut self, now: UnixMs, channel: u32, answer: Result<(), RefuseReason>) {
        let Some(known) = self.channels.get_mut(&channel) else {
            return;
        };
        let State::Checking(proposal) = &known.state else {
            return;
        };
        match answer {
            Ok(()) => {
                self.proposed_once = true;
                *known = Channel::new(State::Keying(proposal.clone()), now);
                if !self.give_key(now, channel) && !self.waits_for_key(channel) {
                    self.actions.push_back(PayeeAction::NeedKey { channel });
                }
            }
            Err(reason) => self.refuse(channel, reason),
        }
    }

    /// Answer to [`PayeeAction::NeedKey`]: a holder key, its index in the wallet and its
    /// certificate. Keying -> Keyed, for every channel that waits.
    pub fn handle_key(
        &mut self,
        now: UnixMs,
        _channel: u32,
        index: u32,
        certificate: PseudonymCertificate,
    ) {
        self.return_key();
        if !self.connected {
            self.actions.push_back(PayeeAction::KeyUnused { index });
            return;
        }
        self.key = Some(ConnectionKey {
            index,
            certificate,
            is_used: false,
        });
        for waiting in self.keying() {
            if !self.give_key(now, waiting) {
                self.refuse(waiting, RefuseReason::NoKey);
            }
        }
    }

    /// Answer to [`PayeeAction::NeedKey`]: the wallet has no certified key.
    pub fn handle_no_key(&mut self, _now: UnixMs, _channel: u32) {
        for waiting in self.keying() {
            self.refuse(waiting, RefuseReason::NoKey);
        }
    }

    /// Answer to [`PayeeAction::RecordOpen`]. Recording -> Deciding or refused.
    pub fn handle_open_recorded(
        &mut self,
        now: UnixMs,
        channel: u32,
        answer: Result<(), RefuseReason>,
    ) {
        let Some(known) = self.channels.get_mut(&channel) else {
            return;
        };
        let State::Recording(opened) = &known.state else {
            return;
        };
        let opened = opened.clone();
        match answer {
            Ok(()) => {
                let (records, spend) = (opened.records(), opened.spend);
                *known = Channel::new(State::Deciding(opened), now);
                self.send(Message::Opened {
                    channel,
                    state: OpenedState::Provisional,
                });
                self.actions.push_back(PayeeAction::Accept {
                    channel,
                    records,
                    spend,
                });
            }
            Err(reason) => self.refuse(channel, reason),
        }
    }

    /// Answer to [`PayeeAction::Accept`], and later readings of the same slots.
    /// Deciding -> Accepted or Closing; Accepted -> Closing on a conflict.
    pub fn handle_verdict(&mut self, now: UnixMs, channel: u32, verdict: Verdict) {
        let Some(known) = self.channels.get_mut(&channel) else {
            return;
        };
        let (State::Deciding(opened) | State::Accepted(opened)) = &known.state else {
            return;
        };
        let is_new = matches!(known.state, State::Deciding(_));
        match verdict {
            Verdict::Accepted if is_new => {
                let mut opened = opened.clone();
                opened.is_accepted = true;
                *known = Channel::new(State::Accepted(opened), now);
                self.accepted_once = true;
                self.active = now;
                self.send(Message::Opened {
                    channel,
                    state: OpenedState::Accepted,
                });
                self.close_if_ticked_through(now, channel);
            }
            Verdict::Undecided { .. } if is_new => {
                self.close(now, channel, Some(RefuseReason::Undecided));
            }
            Verdict::Conflict(other) => {
                if let Some(proof) = opened.proof(&other) {
                    let kept = proof.clone();
                    self.actions
                        .push_back(PayeeAction::Conflict { proof: kept });
                    self.send(Message::Conflict { proof });
                }
                self.close(now, channel, is_new.then_some(RefuseReason::Conflict));
            }
            Verdict::Accepted | Verdict::Undecided { .. } => {}
        }
    }

    /// Answer to [`PayeeAction::Close`]: the close is durable and signed. Closing -> closed.
    pub fn handle_closed(&mut self, now: UnixMs, channel: u32, close: ClosePart) {
        let Some(known) = self.channels.remove(&channel) else {
            return;
        };
        match known.state {
            State::Closing(opened, refusal) => {
                self.finish(&opened);
                let spend = opened.spend;
                self.send(match refusal {
                    None => Message::Close { spend, close },
                    Some(reason) => Message::Refused {
                        channel,
                        reason,
                        close: Some(close),
                    },
                });
                self.active = now;
            }
            state => {
                let known = Channel::new(state, known.since);
                self.channels.insert(channel, known);
            }
        }
    }

    /// Closes all channels and takes no new ones; nothing more is served under payment.
    pub fn handle_stop(&mut self, now: UnixMs) {
        self.stopping = true;
        let all: Vec<u32> = self.channels.keys().copied().collect();
        for channel in all {
            self.leave(now, channel, RefuseReason::Stopping);
        }
    }

    /// The connection is gone: what is spent to us is left to the wallet, for a later connection.
    pub fn handle_disconnect(&mut self) {
        self.connected = false;
        self.stopping = true;
        self.leave_all();
        self.return_key();
        self.held = None;
        self.actions
            .retain(|action| !matches!(action, PayeeAction::Send(_)));
    }

    /// Whether every channel is resolved after a stop or disconnect.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.stopping && self.channels.is_empty() && self.actions.is_empty()
    }

    /// When [`Payee::handle_timeout`] is due, if ever.
    #[must_use]
    pub fn next_timeout(&self) -> Option<UnixMs> {
        let deadlines = self.channels.values().map(|c| c.deadline(self.active));
        let untold = self.held.filter(|held| !held.is_told);
        earliest([
            deadlines.min(),
            untold.map(|held| held.since.plus_ms(TELL_MS)),
        ])
    }

    /// Something is due: tells why requests wait, resolves what has waited too long.
    pub fn handle_timeout(&mut self, now: UnixMs) {
        if let Some(held) = &mut self.held
            && !held.is_told
            && now.since_ms(held.since) >= TELL_MS
        {
            held.is_told = true;
            self.tell_due();
        }
        let due = |c: &Channel| c.deadline(self.active) <= now;
        let late: Vec<u32> = (self.channels.iter())
            .filter_map(|(id, c)| due(c).then_some(*id))
            .collect();
        for channel in late {
            self.expire(now, channel);
        }
    }

    fn tell_due(&mut self) {
        let due = self.due();
        self.send(Message::Due(due));
    }

    fn send(&mut self, message: Message) {
        if self.connected {
            self.actions.push_back(PayeeAction::Send(message));
        }
    }
}
