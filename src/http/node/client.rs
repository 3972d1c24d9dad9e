//! What `dpay` commands say to a running node: found by the address in its home, allowed by the
//! token there.

use std::path::Path;
use std::time::Duration;

use reqwest::{Method, RequestBuilder};
use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

use super::login::TOKEN_FILE;
use super::{ADDRESS_FILE, NodeServer};
use crate::session::view::Problem;

/// How long an answer may take; redeeming asks the broker.
const TIMEOUT: Duration = Duration::from_secs(120);
/// How long the node may take to be there.
const CONNECT: Duration = Duration::from_secs(2);

/// Why a running node did not do what was asked.
#[derive(Debug, Error)]
pub enum NodeClientError {
    /// The node says no.
    #[error("{0}")]
    Refused(Problem),
    /// No answer, or none that makes sense.
    #[error("the node at {url} does not answer as it should: {reason}")]
    Answer {
        /// Where.
        url: String,
        /// What is wrong.
        reason: String,
    },
}

/// A running node.
#[derive(Clone, Debug)]
pub struct NodeClient {
    http: reqwest::Client,
    url: String,
    token: String,
}

impl NodeClient {
    /// The node that runs with this home; none where none answers.
    pub async fn find(home: &Path) -> Option<NodeClient> {
        // Where a node was killed, whoever listens at its address now must not get the token.
        if !NodeServer::is_there(home) {
            return None;
        }
        let read = |name: &str| std::fs::read_to_string(home.join(name)).ok();
        let (url, token) = (read(ADDRESS_FILE)?, read(TOKEN_FILE)?);
        let http = reqwest::Client::builder()
            .timeout(TIMEOUT)
            .connect_timeout(CONNECT)
            .no_proxy()
            .build()
            .ok()?;
        let client = NodeClient {
            http,
            url: url.trim().to_owned(),
            token: token.trim().to_owned(),
        };
        // One that is on its way to its end says nothing more.
        let answer = client
            .http
            .get(format!("{}/healthz", client.url))
            .send()
            .await
            .ok()?;
        answer.status().is_success().then_some(client)
    }

    /// The node's address.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Asks for something below `/api/v1`.
    ///
    /// # Errors
    /// The node's refusal, or no answer.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, NodeClientError> {
        self.send(self.request(Method::GET, path)).await
    }

    /// Asks for text below `/api/v1`.
    ///
    /// # Errors
    /// As [`NodeClient::get`].
    pub async fn text(&self, path: &str) -> Result<String, NodeClientError> {
        let bytes = self.bytes(self.request(Method::GET, path)).await?;
        String::from_utf8(bytes).map_err(|error| self.wrong(error.to_string()))
    }

    /// Changes something below `/api/v1`.
    ///
    /// # Errors
    /// As [`NodeClient::get`].
    pub async fn change<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, NodeClientError> {
        self.send(self.request(method, path).json(body)).await
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let url = format!("{}/api/v1{path}", self.url);
        self.http.request(method, url).bearer_auth(&self.token)
    }

    fn wrong(&self, reason: String) -> NodeClientError {
        NodeClientError::Answer {
            url: self.url.clone(),
            reason,
        }
    }

    async fn bytes(&self, request: RequestBuilder) -> Result<Vec<u8>, NodeClientError> {
        let answer = request.send().await;
        let answer = answer.map_err(|error| self.wrong(error.to_string()))?;
        let status = answer.status();
        let bytes = answer
            .bytes()
            .await
            .map_err(|error| self.wrong(error.to_string()))?;
        if status.is_success() {
            return Ok(bytes.to_vec());
        }
        Err(match serde_json::from_slice(&bytes) {
            Ok(problem) => NodeClientError::Refused(problem),
            Err(_) => self.wrong(status.to_string()),
        })
    }

    async fn send<T: DeserializeOwned>(
        &self,
        request: RequestBuilder,
    ) -> Result<T, NodeClientError> {
        let bytes = self.bytes(request).await?;
        serde_json::from_slice(&bytes).map_err(|error| self.wrong(error.to_string()))
    }
}
