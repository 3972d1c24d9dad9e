//! What others on this machine or in a browser cannot do: get the token, sign somebody out, change anything,
//! or pass a name off as something else.

use std::collections::BTreeMap;

use dpay::config::Settings;
use dpay::http::node::client::NodeClient;
use reqwest::{Client, Method, StatusCode, header};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::support::{
    LONG, Lone, args, client, exe, fetch_free, get, lone, node_world, post, row, start, wait_stage,
};

fn browser() -> Client {
    Client::builder().no_proxy().build().expect("a client")
}

/// What a command of this home says to programs, and whether it did what it should.
fn dpay(home: &std::path::Path, words: &[&str]) -> std::process::Output {
    let home = home.display().to_string();
    let all = [words, &["--home", &home]].concat();
    let ran = std::process::Command::new(exe()).args(args(&all)).output();
    ran.expect("runs")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_listens_where_a_killed_node_did_is_asked_nothing() {
    let Lone {
        mut proc,
        url,
        home,
        dir,
        ..
    } = lone().await;
    proc.kill().await;
    let address = url.strip_prefix("http://").expect("an address").to_owned();
    let listener = TcpListener::bind(&address).await.expect("is free");
    let heard = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("comes");
        let mut asked = vec![0; 4096];
        let bytes = stream.read(&mut asked).await.unwrap_or_default();
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nok\n";
        stream.write_all(answer).await.expect("answers");
        String::from_utf8_lossy(&asked[..bytes]).into_owned()
    });
    assert!(NodeClient::find(&home).await.is_none(), "no node runs");
    let said = dpay(&home, &["list"]);
    assert_eq!(said.status.code(), Some(1), "{said:?}");
    let error = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(error.contains("no node runs"), "{error}");
    assert!(!heard.is_finished(), "it was asked: {:?}", heard.await);
    heard.abort();
    // The next one with the home is found at its own address.
    let (mut proc, again, _) = start(&home, dir.path(), &[]).await;
    assert_eq!(client(&home).await.url(), again);
    assert_eq!(proc.stop(LONG).await.expect("stops"), 0);
}

