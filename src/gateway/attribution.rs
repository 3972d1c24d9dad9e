//! Who delivered which block, and whether it was the right one (`docs/protocol.md` section 3).
//!
//! Every block that was asked for is noted with its sender and the digest of its content until its
//! piece verifies. Then each sender of a right block is paid, endgame doubles included, and who sent
//! another content is a liar; one bad block of a piece costs nobody else anything.
//!
//! Which content is right follows from the deliveries in nearly all cases: after a failed check
//! the engine fetches the whole piece anew, so where all deliveries since then agree, they are
//! it. Only where they differ is the verified block itself asked for.

use std::collections::{HashMap, HashSet, VecDeque};

use super::digest::Digest;
use crate::wire::frame::Block;

/// Verified pieces whose digests are kept for blocks that come late.
const KEPT_PIECES: usize = 256;

/// Names a connection within this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

#[derive(Clone, Copy, Debug)]
struct Delivery {
    begin: u32,
    length_bytes: u32,
    digest: Digest,
    from: ConnectionId,
    round: u32,
}

#[derive(Debug, Default)]
struct PieceLog {
    /// Failed checks so far.
    round: u32,
    deliveries: Vec<Delivery>,
}

/// What a verified piece, or a late block, means for those who delivered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Bytes to pay each of these for.
    pub pay: Vec<(ConnectionId, u64)>,
    /// Who sent a wrong block.
    pub liars: Vec<ConnectionId>,
}

impl Verdict {
    fn count(&mut self, delivery: &Delivery, is_right: bool) {
        if !is_right {
            if !self.liars.contains(&delivery.from) {
                self.liars.push(delivery.from);
            }
            return;
        }
        let bytes = u64::from(delivery.length_bytes);
        match self.pay.iter_mut().find(|(from, _)| *from == delivery.from) {
            Some((_, sum)) => *sum += bytes,
            None => self.pay.push((delivery.from, bytes)),
        }
    }
}

/// The deliveries of one torrent.
#[derive(Debug, Default)]
pub struct Attribution {
    open: HashMap<u32, PieceLog>,
    /// Right digests of verified pieces, by begin.
    verified: HashMap<u32, Vec<(u32, u32, Digest)>>,
    verified_order: VecDeque<u32>,
}

impl Attribution {
    /// A block that was asked for came in whole. Where its piece has verified already, the
    /// verdict on it.
    pub fn delivered(
        &mut self,
        from: ConnectionId,
        block: Block,
        digest: Digest,
    ) -> Option<Verdict> {
        let mut delivery = Delivery {
            begin: block.begin,
            length_bytes: block.length_bytes,
            digest,
            from,
            round: 0,
        };
        if let Some(right) = self.verified.get(&block.piece)
            && let Some((_, _, right)) = right
                .iter()
                .find(|(begin, length, _)| (*begin, *length) == (block.begin, block.length_bytes))
        {
            let mut verdict = Verdict::default();
            verdict.count(&delivery, *right == digest);
            return Some(verdict);
        }
        let log = self.open.entry(block.piece).or_default();
        delivery.round = log.round;
        log.deliveries.push(delivery);
        None
    }

    /// The engine found the piece of so many bytes wrong and fetches it anew; it says so with the first
    /// block of the next try, which is noted here already. Who delivered all of the last try alone is a
    /// liar; where several did, the next try tells.
    pub fn failed(&mut self, piece: u32, piece_bytes: u64) -> Option<ConnectionId> {
        let log = self.open.entry(piece).or_default();
        let (mut begins, mut bytes, mut senders) = (HashSet::new(), 0, HashSet::new());
        for delivery in &mut log.deliveries {
            if delivery.round != log.round {
                continue;
            }
            if bytes >= piece_bytes && piece_bytes > 0 {
                delivery.round = log.round.saturating_add(1);
                continue;
            }
            senders.insert(delivery.from);
            if begins.insert(delivery.begin) {
                bytes += u64::from(delivery.length_bytes);
            }
        }
        let is_whole = bytes == piece_bytes && senders.len() == 1;
        let alone = senders.into_iter().next().filter(|_| is_whole);
        log.round = log.round.saturating_add(1);
        // Who sent it may never be settled; the log must not grow with every try.
        if log.round > 8 {
            log.deliveries.retain(|d| d.round + 8 >= log.round);
        }
        alone
    }

