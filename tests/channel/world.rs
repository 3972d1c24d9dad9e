//! Pairs under one clock, with one purse: events in their order, and what the machines want done.

use std::collections::BTreeMap;

use dpay::coin::{ChainValue, Commitment, HoldingId, PseudonymCertificate};
use dpay::record::{Doubt, Verdict};
use dpay::units::{Units, UnixMs};
use dpay::wire::message::{Message, Recipient, RefuseReason};

use crate::pair::{Judgement, Pair, Setup};
use crate::purse::{Purse, TODAY};

/// Requests that a leecher has under way at once, as librqbit does.
const PIPELINE: usize = 128;
pub(crate) const WALLET_MS: u64 = 3;
const VERIFY_MS: u64 = 4;
/// Units that the payer's connections may have ahead, all together.
pub const MOST_AHEAD: Units = Units(16);

pub(crate) enum Event {
    ToPayer(Vec<u8>),
    ToPayee(Vec<u8>),
    Block {
        piece: u64,
        bytes: u64,
    },
    Request {
        piece: u64,
        bytes: u64,
    },
    Verified {
        piece: u64,
        bytes: u64,
    },
    Reserve {
        channel: u32,
        at_least: Units,
        at_most: Units,
    },
    Commit {
        channel: u32,
        holding: HoldingId,
        to: PseudonymCertificate,
    },
    Checked {
        channel: u32,
        holding: HoldingId,
    },
    Key {
        channel: u32,
    },
    Recorded {
        channel: u32,
        holding: HoldingId,
    },
    Verdict {
        channel: u32,
        spend: Commitment,
    },
    Closed {
        channel: u32,
        spend: Commitment,
        k: u32,
        wk: ChainValue,
    },
    Recall,
    TakeUp {
        channel: u32,
        spend: Commitment,
        k: u32,
        wk: ChainValue,
    },
    CloseKept {
        spend: Commitment,
        k: u32,
        wk: ChainValue,
    },
}

impl Event {
    /// Whether it is the payer's end that it happens to.
    fn is_payers(&self) -> bool {
        matches!(
            self,
            Event::ToPayer(_)
                | Event::Block { .. }
                | Event::Verified { .. }
                | Event::Reserve { .. }
                | Event::Commit { .. }
                | Event::Recall
        )
    }
}

pub struct World {
    pub now: UnixMs,
    pub purse: Purse,
    pub pairs: Vec<Pair>,
    events: BTreeMap<(UnixMs, u64), (usize, Event)>,
    sequence: u64,
}

impl World {
    pub fn new(purse: Purse) -> World {
        World {
            now: UnixMs(u64::from(TODAY.0) * 86_400_000),
            purse,
            pairs: Vec::new(),
            events: BTreeMap::new(),
            sequence: 0,
        }
    }

    /// A new connection over which the whole torrent is fetched.
    pub fn connect(&mut self, setup: Setup) -> usize {
        let index = self.pairs.len();
        let setup = Setup {
            payee: setup.payee.or(Some(index)),
            ..setup
        };
        let wanted_bytes = setup.length_bytes;
        self.pairs.push(Pair::new(setup, self.now));
        self.pairs[index]
            .payer
            .handle_wanted(self.now, wanted_bytes);
        self.request(index);
        self.drive(index);
        index
    }

    pub(crate) fn after(&mut self, pair: usize, ms: u64, event: Event) {
        self.at(pair, self.now.plus_ms(ms), event);
    }

    pub(crate) fn at(&mut self, pair: usize, at: UnixMs, event: Event) {
        self.sequence += 1;
        self.events.insert((at, self.sequence), (pair, event));
    }

    /// Runs until `done` or until `limit_ms` have passed; whether `done`.
    pub fn run(&mut self, limit_ms: u64, done: impl Fn(&World) -> bool) -> bool {
        let end = self.now.plus_ms(limit_ms);
        let mut turns_without_time = 0;
        while !done(self) {
            let event_at = self.events.keys().next().map(|(at, _)| *at);
            let timeouts = self.pairs.iter().map(Pair::next_timeout);
            let Some(next) = timeouts.chain([event_at]).flatten().min() else {
                return done(self);
            };
            if next > end {
                self.now = end;
                return done(self);
            }
            turns_without_time = if next <= self.now {
                turns_without_time + 1
            } else {
                0
            };
            assert!(turns_without_time < 100_000, "time does not pass");
            self.now = self.now.max(next);
            self.turn(next, event_at);
        }
        true
    }

