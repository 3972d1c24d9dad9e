//! Requests in, answers out: authentication, parsing, and what is checked before the cashier.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::rejection::BytesRejection;
use axum::extract::{ConnectInfo, DefaultBodyLimit, Path, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::de::DeserializeOwned;

use super::error::ApiError;
use super::{MAX_BODY_BYTES, REQUEST_TIMEOUT, Shared, keys, spent};
use crate::broker::answer::{Refusal, RefusalCode, SpentEntry};
use crate::broker::ask::{
    self, AskAccount, AskCertificates, AskHolding, AskNotices, AskPayout, AskPresent, AskProof,
    AskPurchase, AskRecover, AskRedeem, AskWithdraw, MAX_PAGE,
};
use crate::broker::recover::{Cursor, Found};
use crate::broker::rows::{Row, RowKey};
use crate::broker::signing::{
    ACCOUNT_HEADER, MAX_SKEW_MS, REQUEST_HEADER, SIGNATURE_HEADER, TIME_HEADER, body_hash,
    request_hash, sign_answer,
};
use crate::broker::terms::{Info, MAX_BATCH};
use crate::broker::{Action, Broker, Call, Caller, Presented, RequestId, Sealed, Tail};
use crate::coin::keys::{PublicKey, Signature};
use crate::random;
use crate::record::{FraudProof, OpenSpend, RedeemPart, Slot};
use crate::store::broker::page_of;
use crate::units::UnixMs;

type Api<T> = Result<T, ApiError>;

/// So often it is said at most that an account's clock and this machine's are far apart.
const CLOCK_TOLD_EVERY_MS: u64 = 3_600_000;

/// All routes.
pub(super) fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/v1/info", get(info))
        .route("/v1/account", post(signed))
        .route("/v1/purchase", post(signed))
        .route("/v1/certificates", post(signed))
        .route("/v1/redeem", post(signed))
        .route("/v1/present", post(signed))
        .route("/v1/withdraw", post(signed))
        .route("/v1/payout", post(signed))
        .route("/v1/holding", post(signed))
        .route("/v1/proof", post(signed))
        .route("/v1/recover", post(signed))
        .route("/v1/notices", post(signed))
        .route("/v1/spent", get(spent_index))
        .route("/v1/spent/{hour}", get(spent_chunk))
        .route("/v1/spent/entry/{slot}", get(spent_entry))
        .route("/v1/suspended", get(suspended))
        .fallback(unknown_route)
        .method_not_allowed_fallback(unknown_method)
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(middleware::from_fn_with_state(shared.clone(), guard))
        .with_state(shared)
}

/// Rate and time limits around every request.
async fn guard(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
    next: Next,
) -> Response {
    shared.requests.fetch_add(1, Ordering::Relaxed);
    if !shared.limit.take(peer.ip(), (shared.clock)()) {
        let error = ApiError::new(
            StatusCode::TOO_MANY_REQUESTS,
            format!("too many requests from {}", peer.ip()),
            "ask again in a second, and put many items into one request",
        );
        let mut response = error.into_response();
        let headers = response.headers_mut();
        headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        return response;
    }
    match tokio::time::timeout(REQUEST_TIMEOUT, next.run(request)).await {
        Ok(response) => response,
        Err(_) => ApiError::busy().into_response(),
    }
}

async fn unknown_route(uri: Uri) -> ApiError {
    ApiError::new(
        StatusCode::NOT_FOUND,
        format!("there is no {}", uri.path()),
        "this is a DPay broker, version 1: begin with GET /v1/info",
    )
}

async fn unknown_method(request: Request) -> ApiError {
    ApiError::new(
        StatusCode::METHOD_NOT_ALLOWED,
        format!(
            "{} is not a method of {}",
            request.method(),
            request.uri().path()
        ),
        "information is read with GET, everything about an account is a signed POST",
    )
}

async fn info(State(shared): State<Arc<Shared>>) -> Api<Response> {
    let info = Info::new(
        shared.broker.public(),
        shared.broker.terms().clone(),
        (shared.clock)(),
    );
    signed_json(&shared, &info)
}