    /// The engine found the piece right. `content` gives the digest of a stretch (begin, length)
    /// of the verified piece, and is asked only where deliveries differ.
    pub fn verified(
        &mut self,
        piece: u32,
        mut content: impl FnMut(u32, u32) -> Option<Digest>,
    ) -> Verdict {
        let mut verdict = Verdict::default();
        let Some(log) = self.open.remove(&piece) else {
            return verdict;
        };
        let mut deliveries = log.deliveries;
        deliveries.sort_by_key(|d| (d.begin, d.length_bytes));
        let mut kept = Vec::new();
        for same in
            deliveries.chunk_by(|a, b| (a.begin, a.length_bytes) == (b.begin, b.length_bytes))
        {
            let Some(first) = same.first() else { continue };
            let right =
                agreed(same, log.round).or_else(|| content(first.begin, first.length_bytes));
            let Some(right) = right else { continue };
            kept.push((first.begin, first.length_bytes, right));
            for delivery in same {
                verdict.count(delivery, delivery.digest == right);
            }
        }
        verdict
            .pay
            .retain(|(from, _)| !verdict.liars.contains(from));
        self.keep(piece, kept);
        verdict
    }

    fn keep(&mut self, piece: u32, digests: Vec<(u32, u32, Digest)>) {
        if self.verified.insert(piece, digests).is_none() {
            self.verified_order.push_back(piece);
        }
        if self.verified_order.len() > KEPT_PIECES
            && let Some(oldest) = self.verified_order.pop_front()
        {
            self.verified.remove(&oldest);
        }
    }

    /// Whether this connection has delivered blocks whose pieces are still open.
    #[must_use]
    pub fn is_awaited(&self, connection: ConnectionId) -> bool {
        let mut all = self.open.values().flat_map(|log| &log.deliveries);
        all.any(|delivery| delivery.from == connection)
    }
}

/// The one content on which the last round agrees, or, where it delivered nothing of this
/// stretch, all rounds.
fn agreed(same: &[Delivery], last_round: u32) -> Option<Digest> {
    let has_last = same.iter().any(|d| d.round == last_round);
    let mut asked = same
        .iter()
        .filter(|d| !has_last || d.round == last_round)
        .map(|d| d.digest);
    let first = asked.next()?;
    asked.all(|d| d == first).then_some(first)
}

#[cfg(test)]
mod tests {
    use super::super::digest::{DigestKey, Digester, KEY_BYTES};
    use super::*;

    const A: ConnectionId = ConnectionId(1);
    const B: ConnectionId = ConnectionId(2);
    const C: ConnectionId = ConnectionId(3);

    fn block(begin: u32) -> Block {
        Block {
            piece: 5,
            begin,
            length_bytes: 16,
        }
    }

    fn digest(content: &[u8]) -> Digest {
        Digester::of(&DigestKey::new(&[3; KEY_BYTES]), content)
    }

    fn nothing(_: u32, _: u32) -> Option<Digest> {
        panic!("the content is asked for only in doubt")
    }

    #[test]
    fn each_sender_of_a_verified_piece_is_paid_for_its_blocks() {
        let mut log = Attribution::default();
        log.delivered(A, block(0), digest(b"a"));
        log.delivered(B, block(16), digest(b"b"));
        log.delivered(A, block(32), digest(b"c"));
        assert!(log.is_awaited(A));
        let verdict = log.verified(5, nothing);
        assert_eq!(verdict.pay, [(A, 32), (B, 16)]);
        assert_eq!(verdict.liars, []);
        assert!(!log.is_awaited(A));
        assert_eq!(log.verified(5, nothing), Verdict::default());
    }