    fn turn(&mut self, next: UnixMs, event_at: Option<UnixMs>) {
        if event_at == Some(next)
            && let Some((_, (pair, event))) = self.events.pop_first()
        {
            self.handle(pair, event);
            self.drive(pair);
            return;
        }
        for index in 0..self.pairs.len() {
            let (now, pair) = (self.now, &mut self.pairs[index]);
            let is_due = |at: Option<UnixMs>| at.is_some_and(|at| at <= now);
            if !pair.payer_crashed && is_due(pair.payer.next_timeout()) {
                pair.payer.handle_timeout(now);
                let again = pair.payer.next_timeout();
                assert!(
                    again.is_none_or(|at| at > now),
                    "the payer's timer went off in vain"
                );
            }
            if !pair.payee_crashed && is_due(pair.payee.next_timeout()) {
                pair.payee.handle_timeout(now);
                let again = pair.payee.next_timeout();
                assert!(
                    again.is_none_or(|at| at > now),
                    "the payee's timer went off in vain"
                );
            }
            self.drive(index);
        }
    }

    fn handle(&mut self, index: usize, event: Event) {
        let now = self.now;
        let pair = &mut self.pairs[index];
        let (is_here, is_crashed) = match event.is_payers() {
            true => (pair.connected, pair.payer_crashed),
            false => (pair.payee_connected, pair.payee_crashed),
        };
        match event {
            _ if is_crashed => {}
            Event::ToPayer(_) | Event::ToPayee(_) | Event::Block { .. } | Event::Request { .. }
                if !is_here => {}
            Event::ToPayer(bytes) => self.message_to_payer(index, &bytes),
            Event::ToPayee(bytes) => self.message_to_payee(index, &bytes),
            Event::Request { piece, bytes } => pair.waiting.push_back((piece, bytes)),
            Event::Block { piece, bytes } => self.block(index, piece, bytes),
            Event::Verified { piece, bytes } => {
                pair.begun.remove(&piece);
                pair.verified_bytes += bytes;
                let wanted_bytes = pair.setup.length_bytes - pair.verified_bytes;
                pair.payer.handle_verified(now, bytes);
                pair.payer.handle_wanted(now, wanted_bytes);
                self.request(index);
            }
            Event::Reserve {
                channel,
                at_least,
                at_most,
            } => {
                let answer = self.purse.reserve(at_least, at_most);
                pair.payer.handle_reserved(now, channel, answer);
            }
            Event::Commit {
                channel,
                holding,
                to,
            } => {
                let (open, chain) = self.purse.commit(holding, to);
                pair.opens += 1;
                pair.payer
                    .handle_open_durable(now, channel, holding, open, chain);
            }
            Event::Checked { channel, holding } => {
                let seen = self.purse.has_seen(&holding);
                let answer = if seen {
                    Err(RefuseReason::Seen)
                } else {
                    Ok(())
                };
                pair.payee.handle_checked(now, channel, answer);
            }
            Event::Key { channel } => {
                let (key, certificate) = self.purse.key(pair.identity);
                pair.payee.handle_key(now, channel, key, certificate);
            }
            Event::Recorded { channel, holding } => {
                let first = self.purse.record_open(holding);
                let answer = if first {
                    Ok(())
                } else {
                    Err(RefuseReason::Seen)
                };
                pair.payee.handle_open_recorded(now, channel, answer);
            }
            Event::Verdict { channel, spend } => self.judge(index, channel, spend),
            Event::Closed {
                channel,
                spend,
                k,
                wk,
            } => {
                let close = self.purse.close(pair.identity, &spend, k, wk);
                pair.payee.handle_closed(now, channel, close);
            }
            Event::Recall => {
                let recalled = self.purse.recall(pair.identity);
                let ahead: u64 = self.pairs.iter().map(|p| p.payer.ahead().0).sum();
                let pair = &mut self.pairs[index];
                pair.payer
                    .handle_recalled(now, recalled, MOST_AHEAD.saturating_sub(Units(ahead)));
            }
            Event::TakeUp {
                channel,
                spend,
                k,
                wk,
            } => self.take_up(index, channel, spend, k, &wk),
            Event::CloseKept { spend, k, wk } => self.close_for_payer(index, spend, k, wk),
        }
    }

    pub fn judge(&mut self, index: usize, channel: u32, spend: Commitment) {
        let judgement = self.pairs[index].judgements.pop_front();
        let verdict = match judgement.unwrap_or(Judgement::Accepted) {
            Judgement::Silence => return,
            Judgement::Accepted => {
                if let Some(row) = self.purse.spends.get_mut(&spend) {
                    row.accepted = true;
                }
                Verdict::Accepted
            }
            Judgement::Undecided => Verdict::Undecided {
                why: Doubt::TooFewAnswers {
                    place: 0,
                    answers: 1,
                    wanted: 8,
                },
            },
            Judgement::Conflict => {
                let other = self.purse.open_again(&spend);
                let [_, item, _] = other.record(&self.purse.spends[&spend].holding).items();
                Verdict::Conflict(Box::new(item))
            }
        };
        self.pairs[index]
            .payee
            .handle_verdict(self.now, channel, verdict);
    }