async fn spent_index(State(shared): State<Arc<Shared>>) -> Api<Response> {
    spent::index(&shared).await.map(binary)
}

async fn suspended(State(shared): State<Arc<Shared>>) -> Api<Response> {
    spent::suspended(&shared).await.map(binary)
}

async fn spent_chunk(State(shared): State<Arc<Shared>>, Path(hour): Path<String>) -> Api<Response> {
    let hour = hour.parse().map_err(|_| {
        ApiError::new(
            StatusCode::BAD_REQUEST,
            format!("{hour:?} is no hour"),
            "name hours as unix seconds / 3600, as GET /v1/spent lists them",
        )
    })?;
    spent::chunk(&shared, hour).await.map(binary)
}

async fn spent_entry(State(shared): State<Arc<Shared>>, Path(slot): Path<String>) -> Api<Response> {
    let slot: Slot = slot.parse().map_err(|e| {
        let what_to_do = "name a slot by its 32 bytes in hex";
        ApiError::new(StatusCode::BAD_REQUEST, format!("{e}"), what_to_do)
    })?;
    let key = RowKey::Spent(slot);
    let rows = shared.store.load(std::slice::from_ref(&key)).await?;
    let row = match rows.get(&key).and_then(|s| s.row.as_deref()) {
        Some(Row::Spent(row)) => Some(row),
        _ => None,
    };
    let entry = SpentEntry {
        broker: shared.broker.public(),
        slot,
        c: row.map(|r| r.c),
        since_unix_ms: row.map(|r| r.at),
        at_unix_ms: (shared.clock)(),
    };
    signed_json(&shared, &entry)
}

