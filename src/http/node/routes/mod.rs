//! The routes of `/api/v1`, each with its place in `openapi.json`.

mod events;
mod node;
mod reports;
mod settings;
mod torrents;
mod wallet;

use axum::Json;
use utoipa_axum::router::OpenApiRouter;

use super::App;
use super::error::Refused;

/// What a route answers.
pub(super) type Answer<T> = Result<Json<T>, Refused>;

/// All routes below `/api/v1`.
pub(super) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .merge(node::router())
        .merge(torrents::router())
        .merge(wallet::router())
        .merge(reports::router())
        .merge(settings::router())
        .merge(events::router())
}
