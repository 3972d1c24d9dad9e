//! Whether a spend may be relied on: read everywhere, put what is missing, read back
//! (`docs/protocol.md` section 6, steps 2 and 3), and the later checks of step 5.

use std::time::Duration;

use super::place::{PlaceItems, Put};
use super::{DhtNode, Places};
use crate::clock;
use crate::record::{Doubt, Item, PLACES, PlaceReading, SignedRecord, Verdict, judge};

/// A place with fewer copies gets the record put; twice what acceptance needs.
const ENOUGH_COPIES: u32 = 8;
/// Before what is still undecided is put again; doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// See [`FIRST_PAUSE`].
const LONGEST_PAUSE: Duration = Duration::from_secs(4);

/// What the nodes said about one record when it was last read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RecordReading {
    /// Copies of the record, by place.
    pub copies: [u32; PLACES],
    /// Valid answers (a value or none), by place.
    pub answers: [u32; PLACES],
}

/// The outcome of [`DhtNode::accept`].
#[derive(Clone, Debug)]
pub struct Acceptance {
    /// Accepted only if every record met the bar.
    pub verdict: Verdict,
    /// In the order the records were given.
    pub per_record: Vec<RecordReading>,
    /// Our item and the other one that lies in its place: the two halves of a proof.
    pub conflict: Option<(Item, Item)>,
    /// Items put.
    pub puts: u64,
    /// Places read.
    pub gets: u64,
    /// How long it took, in milliseconds.
    pub elapsed_ms: u64,
}

/// The outcome of [`DhtNode::check_again`].
#[derive(Clone, Debug)]
pub struct Recheck {
    /// In the order the records were given; zeros for places that were not looked at.
    pub per_record: Vec<RecordReading>,
    /// Our item and the other one that lies in its place.
    pub conflict: Option<(Item, Item)>,
}

impl DhtNode {
    /// Accepts a spend: `records` are the spend's own record first, then every spend and close on
    /// its path. Reads the three places of each; any other signed item anywhere refuses. What is
    /// missing is put (ancestors too, so that none can be sold twice by never being published) and
    /// read back. Ends undecided after the configured deadline (60 s), at once where somebody else
    /// put the spend first, and where there is a path but nodes let records be overwritten.
    pub async fn accept(&self, records: Vec<SignedRecord>) -> Acceptance {
        let mut work = Work::new(self, records);
        work.must_be_first = true;
        self.decide(work).await
    }

    async fn decide(&self, mut work: Work<'_>) -> Acceptance {
        let started = clock::now();
        let has_path = work.must_be_first && work.entries.len() > 1;
        if work.is_signed() {
            let mut keep_first = !has_path;
            let deciding = futures::future::join(work.until_decided(), async {
                keep_first = keep_first || self.nodes_keep_first().await;
            });
            let _timed_out = tokio::time::timeout(self.accept_deadline, deciding).await;
            work.overwritable = !keep_first;
        }
        Acceptance {
            verdict: work.verdict(),
            per_record: work.readings(),
            conflict: work.conflict(),
            puts: work.puts,
            gets: work.gets,
            elapsed_ms: clock::now().since_ms(started),
        }
    }

    /// Puts a record of one's own, such as a close, where it is thin, once. Nothing is read back: it counts as
    /// taken where enough nodes around each place had it or took it.
    pub async fn put(&self, record: SignedRecord) -> Put {
        let mut work = Work::new(self, vec![record]);
        if !work.is_signed() {
            return Put::Nowhere;
        }
        let _timed_out = tokio::time::timeout(self.accept_deadline, work.put_once()).await;
        match work.conflict() {
            Some(_) => Put::SlotTaken,
            None => work.placed(),
        }
    }

    /// Puts a record of one's own, such as a close, and reads it back: accepted means that it lies
    /// there and nothing else does.
    pub async fn publish(&self, record: SignedRecord) -> Acceptance {
        self.decide(Work::new(self, vec![record])).await
    }

