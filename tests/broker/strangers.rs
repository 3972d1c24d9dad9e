//! Requests and answers that nobody honest sends.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use dpay::broker::answer::{Fault, ItemAnswer, RefusalCode};
use dpay::broker::signing::{body_hash, request_hash};
use dpay::broker::{RequestId, Terms};
use dpay::coin::{CoinCertificate, PublicKey, SecretKey};
use dpay::http::broker::{MAX_BODY_BYTES, RateLimit};
use dpay::http::client::{BrokerClient, ClientError, WhoseFault};
use dpay::record::Path;
use dpay::store::broker::SqliteLimits;
use dpay::units::{Units, UnixMs};
use parking_lot::Mutex;

use crate::house::{House, Person};

/// A request as it goes over the wire, where anybody may read it and send it again.
struct OnTheWire {
    path: &'static str,
    headers: [(&'static str, String); 4],
    body: String,
}

impl OnTheWire {
    fn sign(
        house: &House,
        key: &SecretKey,
        (id, time): (u8, UnixMs),
        (path, body): (&'static str, &str),
    ) -> OnTheWire {
        let id = RequestId([id; 16]);
        let hash = body_hash(&format!("POST {path}"), body.as_bytes());
        let broker = house.key().public();
        let signed = request_hash(&broker, &key.public(), &id, time, &hash);
        OnTheWire {
            path,
            headers: [
                ("dpay-account", key.public().to_string()),
                ("dpay-request-id", id.to_string()),
                ("dpay-time", time.0.to_string()),
                ("dpay-signature", key.sign(&signed).to_string()),
            ],
            body: body.to_owned(),
        }
    }

    async fn send(&self, house: &House) -> (u16, String) {
        let mut request = reqwest::Client::new()
            .post(format!("{}{}", house.server.url(), self.path))
            .body(self.body.clone());
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        (status, response.text().await.unwrap())
    }
}

/// A request signed by `key` for `body` and `time`, but sent with `sent` as its body.
async fn raw(house: &House, key: &SecretKey, time: UnixMs, body: &str, sent: &str) -> (u16, Fault) {
    let signed = OnTheWire::sign(house, key, (5, time), ("/v1/account", body));
    let altered = OnTheWire {
        body: sent.to_owned(),
        ..signed
    };
    let (status, text) = altered.send(house).await;
    let fault = serde_json::from_str(&text).unwrap_or_else(|_| Fault {
        error: text,
        what_to_do: String::new(),
    });
    (status, fault)
}

#[tokio::test]
async fn a_request_whose_signature_time_or_body_is_wrong_is_refused_with_what_to_do() {
    let house = House::open().await;
    let key = SecretKey::from_bytes([1; 32]);
    let now = dpay::clock::now();
    assert_eq!(raw(&house, &key, now, "{}", "{}").await.0, 200);
    let (status, fault) = raw(&house, &key, now, "{}", "{ }").await;
    assert_eq!(status, 401);
    assert!(fault.error.contains("not signed"), "{fault:?}");
    let (status, fault) = raw(&house, &key, UnixMs(now.0 - 700_000), "{}", "{}").await;
    assert_eq!(status, 401);
    assert!(fault.what_to_do.contains("clock"), "{fault:?}");
    assert_eq!(raw(&house, &key, now, "{]", "{]").await.0, 400);
    assert_eq!(
        raw(&house, &key, now, "{\"x\":1}", "{\"x\":1}").await.0,
        400
    );
}

/// The time once the clock has gone on: later than anything before.
fn next_ms() -> UnixMs {
    let before = dpay::clock::now();
    loop {
        let now = dpay::clock::now();
        if now > before {
            return now;
        }
    }
}

#[tokio::test]
async fn what_was_refused_for_want_of_money_is_not_carried_out_when_it_is_played_again_later() {
    let mut house = House::open().await;
    // One that had money before, and one that had none.
    for (n, units) in [(1, 100), (2, 0)] {
        let who = house.person(n);
        let key = SecretKey::from_bytes([n + 100; 32]);
        if units > 0 {
            house.deposit(&who, units, &format!("first of {n}")).await;
        }
        let order = format!(
            "{{\"coins\":[{{\"value\":64,\"holder\":\"{}\"}}]}}",
            who.key.public()
        );
        let take = "{\"units\":2000,\"destination\":\"here\"}";
        let asked = [
            (10, "/v1/purchase", order.as_str()),
            (11, "/v1/withdraw", take),
        ]
        .map(|(id, path, body)| {
            let signed = OnTheWire::sign(&house, &key, (id, next_ms()), (path, body));
            next_ms();
            signed
        });
        for request in &asked {
            let (status, text) = request.send(&house).await;
            assert_eq!(status, 409, "{text}");
            assert!(text.contains("\"code\":\"balance\""), "{text}");
        }
        house.deposit(&who, 5_000, &format!("second of {n}")).await;
        for request in &asked {
            let (status, text) = request.send(&house).await;
            assert_eq!(status, 425, "{text}");
            assert!(text.contains("sign it again"), "{text}");
        }
        assert_eq!(who.money().await, (units + 5_000, 0));
        house = house.restart().await;
        for request in &asked {
            assert_eq!(request.send(&house).await.0, 425);
        }
        // The account itself is served: the very request too, signed anew, and others.
        let who = house.person(n);
        let coin = who.buy(10, 64).await;
        assert_eq!(coin.coin.holder, who.key.public());
        assert_eq!(who.money().await, (units + 5_000 - 1_000 - 64, 0));
        let id = RequestId([12; 16]);
        who.client.withdraw(id, Units(36), "here").await.unwrap();
        assert_eq!(asked[0].send(&house).await.0, 200, "the same answer");
        assert_eq!(who.money().await, (units + 3_900, 0));
    }
    assert!(house.audit().await.balanced);
}

/// Keeps the first refusal to itself, and gives it to whoever asks later.
#[derive(Clone)]
struct Keeper {
    broker: String,
    refusal: Arc<Mutex<Option<(HeaderMap, Bytes)>>>,
}

async fn keep_back(
    State(keeper): State<Keeper>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    if let Some((headers, body)) = keeper.refusal.lock().clone() {
        return (StatusCode::CONFLICT, headers, body).into_response();
    }
    let url = format!("{}{}", keeper.broker, uri.path());
    let request = reqwest::Client::new().post(url).headers(headers).body(body);
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), StatusCode::CONFLICT);
    let mut headers = response.headers().clone();
    headers.remove("content-length");
    *keeper.refusal.lock() = Some((headers, response.bytes().await.unwrap()));
    StatusCode::BAD_GATEWAY.into_response()
}

#[tokio::test]
async fn a_refusal_of_an_earlier_try_is_not_believed_about_a_later_one() {
    let house = House::open().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let keeper = Keeper {
        broker: house.server.url(),
        refusal: Arc::default(),
    };
    let app = Router::new().fallback(keep_back).with_state(keeper.clone());
    tokio::spawn(async move { axum::serve(listener, app).await });
    let alice = Person::at(&url, Some(house.key().public()), 1);
    let order = || vec![(Units(64), alice.key.public())];
    let id = RequestId([1; 16]);
    let lost = alice.client.purchase(id, order()).await.unwrap_err();
    assert!(
        matches!(lost, ClientError::Status { status: 502, .. }),
        "{lost}"
    );
    let old = alice.client.purchase(id, order()).await.unwrap_err();
    assert!(matches!(old, ClientError::Untrue { .. }), "{old}");
    assert!(old.is_open(), "it is asked again");
    assert!(keeper.refusal.lock().is_some());
}

#[tokio::test]
async fn strangers_at_one_address_have_so_many_keys_certified_a_day_and_who_has_money_more() {
    let limit = RateLimit {
        per_second: 1_000,
        burst: 10_000,
    };
    let house = House::with(Terms::default(), SqliteLimits::default(), limit).await;
    let keys = |from: u32, count: u32| -> Vec<PublicKey> {
        let secret = |n: u32| {
            let mut bytes = [7; 32];
            bytes[..4].copy_from_slice(&n.to_be_bytes());
            SecretKey::from_bytes(bytes)
        };
        (from..from + count).map(|n| secret(n).public()).collect()
    };
    let [payee, other, rich] = [1, 2, 3].map(|n| house.person(n));
    // What is no key is refused, and takes nobody's room.
    let points = (0..=255).map(|n| PublicKey([n; 32]));
    let none: Vec<PublicKey> = points.filter(|key| key.check().is_err()).take(64).collect();
    assert_eq!(none.len(), 64);
    let refused = payee.client.certify(none).await.unwrap_err();
    let refusal = refused.refusal().expect("a signed refusal");
    assert_eq!(refusal.code, RefusalCode::HolderKey);
    // An honest payee begins without money.
    payee.client.certify(keys(0, 4_000)).await.unwrap();
    other.client.certify(keys(5_000, 96)).await.unwrap();
    for who in [&payee, &other] {
        let refused = who.client.certify(keys(9_000, 1)).await.unwrap_err();
        let refusal = refused.refusal().expect("a signed refusal");
        assert_eq!(refusal.code, RefusalCode::TooMany);
        assert!(refusal.error.contains("4096"), "{refusal}");
        assert!(refusal.what_to_do.contains("tomorrow"), "{refusal}");
    }
    // What was certified is certified again.
    payee.client.certify(keys(100, 64)).await.unwrap();
    house.deposit(&rich, 1, "one").await;
    rich.client.certify(keys(9_000, 100)).await.unwrap();
}

#[tokio::test]
async fn large_bodies_unknown_routes_and_missing_headers_get_json_that_helps() {
    let house = House::open().await;
    let key = SecretKey::from_bytes([1; 32]);
    let large = "x".repeat(MAX_BODY_BYTES + 1);
    let (status, fault) = raw(&house, &key, dpay::clock::now(), &large, &large).await;
    assert_eq!(status, 413);
    assert!(fault.what_to_do.contains("32 items"), "{fault:?}");
    let http = reqwest::Client::new();
    for (request, status) in [
        (http.get(format!("{}/v1/nothing", house.server.url())), 404),
        (http.get(format!("{}/v1/redeem", house.server.url())), 405),
        (http.post(format!("{}/v1/redeem", house.server.url())), 401),
        (
            http.get(format!("{}/v1/spent/now", house.server.url())),
            400,
        ),
    ] {
        let response = request.send().await.unwrap();
        assert_eq!(response.status().as_u16(), status);
        let fault: Fault = serde_json::from_str(&response.text().await.unwrap()).unwrap();
        assert!(!fault.error.is_empty() && !fault.what_to_do.is_empty());
    }
}

#[tokio::test]
async fn an_address_that_asks_too_often_is_told_to_wait() {
    let limit = RateLimit {
        per_second: 1,
        burst: 3,
    };
    let house = House::with(Terms::default(), SqliteLimits::default(), limit).await;
    let alice = house.person(1);
    let mut error = None;
    for _ in 0..5 {
        error = error.or(alice.client.account().await.err());
    }
    let error = error.unwrap();
    assert!(
        matches!(error, ClientError::Status { status: 429, .. }),
        "{error}"
    );
    assert_eq!(error.whose_fault(), WhoseFault::Network);
    assert!(error.is_open());
}

#[tokio::test]
async fn a_coin_of_another_broker_is_refused_and_the_rest_of_the_batch_is_not() {
    let house = House::open().await;
    let alice = house.person(1);
    house.deposit(&alice, 5_000, "one").await;
    let good = alice.buy(1, 64).await;
    let today = dpay::clock::now().day();
    let stranger = SecretKey::from_bytes([9; 32]);
    let key = alice.key.public();
    let coin = CoinCertificate::issue(&stranger, Units(64), key, today, today.plus(30), [0; 16]);
    let foreign = Path {
        coin,
        links: Vec::new(),
    };
    let mut tampered = good.clone();
    tampered.coin.value = Units(4096);
    let items = [&foreign, &tampered, &good]
        .map(|path| (path.clone(), alice.redeem_part(path, 1)))
        .to_vec();
    let done = alice
        .client
        .redeem(RequestId([2; 16]), items)
        .await
        .unwrap();
    for item in &done.value[..2] {
        let ItemAnswer::Refused(refusal) = item else {
            panic!("{item:?}")
        };
        assert_eq!(refusal.code, RefusalCode::Invalid);
    }
    assert!(matches!(done.value[2], ItemAnswer::Redeemed { .. }));
    assert_eq!(alice.money().await, (5_000 - 1_000 - 64, 64));
}

/// Passes everything on to a broker and changes one digit of each answer.
async fn liar(State(broker): State<String>, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let http = reqwest::Client::new();
    let url = format!("{broker}{}", uri.path());
    let mut request = if body.is_empty() {
        http.get(url)
    } else {
        http.post(url).body(body.to_vec())
    };
    for name in [
        "dpay-account",
        "dpay-request-id",
        "dpay-time",
        "dpay-signature",
    ] {
        if let Some(value) = headers.get(name) {
            request = request.header(name, value.to_str().unwrap());
        }
    }
    let response = request.send().await.unwrap();
    let signature = response.headers().get("dpay-signature").cloned();
    let body = response.text().await.unwrap();
    let body = body.replace("\"balance\":5", "\"balance\":6");
    let mut response = body.into_response();
    if let Some(signature) = signature {
        response.headers_mut().insert("dpay-signature", signature);
    }
    response
}

#[tokio::test]
async fn an_answer_changed_on_the_way_is_not_believed() {
    let house = House::open().await;
    let alice = house.person(1);
    house.deposit(&alice, 5_000, "one").await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let app = Router::new().fallback(liar).with_state(house.server.url());
    tokio::spawn(async move { axum::serve(listener, app).await });
    let lied_to = Person::at(&url, Some(house.key().public()), 1);
    lied_to.client.info().await.unwrap();
    let error = lied_to.client.account().await.unwrap_err();
    assert!(matches!(error, ClientError::Untrue { .. }), "{error}");
    assert_eq!(error.whose_fault(), WhoseFault::Broker);
}

#[tokio::test]
async fn a_broker_with_another_key_than_the_pinned_one_is_named() {
    let house = House::open().await;
    let pinned = SecretKey::from_bytes([9; 32]).public();
    let deceived = Person::at(&house.server.url(), Some(pinned), 1);
    let error = deceived.client.info().await.unwrap_err();
    assert!(matches!(error, ClientError::WrongBroker { .. }), "{error}");
    assert!(error.to_string().contains(&pinned.to_string()));
    assert!(deceived.client.account().await.is_err());
    let trusting = Person::at(&house.server.url(), None, 1);
    assert_eq!(trusting.money().await, (0, 0));
    assert_eq!(
        trusting.client.broker_key().await.unwrap(),
        house.key().public()
    );
}

#[tokio::test]
async fn a_url_that_is_none_and_a_broker_that_is_down_are_told_apart() {
    let key = SecretKey::from_bytes([1; 32]);
    for url in ["nonsense", "ftp://host", "http://host/?q=1"] {
        let error = BrokerClient::new(url, None, key.clone()).unwrap_err();
        assert_eq!(error.whose_fault(), WhoseFault::Ours);
    }
    let house = House::open().await;
    let url = house.server.url();
    house.server.stop().await;
    let client = BrokerClient::new(&url, None, key).unwrap();
    let error = client.info().await.unwrap_err();
    assert!(matches!(error, ClientError::Unreachable { .. }), "{error}");
    assert!(error.is_open());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_a_clock_that_is_behind_buys_with_its_first_deposit_at_once() {
    let house = House::open().await;
    let who = house.person(1);
    // Eight minutes, of ten that are allowed.
    house.pass_ms(8 * 60_000);
    house.deposit(&who, 5_000, "the first").await;
    assert_eq!(who.money().await, (5_000, 0));
    who.buy(1, 64).await;
    house.audit().await;
}
