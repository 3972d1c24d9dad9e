//! Earnings and spending.

use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Answer;
use crate::http::node::App;
use crate::http::node::body::{Asked, Named};
use crate::http::node::error::Refused;
use crate::report::{By, Kind, Range, file_name};
use crate::session::view::Problem;
use crate::session::view::report::{Report, ReportReceipts};

pub(super) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(report))
        .routes(routes!(csv))
        .routes(routes!(receipts))
}

/// Which lines of a report.
#[derive(Clone, Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct ReportQuery {
    /// How lines are gathered: day unless given.
    #[serde(default)]
    by: By,
    /// The first day, YYYY-MM-DD.
    since: Option<String>,
    /// The last day, YYYY-MM-DD.
    until: Option<String>,
}

/// A report.
#[utoipa::path(get, path = "/reports/{kind}", tag = "reports", params(("kind" = Kind, Path), ReportQuery), responses((status = 200, body = Report), (status = "default", body = Problem)))]
async fn report(
    State(app): State<App>,
    Named(kind): Named<Kind>,
    Asked(query): Asked<ReportQuery>,
) -> Answer<Report> {
    let (since, until) = (query.since.as_deref(), query.until.as_deref());
    Ok(Json(
        app.session.report(kind, query.by, since, until).await?,
    ))
}

/// The same as a CSV file; cells that a spreadsheet would take for formulas are neutralised.
#[utoipa::path(get, path = "/reports/{kind}/csv", tag = "reports", params(("kind" = Kind, Path), ReportQuery), responses((status = 200, body = String, content_type = "text/csv"), (status = "default", body = Problem)))]
async fn csv(
    State(app): State<App>,
    Named(kind): Named<Kind>,
    Asked(query): Asked<ReportQuery>,
) -> Result<Response, Refused> {
    let (since, until) = (query.since.as_deref(), query.until.as_deref());
    let text = app.session.report_csv(kind, query.by, since, until).await?;
    let range = Range::parse(since, until).unwrap_or_default();
    let name = format!(
        "attachment; filename=\"{}\"",
        file_name(kind, query.by, range)
    );
    let headers = [
        (header::CONTENT_TYPE, "text/csv; charset=utf-8".to_owned()),
        (header::CONTENT_DISPOSITION, name),
    ];
    Ok((headers, text).into_response())
}

/// Which line's receipts.
#[derive(Clone, Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct ReceiptsQuery {
    /// How lines are gathered.
    #[serde(default)]
    by: By,
    /// The line's key; none: the receipts behind the sum.
    key: Option<String>,
    /// The first day, YYYY-MM-DD.
    since: Option<String>,
    /// The last day, YYYY-MM-DD.
    until: Option<String>,
}

/// The receipts behind a line, or behind the sum.
#[utoipa::path(get, path = "/reports/{kind}/receipts", tag = "reports", params(("kind" = Kind, Path), ReceiptsQuery), responses((status = 200, body = ReportReceipts), (status = "default", body = Problem)))]
async fn receipts(
    State(app): State<App>,
    Named(kind): Named<Kind>,
    Asked(query): Asked<ReceiptsQuery>,
) -> Answer<ReportReceipts> {
    let (since, until) = (query.since.as_deref(), query.until.as_deref());
    let behind = app
        .session
        .report_receipts(kind, query.by, query.key.as_deref(), since, until);
    Ok(Json(behind.await?))
}
