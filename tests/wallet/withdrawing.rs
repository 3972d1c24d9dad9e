//! Money out of the account at the broker: once, whatever is lost on the way, and all of it for who leaves.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use dpay::broker::Operation;
use dpay::cashier::wallet::WithdrawReport;
use dpay::channel::NoReserve;
use dpay::clock;
use dpay::units::Units;
use dpay::wallet::receipt::About;
use dpay::wallet::withdraw::WithdrawAsk;
use dpay::wallet::{Balance, JournalKind};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::house::{House, Person, TORRENT, wish};
use crate::lossy::{Way, open};

const NOTHING: u8 = 0;
const REQUESTS: u8 = 1;
const ANSWERS: u8 = 2;

/// A way to the broker that loses withdrawals, or the answers to them.
struct Relay {
    url: String,
    loses: Arc<AtomicU8>,
}

impl Relay {
    async fn to(broker: SocketAddr) -> Relay {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let loses = Arc::new(AtomicU8::new(NOTHING));
        let lost = Arc::clone(&loses);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(pass(client, broker, Arc::clone(&lost)));
            }
        });
        Relay { url, loses }
    }

    fn lose(&self, what: u8) {
        self.loses.store(what, Ordering::SeqCst);
    }
}

/// One connection, until something is to be lost.
async fn pass(mut client: TcpStream, broker: SocketAddr, loses: Arc<AtomicU8>) {
    let Ok(mut server) = TcpStream::connect(broker).await else {
        return;
    };
    let (mut asked, mut told) = ([0; 16_384], [0; 16_384]);
    let mut is_mute = false;
    loop {
        let passed = tokio::select! {
            Ok(n) = client.read(&mut asked) => {
                let is_withdrawal = asked[..n].starts_with(b"POST /v1/withdraw");
                match loses.load(Ordering::SeqCst) {
                    REQUESTS if is_withdrawal => return,
                    what => is_mute |= is_withdrawal && what == ANSWERS,
                }
                n > 0 && server.write_all(&asked[..n]).await.is_ok()
            }
            Ok(n) = server.read(&mut told) => {
                n > 0 && !is_mute && client.write_all(&told[..n]).await.is_ok()
            }
            else => false,
        };
        if !passed {
            return;
        }
    }
}

fn ask(units: Option<u64>, bond: bool) -> WithdrawAsk {
    WithdrawAsk {
        units: units.map(Units),
        destination: "IBAN 1".to_owned(),
        bond,
    }
}

async fn withdraw(person: &Person, ask: WithdrawAsk) -> Result<WithdrawReport, String> {
    let report = person.wallet().withdraw(ask).await;
    report.map_err(|error| error.to_string())
}

/// The lines of the history about withdrawals.
async fn lines(person: &Person) -> Vec<(JournalKind, u64)> {
    let lines = person.wallet().history(1_000).await.expect("read");
    let lines = lines.iter().map(|entry| &entry.line);
    let kinds = [JournalKind::Withdrawn, JournalKind::WithdrawalRefused];
    lines
        .filter(|line| kinds.contains(&line.kind))
        .inspect(|line| assert_eq!(line.peer.as_deref(), Some("IBAN 1")))
        .map(|line| (line.kind, line.units.0))
        .collect()
}

async fn paid_out(house: &House) -> i128 {
    let report = house.report().await;
    assert!(report.balanced, "{report:?}");
    report.withdrawals
}