/// Every request that an account signs.
async fn signed(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    uri: Uri,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Api<Response> {
    let body = body.map_err(body_error)?;
    let caller = authenticate(&shared, &uri, &headers, &body)?;
    let action = parse(&shared, &caller, peer.ip(), body).await?;
    let sealed = shared.cashier.call(Call { caller, action }).await?;
    Ok(sealed_response(sealed))
}

fn body_error(rejection: BytesRejection) -> ApiError {
    let status = rejection.status();
    if status == StatusCode::PAYLOAD_TOO_LARGE {
        return ApiError::new(
            status,
            format!("a body of more than {MAX_BODY_BYTES} bytes"),
            format!("send at most {MAX_BATCH} items in one request"),
        );
    }
    let what_to_do = "send the whole body";
    ApiError::new(status, "the body could not be read", what_to_do)
}

/// Who asks: the account whose key signed route, body, request id and time.
fn authenticate(shared: &Shared, uri: &Uri, headers: &HeaderMap, body: &[u8]) -> Api<Caller> {
    let account: PublicKey = read_header(headers, ACCOUNT_HEADER)?;
    let request_id: RequestId = read_header(headers, REQUEST_HEADER)?;
    let signature: Signature = read_header(headers, SIGNATURE_HEADER)?;
    let time = UnixMs(read_header(headers, TIME_HEADER)?);
    let route = format!("POST {}", uri.path());
    let hash = body_hash(&route, body);
    let broker = shared.broker.public();
    let signed = request_hash(&broker, &account, &request_id, time, &hash);
    if !account.verify_strict(&signed, &signature) {
        return Err(ApiError::new(
            StatusCode::UNAUTHORIZED,
            format!("the request is not signed by account {account} for broker {broker}"),
            "sign route, body, request id and time with the account's key, for this broker's key",
        ));
    }
    let now = (shared.clock)();
    let skew_ms = now.since_ms(time).max(time.since_ms(now));
    if skew_ms > MAX_SKEW_MS {
        tell_of_clock(shared, now, skew_ms / 1000);
        return Err(ApiError::new(
            StatusCode::UNAUTHORIZED,
            format!(
                "the request was signed at {} ms, the broker's time is {} ms: {} s apart",
                time.0,
                now.0,
                skew_ms / 1000
            ),
            "set this machine's clock",
        ));
    }
    Ok(Caller {
        account,
        route,
        request_id,
        body: hash,
        signed: time,
    })
}

/// Tells the operator, at most once an hour: where it is this machine's clock that is wrong, every account is
/// refused, and nobody else can tell him.
fn tell_of_clock(shared: &Shared, now: UnixMs, apart_s: u64) {
    let told = shared.clock_told.load(Ordering::Relaxed);
    if told == 0 || !now.is_within(CLOCK_TOLD_EVERY_MS, UnixMs(told)) {
        shared.clock_told.store(now.0, Ordering::Relaxed);
        tracing::warn!(
            "a request was signed {apart_s} s from this machine's time and is refused; if that is so with \
             every account, this machine's clock is wrong: set it"
        );
    }
}

fn read_header<T: std::str::FromStr>(headers: &HeaderMap, name: &'static str) -> Api<T> {
    let value = headers.get(name).and_then(|v| v.to_str().ok());
    value.and_then(|v| v.parse().ok()).ok_or_else(|| {
        ApiError::new(
            StatusCode::UNAUTHORIZED,
            format!("the header {name} is missing or malformed"),
            "sign the request: dpay-account, dpay-request-id, dpay-time and dpay-signature",
        )
    })
}

fn json<T: DeserializeOwned>(body: &[u8]) -> Api<T> {
    serde_json::from_slice(body).map_err(|e| {
        ApiError::new(
            StatusCode::BAD_REQUEST,
            format!("the body is not what this route takes: {e}"),
            "send JSON as the documentation of this route says",
        )
    })
}

fn at_most(count: usize) -> Api<()> {
    if count <= MAX_BATCH {
        return Ok(());
    }
    Err(ApiError::new(
        StatusCode::BAD_REQUEST,
        format!("{count} items in one request"),
        format!("send 1 to {MAX_BATCH}"),
    ))
}

/// What is asked for, with every signature in it checked and every certificate signed.
async fn parse(shared: &Arc<Shared>, caller: &Caller, address: IpAddr, body: Bytes) -> Api<Action> {
    Ok(match caller.route.as_str() {
        ask::ACCOUNT => {
            let AskAccount {} = json(&body)?;
            Action::Account
        }
        ask::PURCHASE => {
            let ask: AskPurchase = json(&body)?;
            at_most(ask.coins.len())?;
            let today = (shared.clock)().day();
            let offers = checked(shared, move |broker| {
                let drawn = random::bytes::<{ 16 * MAX_BATCH }>();
                let (nonces, _) = drawn.as_chunks::<16>();
                let coins = ask.coins.iter().zip(nonces);
                let wanted: Vec<_> = coins
                    .map(|(c, nonce)| (c.value, c.holder, *nonce))
                    .collect();
                broker.offer_coins(&wanted, today)
            });
            Action::Purchase(offers.await?)
        }
        ask::CERTIFICATES => {
            let ask: AskCertificates = json(&body)?;
            at_most(ask.holders.len())?;
            if let Err(refusal) = keys::count(shared, caller, address, &ask.holders).await? {
                return Ok(Action::Certify(vec![Err(refusal)]));
            }
            let today = (shared.clock)().day();
            let offers = checked(shared, move |broker| {
                let offer = |holder: &PublicKey| broker.offer_key(*holder, today);
                ask.holders.iter().map(offer).collect()
            });
            Action::Certify(offers.await?)
        }
        ask::REDEEM => {
            let ask: AskRedeem = json(&body)?;
            at_most(ask.items.len())?;
            let items = checked(shared, move |broker| {
                let check = |item: &ask::AskRedeemItem| {
                    Presented::read(&broker.public(), &item.path, || {
                        RedeemPart::decode(&item.redeem).map(Tail::Redeem)
                    })
                };
                ask.items.iter().map(check).collect()
            });
            Action::Redeem(items.await?)
        }
        ask::PRESENT => {
            let ask: AskPresent = json(&body)?;
            at_most(ask.items.len())?;
            let items = checked(shared, move |broker| {
                let check = |item: &ask::AskPresentItem| {
                    Presented::read(&broker.public(), &item.path, || {
                        match item.open.as_slice() {
                            [] => Ok(Tail::None),
                            open => OpenSpend::decode(open).map(Tail::Open),
                        }
                    })
                };
                ask.items.iter().map(check).collect()
            });
            Action::Present(items.await?)
        }
        ask::WITHDRAW => {
            let ask: AskWithdraw = json(&body)?;
            Action::Withdraw {
                units: ask.units,
                destination: ask.destination,
            }
        }
        ask::PAYOUT => {
            let ask: AskPayout = json(&body)?;
            Action::Payout(ask.withdrawal)
        }
        ask::PROOF => {
            let ask: AskProof = json(&body)?;
            let broker = shared.broker.public();
            Action::Proof(Box::new(read_proof(&broker, &ask.proof)))
        }
        ask::RECOVER => {
            let ask: AskRecover = json(&body)?;
            Action::Recover(find_page(shared, caller, &ask).await?)
        }
        ask::NOTICES => {
            let ask: AskNotices = json(&body)?;
            Action::Notices {
                after: ask.after,
                limit: ask.limit,
            }
        }
        _ => {
            let ask: AskHolding = json(&body)?;
            Action::Holding(ask.holding)
        }
    })
}

/// A proof whose every signature holds, about a key that this broker certified.
fn read_proof(broker: &PublicKey, bytes: &[u8]) -> Result<FraudProof, Refusal> {
    let proof = FraudProof::decode(bytes);
    let checked = proof.and_then(|proof| proof.verify(&|key| key == broker).map(|_| proof));
    checked.map_err(|fault| {
        Refusal::new(
            RefusalCode::Invalid,
            format!("the proof does not hold: {fault}"),
            "check it with `dpay verify-proof`, and send it to the broker that certified the key",
        )
    })
}

async fn find_page(shared: &Shared, caller: &Caller, ask: &AskRecover) -> Api<Found> {
    let after = ask
        .after
        .as_deref()
        .map_or(Ok(Cursor::Keys(None)), str::parse);
    match after {
        Ok(after) if (1..=MAX_PAGE).contains(&ask.limit) => {
            let store = shared.store.as_ref();
            Ok(page_of(store, &caller.account, after, ask.limit).await?)
        }
        _ => Err(ApiError::new(
            StatusCode::BAD_REQUEST,
            format!("a page of {} entries after {:?}", ask.limit, ask.after),
            format!("ask for 1 to {MAX_PAGE}, from the beginning or after what a page said"),
        )),
    }
}

/// Checks and makes signatures off the event loop.
async fn checked<T: Send + 'static>(
    shared: &Arc<Shared>,
    check: impl FnOnce(&Broker) -> T + Send + 'static,
) -> Api<T> {
    let broker = shared.broker.clone();
    let _coming = shared.cashier.coming();
    let done = shared.checkers.run(move || check(&broker)).await;
    done.ok_or_else(ApiError::busy)
}

fn sealed_response(sealed: Sealed) -> Response {
    let status = if sealed.refused {
        StatusCode::CONFLICT
    } else {
        StatusCode::OK
    };
    with_signature(status, sealed.body, &sealed.signature)
}

fn signed_json(shared: &Shared, value: &impl serde::Serialize) -> Api<Response> {
    let body = serde_json::to_vec(value).map_err(|_| ApiError::busy())?;
    let signature = sign_answer(shared.broker.key(), &body);
    Ok(with_signature(StatusCode::OK, body, &signature))
}

fn with_signature(status: StatusCode, body: Vec<u8>, signature: &Signature) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    let json = HeaderValue::from_static("application/json");
    headers.insert(header::CONTENT_TYPE, json);
    if let Ok(value) = HeaderValue::from_str(&signature.to_string()) {
        headers.insert(SIGNATURE_HEADER, value);
    }
    response
}

fn binary(bytes: Bytes) -> Response {
    let kind = [(header::CONTENT_TYPE, "application/octet-stream")];
    (kind, bytes).into_response()
}
