//! Messages that are played again, closes that are asked for too low, one coin opened everywhere at
//! once: against honest seeders over real sockets.

use dpay::coin::{Commitment, PseudonymCertificate};
use dpay::record::Holding;
use dpay::wire::codes::RefuseReason;
use dpay::wire::message::Message;

use crate::cheats::{Money, connect, drain, is_accepted, money, open, propose, seeder};
use crate::raw::{BLOCK_BYTES, RawPeer};
use crate::support::{LONG, SHORT, TestWorld, Torrent, audit, torrent, world};

const MIB: usize = 1 << 20;

/// A coin's spend to a key, as its payer resumes it.
struct Spent {
    money: Money,
    spend: Commitment,
}

impl Spent {
    fn new(money: Money, to: PseudonymCertificate) -> Spent {
        let spend = money.open(to).commitment(&Holding::of_coin(&money.coin).id);
        Spent { money, spend }
    }

    fn resume(&self, k: u32) -> Message {
        Message::Resume {
            channel: 0,
            spend: self.spend,
            k,
            wk: self.money.chain.reveal(k).expect("within the coin"),
        }
    }

    /// The payee's answer to a `resume`: units that it had before.
    async fn resumed(&self, peer: &mut RawPeer, k: u32) -> u32 {
        peer.pay(&self.resume(k)).await.expect("sends");
        let resumed = peer
            .until_pay("resumed", SHORT, |m| matches!(m, Message::Resumed { .. }))
            .await
            .expect("it has the spend");
        match resumed {
            Message::Resumed { k, wk, .. } => {
                assert_eq!(Some(wk), self.money.chain.reveal(k), "it shows its ticks");
                k
            }
            _ => unreachable!("waited for it"),
        }
    }
}

/// Asks for two mebibytes and counts what comes.
async fn ask(peer: &mut RawPeer, t: &Torrent) -> u64 {
    for at in (0..2 * MIB as u32).step_by(BLOCK_BYTES as usize) {
        let (piece, begin) = (at / t.piece_bytes, at % t.piece_bytes);
        peer.request(piece, begin, BLOCK_BYTES)
            .await
            .expect("sends");
    }
    drain(peer, t).await
}

/// A seeder that has a spend with four ticks, and whose payer is gone.
async fn left_open(world: &TestWorld, t: &Torrent) -> (dpay::cli::world::Proc, String, Spent) {
    let (seeding, address) = seeder(world, "seeder", t).await;
    let mut peer = connect(&address, t, b'a').await;
    let money = money(world, 1);
    let certificate = propose(&mut peer, 0, money.path()).await;
    let open = money.open(certificate);
    peer.pay(&Message::Open { channel: 0, open })
        .await
        .expect("sends");
    peer.until_pay("acceptance", LONG, is_accepted)
        .await
        .expect("accepted");
    peer.pay(&money.tick(0, 4)).await.expect("sends");
    assert!(ask(&mut peer, t).await > 0);
    (seeding, address, Spent::new(money, certificate))
}

#[tokio::test]
async fn a_resume_or_an_open_that_is_played_again_is_served_nothing() {
    let world = world().await;
    let t = torrent(&world, 4 * MIB, 256).await;
    let (mut seeding, address, spent) = left_open(&world, &t).await;

    let mut payer = connect(&address, &t, b'b').await;
    assert_eq!(spent.resumed(&mut payer, 5).await, 4);
    payer
        .until_pay("acceptance", SHORT, is_accepted)
        .await
        .expect("goes on");
    assert_eq!(ask(&mut payer, &t).await, 2 * MIB as u64);
    drop(payer);

    let mut echo = connect(&address, &t, b'c').await;
    assert_eq!(spent.resumed(&mut echo, 5).await, 5);
    assert_eq!(ask(&mut echo, &t).await, 0, "nothing for an echo");
    // The payer itself takes the channel from there by a new tick.
    let mut payer = connect(&address, &t, b'd').await;
    assert_eq!(spent.resumed(&mut payer, 6).await, 5);
    assert_eq!(ask(&mut payer, &t).await, 2 * MIB as u64);
    drop(payer);

    let mut echo = connect(&address, &t, b'e').await;
    let path = spent.money.path();
    echo.pay(&Message::Propose { channel: 0, path })
        .await
        .expect("sends");
    let refused = echo
        .until_pay("refusal", SHORT, |m| matches!(m, Message::Refused { .. }))
        .await
        .expect("refused");
    assert!(
        matches!(
            refused,
            Message::Refused {
                reason: RefuseReason::Seen,
                ..
            }
        ),
        "{refused:?}"
    );
    assert_eq!(seeding.stop(LONG).await.expect("ends"), 0);
    let stopped = seeding.last("stopped").expect("says so").clone();
    assert_eq!(stopped["units_earned"], 6, "{stopped}");
    audit(&world).await;
}

