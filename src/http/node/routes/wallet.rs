//! The wallet, what may be spent, the broker.

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Answer;
use crate::http::node::App;
use crate::http::node::body::{Asked, Body, Named};
use crate::session::view::{
    Bought, BrokerChange, BrokerView, BuyRequest, ChannelRow, DONE, Done, History,
    PassphraseChange, PassphraseGiven, Problem, Receipt, RedeemRequest, Redeemed, Restored,
    SpendingView, WalletBackup, WalletInit, WalletRestore, WalletView, WithdrawRequest, Withdrawn,
    Words, WordsTried, WordsTry,
};

pub(super) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(show, make))
        .routes(routes!(unlock))
        .routes(routes!(buy))
        .routes(routes!(redeem))
        .routes(routes!(withdraw))
        .routes(routes!(history))
        .routes(routes!(receipt))
        .routes(routes!(channels))
        .routes(routes!(words))
        .routes(routes!(try_words))
        .routes(routes!(backup))
        .routes(routes!(restore))
        .routes(routes!(change_passphrase))
        .routes(routes!(spending))
        .routes(routes!(broker, change_broker))
}

/// What the wallet holds.
#[utoipa::path(get, path = "/wallet", tag = "wallet", responses((status = 200, body = WalletView), (status = "default", body = Problem)))]
async fn show(State(app): State<App>) -> Answer<WalletView> {
    Ok(Json(app.session.wallet().await?))
}

/// Make a wallet, or restore one from its words; then the node starts. Only in the stage `setup`.
#[utoipa::path(post, path = "/wallet", tag = "wallet", request_body = WalletInit, responses((status = 200, body = Words), (status = "default", body = Problem)))]
async fn make(State(app): State<App>, Body(init): Body<WalletInit>) -> Answer<Words> {
    Ok(Json(app.session.make_wallet(init).await?))
}

/// Give the passphrase; then the node starts. Only in the stage `locked`.
#[utoipa::path(post, path = "/wallet/unlock", tag = "wallet", request_body = PassphraseGiven, responses((status = 200, body = Done), (status = "default", body = Problem)))]
async fn unlock(State(app): State<App>, Body(given): Body<PassphraseGiven>) -> Answer<Done> {
    app.session.unlock(given).await?;
    Ok(Json(DONE))
}

/// Buy coins for units of the balance at the broker.
#[utoipa::path(post, path = "/wallet/buy", tag = "wallet", request_body = BuyRequest, responses((status = 200, body = Bought), (status = "default", body = Problem)))]
async fn buy(State(app): State<App>, Body(request): Body<BuyRequest>) -> Answer<Bought> {
    Ok(Json(app.session.buy(request).await?))
}

/// Turn what was earned, and change, into balance at the broker.
#[utoipa::path(post, path = "/wallet/redeem", tag = "wallet", request_body = RedeemRequest, responses((status = 200, body = Redeemed), (status = "default", body = Problem)))]
async fn redeem(State(app): State<App>, Body(request): Body<RedeemRequest>) -> Answer<Redeemed> {
    Ok(Json(app.session.redeem(request).await?))
}

/// Take money out of the balance at the broker. The same asked again while it is not answered is one
/// withdrawal.
#[utoipa::path(post, path = "/wallet/withdraw", tag = "wallet", request_body = WithdrawRequest, responses((status = 200, body = Withdrawn), (status = "default", body = Problem)))]
async fn withdraw(
    State(app): State<App>,
    Body(request): Body<WithdrawRequest>,
) -> Answer<Withdrawn> {
    Ok(Json(app.session.withdraw(request).await?))
}

/// How much of the history.
#[derive(Clone, Copy, Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct HistoryQuery {
    /// Most lines, 1 to 1000; 100 unless given.
    limit: Option<u32>,
    /// Lines to leave out, from the newest.
    skip: Option<u32>,
}

/// What was bought, paid, earned and redeemed.
#[utoipa::path(get, path = "/wallet/history", tag = "wallet", params(HistoryQuery), responses((status = 200, body = History), (status = "default", body = Problem)))]
async fn history(State(app): State<App>, Asked(query): Asked<HistoryQuery>) -> Answer<History> {
    let (limit, skip) = (query.limit.unwrap_or(100), query.skip.unwrap_or(0));
    Ok(Json(app.session.history(limit, skip).await?))
}

