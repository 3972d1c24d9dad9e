//! Torrents: list, add, estimate, terms, files, pieces, peers, channels, trackers, log.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Answer;
use crate::http::node::App;
use crate::http::node::body::{Body, Named};
use crate::http::node::error::{Hash, Refused, hash};
use crate::session::view::event::Log;
use crate::session::view::{
    ActionRequest, ActionResult, AddRequest, Added, ChannelRow, Estimate, FileChoice, FileRow,
    FilesChosen, LabelRequest, ManyRequest, ManyView, MorePeers, MoreTrackers, NewCount, PeerRow,
    PieceMap, Problem, Terms, TermsChange, TermsOf, TermsRequest, TorrentDetail, TorrentList,
    TrackerRow,
};

pub(super) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list, add))
        .routes(routes!(add_many, many, forget_many))
        .routes(routes!(many_again))
        .routes(routes!(act))
        .routes(routes!(label))
        .routes(routes!(terms_of_all, change_terms_of_many))
        .routes(routes!(one))
        .routes(routes!(change_terms))
        .routes(routes!(estimate))
        .routes(routes!(files, choose_files))
        .routes(routes!(stream))
        .routes(routes!(pieces))
        .routes(routes!(peers, add_peers))
        .routes(routes!(channels))
        .routes(routes!(trackers, add_trackers))
        .routes(routes!(log))
}

/// All torrents.
#[utoipa::path(get, path = "/torrents", tag = "torrents", responses((status = 200, body = TorrentList), (status = "default", body = Problem)))]
async fn list(State(app): State<App>) -> Result<Response, Refused> {
    let json = [(header::CONTENT_TYPE, "application/json")];
    Ok((json, app.session.list_json()?).into_response())
}

/// Add a torrent.
#[utoipa::path(post, path = "/torrents", tag = "torrents", request_body = AddRequest, responses((status = 200, body = Added), (status = "default", body = Problem)))]
async fn add(State(app): State<App>, Body(request): Body<AddRequest>) -> Answer<Added> {
    Ok(Json(app.session.add(request).await?))
}

/// Give many torrents one answer: new ones, and some that wait for a yes. They are kept when this answers, and worked
/// off four at a time; events of type `many` tell how far it is.
#[utoipa::path(post, path = "/torrents/many", tag = "torrents", request_body = ManyRequest, responses((status = 200, body = ManyView), (status = "default", body = Problem)))]
async fn add_many(State(app): State<App>, Body(request): Body<ManyRequest>) -> Answer<ManyView> {
    Ok(Json(app.session.add_many(request).await?))
}

/// How far that is.
#[utoipa::path(get, path = "/torrents/many", tag = "torrents", responses((status = 200, body = ManyView), (status = "default", body = Problem)))]
async fn many(State(app): State<App>) -> Answer<ManyView> {
    Ok(Json(app.session.many()?))
}

/// Forget those of them that were refused.
#[utoipa::path(delete, path = "/torrents/many", tag = "torrents", responses((status = 200, body = ManyView), (status = "default", body = Problem)))]
async fn forget_many(State(app): State<App>) -> Answer<ManyView> {
    Ok(Json(app.session.forget_many().await?))
}

/// Try those of them once more that were refused.
#[utoipa::path(post, path = "/torrents/many/again", tag = "torrents", responses((status = 200, body = ManyView), (status = "default", body = Problem)))]
async fn many_again(State(app): State<App>) -> Answer<ManyView> {
    Ok(Json(app.session.many_again()?))
}

/// Pause, resume, remove, confirm: one or many.
#[utoipa::path(post, path = "/torrents/actions", tag = "torrents", request_body = ActionRequest, responses((status = 200, body = ActionResult), (status = "default", body = Problem)))]
async fn act(State(app): State<App>, Body(request): Body<ActionRequest>) -> Answer<ActionResult> {
    Ok(Json(app.session.act(request).await?))
}

/// Give torrents a label, or take it away: one or many. There may be 100 labels.
#[utoipa::path(put, path = "/torrents/label", tag = "torrents", request_body = LabelRequest, responses((status = 200, body = ActionResult), (status = "default", body = Problem)))]
async fn label(State(app): State<App>, Body(request): Body<LabelRequest>) -> Answer<ActionResult> {
    Ok(Json(app.session.label(request).await?))
}

/// What each torrent costs and may cost.
#[utoipa::path(get, path = "/torrents/terms", tag = "torrents", responses((status = 200, body = Vec<TermsOf>), (status = "default", body = Problem)))]
async fn terms_of_all(State(app): State<App>) -> Answer<Vec<TermsOf>> {
    Ok(Json(app.session.terms_of_all()?))
}

/// Change what some torrents cost and may cost.
#[utoipa::path(patch, path = "/torrents/terms", tag = "torrents", request_body = TermsRequest, responses((status = 200, body = ActionResult), (status = "default", body = Problem)))]
async fn change_terms_of_many(
    State(app): State<App>,
    Body(request): Body<TermsRequest>,
) -> Answer<ActionResult> {
    Ok(Json(app.session.change_terms_of_many(request).await?))
}

/// One torrent in full.
#[utoipa::path(get, path = "/torrents/{info_hash}", tag = "torrents", params(("info_hash" = String, Path)), responses((status = 200, body = TorrentDetail), (status = "default", body = Problem)))]
async fn one(State(app): State<App>, Hash(hash): Hash) -> Answer<TorrentDetail> {
    Ok(Json(app.session.detail(hash)?))
}

