//! `/metrics`: figures for Prometheus, in its text format.

use std::fmt::Write as _;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};

use super::App;
use crate::session::view::State as TorrentState;

/// What the node can be watched by.
pub(super) async fn metrics(State(app): State<App>) -> Response {
    let mut text = String::new();
    let mut figure = |name: &str, kind: &str, help: &str, value: f64| {
        let _ = write!(
            text,
            "# HELP dpay_{name} {help}\n# TYPE dpay_{name} {kind}\ndpay_{name} {value}\n"
        );
    };
    if let Ok(wallet) = app.session.wallet().await {
        let units = |units: crate::units::Units| units.0 as f64;
        figure(
            "units_available",
            "gauge",
            "Units in coins at hand.",
            units(wallet.available) + units(wallet.unread),
        );
        figure(
            "units_locked",
            "gauge",
            "Units in channels.",
            units(wallet.locked),
        );
        figure(
            "units_redeemable",
            "gauge",
            "Units earned, to be redeemed.",
            units(wallet.earned),
        );
        figure(
            "units_paid_total",
            "counter",
            "Units ever paid.",
            units(wallet.total_paid),
        );
        figure(
            "units_earned_total",
            "counter",
            "Units ever earned.",
            units(wallet.total_earned),
        );
        figure(
            "units_bought_total",
            "counter",
            "Units ever bought.",
            units(wallet.total_bought),
        );
        figure(
            "units_redeemed_total",
            "counter",
            "Units ever redeemed.",
            units(wallet.total_redeemed),
        );
        let agree = f64::from(u8::from(wallet.books_agree));
        figure(
            "books_agree",
            "gauge",
            "1 where what came in and went out is what is held.",
            agree,
        );
    }
    if let Ok(list) = app.session.list() {
        let rows = &list.torrents;
        let count = |state: TorrentState| rows.iter().filter(|row| row.state == state).count();
        let sum =
            |of: fn(&crate::session::view::TorrentRow) -> u64| rows.iter().map(of).sum::<u64>();
        figure(
            "torrents",
            "gauge",
            "Torrents in the list.",
            rows.len() as f64,
        );
        let states = [
            (
                "torrents_downloading",
                "Torrents that are fetched.",
                TorrentState::Downloading,
            ),
            (
                "torrents_seeding",
                "Torrents that are complete and serve.",
                TorrentState::Seeding,
            ),
            (
                "torrents_queued",
                "Torrents that wait until fewer download at once.",
                TorrentState::Queued,
            ),
            (
                "torrents_paused",
                "Torrents that stand still.",
                TorrentState::Paused,
            ),
            (
                "torrents_failed",
                "Torrents that a failure stopped.",
                TorrentState::Failed,
            ),
        ];
        for (name, help, state) in states {
            figure(name, "gauge", help, count(state) as f64);
        }
        let down = sum(|row| row.downloaded_bytes) as f64;
        let up = sum(|row| row.uploaded_bytes) as f64;
        figure(
            "downloaded_bytes_total",
            "counter",
            "Payload ever received.",
            down,
        );
        figure("uploaded_bytes_total", "counter", "Payload ever sent.", up);
    }
    if let Some(pulse) = app.session.speeds().pulses.last() {
        let (down, up) = (pulse.down_bytes_per_s as f64, pulse.up_bytes_per_s as f64);
        figure(
            "download_bytes_per_second",
            "gauge",
            "Payload coming in.",
            down,
        );
        figure("upload_bytes_per_second", "gauge", "Payload going out.", up);
        figure("peers", "gauge", "Connected peers.", f64::from(pulse.peers));
    }
    (
        [(
            header::CONTENT_TYPE,
            "text/plain; version=0.0.4; charset=utf-8",
        )],
        text,
    )
        .into_response()
}