/// A receipt.
#[utoipa::path(get, path = "/wallet/receipts/{reference}", tag = "wallet", params(("reference" = String, Path)), responses((status = 200, body = Receipt), (status = "default", body = Problem)))]
async fn receipt(State(app): State<App>, Named(reference): Named<String>) -> Answer<Receipt> {
    Ok(Json(app.session.receipt(&reference).await?))
}

/// All channels that are not settled.
#[utoipa::path(get, path = "/wallet/channels", tag = "wallet", responses((status = 200, body = Vec<ChannelRow>), (status = "default", body = Problem)))]
async fn channels(State(app): State<App>) -> Answer<Vec<ChannelRow>> {
    Ok(Json(app.session.channels(None).await?))
}

/// The wallet's words, for whoever knows the passphrase.
#[utoipa::path(post, path = "/wallet/words", tag = "wallet", request_body = PassphraseGiven, responses((status = 200, body = Words), (status = "default", body = Problem)))]
async fn words(State(app): State<App>, Body(given): Body<PassphraseGiven>) -> Answer<Words> {
    Ok(Json(app.session.words(given).await?))
}

/// Try whether words would restore this wallet; nothing is changed.
#[utoipa::path(post, path = "/wallet/words/try", tag = "wallet", request_body = WordsTry, responses((status = 200, body = WordsTried), (status = "default", body = Problem)))]
async fn try_words(State(app): State<App>, Body(tried): Body<WordsTry>) -> Answer<WordsTried> {
    Ok(Json(app.session.try_words(&tried).await?))
}

/// A backup of the wallet, sealed under its passphrase, for whoever knows that.
#[utoipa::path(post, path = "/wallet/backup", tag = "wallet", request_body = PassphraseGiven, responses((status = 200, body = WalletBackup), (status = "default", body = Problem)))]
async fn backup(
    State(app): State<App>,
    Body(given): Body<PassphraseGiven>,
) -> Answer<WalletBackup> {
    Ok(Json(app.session.backup(given).await?))
}

/// Make the wallet again from a backup; then the node starts. Only in the stage `setup`: no wallet is ever written over.
#[utoipa::path(post, path = "/wallet/restore", tag = "wallet", request_body = WalletRestore, responses((status = 200, body = Restored), (status = "default", body = Problem)))]
async fn restore(State(app): State<App>, Body(given): Body<WalletRestore>) -> Answer<Restored> {
    Ok(Json(app.session.restore(given).await?))
}

/// Give the wallet another passphrase. Backups that were made before still open with the old one.
#[utoipa::path(put, path = "/wallet/passphrase", tag = "wallet", request_body = PassphraseChange, responses((status = 200, body = Done), (status = "default", body = Problem)))]
async fn change_passphrase(
    State(app): State<App>,
    Body(change): Body<PassphraseChange>,
) -> Answer<Done> {
    app.session.change_passphrase(change).await?;
    Ok(Json(DONE))
}

/// Budgets and how far they are used.
#[utoipa::path(get, path = "/spending", tag = "wallet", responses((status = 200, body = SpendingView), (status = "default", body = Problem)))]
async fn spending(State(app): State<App>) -> Answer<SpendingView> {
    Ok(Json(app.session.spending()?))
}

/// The broker.
#[utoipa::path(get, path = "/broker", tag = "wallet", responses((status = 200, body = BrokerView), (status = "default", body = Problem)))]
async fn broker(State(app): State<App>) -> Answer<BrokerView> {
    Ok(Json(app.session.broker().await))
}

/// Name the broker: it must answer, and be the same that the wallet knows. Kept as the setting
/// `broker.url`.
#[utoipa::path(put, path = "/broker", tag = "wallet", request_body = BrokerChange, responses((status = 200, body = BrokerView), (status = "default", body = Problem)))]
async fn change_broker(
    State(app): State<App>,
    Body(change): Body<BrokerChange>,
) -> Answer<BrokerView> {
    Ok(Json(app.session.change_broker(change).await?))
}