    fn message_to_payer(&mut self, index: usize, bytes: &[u8]) {
        let message = Message::decode(bytes).expect("canonical").expect("known");
        assert_ne!(message.recipient(), Recipient::Payee);
        match &message {
            Message::Refused { reason, .. } => self.pairs[index].refusals.push(*reason),
            Message::Conflict { proof } => self.pairs[index].proofs.push(proof.clone()),
            _ => {}
        }
        let result = self.pairs[index].payer.handle_message(self.now, &message);
        if let Err(fault) = result {
            self.pairs[index].faults.push(fault);
            self.disconnect(index);
        }
    }

    pub fn message_to_payee(&mut self, index: usize, bytes: &[u8]) {
        let message = Message::decode(bytes).expect("canonical").expect("known");
        assert_ne!(message.recipient(), Recipient::Payer);
        let result = self.pairs[index].payee.handle_message(self.now, &message);
        if let Err(fault) = result {
            self.pairs[index].faults.push(fault);
            self.disconnect(index);
        }
    }

    pub fn disconnect(&mut self, index: usize) {
        self.cut_payer(index);
        self.cut_payee(index);
    }

    /// The leecher stops: finished, or by its user.
    pub fn stop(&mut self, index: usize) {
        self.pairs[index].stopped = true;
        if self.pairs[index].payer_crashed {
            return;
        }
        self.pairs[index].payer.handle_stop(self.now);
        self.drive(index);
    }

    /// A block came: the leecher asks for the next, and a piece may be whole.
    fn block(&mut self, index: usize, piece: u64, bytes: u64) {
        let now = self.now;
        let pair = &mut self.pairs[index];
        pair.under_way -= 1;
        pair.longest_gap_ms = pair.longest_gap_ms.max(now.since_ms(pair.last_block));
        pair.last_block = now;
        pair.payer.handle_delivered(now, bytes);
        let missing = pair
            .missing
            .get_mut(&piece)
            .expect("a piece of the torrent");
        *missing -= bytes;
        if *missing == 0 && piece >= pair.setup.wasted_pieces {
            let first = piece * pair.setup.piece_length_bytes;
            let end =
                pair.setup.length_bytes + pair.setup.wasted_pieces * pair.setup.piece_length_bytes;
            let bytes = pair.setup.piece_length_bytes.min(end - first);
            self.after(index, VERIFY_MS, Event::Verified { piece, bytes });
        }
        self.request(index);
    }

    /// The leecher asks for what it has room for.
    pub fn request(&mut self, index: usize) {
        let latency_ms = self.pairs[index].setup.latency_ms;
        loop {
            let pair = &mut self.pairs[index];
            if pair.under_way >= PIPELINE || pair.stopped {
                return;
            }
            let Some((piece, bytes)) = pair.next_request() else {
                return;
            };
            pair.under_way += 1;
            self.after(index, latency_ms, Event::Request { piece, bytes });
        }
    }

    /// The seeder serves what it may, in the order of the requests.
    pub(crate) fn serve(&mut self, index: usize) {
        let now = self.now;
        loop {
            let pair = &mut self.pairs[index];
            let Some((piece, bytes)) = pair
                .waiting
                .front()
                .copied()
                .filter(|_| pair.payee_connected)
            else {
                return;
            };
            if bytes > pair.payee.allowance_bytes() {
                pair.payee.handle_held(now);
                return;
            }
            pair.waiting.pop_front();
            pair.payee.handle_served(now, bytes);
            pair.served_bytes += bytes;
            let took_ms = (bytes * 1_000).div_ceil(pair.setup.bytes_per_s);
            pair.sent_until = pair.sent_until.max(now).plus_ms(took_ms);
            let at = pair.sent_until.plus_ms(pair.setup.latency_ms);
            self.at(index, at, Event::Block { piece, bytes });
        }
    }

    /// Stops a pair and runs until both ends have resolved everything.
    pub fn finish(&mut self, index: usize) {
        if !self.pairs[index].stopped {
            self.stop(index);
        }
        let payer_done = self.run(300_000, |w| {
            w.pairs[index].payer_crashed || w.pairs[index].payer.is_done()
        });
        assert!(payer_done, "{:#?}", self.pairs[index].payer);
        self.disconnect(index);
        self.run(100, |_| false);
        let payee_done = self.run(300_000, |w| {
            w.pairs[index].payee_crashed || w.pairs[index].payee.is_done()
        });
        assert!(payee_done, "{:#?}", self.pairs[index].payee);
    }
}
