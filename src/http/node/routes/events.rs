//! The stream of events, notices, speeds, the log.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use axum::response::{IntoResponse, Response, sse};
use futures::StreamExt;
use serde::Deserialize;
use tokio::sync::broadcast::error::RecvError;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Answer;
use crate::http::node::App;
use crate::http::node::body::Asked;
use crate::http::node::error::Refused;
use crate::http::node::guard;
use crate::session::view::event::{Event, Log, Notices};
use crate::session::view::{Problem, SpeedHistory};

pub(super) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(events))
        .routes(routes!(notices))
        .routes(routes!(speeds))
        .routes(routes!(logs))
}

/// What happens, as it happens (server-sent events; each `data` is an `Event`).
#[utoipa::path(get, path = "/events", tag = "events", responses((status = 200, body = Event, content_type = "text/event-stream"), (status = "default", body = Problem)))]
async fn events(State(app): State<App>, headers: HeaderMap) -> Result<Response, Refused> {
    let first = Event::State(Box::new(app.session.node_view_now().await));
    let first = futures::stream::once(async move { first });
    let events = app.session.events();
    let (stopped, logins) = (app.stop.clone(), app.logins.ended());
    // Whoever came by a cookie sees no more once it is taken back.
    let cookie = match headers.contains_key(AUTHORIZATION) {
        true => None,
        false => guard::cookie(&app, &headers),
    };
    let is_out = move || (cookie.as_ref()).is_some_and(|value| !app.logins.is_cookie(value));
    let open = (events, logins, is_out);
    let later = futures::stream::unfold(open, |(mut events, mut logins, is_out)| async move {
        let event = loop {
            tokio::select! {
                event = events.recv() => match event {
                    Ok(event) => break event,
                    Err(RecvError::Lagged(_)) => break Event::Reload,
                    Err(RecvError::Closed) => return None,
                },
                ended = logins.changed() => if ended.is_err() || is_out() {
                    return None;
                },
            }
        };
        Some((event, (events, logins, is_out)))
    });
    let later = later.take_until(stopped.cancelled_owned());
    let stream = first.chain(later).map(|event| {
        let name = event_name(&event);
        sse::Event::default().event(name).json_data(event)
    });
    let alive = sse::KeepAlive::new().interval(KEEP_ALIVE);
    Ok(sse::Sse::new(stream).keep_alive(alive).into_response())
}

/// Notices of this run.
#[utoipa::path(get, path = "/notices", tag = "events", responses((status = 200, body = Notices), (status = "default", body = Problem)))]
async fn notices(State(app): State<App>) -> Answer<Notices> {
    Ok(Json(app.session.notices()))
}

/// Speeds of the last minutes, for the graph.
#[utoipa::path(get, path = "/speeds", tag = "events", responses((status = 200, body = SpeedHistory), (status = "default", body = Problem)))]
async fn speeds(State(app): State<App>) -> Answer<SpeedHistory> {
    Ok(Json(app.session.speeds()))
}

/// Which lines of the log.
#[derive(Clone, Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct LogQuery {
    /// Lines after the one with this id.
    after: Option<u64>,
    /// Most lines, 1 to 2000; the newest 500 unless given.
    limit: Option<u32>,
}

/// The end of the log.
#[utoipa::path(get, path = "/logs", tag = "events", params(LogQuery), responses((status = 200, body = Log), (status = "default", body = Problem)))]
async fn logs(State(app): State<App>, Asked(query): Asked<LogQuery>) -> Answer<Log> {
    let limit = query.limit.unwrap_or(500).clamp(1, 2000);
    let lines = app
        .session
        .book()
        .tail(query.after.unwrap_or(0), limit as usize, None);
    Ok(Json(Log { lines }))
}

/// A comment so often keeps the connection from looking dead.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

const fn event_name(event: &Event) -> &'static str {
    match event {
        Event::Pulse(_) => "pulse",
        Event::Torrents { .. } => "torrents",
        Event::Wallet(_) => "wallet",
        Event::State(_) => "state",
        Event::Many(_) => "many",
        Event::Notice(_) => "notice",
        Event::Reload => "reload",
    }
}
