//! The node itself: its state, logging in and out, the play world, stopping.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Answer;
use crate::http::node::App;
use crate::http::node::body::Body;
use crate::http::node::error::Refused;
use crate::http::node::guard::cookie;
use crate::http::node::login::COOKIE_S;
use crate::session::view::{
    Advice, DONE, Done, Login, LoginCode, NodeView, PasswordChange, PlayView, Problem, ProblemCode,
};

pub(super) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(state))
        .routes(routes!(log_in, log_out))
        .routes(routes!(login_code))
        .routes(routes!(set_password))
        .routes(routes!(play, stop_playing, look_at_play))
        .routes(routes!(stop))
}

/// How far the node is.
#[utoipa::path(get, path = "/node", tag = "node", responses((status = 200, body = NodeView), (status = "default", body = Problem)))]
async fn state(State(app): State<App>) -> Answer<NodeView> {
    Ok(Json(app.session.node_view_now().await))
}

/// Log a browser in: sets the cookie. Needs no login, of course.
#[utoipa::path(post, path = "/login", tag = "node", request_body = Login, responses((status = 200, body = Done), (status = "default", body = Problem)))]
async fn log_in(State(app): State<App>, Body(login): Body<Login>) -> Result<Response, Refused> {
    let cookie = match (login.code, login.password) {
        (Some(code), None) => app.logins.by_code(&code)?,
        (None, Some(password)) => {
            // Guessing costs time; it must not cost the others theirs.
            let logins = Arc::clone(&app.logins);
            let checked = tokio::task::spawn_blocking(move || logins.by_password(&password));
            checked.await.map_err(|_| broke_off())??
        }
        _ => {
            return Err(Refused(Problem::new(
                ProblemCode::BadRequest,
                "give a code or a password, one of them",
                Advice::SeeApi,
            )));
        }
    };
    Ok(with_cookie(&app, &cookie))
}

fn with_cookie(app: &App, cookie: &str) -> Response {
    let set = set_cookie(app, cookie, COOKIE_S);
    ([(header::SET_COOKIE, set)], Json(DONE)).into_response()
}

fn set_cookie(app: &App, value: &str, for_s: u64) -> String {
    let name = app.logins.cookie_name();
    format!("{name}={value}; Path=/; HttpOnly; SameSite=Strict; Max-Age={for_s}")
}

/// Log this browser out.
#[utoipa::path(delete, path = "/login", tag = "node", responses((status = 200, body = Done), (status = "default", body = Problem)))]
async fn log_out(State(app): State<App>, headers: HeaderMap) -> Result<Response, Refused> {
    if let Some(value) = cookie(&app, &headers) {
        app.logins.log_out(&value);
    }
    let gone = set_cookie(&app, "", 0);
    Ok(([(header::SET_COOKIE, gone)], Json(DONE)).into_response())
}

/// A link that logs a browser in, once.
#[utoipa::path(post, path = "/login/code", tag = "node", responses((status = 200, body = LoginCode), (status = "default", body = Problem)))]
async fn login_code(State(app): State<App>) -> Answer<LoginCode> {
    Ok(Json(app.login_code()))
}

/// Set or take away the password; everybody else is logged out.
#[utoipa::path(put, path = "/login/password", tag = "node", request_body = PasswordChange, responses((status = 200, body = Done), (status = "default", body = Problem)))]
async fn set_password(
    State(app): State<App>,
    headers: HeaderMap,
    Body(change): Body<PasswordChange>,
) -> Result<Response, Refused> {
    let logins = Arc::clone(&app.logins);
    let work = move || logins.set_password(change.password.as_deref());
    let set = tokio::task::spawn_blocking(work).await;
    let own = set.map_err(|_| broke_off())??;
    // The browser that did it stays logged in; a program has its token.
    Ok(match cookie(&app, &headers) {
        Some(_) => with_cookie(&app, &own),
        None => Json(DONE).into_response(),
    })
}

/// How far the play world is.
#[utoipa::path(get, path = "/play", tag = "node", responses((status = 200, body = PlayView), (status = "default", body = Problem)))]
async fn look_at_play(State(app): State<App>) -> Answer<PlayView> {
    Ok(Json(app.session.play_view()))
}

/// Start the play world: returns at once; events of type `state` tell how far it is.
#[utoipa::path(post, path = "/play", tag = "node", responses((status = 200, body = PlayView), (status = "default", body = Problem)))]
async fn play(State(app): State<App>) -> Answer<PlayView> {
    Ok(Json(app.session.play()?))
}

/// Take the play world down and go back to the real wallet.
#[utoipa::path(delete, path = "/play", tag = "node", responses((status = 200, body = PlayView), (status = "default", body = Problem)))]
async fn stop_playing(State(app): State<App>) -> Answer<PlayView> {
    Ok(Json(app.session.stop_playing()?))
}

/// Stop the node in order: channels are closed first.
#[utoipa::path(post, path = "/node/stop", tag = "node", responses((status = 200, body = Done), (status = "default", body = Problem)))]
async fn stop(State(app): State<App>) -> Answer<Done> {
    app.session.ask_to_stop();
    Ok(Json(DONE))
}

fn broke_off() -> Refused {
    Refused(Problem::new(
        ProblemCode::Internal,
        "the check broke off",
        Advice::TryAgain,
    ))
}
