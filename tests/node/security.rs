//! Each rule of the local web's security, attacked over real HTTP.

use reqwest::{Client, Method, StatusCode, header};
use serde_json::{Value, json};

use super::support::{LONG, Lone, args, exe, lone};
use dpay::cli::world::Proc;

fn token(node: &Lone) -> String {
    std::fs::read_to_string(node.home.join("api.token")).expect("a token")
}

/// Keeps no cookies: they go where a test sends them.
fn browser() -> Client {
    Client::builder().no_proxy().build().expect("a client")
}

async fn code(answer: reqwest::Response) -> (StatusCode, String) {
    let status = answer.status();
    let body: Value = answer.json().await.unwrap_or_default();
    (status, body["code"].as_str().unwrap_or("").to_owned())
}

/// Logs in by the link; returns the cookie as a browser would send it, and how it was set.
async fn log_in(node: &Lone) -> (String, String) {
    let (_, login) = node.login_url.split_once("#login=").expect("a fragment");
    let answer = browser()
        .post(format!("{}/api/v1/login", node.url))
        .json(&json!({ "code": login }))
        .send()
        .await
        .expect("answers");
    assert_eq!(answer.status(), StatusCode::OK);
    let set = answer.headers()[header::SET_COOKIE]
        .to_str()
        .expect("text")
        .to_owned();
    let pair = set.split(';').next().expect("a pair").to_owned();
    (pair, set)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_who_logged_in_gets_anything_and_a_link_is_good_once() {
    let node = lone().await;
    let api = format!("{}/api/v1/node", node.url);
    for (name, value) in [
        ("x", "y"),
        ("authorization", "Bearer 00"),
        ("cookie", "dpay_session=00"),
    ] {
        let answer = browser()
            .get(&api)
            .header(name, value)
            .send()
            .await
            .expect("answers");
        assert_eq!(
            code(answer).await,
            (StatusCode::UNAUTHORIZED, "login_needed".into())
        );
    }
    let answer = browser()
        .get(format!("{}/metrics", node.url))
        .send()
        .await
        .expect("answers");
    assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
    let answer = browser()
        .get(format!("{}/healthz", node.url))
        .send()
        .await
        .expect("answers");
    assert_eq!(answer.status(), StatusCode::OK);

    let (cookie, set) = log_in(&node).await;
    for flag in ["HttpOnly", "SameSite=Strict", "Path=/"] {
        assert!(set.contains(flag), "{set}");
    }
    let answer = browser()
        .get(&api)
        .header("cookie", &cookie)
        .send()
        .await
        .expect("answers");
    assert_eq!(answer.status(), StatusCode::OK);
    the_stream_ends_with_the_login(&node, &cookie).await;
    let (_, login) = node.login_url.split_once("#login=").expect("a fragment");
    let again = browser()
        .post(format!("{}/api/v1/login", node.url))
        .json(&json!({ "code": login }))
        .send()
        .await
        .expect("answers");
    assert_eq!(
        code(again).await,
        (StatusCode::UNAUTHORIZED, "login_wrong".into())
    );
    let answer = browser()
        .get(&api)
        .bearer_auth(token(&node))
        .send()
        .await
        .expect("answers");
    assert_eq!(answer.status(), StatusCode::OK);
    let metrics = format!("{}/metrics", node.url);
    let answer = browser()
        .get(metrics)
        .bearer_auth(token(&node))
        .send()
        .await
        .expect("answers");
    assert_eq!(answer.status(), StatusCode::OK);
}

/// A window that looks on, of a browser with this cookie.
async fn looks_on(node: &Lone, cookie: &str) -> reqwest::Response {
    let events = browser().get(format!("{}/api/v1/events", node.url));
    let answer = events.header("cookie", cookie).send().await;
    let mut stream = answer.expect("answers");
    assert!(stream.chunk().await.expect("goes on").is_some());
    stream
}

/// It sees nothing more.
async fn ends(mut stream: reqwest::Response) {
    let end = async { while stream.chunk().await.expect("ends in order").is_some() {} };
    tokio::time::timeout(LONG, end).await.expect("ends");
}

/// Whoever logs out in one window sees nothing more in the others.
async fn the_stream_ends_with_the_login(node: &Lone, cookie: &str) {
    let stream = looks_on(node, cookie).await;
    let out = browser()
        .delete(format!("{}/api/v1/login", node.url))
        .header("cookie", cookie)
        .header("origin", &node.url)
        .send()
        .await
        .expect("answers");
    assert_eq!(out.status(), StatusCode::OK);
    ends(stream).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_hosts_origins_sites_and_content_types_are_refused() {
    let node = lone().await;
    let (cookie, _) = log_in(&node).await;
    let own = node.url.clone();
    let settings = format!("{own}/api/v1/settings");
    let change = || {
        browser()
            .request(Method::PATCH, &settings)
            .header("cookie", &cookie)
            .header(header::CONTENT_TYPE, "application/json")
            .body("{\"ui.guide_done\":true}")
    };
    // A name that an attacker points at this machine, also for the page itself.
    for path in ["/", "/api/v1/node", "/healthz"] {
        let rebound = browser()
            .get(format!("{own}{path}"))
            .header(header::HOST, "evil.example:80");
        let answer = rebound.send().await.expect("answers");
        assert_eq!(
            code(answer).await,
            (StatusCode::FORBIDDEN, "forbidden".into()),
            "{path}"
        );
    }
    for (name, value) in [
        ("origin", "http://evil.example"),
        ("origin", "null"),
        ("origin", "http://127.0.0.1:1"),
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
    ] {
        let answer = change().header(name, value).send().await.expect("answers");
        assert_eq!(
            code(answer).await,
            (StatusCode::FORBIDDEN, "forbidden".into()),
            "{name} {value}"
        );
    }
    let silent = change().send().await.expect("answers");
    assert_eq!(
        code(silent).await.0,
        StatusCode::FORBIDDEN,
        "a cookie without origin"
    );
    for kind in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data",
    ] {
        let form = browser()
            .request(Method::PATCH, &settings)
            .header("cookie", &cookie)
            .header("origin", &own)
            .header(header::CONTENT_TYPE, kind)
            .body("{\"ui.guide_done\":true}");
        let answer = form.send().await.expect("answers");
        assert_eq!(
            code(answer).await,
            (StatusCode::UNSUPPORTED_MEDIA_TYPE, "not_json".into())
        );
    }
    let read = browser()
        .get(&settings)
        .bearer_auth(token(&node))
        .send()
        .await
        .expect("answers");
    let list: Value = read.json().await.expect("json");
    let settings_list = list["settings"].as_array().expect("a list");
    let guide = settings_list
        .iter()
        .find(|setting| setting["key"] == "ui.guide_done");
    assert_eq!(
        guide.expect("known")["value"],
        false,
        "nothing was changed by any of these"
    );
    let good = change()
        .header("origin", &own)
        .send()
        .await
        .expect("answers");
    assert_eq!(good.status(), StatusCode::OK);
    let good = change()
        .header("sec-fetch-site", "same-origin")
        .send()
        .await
        .expect("answers");
    assert_eq!(good.status(), StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_answer_forbids_foreign_scripts_frames_and_guessing_of_types() {
    let node = lone().await;
    for path in [
        "/",
        "/api/v1/node",
        "/api/v1/openapi.json",
        "/no/such/page",
        "/healthz",
    ] {
        let answer = browser()
            .get(format!("{}{path}", node.url))
            .send()
            .await
            .expect("answers");
        let of = |name: &str| {
            answer
                .headers()
                .get(name)
                .map(|v| v.to_str().expect("text").to_owned())
        };
        let policy = of("content-security-policy").expect("a policy");
        assert!(
            policy.contains("default-src 'self'") && !policy.contains("unsafe"),
            "{policy}"
        );
        assert!(policy.contains("frame-ancestors 'none'"), "{policy}");
        assert_eq!(of("x-content-type-options").as_deref(), Some("nosniff"));
        assert_eq!(of("access-control-allow-origin"), None);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_passwords_lock_out_even_the_right_one() {
    let node = lone().await;
    let put = browser()
        .put(format!("{}/api/v1/login/password", node.url))
        .bearer_auth(token(&node))
        .json(&json!({ "password": "correct horse" }));
    assert_eq!(put.send().await.expect("answers").status(), StatusCode::OK);
    let try_it = |password: &'static str| {
        let login = browser().post(format!("{}/api/v1/login", node.url));
        login.json(&json!({ "password": password })).send()
    };
    let good = try_it("correct horse").await.expect("answers");
    assert_eq!(good.status(), StatusCode::OK);
    the_browser_that_changes_it_stays_logged_in(&node, &good).await;
    for _ in 0..5 {
        let answer = try_it("wrong password").await.expect("answers");
        assert_eq!(
            code(answer).await,
            (StatusCode::UNAUTHORIZED, "login_wrong".into())
        );
    }
    let answer = try_it("correct horse").await.expect("answers");
    assert_eq!(
        code(answer).await,
        (StatusCode::TOO_MANY_REQUESTS, "locked_out".into())
    );
}

/// And others do not: its old cookie is as good as theirs.
async fn the_browser_that_changes_it_stays_logged_in(node: &Lone, login: &reqwest::Response) {
    let cookie_of = |answer: &reqwest::Response| {
        let cookie = answer.headers()["set-cookie"].to_str().expect("text");
        cookie.split(';').next().expect("a cookie").to_owned()
    };
    let old = cookie_of(login);
    let stream = looks_on(node, &old).await;
    let change = browser()
        .put(format!("{}/api/v1/login/password", node.url))
        .header("cookie", &old)
        .header("origin", &node.url)
        .json(&json!({ "password": "correct horse" }));
    let changed = change.send().await.expect("answers");
    assert_eq!(changed.status(), StatusCode::OK);
    ends(stream).await;
    for (cookie, status) in [
        (cookie_of(&changed), StatusCode::OK),
        (old, StatusCode::UNAUTHORIZED),
    ] {
        let look = browser().get(format!("{}/api/v1/node", node.url));
        let answer = look.header("cookie", cookie).send().await.expect("answers");
        assert_eq!(answer.status(), status);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_addresses_than_loopback_need_a_password() {
    let dir = super::support::private_dir();
    let home = dir.path().join("home").display().to_string();
    let all = args(&[
        "node",
        "--json",
        "--with-parent",
        "--home",
        &home,
        "--web",
        "0.0.0.0:0",
    ]);
    let mut proc = Proc::start("node", &exe(), &all).expect("starts");
    assert_eq!(proc.finish(LONG).await.expect("ends"), 1);
    let said = proc.stderr().await;
    assert!(
        said.contains("no password is set") && said.contains("dpay config password"),
        "{said}"
    );
}