    /// Reads the given places of records that were accepted before and puts them again, as nodes
    /// come and go. They are put where another item shows up too: nodes that let it be overwritten
    /// show ours again, to other payees and to a broker that counts copies.
    pub async fn check_again(&self, records: &[SignedRecord], places: Places) -> Recheck {
        let mut work = Work::new(self, records.to_vec());
        let spots = work.spots(|spot| places.includes(spot.place_number()));
        work.read(&spots).await;
        let conflict = work.conflict();
        let answered = |spot: &Spot| work.items_at(*spot).valid_answers() > 0;
        let again: Vec<Spot> = spots.into_iter().filter(answered).collect();
        for spot in &again {
            work.entries[spot.record].without_cas[spot.place] = true;
        }
        work.put(&again).await;
        Recheck {
            per_record: work.readings(),
            conflict,
        }
    }
}

/// One place of one record, by index.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Spot {
    record: usize,
    place: usize,
}

impl Spot {
    fn place_number(self) -> u8 {
        u8::try_from(self.place).unwrap_or(u8::MAX)
    }
}

struct Entry {
    record: SignedRecord,
    ours: [Item; PLACES],
    read: [PlaceItems; PLACES],
    /// Nodes that took it when it was last put.
    taken: [u32; PLACES],
    /// The put with cas was refused although nothing at a record's seq is there.
    without_cas: [bool; PLACES],
    /// Where something of its seq lay before this node put it there.
    not_first: [bool; PLACES],
}

impl Entry {
    fn verdict(&self, min_answers: u32) -> Verdict {
        let reading = |place: usize| self.read[place].reading(&self.ours[place]);
        let readings: [PlaceReading; PLACES] = std::array::from_fn(reading);
        judge(&readings, min_answers)
    }

    fn is_accepted(&self, min_answers: u32) -> bool {
        matches!(self.verdict(min_answers), Verdict::Accepted)
    }
}

struct Work<'a> {
    node: &'a DhtNode,
    /// The first record must be put by this node and nobody before it.
    must_be_first: bool,
    /// The nodes let records be overwritten, which matters to what was passed on.
    overwritable: bool,
    entries: Vec<Entry>,
    puts: u64,
    gets: u64,
}

impl<'a> Work<'a> {
    fn new(node: &'a DhtNode, records: Vec<SignedRecord>) -> Self {
        let entries = records.into_iter().map(|record| Entry {
            ours: record.items(),
            record,
            read: Default::default(),
            taken: [0; PLACES],
            without_cas: [false; PLACES],
            not_first: [false; PLACES],
        });
        Work {
            node,
            must_be_first: false,
            overwritable: false,
            entries: entries.collect(),
            puts: 0,
            gets: 0,
        }
    }

    /// Whether nodes would take the records at all.
    fn is_signed(&self) -> bool {
        self.entries.iter().all(|entry| entry.record.verify())
    }

