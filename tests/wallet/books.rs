//! Random histories of three wallets and a broker, all on SQLite: what reports say is what the wallets'
//! journals sum to, what the wallets hold is what the broker has outstanding, and whatever one paid
//! another earned.

use std::time::{Duration, Instant};

use dpay::broker::audit::AuditReport;
use dpay::cashier::wallet::Wallet;
use dpay::channel::NoReserve;
use dpay::record::Path;
use dpay::report::{By, Kind, Line, Range, table};
use dpay::units::{InfoHash, Units};
use dpay::wallet::{Balance, Books, JournalKind};

use crate::house::{House, Person, wish};

/// Histories; a failure names the one to run again.
const SEEDS: [u64; 4] = [1, 7, 42, 2026];
const STEPS: u32 = 14;
const PEOPLE: usize = 3;
const DEPOSIT: u64 = 30_000;
const WAIT: Duration = Duration::from_secs(30);
const ALL: [By; 5] = [By::Day, By::Week, By::Month, By::Torrent, By::Peer];

/// xorshift: the same history for the same seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }

    fn index(&mut self, limit: usize) -> usize {
        usize::try_from(self.below(limit as u64)).expect("small")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn reports_journals_and_the_brokers_books_agree_after_random_histories() {
    for seed in SEEDS {
        let house = House::on_sqlite().await;
        let mut people = Vec::new();
        for _ in 0..PEOPLE {
            let mut person = Person::new(&house.server.url()).await;
            house.deposit(person.wallet().account(), DEPOSIT).await;
            person.restart().await;
            person.until_key().await;
            person.until("bought", |b| b.available == Units(512)).await;
            people.push(person);
        }
        let mut dice = Dice(seed);
        let mut paid = 0;
        for _ in 0..STEPS {
            let who = dice.index(PEOPLE);
            match dice.below(8) {
                0 => {
                    let units = Units(16 * (1 + dice.below(20)));
                    people[who].wallet().buy(units).await.expect("bought");
                }
                1 => {
                    let done = people[who].wallet().redeem_earned().await;
                    assert_eq!(done.expect("answered").refused, [], "seed {seed}");
                }
                2 => people[who].restart().await,
                _ => {
                    let to = (who + 1 + dice.index(PEOPLE - 1)) % PEOPLE;
                    paid += pay(&people[who], &people[to], &mut dice).await;
                }
            }
        }
        assert!(paid > 0, "seed {seed} pays nothing");
        check(&house, &people, paid, seed).await;
    }
}

/// Pays some units of whatever is at hand; returns how many.
async fn pay(payer: &Person, payee: &Person, dice: &mut Dice) -> u64 {
    let torrent = InfoHash([1 + dice.below(3) as u8; 20]);
    let mut wanted = wish(1, [16, 64, 256][dice.index(3)]);
    wanted.info_hash = torrent;
    let reserved = match payer.reserve(wanted).await {
        Ok(reserved) => reserved,
        Err(NoReserve::WalletLimit) => return 0,
        Err(why) => panic!("nothing to pay with: {why:?}"),
    };
    let path = Path::decode(&reserved.path, 7).expect("a path");
    let holding = reserved.holding;
    payee.until_key().await;
    let (_, certificate) = payee.wallet().payee_key().await.expect("in stock");
    let address = |dice: &mut Dice| format!("10.0.0.{}:{}", dice.below(3), 1 + dice.below(9));
    let (from, to) = (address(dice), address(dice));
    let committed = payer
        .wallet()
        .commit(holding.id, certificate.holder, certificate, torrent, to);
    let (open, chain) = committed.await.expect("reserved");
    let spend = open.commitment(&holding.id);
    let recorded = payee.wallet().record_open(path, open, torrent, from);
    recorded.await.expect("good");
    payee.wallet().accepted(spend).await.expect("known");
    let k = u32::try_from(1 + dice.below(holding.value.0)).expect("small");
    let wk = chain.reveal(k).expect("in the chain");
    payer
        .wallet()
        .payer_ticks(vec![(spend, k)])
        .await
        .expect("open");
    let came = payee.wallet().payee_ticks(vec![(spend, k, wk)]);
    came.await.expect("open");
    let close = payee.wallet().close(spend, k, wk).await.expect("proven");
    payee.wallet().record_put(spend).await.expect("known");
    payer
        .wallet()
        .payer_ended(vec![spend])
        .await
        .expect("known");
    payer
        .wallet()
        .payer_closed(spend, close)
        .await
        .expect("good");
    u64::from(k)
}

/// Everybody's balance and the broker's books, once no order is under way and both say the same.
async fn at_rest(house: &House, people: &[Person], seed: u64) -> (Vec<Balance>, AuditReport) {
    let started = Instant::now();
    loop {
        let mut balances = Vec::new();
        for person in people {
            balances.push(person.balance().await);
        }
        let report = house.report().await;
        let held = Units::checked_sum(balances.iter().map(|b| b.held)).expect("fits");
        let is_still = balances.iter().all(|b| b.ordered == Units(0));
        if is_still && report.outstanding == i128::from(held.0) {
            return (balances, report);
        }
        assert!(
            started.elapsed() < WAIT,
            "seed {seed}: {held} held, {report:?}"
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn check(house: &House, people: &[Person], paid: u64, seed: u64) {
    let (balances, report) = at_rest(house, people, seed).await;
    assert!(report.balanced, "seed {seed}: {report:?}");
    let mut came_back = 0;
    let mut sums = [Units(0); 2];
    for (person, balance) in people.iter().zip(balances) {
        let books = balance.books;
        agree(person, &books, seed).await;
        came_back += i128::from(books.redeemed.0) - i128::from(books.bought.0);
        for (sum, units) in sums.iter_mut().zip([books.paid, books.earned]) {
            *sum = sum.checked_add(units).expect("fits");
        }
    }
    assert_eq!(sums, [Units(paid); 2], "seed {seed}: paid and earned");
    let deposits = i128::from(DEPOSIT) * people.len() as i128;
    assert_eq!(report.deposits, deposits, "seed {seed}");
    let credited = report.balances + report.pending + report.bonds;
    assert_eq!(credited - deposits, came_back, "seed {seed}: not in coins");
}

/// Every report of a person sums to the books, what was closed to the journal, and of all that was
/// earned it is said what became of it.
async fn agree(person: &Person, books: &Books, seed: u64) {
    let journal = person.wallet().history(u32::MAX).await.expect("read");
    let noted = |kind| {
        let lines = journal.iter().map(|entry| &entry.line);
        Units::checked_sum(lines.filter(|l| l.kind == kind).map(|l| l.units)).expect("fits")
    };
    let reader = Wallet::read(person.dir.path()).await.expect("opens");
    let earned = reader.earned().await.expect("read");
    let paid = reader.paid().await.expect("read");
    for by in ALL {
        let why = format!("seed {seed}, by {by:?}");
        let made = |deals, kind| table(deals, None, kind, by, Range::default()).expect("fits");
        let (earned, spent) = (made(&earned, Kind::Earnings), made(&paid, Kind::Spending));
        assert_eq!(earned.total.units, books.earned, "{why}");
        assert_eq!(spent.total.units, books.paid, "{why}");
        let closed = |total: &Line| total.units.checked_sub(total.open).expect("a part");
        assert_eq!(closed(&earned.total), noted(JournalKind::Earned), "{why}");
        assert_eq!(closed(&spent.total), noted(JournalKind::Paid), "{why}");
        for report in [&earned, &spent] {
            let lines = Units::checked_sum(report.lines.iter().map(|line| line.units));
            assert_eq!(lines, Some(report.total.units), "{why}");
        }
        let Line {
            redeemed,
            spent_again,
            held,
            withheld,
            ..
        } = earned.total;
        let parts = Units::checked_sum([redeemed, spent_again, held, withheld]);
        assert_eq!(parts, Some(books.earned), "{why}");
        assert_eq!(withheld, Units(0), "{why}");
    }
}
