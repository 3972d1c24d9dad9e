//! Proofs of fraud that a wallet is shown: kept once, as files that anybody can check, and told to the
//! broker.

use std::path::PathBuf;
use std::time::Duration;

use dpay::broker::answer::{HoldingStatus, NoticeKind};
use dpay::cashier::wallet::counter::Counter;
use dpay::cashier::wallet::{
    BrokerDoor, ConflictRole, ConflictSeen, PROOFS_DIR, Passphrase, WalletHandle, home,
};
use dpay::clock;
use dpay::coin::keys::SecretKey;
use dpay::coin::{ChainValue, CoinCertificate, PseudonymCertificate, RecordKey};
use dpay::record::{FraudProof, Holding, OpenSpend, ProofCertificate};
use dpay::units::Units;
use dpay::wallet::JournalKind;

use crate::ahead::rival;
use crate::house::{House, Person, TORRENT};
use crate::unread::{pay, rich};

/// Two spends of one coin of this broker, by a key of the test's.
fn proof(broker: &SecretKey, holder: u8, anchors: [u8; 2]) -> FraudProof {
    let holder = SecretKey::from_bytes([holder; 32]);
    let today = clock::now().day();
    let later = today.plus(30);
    let coin = CoinCertificate::issue(broker, Units(64), holder.public(), today, later, [1; 16]);
    let holding = Holding::of_coin(&coin);
    let payee = SecretKey::from_bytes([99; 32]).public();
    let certificate = PseudonymCertificate::issue(broker, payee, later);
    let [one, two] = anchors.map(|anchor| {
        let anchor = ChainValue([anchor; 32]);
        let open = OpenSpend::sign(
            &holder,
            &holding.id,
            certificate,
            anchor,
            RecordKey([9; 32]),
        );
        open.record(&holding).items()[0].clone()
    });
    FraudProof::new(ProofCertificate::Coin(coin), one, two).expect("two items of one key")
}

async fn show(wallet: &WalletHandle, proof: &FraudProof) -> Option<PathBuf> {
    let seen = ConflictSeen {
        role: ConflictRole::Payee,
        info_hash: Some(TORRENT),
        peer: Some("127.0.0.1:1".to_owned()),
    };
    wallet.report_conflict(proof.encode(), seen).await.ok()
}

async fn found(person: &Person) -> Vec<String> {
    let history = person.wallet().history(1000).await.expect("reads");
    let lines = history.into_iter().map(|entry| entry.line);
    let found = lines.filter(|line| line.kind == JournalKind::ProofFound);
    found.map(|line| line.reference).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proof_is_kept_once_and_holds_for_anybody_who_knows_the_broker() {
    let house = House::at("127.0.0.1:0".parse().expect("an address"), 1).await;
    let broker = SecretKey::from_bytes([1; 32]);
    let mut person = Person::new(&house.server.url()).await;
    person.wallet().meet().await.expect("there");
    let shown = proof(&broker, 5, [1, 2]);
    let file = show(person.wallet(), &shown).await.expect("it holds");
    assert_eq!(file.parent(), Some(&*person.dir.path().join(PROOFS_DIR)));
    let bytes = std::fs::read(&file).expect("on disk");
    let kept = FraudProof::decode(&bytes).expect("a proof");
    assert_eq!(kept, shown);
    assert!(kept.verify(&|key| *key == broker.public()).is_ok());
    assert!(kept.verify(&|key| *key != broker.public()).is_err());

    // The same again, and another rival in the same slot, prove nothing more: also after a restart.
    let rival = proof(&broker, 5, [1, 3]);
    for _ in 0..2 {
        for again in [&shown, &rival] {
            assert_eq!(show(person.wallet(), again).await.as_ref(), Some(&file));
        }
        assert_eq!(std::fs::read(&file).expect("on disk"), bytes);
        assert_eq!(found(&person).await.len(), 1);
        person.restart().await;
    }
    let name = file.file_name().and_then(|name| name.to_str());
    assert_eq!(found(&person).await, [name.expect("UTF-8")]);

    let another = show(person.wallet(), &proof(&broker, 6, [1, 2])).await;
    assert_ne!(another.expect("another key"), file);
    assert_eq!(found(&person).await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_proves_nothing_is_not_kept() {
    let house = House::at("127.0.0.1:0".parse().expect("an address"), 1).await;
    let broker = SecretKey::from_bytes([1; 32]);
    let person = Person::new(&house.server.url()).await;
    person.wallet().meet().await.expect("there");
    let foreign = proof(&SecretKey::from_bytes([2; 32]), 5, [1, 2]);
    assert_eq!(
        show(person.wallet(), &foreign).await,
        None,
        "another broker"
    );
    let seen = ConflictSeen {
        role: ConflictRole::Payee,
        info_hash: None,
        peer: None,
    };
    let mut forged = proof(&broker, 5, [1, 2]).encode();
    *forged.last_mut().expect("bytes") ^= 1;
    let kept = person.wallet().report_conflict(forged, seen).await;
    assert!(kept.is_err(), "{kept:?}");
    assert!(!person.dir.path().join(PROOFS_DIR).exists());
    assert_eq!(found(&person).await, Vec::<String>::new());
}

/// Waits until the broker says so.
async fn until<F: Future<Output = bool>>(what: &str, is_so: impl Fn() -> F) {
    let wait = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let reached = tokio::time::timeout(Duration::from_secs(30), wait).await;
    reached.unwrap_or_else(|_| panic!("never {what}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_refuses_gives_the_proof_alone_and_who_accepted_presents_too() {
    let house = House::open().await;
    let (payer, payee) = (rich(&house).await, Person::new(&house.server.url()).await);
    payee.until_key().await;
    let seed = home::read_seed(payer.dir.path(), &Passphrase::none()).expect("there");
    let counter = Counter::new(&house.server.url(), None, seed.account_key()).expect("a URL");
    counter.meet().await.expect("there");

    let (open, path) = pay(&payer, &payee).await;
    let refused = path.holding().expect("values fit");
    let other = rival(&payer, &refused, open.payee_certificate);
    let items = (&open.record(&refused).items()[0], &other.items()[0]);
    let certificate = ProofCertificate::Coin(path.coin);
    let shown = FraudProof::new(certificate, items.0.clone(), items.1.clone()).expect("two");
    show(payee.wallet(), &shown).await.expect("it holds");
    until("told", || async {
        let (notices, _) = counter.notices(0).await.expect("answers");
        let warned = NoticeKind::Warned { key: refused.key };
        notices.iter().any(|notice| notice.what == warned)
    })
    .await;

    let (open, path) = pay(&payer, &payee).await;
    let accepted = path.holding().expect("values fit");
    let spend = open.commitment(&accepted.id);
    payee.wallet().accepted(spend).await.expect("known");
    let other = rival(&payer, &accepted, open.payee_certificate);
    let other = other.items()[0].clone();
    let kept = payee.wallet().report_rival(spend, other).await;
    kept.expect("it holds");
    until("presented", || async {
        let known = counter.holding(accepted.id).await.expect("answers");
        known.c == Some(spend)
    })
    .await;
    let known = counter.holding(refused.id).await.expect("answers");
    assert_eq!(known.state, HoldingStatus::Unknown, "nothing to contest");
    house.audit().await;
}