#[tokio::test(flavor = "multi_thread")]
async fn a_withdrawal_that_is_lost_on_the_way_is_asked_for_again_and_counts_once() {
    for (lost, arrived) in [(REQUESTS, 0), (ANSWERS, 600)] {
        let house = House::open().await;
        let relay = Relay::to(house.server.address()).await;
        let mut person = Person::new(&relay.url).await;
        person.config.limits.at_hand = 0;
        person.restart().await;
        house.deposit(person.wallet().account(), 1_000).await;
        relay.lose(lost);
        let first = withdraw(&person, ask(Some(600), false)).await;
        let first = first.expect("it is fixed");
        assert!(first.withdrawal.is_none() && first.error.is_some());
        assert_eq!(paid_out(&house).await, arrived);
        // Asked again it is the same one, and another has to wait.
        let again = withdraw(&person, ask(Some(600), false)).await;
        assert_eq!(again.expect("it is open").request, first.request);
        let other = withdraw(&person, ask(Some(5), false)).await;
        let other = other.expect_err("one at a time");
        assert!(other.contains("600 units is not answered"), "{other}");
        person.restart().await;
        assert_eq!(person.balance().await.withdrawing, Units(600));
        person.stop().await;
        relay.lose(NOTHING);
        // It is asked for again by itself.
        person.start().await;
        person
            .until("answered", |b| b.withdrawing == Units::ZERO)
            .await;
        assert_eq!(paid_out(&house).await, 600);
        assert_eq!(lines(&person).await, [(JournalKind::Withdrawn, 600)]);
        let all = withdraw(&person, ask(None, false)).await.expect("sold");
        assert_eq!(all.units, Units(400));
        assert_eq!(paid_out(&house).await, 1_000);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_leaves_gets_all_and_nothing_is_bought_again_until_somebody_buys() {
    let house = House::open().await;
    let mut person = Person::new(&house.server.url()).await;
    let account = person.wallet().account();
    house.deposit(account, 30_000).await;
    person.restart().await;
    person.until("bought", |b| b.available == Units(512)).await;
    let beyond = withdraw(&person, ask(Some(9_489), false)).await;
    let beyond = beyond.expect_err("the bond is not taken unasked");
    assert!(beyond.contains("20000 are bond, bound"), "{beyond}");
    let some = withdraw(&person, ask(Some(88), false)).await;
    assert_eq!(some.expect("there").redeemed, None);
    assert_eq!(person.balance().await.available, Units(512));

    let all = withdraw(&person, ask(None, true)).await.expect("all");
    assert_eq!(all.units, Units(30_000 - 88));
    assert_eq!(all.redeemed.expect("first").coins, Units(512));
    let left = all.left.expect("told");
    assert_eq!((left.balance, left.bond), (Units::ZERO, Units::ZERO));
    assert_eq!(paid_out(&house).await, 30_000);
    let wanted = [
        (JournalKind::Withdrawn, 88),
        (JournalKind::Withdrawn, 29_912),
    ];
    assert_eq!(lines(&person).await, wanted);

    // A new run with new money buys nothing either.
    person.restart().await;
    let operation = Operation::Deposit {
        account,
        units: Units(30_000),
        reference: "later".to_owned(),
    };
    let cashier = house.server.cashier();
    cashier.operate(operation).await.expect("booked");
    assert_eq!(person.reserve(wish(1, 64)).await, Err(NoReserve::NoFunds));
    clock::shift(11);
    let balance = person
        .until("found", |b| b.broker_balance == Some(Units(30_000)))
        .await;
    assert!(balance.buys_nothing, "{balance:?}");
    assert_eq!(person.reserve(wish(1, 64)).await, Err(NoReserve::NoFunds));
    assert_eq!(person.balance().await.ordered, Units::ZERO);
    assert_eq!(balance.broker_withdrawable, Some(Units(30_000)));
    person.wallet().buy(Units(16)).await.expect("sold");
    let balance = person
        .until("bought", |b| b.available == Units(512 + 16))
        .await;
    assert!(!balance.buys_nothing, "{balance:?}");
    house.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_broker_refuses_is_over_and_the_rest_can_be_had() {
    let house = House::open().await;
    let mut payer = Person::new(&house.server.url()).await;
    let payee = Person::new(&house.server.url()).await;
    house.deposit(payer.wallet().account(), 30_000).await;
    payer.restart().await;
    payer.until("bought", |b| b.available == Units(512)).await;
    payee.until_key().await;
    let given = payer.wallet().reserve(wish(1, 64)).await.expect("at hand");
    let (_, key) = payee.wallet().payee_key().await.expect("in stock");
    let (id, to) = (given.holding.id, "payee:1".to_owned());
    let spent = payer.wallet().commit(id, key.holder, key, TORRENT, to);
    spent.await.expect("reserved");

    let refused = withdraw(&payer, ask(Some(29_000), true)).await;
    let refused = refused.expect_err("the coin is outstanding");
    for what in ["the broker refused", "29000 units", "9936", "withdraw less"] {
        assert!(refused.contains(what), "{refused}");
    }
    payer.restart().await;
    let balance = payer.until("met", |b| b.broker_balance.is_some()).await;
    assert_eq!(balance.withdrawing, Units::ZERO);
    assert_eq!(paid_out(&house).await, 0);
    let rest = withdraw(&payer, ask(None, true)).await.expect("the rest");
    assert_eq!(rest.units, Units(9_936));
    let left = rest.left.expect("told");
    assert_eq!((left.bond, left.outstanding), (Units(20_000), Units(64)));
    assert_eq!(paid_out(&house).await, 9_936);
    let wanted = [
        (JournalKind::WithdrawalRefused, 29_000),
        (JournalKind::Withdrawn, 9_936),
    ];
    assert_eq!(lines(&payer).await, wanted);
    let nothing = withdraw(&payer, ask(None, true)).await;
    let nothing = nothing.expect_err("all is bound");
    assert!(nothing.contains("64 units are"), "{nothing}");
    let balance = payer.balance().await;
    let settled = given.holding.expires.plus(30);
    assert_eq!(balance.bond_until, Some(settled));
    assert_eq!(balance.broker_withdrawable, Some(Units::ZERO));

    let receipts = payer.wallet().receipts(rest.request.to_string()).await;
    let About::Withdrawal {
        withdrawal, answer, ..
    } = &receipts.expect("read")[0].about
    else {
        panic!("a receipt of a withdrawal");
    };
    assert_eq!(*withdrawal, rest.withdrawal);
    assert!(answer.as_ref().is_some_and(|a| a.contains("IBAN 1")));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_paid_out_is_in_the_history_once_and_shown_with_when() {
    let house = House::open().await;
    let mut person = Person::new(&house.server.url()).await;
    person.config.limits.at_hand = 0;
    person.restart().await;
    house.deposit(person.wallet().account(), 1_000).await;
    let mut ids = Vec::new();
    for units in [600, 5] {
        let queued = withdraw(&person, ask(Some(units), false)).await;
        let id = queued.expect("there").withdrawal.expect("answered");
        ids.push(id.parse().expect("an id"));
    }
    let cashier = house.server.cashier();
    for _ in 0..2 {
        let paid = cashier.operate(Operation::MarkPaid(ids[0])).await;
        paid.expect("known");
    }
    let is_told = |b: &Balance| b.withdrawing_in.iter().any(|line| line.paid.is_some());
    assert!(!is_told(&person.balance().await), "asked for once an hour");
    for _ in 0..2 {
        person.restart().await;
        let balance = person.until("told", is_told).await;
        let mut shown = balance.withdrawing_in.iter();
        let paid = shown.find(|line| line.units == Units(600)).expect("shown");
        assert!(shown.len() <= 1 && balance.withdrawing.is_zero());
        let lines = person.wallet().history(1_000).await.expect("read");
        let lines = lines.iter().map(|entry| &entry.line);
        let mut lines = lines.filter(|line| line.kind == JournalKind::PaidOut);
        let line = lines.next().expect("a line");
        let told = (Some(line.at), line.units, line.peer.as_deref());
        assert_eq!(told, (paid.paid, Units(600), Some("IBAN 1")));
        assert_eq!(line.reference, paid.request);
        assert!(lines.next().is_none());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whether_money_was_paid_out_is_asked_again_soon_where_there_was_no_answer() {
    let house = House::open().await;
    let mut person = Person::new(&house.server.url()).await;
    person.config.limits.at_hand = 0;
    person.restart().await;
    house.deposit(person.wallet().account(), 1_000).await;
    let queued = withdraw(&person, ask(Some(600), false)).await;
    let id = queued.expect("there").withdrawal.expect("answered");
    let paid = Operation::MarkPaid(id.parse().expect("an id"));
    let paid = house.server.cashier().operate(paid).await;
    paid.expect("known");
    person.stop().await;

    let way = Arc::new(Way::default());
    way.loses_payouts.store(true, Ordering::SeqCst);
    let wallet = open(&person.config, &house.server.url(), &way).await;
    let late = Instant::now() + Duration::from_secs(60);
    while way.payout_asks.load(Ordering::SeqCst) < 2 {
        assert!(Instant::now() < late, "it is not asked again");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    way.loses_payouts.store(false, Ordering::SeqCst);
    loop {
        let lines = wallet.history(1_000).await.expect("read");
        let mut lines = lines.iter().map(|entry| &entry.line);
        if lines.any(|line| line.kind == JournalKind::PaidOut) {
            break;
        }
        assert!(Instant::now() < late, "it is not told");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    wallet.shutdown().await.expect("written");
}