#[tokio::test]
async fn a_close_that_is_asked_for_too_low_is_at_what_was_ticked() {
    let world = world().await;
    let t = torrent(&world, 4 * MIB, 256).await;
    let (_seeding, address, spent) = left_open(&world, &t).await;
    let mut peer = connect(&address, &t, b'b').await;
    let (spend, chain) = (spent.spend, &spent.money.chain);
    // First one that shows nothing of the spend: it is not obeyed.
    let wk = dpay::coin::ChainValue([9; 32]);
    for (k, wk) in [(4, wk), (1, chain.reveal(1).expect("a value"))] {
        peer.pay(&Message::CloseRequest { spend, k, wk })
            .await
            .expect("sends");
    }
    let first = peer
        .until_pay("close", SHORT, |m| matches!(m, Message::Close { .. }))
        .await
        .expect("closes");
    let Message::Close { close, .. } = &first else {
        unreachable!("waited for it");
    };
    assert_eq!((close.k, Some(close.wk)), (4, chain.reveal(4)));
    // Asked again, also at more and on another connection, the same bytes come.
    let mut peer = connect(&address, &t, b'c').await;
    let (k, wk) = (9, chain.reveal(9).expect("a value"));
    peer.pay(&Message::CloseRequest { spend, k, wk })
        .await
        .expect("sends");
    let again = peer
        .until_pay("close", SHORT, |m| matches!(m, Message::Close { .. }))
        .await
        .expect("closed before");
    assert_eq!(again, first);
    peer.pay(&spent.resume(5)).await.expect("sends");
    let resumed = peer
        .until_pay("close", SHORT, |m| matches!(m, Message::Close { .. }))
        .await
        .expect("closed before");
    assert_eq!(resumed, first);
}

#[tokio::test]
async fn one_coin_opened_everywhere_at_once_is_accepted_once_at_most() {
    const PAYEES: usize = 5;
    let world = world().await;
    let t = torrent(&world, 2 * MIB, 256).await;
    let mut seeders = Vec::new();
    for n in 0..PAYEES {
        seeders.push(seeder(&world, &format!("seeder-{n}"), &t).await);
    }
    let money = money(&world, 7);
    let mut asked = tokio::task::JoinSet::new();
    for (n, (_, address)) in seeders.iter().enumerate() {
        let mut peer = connect(address, &t, b'0' + n as u8).await;
        let money = Money {
            holder: money.holder.clone(),
            coin: money.coin,
            chain: money.chain.clone(),
        };
        asked.spawn(async move { open(&mut peer, &money, 0).await });
    }
    let verdicts = asked.join_all().await;
    let accepted = verdicts.iter().filter(|verdict| is_accepted(verdict));
    assert!(accepted.count() <= 1, "{verdicts:?}");
    for verdict in &verdicts {
        if let Message::Refused { reason, close, .. } = verdict {
            assert_eq!(*reason, RefuseReason::Conflict);
            assert_eq!(close.map(|close| close.k), Some(0), "the coin is kept");
        }
    }
}
