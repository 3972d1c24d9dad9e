//! Somebody between a wallet and its broker who spoils answers; and clocks that are set back: a request that
//! gets no answer waits by itself, and a refusal is final only if nothing signed before can happen any more.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use dpay::broker::signing::{SIGNATURE_HEADER, TIME_HEADER, sign_answer};
use dpay::clock;
use dpay::coin::SecretKey;
use dpay::units::Units;
use dpay::wallet::JournalKind;
use dpay::wallet::withdraw::WithdrawAsk;

use crate::house::{House, Person, wish};

const PURCHASE: &str = "/v1/purchase";
const REDEEM: &str = "/v1/redeem";

/// What becomes of the answers of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Spoils {
    /// There is none: it is to be signed later.
    Early,
    /// The broker's signature is missing.
    Unsigned,
    /// More than anybody reads.
    Endless,
    /// It is that of a broker of before: a refusal does not say which try it refuses.
    Nameless,
}

#[derive(Clone)]
struct Between {
    url: String,
    broker: String,
    spoils: Arc<Mutex<BTreeMap<&'static str, Spoils>>>,
    /// Under which times purchases were signed, in the order in which they came.
    times: Arc<Mutex<Vec<u64>>>,
}

impl Between {
    async fn before(house: &House) -> Between {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await;
        let listener = listener.expect("a port");
        let between = Between {
            url: format!("http://{}", listener.local_addr().expect("bound")),
            broker: house.server.url(),
            spoils: Arc::default(),
            times: Arc::default(),
        };
        let app = Router::new().fallback(pass).with_state(between.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        between
    }

    fn spoil(&self, route: &'static str, how: Spoils) {
        self.spoils.lock().expect("whole").insert(route, how);
    }

    fn spoil_nothing(&self) {
        self.spoils.lock().expect("whole").clear();
    }
}

async fn pass(
    State(between): State<Between>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let how = {
        let spoils = between.spoils.lock().expect("whole");
        spoils.get(uri.path()).copied()
    };
    if uri.path() == PURCHASE {
        let time = headers[TIME_HEADER].to_str().expect("a number");
        let time = time.parse().expect("a number");
        between.times.lock().expect("whole").push(time);
    }
    match how {
        Some(Spoils::Early) => return StatusCode::TOO_EARLY.into_response(),
        Some(Spoils::Endless) => return vec![b' '; 5 << 20].into_response(),
        _ => {}
    }
    let url = format!("{}{}", between.broker, uri.path());
    let request = reqwest::Client::new().request(method, url).headers(headers);
    let answer = request.body(body).send().await.expect("it runs");
    let (status, mut headers) = (answer.status(), answer.headers().clone());
    let mut body = answer.bytes().await.expect("whole").to_vec();
    headers.remove("content-length");
    match how {
        Some(Spoils::Unsigned) => {
            headers.remove(SIGNATURE_HEADER);
        }
        Some(Spoils::Nameless) => {
            let mut json: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
            json.as_object_mut().expect("one").remove("signed_unix_ms");
            body = json.to_string().into_bytes();
            let signature = sign_answer(&SecretKey::from_bytes([1; 32]), &body).to_string();
            headers.insert(SIGNATURE_HEADER, signature.parse().expect("hex"));
        }
        _ => {}
    }
    (status, headers, body).into_response()
}

/// A person with 30 000 units at a broker that asks for 20 000 as bond, and who buys nothing unasked.
async fn frugal(house: &House, between: &Between) -> Person {
    let mut person = Person::new(&between.url).await;
    person.config.limits.at_hand = 0;
    house.deposit(person.wallet().account(), 30_000).await;
    person.restart().await;
    person
}

async fn refusals(person: &Person) -> usize {
    let lines = person.wallet().history(1_000).await.expect("read");
    let is_one = |kind: JournalKind| kind == JournalKind::PurchaseRefused;
    lines.iter().filter(|e| is_one(e.line.kind)).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_gets_no_answer_waits_by_itself_and_everything_else_goes_on() {
    let house = House::open().await;
    let between = Between::before(&house).await;
    let person = frugal(&house, &between).await;
    let wallet = person.wallet();
    for how in [Spoils::Early, Spoils::Unsigned, Spoils::Endless] {
        wallet.buy(Units(64)).await.expect("sold");
        between.spoil(PURCHASE, how);
        let bought = wallet.buy(Units(16)).await.expect("ordered");
        assert_eq!(bought.ordered, Units(16), "{how:?}");
        assert!(bought.error.is_some(), "{how:?}");
        assert_eq!(person.balance().await.broker_error, None, "{how:?}");
        // Nobody waits for a coin that does not come.
        let given = wallet.reserve(wish(1, 64)).await.expect("at hand");
        wallet.release(given.holding.id).await.expect("ours");
        between.spoil(REDEEM, how);
        let report = wallet.redeem_all().await.expect("a report");
        assert_eq!(report.unanswered, Units(64), "{how:?} {report:?}");
        assert!(report.error.is_some(), "{how:?}");
        assert_eq!(person.balance().await.broker_error, None, "{how:?}");
        let ask = WithdrawAsk {
            units: Some(Units(5)),
            destination: "IBAN 1".to_owned(),
            bond: false,
        };
        let withdrawn = wallet.withdraw(ask).await.expect("there");
        assert!(withdrawn.withdrawal.is_some(), "{how:?} {withdrawn:?}");
        between.spoil_nothing();
        let is_over = |o: Units, r: Units| o.is_zero() && r.is_zero();
        person
            .until("answered", |b| is_over(b.ordered, b.redeeming))
            .await;
        let rest = wallet.redeem_all().await.expect("answers");
        assert_eq!(rest.coins, Units(16), "{how:?}");
    }
    house.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wallet_whose_clock_is_set_back_goes_on_after_the_times_that_it_signed_under() {
    let house = House::open().await;
    let between = Between::before(&house).await;
    let mut person = frugal(&house, &between).await;
    clock::shift(200);
    person.wallet().buy(Units(64)).await.expect("sold");
    person.stop().await;
    clock::shift(0);
    person.start().await;
    person.wallet().buy(Units(16)).await.expect("sold");
    let times = between.times.lock().expect("whole").clone();
    assert_eq!(times.len(), 2);
    assert!(times[0] < times[1], "{times:?}");
    let ahead_ms = times[1] - clock::now().0;
    assert!(ahead_ms < 230_000, "hardly later than needed: {ahead_ms}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_after_the_clock_was_far_ahead_is_over_when_that_time_has_come() {
    let house = House::open().await;
    let between = Between::before(&house).await;
    let mut person = frugal(&house, &between).await;
    clock::shift(3_600);
    person.wallet().buy(Units(64)).await.expect("sold");
    person.stop().await;
    clock::shift(0);
    person.start().await;
    let wallet = person.wallet();
    // More than the bond allows.
    let bought = wallet.order(Units(24_576)).await.expect("not over yet");
    assert_eq!(bought.ordered, Units(24_576));
    let error = bought.error.expect("said");
    assert!(error.contains("may not be for good yet"), "{error}");
    assert_eq!(refusals(&person).await, 0);
    assert_eq!(person.balance().await.broker_error, None);
    clock::shift(3_650);
    person.until("refused", |b| b.ordered.is_zero()).await;
    assert_eq!(refusals(&person).await, 1);
    house.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_of_a_broker_of_before_is_believed_once_what_was_signed_has_run_out() {
    let house = House::open().await;
    let between = Between::before(&house).await;
    let person = frugal(&house, &between).await;
    between.spoil(PURCHASE, Spoils::Nameless);
    let bought = person.wallet().order(Units(24_576)).await;
    assert_eq!(bought.expect("not over yet").ordered, Units(24_576));
    // Asked again and again, it is no more than doubtful for twenty minutes.
    let asked = || between.times.lock().expect("whole").len();
    let before = asked();
    clock::shift(10);
    while asked() == before {
        person.balance().await;
    }
    assert_eq!(person.balance().await.ordered, Units(24_576));
    clock::shift(1_300);
    person.until("refused", |b| b.ordered.is_zero()).await;
    assert_eq!(refusals(&person).await, 1);
    house.audit().await;
}