    #[test]
    fn endgame_doubles_are_paid_and_late_ones_too() {
        let mut log = Attribution::default();
        log.delivered(A, block(0), digest(b"a"));
        log.delivered(B, block(0), digest(b"a"));
        assert_eq!(log.verified(5, nothing).pay, [(A, 16), (B, 16)]);
        let late = log.delivered(C, block(0), digest(b"a")).expect("verified");
        assert_eq!(late.pay, [(C, 16)]);
        let late = log.delivered(C, block(0), digest(b"x")).expect("verified");
        assert_eq!((late.pay, late.liars), (vec![], vec![C]));
    }

    #[test]
    fn who_alone_delivered_a_piece_that_fails_is_a_liar_and_nobody_of_the_next_try_is() {
        let mut log = Attribution::default();
        log.delivered(A, block(0), digest(b"x"));
        log.delivered(A, block(16), digest(b"b"));
        // Noted before the engine says that the last try failed.
        log.delivered(B, block(0), digest(b"a"));
        assert_eq!(log.failed(5, 32), Some(A));
        log.delivered(B, block(16), digest(b"y"));
        log.delivered(C, block(0), digest(b"a"));
        assert_eq!(log.failed(5, 32), Some(B));
        log.delivered(A, block(16), digest(b"b"));
        log.delivered(B, block(0), digest(b"a"));
        assert_eq!(log.failed(5, 32), None, "two delivered it");
        log.delivered(C, block(16), digest(b"b"));
        let verdict = log.verified(5, nothing);
        assert!(!verdict.liars.contains(&C), "{verdict:?}");
    }

    #[test]
    fn pieces_of_one_block_that_fail_again_and_again_blame_who_sent_them() {
        let mut log = Attribution::default();
        log.delivered(A, block(0), digest(b"x"));
        log.delivered(B, block(0), digest(b"y"));
        assert_eq!(log.failed(5, 16), Some(A));
        log.delivered(C, block(0), digest(b"a"));
        assert_eq!(log.failed(5, 16), Some(B));
        assert_eq!(log.verified(5, nothing).pay, [(C, 16)]);
    }

    #[test]
    fn one_bad_block_of_a_piece_costs_only_its_sender() {
        let mut log = Attribution::default();
        for begin in 0..64 {
            let from = [A, B, C][begin as usize % 3];
            let content = if begin == 31 { b'x' } else { begin as u8 };
            log.delivered(from, block(begin * 16), digest(&[content]));
        }
        assert_eq!(log.failed(5, 64 * 16), None, "it may be any of three");
        // The engine fetches all of it again, from A alone.
        for begin in 0..64 {
            log.delivered(A, block(begin * 16), digest(&[begin as u8]));
        }
        let verdict = log.verified(5, nothing);
        assert_eq!(verdict.liars, [B]);
        // A: 22 blocks of the first round and 64 of the second; C: 21. B sent garbage.
        assert_eq!(verdict.pay, [(A, (22 + 64) * 16), (C, 21 * 16)]);
    }

    #[test]
    fn where_deliveries_differ_the_verified_content_decides() {
        let mut log = Attribution::default();
        log.delivered(A, block(0), digest(b"good"));
        log.delivered(B, block(0), digest(b"bad"));
        let verdict = log.verified(5, |begin, length| {
            assert_eq!((begin, length), (0, 16));
            Some(digest(b"good"))
        });
        assert_eq!((verdict.pay, verdict.liars), (vec![(A, 16)], vec![B]));
    }

    #[test]
    fn where_nothing_decides_nobody_is_called_a_liar() {
        let mut log = Attribution::default();
        log.delivered(A, block(0), digest(b"one"));
        log.delivered(B, block(0), digest(b"two"));
        log.delivered(B, block(16), digest(b"three"));
        let verdict = log.verified(5, |_, _| None);
        assert_eq!((verdict.pay, verdict.liars), (vec![(B, 16)], vec![]));
    }

    #[test]
    fn digests_of_verified_pieces_are_kept_within_bounds() {
        let mut log = Attribution::default();
        for piece in 0..1000 {
            let block = Block {
                piece,
                begin: 0,
                length_bytes: 1,
            };
            log.delivered(A, block, digest(b"a"));
            log.verified(piece, nothing);
        }
        assert_eq!(log.verified.len(), KEPT_PIECES);
    }
}
