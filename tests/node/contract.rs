//! `docs/openapi.json` is what the routes say.

#[test]
fn the_checked_in_description_is_that_of_the_routes() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/openapi.json");
    let checked_in = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        checked_in == dpay::http::node::document(),
        "docs/openapi.json is out of date: run `dpay node openapi > docs/openapi.json`"
    );
}