/// Change what it costs and may cost.
#[utoipa::path(patch, path = "/torrents/{info_hash}/terms", tag = "torrents", params(("info_hash" = String, Path)), request_body = TermsChange, responses((status = 200, body = Terms), (status = "default", body = Problem)))]
async fn change_terms(
    State(app): State<App>,
    Hash(hash): Hash,
    Body(change): Body<TermsChange>,
) -> Answer<Terms> {
    Ok(Json(app.session.change_terms(hash, change).await?))
}

/// What it may cost, as far as is known by now; ask again for more prices.
#[utoipa::path(get, path = "/torrents/{info_hash}/estimate", tag = "torrents", params(("info_hash" = String, Path)), responses((status = 200, body = Estimate), (status = "default", body = Problem)))]
async fn estimate(State(app): State<App>, Hash(hash): Hash) -> Answer<Estimate> {
    Ok(Json(app.session.estimate(hash).await?))
}

/// Its files.
#[utoipa::path(get, path = "/torrents/{info_hash}/files", tag = "torrents", params(("info_hash" = String, Path)), responses((status = 200, body = Vec<FileRow>), (status = "default", body = Problem)))]
async fn files(State(app): State<App>, Hash(hash): Hash) -> Answer<Vec<FileRow>> {
    Ok(Json(app.session.files(hash)?))
}

/// Choose the files to download.
#[utoipa::path(put, path = "/torrents/{info_hash}/files", tag = "torrents", params(("info_hash" = String, Path)), request_body = FileChoice, responses((status = 200, body = FilesChosen), (status = "default", body = Problem)))]
async fn choose_files(
    State(app): State<App>,
    Hash(hash): Hash,
    Body(choice): Body<FileChoice>,
) -> Answer<FilesChosen> {
    Ok(Json(app.session.choose_files(hash, choice).await?))
}

/// A file's bytes, also while it is being downloaded: what is asked for is fetched first. Takes a
/// `Range`. Of a file that is not chosen nothing is fetched: it is refused, unless it is whole.
#[utoipa::path(get, path = "/torrents/{info_hash}/files/{index}/stream", tag = "torrents", params(("info_hash" = String, Path), ("index" = u32, Path)), responses((status = 200, description = "The whole file", content_type = "application/octet-stream"), (status = 206, description = "The range asked for", content_type = "application/octet-stream"), (status = "default", body = Problem)))]
async fn stream(
    State(app): State<App>,
    Named((text, index)): Named<(String, u32)>,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    let file = (hash(&text)?, index);
    crate::http::node::stream::answer(app.session, file, &headers).await
}

/// Which pieces are there.
#[utoipa::path(get, path = "/torrents/{info_hash}/pieces", tag = "torrents", params(("info_hash" = String, Path)), responses((status = 200, body = PieceMap), (status = "default", body = Problem)))]
async fn pieces(State(app): State<App>, Hash(hash): Hash) -> Answer<PieceMap> {
    Ok(Json(app.session.pieces(hash)?))
}

/// Its connected peers.
#[utoipa::path(get, path = "/torrents/{info_hash}/peers", tag = "torrents", params(("info_hash" = String, Path)), responses((status = 200, body = Vec<PeerRow>), (status = "default", body = Problem)))]
async fn peers(State(app): State<App>, Hash(hash): Hash) -> Answer<Vec<PeerRow>> {
    Ok(Json(app.session.peers(hash)?))
}

/// Add peers to it, unless it is private. Its connections are made anew.
#[utoipa::path(post, path = "/torrents/{info_hash}/peers", tag = "torrents", params(("info_hash" = String, Path)), request_body = MorePeers, responses((status = 200, body = NewCount), (status = "default", body = Problem)))]
async fn add_peers(
    State(app): State<App>,
    Hash(hash): Hash,
    Body(more): Body<MorePeers>,
) -> Answer<NewCount> {
    Ok(Json(app.session.add_peers(hash, more).await?))
}

/// Its channels that are not settled.
#[utoipa::path(get, path = "/torrents/{info_hash}/channels", tag = "torrents", params(("info_hash" = String, Path)), responses((status = 200, body = Vec<ChannelRow>), (status = "default", body = Problem)))]
async fn channels(State(app): State<App>, Hash(hash): Hash) -> Answer<Vec<ChannelRow>> {
    Ok(Json(app.session.channels(Some(hash)).await?))
}

/// Its trackers.
#[utoipa::path(get, path = "/torrents/{info_hash}/trackers", tag = "torrents", params(("info_hash" = String, Path)), responses((status = 200, body = Vec<TrackerRow>), (status = "default", body = Problem)))]
async fn trackers(State(app): State<App>, Hash(hash): Hash) -> Answer<Vec<TrackerRow>> {
    Ok(Json(app.session.trackers(hash)?))
}

/// Add trackers to it; of a private torrent the one that was added last is asked. Its connections are made anew.
#[utoipa::path(post, path = "/torrents/{info_hash}/trackers", tag = "torrents", params(("info_hash" = String, Path)), request_body = MoreTrackers, responses((status = 200, body = NewCount), (status = "default", body = Problem)))]
async fn add_trackers(
    State(app): State<App>,
    Hash(hash): Hash,
    Body(more): Body<MoreTrackers>,
) -> Answer<NewCount> {
    Ok(Json(app.session.add_trackers(hash, more).await?))
}

/// Its part of the log.
#[utoipa::path(get, path = "/torrents/{info_hash}/log", tag = "torrents", params(("info_hash" = String, Path)), responses((status = 200, body = Log), (status = "default", body = Problem)))]
async fn log(State(app): State<App>, Hash(hash): Hash) -> Answer<Log> {
    Ok(Json(app.session.log_of(hash)?))
}
