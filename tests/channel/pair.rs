//! A payer and a payee joined by a simulated connection, with a simulated clock, swarm and wallets.
//!
//! Every message crosses as bytes. Blocks and messages of one direction keep their order, as on
//! TCP. Nothing here knows a rule of the protocol: what is served, paid and opened is the machines'.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use dpay::channel::{FreeReason, Payee, PayeeTerms, Payer, PayerTerms, PeerFault};
use dpay::units::{PricePerGib, Units, UnixMs};
use dpay::wire::message::{FreePolicy, Message, RefuseReason};

use crate::purse::broker;

pub const KIB: u64 = 1 << 10;
pub const MIB: u64 = 1 << 20;
pub const BLOCK_BYTES: u64 = 16 * KIB;

/// What a connection and its two ends are like.
#[derive(Clone, Debug)]
pub struct Setup {
    pub piece_length_bytes: u64,
    pub length_bytes: u64,
    pub price: u64,
    pub max_price: u64,
    pub latency_ms: u64,
    pub acceptance_ms: u64,
    pub bytes_per_s: u64,
    pub is_provisional: bool,
    pub smallest_channel: Units,
    /// Pieces whose blocks come but which never verify, because of somebody else's block.
    pub wasted_pieces: u64,
    /// Pieces that the leecher fetches at once, block by block in turn.
    pub pieces_at_once: u64,
    /// Whose wallet the payee's is; none: one of its own.
    pub payee: Option<usize>,
    /// What earlier connections to the payee were paid in vain.
    pub ahead: Units,
}

impl Setup {
    pub fn new(piece_length_bytes: u64, length_bytes: u64, price: u64) -> Setup {
        Setup {
            piece_length_bytes,
            length_bytes,
            price,
            max_price: 65_536,
            latency_ms: 20,
            acceptance_ms: 500,
            bytes_per_s: 20 * MIB,
            is_provisional: true,
            smallest_channel: Units(1),
            wasted_pieces: 0,
            pieces_at_once: 1,
            payee: None,
            ahead: Units::ZERO,
        }
    }

    pub fn price(&self) -> PricePerGib {
        PricePerGib::new(self.price).expect("a price")
    }
}

/// What the DHT says of the next open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judgement {
    Accepted,
    Undecided,
    Conflict,
    Silence,
}

/// Changes or drops (by `false`) a message from the payer.
pub type Tamper = Box<dyn FnMut(&mut Message) -> bool>;

pub struct Pair {
    pub setup: Setup,
    /// Whose wallet the payee's is.
    pub identity: usize,
    pub payer: Payer,
    pub payee: Payee,
    /// Whether each end believes that the connection stands.
    pub connected: bool,
    pub payee_connected: bool,
    /// Whether each end's process is gone, and its machine with it.
    pub payer_crashed: bool,
    pub payee_crashed: bool,
    pub stopped: bool,
    /// Blocks that are not requested yet: piece and bytes.
    pub to_request: VecDeque<(u64, u64)>,
    /// Pieces that blocks were requested of, and that are not verified.
    pub begun: BTreeSet<u64>,
    /// What is missing of each piece.
    pub missing: BTreeMap<u64, u64>,
    pub under_way: usize,
    pub verified_bytes: u64,
    pub served_bytes: u64,
    pub waiting: VecDeque<(u64, u64)>,
    pub sent_until: UnixMs,
    pub last_block: UnixMs,
    /// The longest time without a block while blocks were wanted.
    pub longest_gap_ms: u64,
    pub judgements: VecDeque<Judgement>,
    pub opens: u32,
    pub faults: Vec<PeerFault>,
    pub free: Vec<FreeReason>,
    pub refusals: Vec<RefuseReason>,
    pub tamper: Option<Tamper>,
    pub ended: u32,
    pub resumed: u32,
    /// Proofs that either end keeps.
    pub conflicts: u32,
    pub avoided: u32,
    /// The proofs that the payer was shown.
    pub proofs: Vec<Vec<u8>>,
}

impl Pair {
    pub fn new(setup: Setup, now: UnixMs) -> Pair {
        let broker = broker().public();
        let payer = Payer::new(
            PayerTerms {
                piece_length_bytes: setup.piece_length_bytes,
                max_price: PricePerGib::new(setup.max_price).expect("a price"),
                broker,
                is_known_payee: false,
                recalls: true,
                ahead: setup.ahead,
                is_avoided: false,
            },
            now,
        );
        let payee = Payee::new(
            PayeeTerms {
                piece_length_bytes: setup.piece_length_bytes,
                price: setup.price(),
                brokers: vec![(broker, "http://127.0.0.1:7000".to_owned())],
                smallest_channel: setup.smallest_channel,
                free: FreePolicy::Off,
                is_provisional: setup.is_provisional,
            },
            now,
        );
        let (to_request, missing) = blocks(&setup);
        Pair {
            identity: setup.payee.unwrap_or_default(),
            setup,
            payer,
            payee,
            connected: true,
            payee_connected: true,
            payer_crashed: false,
            payee_crashed: false,
            stopped: false,
            to_request,
            begun: BTreeSet::new(),
            missing,
            under_way: 0,
            verified_bytes: 0,
            served_bytes: 0,
            waiting: VecDeque::new(),
            sent_until: now,
            last_block: now,
            longest_gap_ms: 0,
            judgements: VecDeque::new(),
            opens: 0,
            faults: Vec::new(),
            free: Vec::new(),
            refusals: Vec::new(),
            tamper: None,
            ended: 0,
            resumed: 0,
            conflicts: 0,
            avoided: 0,
            proofs: Vec::new(),
        }
    }

    /// The next block that may be requested: no more pieces are begun than the windows hold.
    pub fn next_request(&mut self) -> Option<(u64, u64)> {
        let begins = self.begun.len() < self.payer.pieces_at_once() || self.under_way == 0;
        let may = |(piece, _): &(u64, u64)| begins || self.begun.contains(piece);
        let at = self.to_request.iter().position(may)?;
        let (piece, bytes) = self.to_request.remove(at)?;
        self.begun.insert(piece);
        Some((piece, bytes))
    }

    pub fn is_finished(&self) -> bool {
        self.verified_bytes == self.setup.length_bytes
    }

    pub fn next_timeout(&self) -> Option<UnixMs> {
        let payer = self.payer.next_timeout().filter(|_| !self.payer_crashed);
        let payee = self.payee.next_timeout().filter(|_| !self.payee_crashed);
        payer.into_iter().chain(payee).min()
    }
}

/// The blocks of a torrent in the order of their requests, and the bytes of each piece. Wasted
/// pieces come first, and a second time at the end.
fn blocks(setup: &Setup) -> (VecDeque<(u64, u64)>, BTreeMap<u64, u64>) {
    let fetch_bytes = setup.length_bytes + setup.wasted_pieces * setup.piece_length_bytes;
    let pieces = fetch_bytes.div_ceil(setup.piece_length_bytes);
    let length = |piece: u64| {
        let rest = fetch_bytes - piece * setup.piece_length_bytes;
        rest.min(setup.piece_length_bytes)
    };
    let mut order = VecDeque::new();
    for first in (0..pieces).step_by(setup.pieces_at_once as usize) {
        for at in (0..setup.piece_length_bytes).step_by(BLOCK_BYTES as usize) {
            for piece in first..pieces.min(first + setup.pieces_at_once) {
                let bytes = length(piece).saturating_sub(at).min(BLOCK_BYTES);
                order.extend((bytes > 0).then_some((piece, bytes)));
            }
        }
    }
    (
        order,
        (0..pieces).map(|piece| (piece, length(piece))).collect(),
    )
}
