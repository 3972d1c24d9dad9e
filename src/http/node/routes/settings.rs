//! Settings.

use axum::Json;
use axum::extract::State;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Answer;
use crate::http::node::App;
use crate::http::node::body::Body;
use crate::session::view::Problem;
use crate::session::view::settings::{SettingList, SettingsChange};

pub(super) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list, change))
}

/// All settings: spending and seeding policy, rate limits, rules, folders, and the rest.
#[utoipa::path(get, path = "/settings", tag = "settings", responses((status = 200, body = SettingList), (status = "default", body = Problem)))]
async fn list(State(app): State<App>) -> Answer<SettingList> {
    Ok(Json(app.session.setting_list()))
}

/// Change settings: an object of key to value, null for the default.
#[utoipa::path(patch, path = "/settings", tag = "settings", request_body = SettingsChange, responses((status = 200, body = SettingList), (status = "default", body = Problem)))]
async fn change(State(app): State<App>, Body(change): Body<SettingsChange>) -> Answer<SettingList> {
    Ok(Json(app.session.change_settings(change).await?))
}
