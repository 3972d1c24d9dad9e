//! What keeps other sites, other names and other people out. Every request passes here.
//!
//! - **Host**: an address or `localhost`, or a name of the setting `web.hosts`. A name that an
//!   attacker points at this machine (DNS rebinding) is none of them.
//! - **Origin, Sec-Fetch-Site**: what changes something, and anything of the API that a browser asks
//!   for on behalf of another site, is refused; with a cookie one of the two must be there.
//! - **Content type**: JSON, which no form can send.
//! - **Who**: the token of the file, or a cookie that was given out.

use std::net::IpAddr;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::App;
use super::body::{is_json, not_json};
use super::error::Refused;
use crate::session::view::{Advice, Problem, ProblemCode};

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
/// What a page of ours may load and do: only what comes from here.
const POLICY: &str = "default-src 'self'; img-src 'self' data:; object-src 'none'; \
base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

/// Lets a request pass or refuses it, and gives each answer its headers.
pub(super) async fn guard(State(app): State<App>, request: Request, next: Next) -> Response {
    let in_api = request.uri().path().starts_with("/api/");
    let mut response = match check(&app, &request) {
        Ok(()) => next.run(request).await,
        Err(problem) => Refused(problem).into_response(),
    };
    let headers = response.headers_mut();
    let mut put = |name: HeaderName, value: &'static str| {
        headers
            .entry(name)
            .or_insert(HeaderValue::from_static(value));
    };
    put(header::CONTENT_SECURITY_POLICY, POLICY);
    put(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    put(header::X_FRAME_OPTIONS, "DENY");
    put(header::REFERRER_POLICY, "no-referrer");
    put(
        HeaderName::from_static("cross-origin-opener-policy"),
        "same-origin",
    );
    put(
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    );
    if in_api {
        put(header::CACHE_CONTROL, "no-store");
        // So that a page that was loaded from an older node sees that it is older.
        let name = HeaderName::from_static("dpay-page");
        headers.insert(name, super::page::NAME.clone());
    }
    response
}

fn forbidden(error: String, advice: Advice) -> Problem {
    Problem::new(ProblemCode::Forbidden, error, advice)
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name).map(|value| value.to_str().unwrap_or("?"))
}

fn check(app: &App, request: &Request) -> Result<(), Problem> {
    let (headers, path) = (request.headers(), request.uri().path());
    let host = host(request);
    if !is_our_host(&host, &app.hosts()) {
        return Err(forbidden(
            format!("this node does not go by the name {host:?}"),
            Advice::AskByAddress,
        ));
    }
    let protected = path.starts_with("/api/") || path == "/metrics";
    if !protected || path == "/api/v1/openapi.json" {
        return Ok(());
    }
    let changes = !matches!(*request.method(), Method::GET | Method::HEAD);
    let fetch_site = text(headers, &SEC_FETCH_SITE);
    let origin = text(headers, &header::ORIGIN);
    check_site(&host, fetch_site, origin)?;
    if matches!(
        *request.method(),
        Method::POST | Method::PUT | Method::PATCH
    ) {
        let content_type = text(headers, &header::CONTENT_TYPE);
        if !is_json(content_type) {
            return Err(not_json(content_type));
        }
    }
    if path == "/api/v1/login" && *request.method() == Method::POST {
        return Ok(());
    }
    let bearer =
        text(headers, &header::AUTHORIZATION).and_then(|text| text.strip_prefix("Bearer "));
    if bearer.is_some_and(|token| app.logins.is_token(token.trim())) {
        return Ok(());
    }
    if !cookie(app, headers).is_some_and(|value| app.logins.is_cookie(&value)) {
        return Err(Problem::new(
            ProblemCode::LoginNeeded,
            "not logged in",
            Advice::OpenOrPassword,
        ));
    }
    if changes && fetch_site.is_none() && origin.is_none() {
        return Err(forbidden(
            "a browser's request that changes something must say where it comes from".to_owned(),
            Advice::UseTokenOrBrowser,
        ));
    }
    Ok(())
}

/// The name or address that is asked for, with its port.
fn host(request: &Request) -> String {
    let named = text(request.headers(), &header::HOST).map(str::to_owned);
    let named = named.or_else(|| request.uri().authority().map(ToString::to_string));
    named.unwrap_or_default()
}

fn is_our_host(host: &str, further: &[String]) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or(""),
        None => host.split(':').next().unwrap_or(""),
    };
    name.parse::<IpAddr>().is_ok()
        || name.eq_ignore_ascii_case("localhost")
        || further
            .iter()
            .any(|own| own.eq_ignore_ascii_case(name) || own.eq_ignore_ascii_case(host))
}

/// Refuses what a browser asks for on behalf of another site.
fn check_site(host: &str, fetch_site: Option<&str>, origin: Option<&str>) -> Result<(), Problem> {
    if let Some(site) = fetch_site
        && !matches!(site, "same-origin" | "none")
    {
        return Err(forbidden(
            format!("the request comes from another site (sec-fetch-site: {site})"),
            Advice::OpenOwnPage,
        ));
    }
    let own = |origin: &str| {
        let authority = origin.strip_prefix("http://");
        authority.or_else(|| origin.strip_prefix("https://")) == Some(host)
    };
    match origin {
        Some(origin) if !own(origin) => Err(forbidden(
            format!("the request comes from {origin:?}, not from this node's page"),
            Advice::OpenOwnPage,
        )),
        _ => Ok(()),
    }
}

/// The value of our cookie.
pub(super) fn cookie(app: &App, headers: &HeaderMap) -> Option<String> {
    let all = headers.get_all(header::COOKIE);
    let pairs = all.iter().filter_map(|value| value.to_str().ok());
    let mut pairs = pairs.flat_map(|text| text.split(';'));
    pairs.find_map(|pair| {
        let (name, value) = pair.trim().split_once('=')?;
        (name == app.logins.cookie_name()).then(|| value.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_localhost_and_named_hosts_are_ours() {
        let further = [
            "seedbox.example".to_owned(),
            "other.example:8443".to_owned(),
        ];
        for good in [
            "127.0.0.1:7979",
            "localhost",
            "LOCALHOST:7979",
            "[::1]:7979",
            "192.168.1.5:80",
            "seedbox.example:7979",
            "other.example:8443",
        ] {
            assert!(is_our_host(good, &further), "{good}");
        }
        for bad in [
            "",
            "evil.example",
            "evil.example:7979",
            "127.0.0.1.evil.example",
            "localhost.evil.example:7979",
            "other.example:1",
            "[evil]",
            "seedbox.example.evil",
        ] {
            assert!(!is_our_host(bad, &further), "{bad}");
        }
    }

    #[test]
    fn other_origins_are_refused_also_those_that_look_alike() {
        let host = "127.0.0.1:7979";
        assert!(check_site(host, Some("same-origin"), Some("http://127.0.0.1:7979")).is_ok());
        assert!(check_site(host, Some("none"), None).is_ok());
        for origin in [
            "null",
            "http://127.0.0.1",
            "http://127.0.0.1:79790",
            "http://evil.example",
            "http://127.0.0.1:7979.evil.example",
            "ftp://127.0.0.1:7979",
            "http://x@127.0.0.1:7979",
        ] {
            assert!(check_site(host, None, Some(origin)).is_err(), "{origin}");
        }
        for site in ["cross-site", "same-site", "?"] {
            assert!(check_site(host, Some(site), None).is_err(), "{site}");
        }
    }
}
