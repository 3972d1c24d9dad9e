//! `openapi.json`, made from the routes themselves.

use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;

use super::{App, routes};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "DPay node",
        description = "A node's API, for the page that it serves, for `dpay` commands and for programs. \
Log in with the cookie that POST /api/v1/login sets, or send the token of the file `api.token` in the \
node's home as `authorization: Bearer TOKEN`. Requests that change something take JSON only.",
        license(name = "MIT OR Apache-2.0")
    ),
    tags(
        (name = "node", description = "The node itself, logging in, the play world"),
        (name = "torrents", description = "Torrents"),
        (name = "wallet", description = "Wallet, budgets, broker"),
        (name = "reports", description = "Earnings and spending"),
        (name = "settings", description = "Settings"),
        (name = "events", description = "Events, notices, speeds, log")
    )
)]
struct Api;

/// The routes below `/api/v1`, with their description.
pub(super) fn api() -> OpenApiRouter<App> {
    OpenApiRouter::with_openapi(Api::openapi()).nest("/api/v1", routes::router())
}

/// `openapi.json`, as it is checked in.
#[must_use]
pub fn document() -> String {
    let (_, document) = api().split_for_parts();
    let mut text = document.to_pretty_json().unwrap_or_default();
    text.push('\n');
    text
}