/// Logs a browser in, and returns the name and the value of the cookie that it was given.
async fn log_in(login_url: &str) -> (String, String) {
    let (url, code) = login_url.split_once("/#login=").expect("a fragment");
    let login = browser().post(format!("{url}/api/v1/login"));
    let answer = login.json(&json!({ "code": code })).send().await;
    let answer = answer.expect("answers");
    assert_eq!(answer.status(), StatusCode::OK);
    let set = answer.headers()[header::SET_COOKIE].to_str().expect("text");
    let pair = set.split(';').next().expect("a pair");
    let (name, value) = pair.split_once('=').expect("a pair");
    (name.to_owned(), value.to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_browser_is_logged_in_at_two_nodes_of_one_machine() {
    let nodes = [lone().await, lone().await];
    // A browser keeps one value a name for a host, whatever the port.
    let mut jar = BTreeMap::new();
    for node in &nodes {
        jar.extend([log_in(&node.login_url).await]);
    }
    let all: Vec<String> = jar.iter().map(|(n, v)| format!("{n}={v}")).collect();
    let all = all.join("; ");
    let look = async |node: &Lone| {
        let look = browser().get(format!("{}/api/v1/node", node.url));
        let answer = look.header("cookie", &all).send().await;
        answer.expect("answers").status()
    };
    for node in &nodes {
        assert_eq!(look(node).await, StatusCode::OK, "{jar:?}");
    }
    // And logged out at one of them it is logged in at the other.
    let out = browser().delete(format!("{}/api/v1/login", nodes[0].url));
    let out = out.header("cookie", &all).header("origin", &nodes[0].url);
    let gone = out.send().await.expect("answers");
    let set = gone.headers()[header::SET_COOKIE].to_str().expect("text");
    assert!(set.contains("Max-Age=0"), "{set}");
    let name = set.split('=').next().expect("a name");
    assert!(jar.contains_key(name), "{set}");
    assert_eq!(look(&nodes[0]).await, StatusCode::UNAUTHORIZED);
    assert_eq!(look(&nodes[1]).await, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_changes_something_is_done_for_another_site_or_without_a_login() {
    let listens = Settings::default().web.listen;
    assert!(listens.ip().is_loopback(), "{listens}");
    let node = lone().await;
    let token = std::fs::read_to_string(node.home.join("api.token")).expect("a token");
    let document = include_str!("../../docs/openapi.json");
    let document: Value = serde_json::from_str(document).expect("json");
    let mut seen = 0;
    for (path, routes) in document["paths"].as_object().expect("paths") {
        for method in routes.as_object().expect("routes").keys() {
            let method: Method = method.to_uppercase().parse().expect("a method");
            if method == Method::GET {
                continue;
            }
            seen += 1;
            let path = path.replace("{info_hash}", &"ab".repeat(20));
            assert!(!path.contains('{'), "{path} needs a value here");
            let asked = || {
                let asked = browser().request(method.clone(), format!("{}{path}", node.url));
                asked.json(&json!({}))
            };
            let foreign = asked().bearer_auth(&token);
            let foreign = foreign.header("origin", "http://evil.example").send();
            let status = foreign.await.expect("answers").status();
            assert_eq!(status, StatusCode::FORBIDDEN, "{method} {path}");
            let cross = asked().bearer_auth(&token);
            let cross = cross.header("sec-fetch-site", "cross-site").send();
            let status = cross.await.expect("answers").status();
            assert_eq!(status, StatusCode::FORBIDDEN, "{method} {path}");
            // Logging in is what needs no login: nothing is given for nothing there either.
            let is_login = path == "/api/v1/login" && method == Method::POST;
            let wanted = match is_login {
                true => StatusCode::BAD_REQUEST,
                false => StatusCode::UNAUTHORIZED,
            };
            let unknown = asked().send().await.expect("answers");
            assert!(!unknown.headers().contains_key(header::SET_COOKIE));
            assert_eq!(unknown.status(), wanted, "{method} {path}");
        }
    }
    assert!(seen >= 20, "{seen}");
    // None of them was carried out.
    let node = client(&node.home).await;
    assert_eq!(get(&node, "/node").await["stage"], "setup");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_is_text_a_link_logs_in_and_figures_can_be_read() {
    let mut lone = lone().await;
    let node = client(&lone.home).await;
    post(&node, "/wallet", json!({})).await;
    wait_stage(&node, "running").await;
    let name = "<img src=x onerror=alert(1)>&\"'";
    let hash = "ab".repeat(20);
    let query: String = url::form_urlencoded::byte_serialize(name.as_bytes()).collect();
    let link = format!("magnet:?xt=urn:btih:{hash}&dn={query}");
    let add = json!({ "source": { "magnet": link }, "paused": true });
    post(&node, "/torrents", add).await;
    let list = get(&node, "/torrents").await;
    assert_eq!(row(&list, &hash)["name"], name);

    let opened = dpay(&lone.home, &["open", "--json"]);
    assert!(opened.status.success(), "{opened:?}");
    let opened: Value = serde_json::from_slice(&opened.stdout).expect("json");
    let link = opened["url"].as_str().expect("a link");
    assert!(link.starts_with(&lone.url), "{link}");
    let (name, value) = log_in(link).await;
    let list = browser().get(format!("{}/api/v1/torrents", lone.url));
    let answer = list.header("cookie", format!("{name}={value}")).send();
    let answer = answer.await.expect("answers");
    assert_eq!(answer.status(), StatusCode::OK);
    // No browser takes a list with such a name for a page.
    let of = |name: &str| answer.headers()[name].to_str().expect("text").to_owned();
    assert_eq!(of("content-type"), "application/json");
    assert_eq!(of("x-content-type-options"), "nosniff");

    let metrics = browser().get(format!("{}/metrics", lone.url));
    let answer = metrics.header("cookie", format!("{name}={value}")).send();
    let text = answer.await.expect("answers").text().await.expect("text");
    let figures: BTreeMap<&str, &str> = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.split_once(' ').expect("a name and a value"))
        .collect();
    for (name, value) in [
        ("torrents", "1"),
        ("torrents_paused", "1"),
        ("torrents_downloading", "0"),
        ("torrents_seeding", "0"),
        ("torrents_queued", "0"),
        ("torrents_failed", "0"),
        ("books_agree", "1"),
        ("units_available", "0"),
        ("units_locked", "0"),
        ("units_redeemable", "0"),
        ("units_paid_total", "0"),
        ("units_earned_total", "0"),
        ("units_bought_total", "0"),
        ("units_redeemed_total", "0"),
        ("downloaded_bytes_total", "0"),
        ("uploaded_bytes_total", "0"),
    ] {
        let name = format!("dpay_{name}");
        assert_eq!(figures.get(name.as_str()), Some(&value), "{name} in {text}");
        assert!(
            text.contains(&format!("# TYPE {name} ")),
            "{name} in {text}"
        );
    }
    assert_eq!(lone.proc.stop(LONG).await.expect("stops"), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_is_a_formula_is_none_in_a_spreadsheet() {
    let w = node_world(65_536).await;
    let (mut proc, node) = w.rich_node().await;
    let (_giver, link) = w.another_that("=1+1", &[("a.bin", 65_536)], "on").await;
    let hash = fetch_free(&node, &link).await;
    assert_eq!(row(&get(&node, "/torrents").await, &hash)["name"], "=1+1");
    let cells = format!("{hash},\"'=1+1\",");
    let path = "/reports/spending/csv?by=torrent";
    let by_api = node.text(path).await.expect("csv");
    let words = ["report", "spending", "--by", "torrent", "--csv"];
    let (code, by_command, error) = w.says(&words).await;
    assert_eq!(code, 0, "{error}");
    assert_eq!(proc.stop(LONG).await.expect("stops"), 0);
    let (code, of_home, error) = w.says(&words).await;
    assert_eq!(code, 0, "{error}");
    for text in [by_api, by_command, of_home] {
        assert!(text.lines().any(|line| line.starts_with(&cells)), "{text}");
    }
}
