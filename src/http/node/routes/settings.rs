//! Settings.

use std::net::SocketAddr;

use axum::Json;
use axum::extract::State;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Answer;
use crate::http::node::App;
use crate::http::node::body::Body;
use crate::session::view::settings::{SettingList, SettingsChange};
use crate::session::view::{Advice, Problem, ProblemCode};

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
    refuse_open_door(&app, &change)?;
    Ok(Json(app.session.change_settings(change).await?))
}

/// An address that others reach needs a password: the node would not start with it.
fn refuse_open_door(app: &App, change: &SettingsChange) -> Result<(), Problem> {
    const KEY: &str = "web.listen";
    let address = change.0.get(KEY).and_then(|value| value.as_str());
    let address = address.and_then(|text| text.parse::<SocketAddr>().ok());
    match address.filter(|address| !address.ip().is_loopback()) {
        Some(address) if !app.logins.has_password() => Err(Problem::new(
            ProblemCode::BadSetting,
            format!("{KEY} cannot be {address}: others can reach it, and there is no password"),
            Advice::PasswordFirst,
        )
        .about(format_args!("{KEY} = {address}"))),
        _ => Ok(()),
    }
}