    async fn until_decided(&mut self) {
        let mut to_read = self.spots(|_| true);
        let mut pause = FIRST_PAUSE;
        for tries in 0_u32.. {
            self.read(&to_read).await;
            if self.conflict().is_some() || self.not_first().is_some() {
                return;
            }
            let accepted = self.is_accepted();
            // The first time what is thin is strengthened too.
            let to_put = self.spots(|spot| self.wants_put(spot, tries == 0));
            if accepted && (tries > 0 || to_put.is_empty()) {
                return;
            }
            if tries > 0 {
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
            self.put(&to_put).await;
            to_read = self.spots(|spot| to_put.contains(&spot) || !self.is_done(spot.record));
        }
    }

    async fn put_once(&mut self) {
        self.read(&self.spots(|_| true)).await;
        if self.conflict().is_none() {
            self.put(&self.spots(|spot| self.wants_put(spot, true)))
                .await;
        }
    }

    /// Nodes that gave the records when they were read, or took them, around the place with the fewest.
    fn placed(&self) -> Put {
        let nodes = self.spots(|_| true).into_iter().map(|spot| {
            let entry = &self.entries[spot.record];
            let copies = entry.read[spot.place].copies_of(&entry.ours[spot.place]);
            copies.max(entry.taken[spot.place])
        });
        match nodes.min() {
            Some(nodes) if nodes >= self.node.min_answers => Put::Taken(nodes),
            _ => Put::Nowhere,
        }
    }

    fn spots(&self, wanted: impl Fn(Spot) -> bool) -> Vec<Spot> {
        let records = 0..self.entries.len();
        let all = records.flat_map(|record| (0..PLACES).map(move |place| Spot { record, place }));
        all.filter(|spot| wanted(*spot)).collect()
    }

    fn items_at(&self, spot: Spot) -> &PlaceItems {
        &self.entries[spot.record].read[spot.place]
    }

    fn is_done(&self, record: usize) -> bool {
        self.entries[record].is_accepted(self.node.min_answers)
    }

    fn is_accepted(&self) -> bool {
        (0..self.entries.len()).all(|record| self.is_done(record))
    }

    /// A place is put where few copies lie and enough nodes were heard to know what lies there.
    fn wants_put(&self, spot: Spot, also_accepted: bool) -> bool {
        let items = self.items_at(spot);
        let answers = items.valid_answers();
        let copies = items.copies_of(&self.entries[spot.record].ours[spot.place]);
        answers >= self.node.min_answers
            && copies < ENOUGH_COPIES.min(answers)
            && (also_accepted || !self.is_done(spot.record))
    }

    async fn read(&mut self, spots: &[Spot]) {
        let node = self.node;
        let reads = spots.iter().map(|spot| {
            let item = &self.entries[spot.record].ours[spot.place];
            node.read_place(item.key, item.salt)
        });
        let found = futures::future::join_all(reads).await;
        for (spot, items) in spots.iter().zip(found) {
            let entry = &mut self.entries[spot.record];
            let ours = &entry.ours[spot.place];
            let lies_there = items.copies_of(ours) > 0;
            entry.not_first[spot.place] |= lies_there && !node.pool.own.has(ours);
            entry.read[spot.place] = items;
            self.gets += 1;
        }
    }

    async fn put(&mut self, spots: &[Spot]) {
        let node = self.node;
        let puts = spots.iter().map(|spot| {
            let entry = &self.entries[spot.record];
            node.put_place(&entry.ours[spot.place], !entry.without_cas[spot.place])
        });
        let done = futures::future::join_all(puts).await;
        for (spot, put) in spots.iter().zip(done) {
            self.puts += 1;
            let entry = &mut self.entries[spot.record];
            if let Put::Taken(nodes) = put {
                entry.taken[spot.place] = nodes;
            }
            if put == Put::SlotTaken {
                entry.without_cas[spot.place] = true;
                entry.not_first[spot.place] |= !node.pool.own.has(&entry.ours[spot.place]);
            }
        }
    }

    /// The first place that holds something else, with what should be there.
    fn conflict(&self) -> Option<(Item, Item)> {
        self.entries.iter().find_map(|entry| {
            let places = entry.ours.iter().zip(&entry.read);
            places
                .filter_map(|(ours, read)| Some((ours.clone(), read.other_than(ours)?.clone())))
                .next()
        })
    }

    /// The first place in which something lay before us though nothing may have.
    fn not_first(&self) -> Option<Doubt> {
        let spend = self.entries.first().filter(|_| self.must_be_first)?;
        let places = (0_u8..).zip(spend.not_first);
        let mut taken = places.filter(|(_, not_first)| *not_first);
        taken.next().map(|(place, _)| Doubt::NotFirst { place })
    }

    fn verdict(&self) -> Verdict {
        if let Some((_, other)) = self.conflict() {
            return Verdict::Conflict(Box::new(other));
        }
        if let Some(why) = self.not_first() {
            return Verdict::Undecided { why };
        }
        let verdicts = self
            .entries
            .iter()
            .map(|entry| entry.verdict(self.node.min_answers));
        let mut doubts = verdicts.filter(|verdict| !matches!(verdict, Verdict::Accepted));
        doubts.next().unwrap_or(match self.overwritable {
            true => Verdict::Undecided {
                why: Doubt::Overwritable,
            },
            false => Verdict::Accepted,
        })
    }

    fn readings(&self) -> Vec<RecordReading> {
        let reading = |entry: &Entry| RecordReading {
            copies: std::array::from_fn(|place| entry.read[place].copies_of(&entry.ours[place])),
            answers: std::array::from_fn(|place| entry.read[place].valid_answers()),
        };
        self.entries.iter().map(reading).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coin::statement::Spend;
    use crate::coin::{ChainValue, HoldingId, RecordKey, SecretKey, Statement};
    use crate::dht::rogue::{self, Form};
    use crate::dht::{DhtConfig, Net, NetPlan};
    use crate::record::Slot;

    fn spend(payee: u8) -> SignedRecord {
        let (holding, key) = (HoldingId([1; 32]), SecretKey::from_bytes([2; 32]));
        let statement = Statement::Spend(Spend {
            holding,
            payee: SecretKey::from_bytes([payee; 32]).public(),
            anchor: ChainValue([3; 32]),
        });
        SignedRecord::sign(&key, Slot::spend(&holding), &RecordKey([4; 32]), &statement)
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_record_is_put_once_enough_nodes_took_it_and_not_where_another_lies() {
        let plan = |count| NetPlan {
            count,
            ip: std::net::Ipv4Addr::LOCALHOST,
            others: Vec::new(),
            round_trip: Duration::ZERO,
            hostile: 0,
            overwritable: false,
        };
        let node = async |net: &Net| {
            let config = DhtConfig {
                bind: "127.0.0.1:0".parse().expect("an address"),
                bootstrap: net.addrs()[..3].iter().map(ToString::to_string).collect(),
                ..DhtConfig::default()
            };
            DhtNode::start(config).await.expect("a node")
        };
        let net = Net::start(&plan(12)).await.expect("a net");
        let (ours, theirs) = (spend(5), spend(6));
        let (first, second) = (node(&net).await, node(&net).await);
        assert!(matches!(first.put(ours.clone()).await, Put::Taken(8..)));
        let read = second
            .check_again(std::slice::from_ref(&ours), Places::All)
            .await;
        assert!(
            read.per_record[0].copies.iter().all(|copies| *copies >= 8),
            "{read:?}"
        );
        // It lies there: nothing more is to be put.
        assert!(matches!(second.put(ours).await, Put::Taken(8..)));
        assert_eq!(second.put(theirs).await, Put::SlotTaken);
        // Few nodes are not enough, though they take it.
        let few = Net::start(&plan(6)).await.expect("a net");
        assert_eq!(node(&few).await.put(spend(5)).await, Put::Nowhere);
    }

    /// The narrowest way in: the second payee has read that nothing lies there, when the first one
    /// puts, reads back and accepts, and the cheat rewrites, all before the second puts.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_payee_that_was_overtaken_by_another_one_does_not_accept_what_was_rewritten_for_it() {
        let plan = NetPlan {
            count: 12,
            ip: std::net::Ipv4Addr::LOCALHOST,
            others: Vec::new(),
            round_trip: Duration::ZERO,
            hostile: 0,
            overwritable: true,
        };
        let net = Net::start(&plan).await.expect("a net");
        let payee = || {
            DhtNode::start(DhtConfig {
                bind: "127.0.0.1:0".parse().expect("an address"),
                bootstrap: net.addrs()[..3].iter().map(ToString::to_string).collect(),
                ..DhtConfig::default()
            })
        };
        let (slow, fast) = (
            payee().await.expect("a node"),
            payee().await.expect("a node"),
        );
        let (ours, theirs) = (spend(5), spend(6));
        let mut work = Work::new(&slow, vec![ours.clone()]);
        work.must_be_first = true;
        let places = work.spots(|_| true);
        work.read(&places).await;
        assert!(work.conflict().is_none() && work.not_first().is_none());
        assert!(places.iter().all(|spot| work.wants_put(*spot, true)));

        let accepted = fast.accept(vec![theirs.clone()]).await;
        assert_eq!(accepted.verdict, Verdict::Accepted);
        for item in ours.items() {
            assert!(rogue::put(&net.addrs(), &item, Form::Signed).await >= 8);
        }
        work.put(&places).await;
        work.read(&places).await;
        // It reads itself alone, in every place.
        assert!(work.conflict().is_none() && work.is_accepted());
        let why = Doubt::NotFirst { place: 0 };
        assert_eq!(work.verdict(), Verdict::Undecided { why });
        let again = slow.accept(vec![ours]).await;
        assert_eq!(again.verdict, Verdict::Undecided { why });
        let seen = fast.check_again(&[theirs], Places::All).await;
        assert!(seen.conflict.is_some());
    }
}
