//! One request and its answer: signed, sent, and believed only with the broker's signature.

use std::time::Duration;

use reqwest::header::HeaderMap;
use serde::Serialize;

use super::times::Signing;
use super::{Answered, BrokerClient, ClientError, Evidence, MAX_ANSWER_BYTES};
use crate::broker::answer::{Answer, Envelope, Fault, Outcome, Refusal};
use crate::broker::signing::{
    ACCOUNT_HEADER, MAX_SKEW_MS, REQUEST_HEADER, SIGNATURE_HEADER, TIME_HEADER, answer_is_signed,
    body_hash, request_hash,
};
use crate::broker::{RequestId, ask};
use crate::clock;
use crate::coin::keys::{PublicKey, Signature};
use crate::units::UnixMs;

/// A request that was signed too early is signed again after these, and then given up.
const SIGN_AGAIN: [Duration; 3] = [
    Duration::from_millis(20),
    Duration::from_millis(200),
    Duration::from_secs(1),
];

impl BrokerClient {
    fn now(&self) -> UnixMs {
        clock::now().plus_ms(self.ahead_ms)
    }

    /// One signed request and its signed answer; signed again where the broker asks for that.
    pub(super) async fn ask<T: Serialize + Sync>(
        &self,
        route: &str,
        id: RequestId,
        ask: &T,
    ) -> Result<Answered<Answer>, ClientError> {
        for wait in SIGN_AGAIN {
            match self.ask_once(route, id, ask).await {
                Err(ClientError::Status { status: 425, .. }) => tokio::time::sleep(wait).await,
                other => return other,
            }
        }
        self.ask_once(route, id, ask).await
    }

    async fn ask_once<T: Serialize + Sync>(
        &self,
        route: &str,
        id: RequestId,
        ask: &T,
    ) -> Result<Answered<Answer>, ClientError> {
        let broker = self.broker_key().await?;
        let body = serde_json::to_vec(ask).map_err(|e| self.untrue(&e.to_string()))?;
        let signing = self.times.sign(takes_money(route), self.now());
        let signing = signing.ok_or_else(|| ClientError::NotSigned {
            url: self.url.clone(),
        })?;
        let (account, at) = (self.account.public(), signing.at);
        let hash = body_hash(route, &body);
        let signed = request_hash(&broker, &account, &id, at, &hash);
        let url = format!("{}{}", self.url, route.trim_start_matches("POST "));
        let request = self
            .http
            .post(url)
            .header("content-type", "application/json")
            .header(ACCOUNT_HEADER, account.to_string())
            .header(REQUEST_HEADER, id.to_string())
            .header(TIME_HEADER, at.0.to_string())
            .header(SIGNATURE_HEADER, self.account.sign(&signed).to_string())
            .body(body);
        let (status, headers, body) = self.send(request, MAX_ANSWER_BYTES).await?;
        if !matches!(status, 200 | 409) {
            return Err(self.fault(status, &body));
        }
        let signature = self.check_signature(&broker, &body, signature_of(&headers))?;
        let envelope: Envelope = self.read(&body)?;
        let mine = envelope.broker == broker
            && envelope.account == account
            && envelope.route == route
            && envelope.request_id == id
            && envelope.request_body == hash;
        if !mine {
            return Err(self.untrue("it answers another request than the one it was asked"));
        }
        self.times.learn(envelope.at_unix_ms, self.now());
        let evidence = Evidence { body, signature };
        match envelope.outcome {
            Outcome::Answer(value) => Ok(Answered { value, evidence }),
            Outcome::Refused(refusal) => {
                let said = (envelope.signed_unix_ms, envelope.at_unix_ms);
                Err(self.refused(route, refusal, signing, said))
            }
        }
    }

    /// What a refusal of the try that `named` says, given at `at`, is worth to one signed as `signing` says.
    fn refused(
        &self,
        route: &str,
        refusal: Refusal,
        signing: Signing,
        (named, at): (UnixMs, UnixMs),
    ) -> ClientError {
        let (url, refusal) = (self.url.clone(), Box::new(refusal));
        let now = self.now();
        let is_new = at.since_ms(now).max(now.since_ms(at)) < MAX_SKEW_MS;
        let is_nameless = named == UnixMs(0) && is_new;
        let until = match signing.before.filter(|_| named == signing.at) {
            Some(before) if takes_money(route) => Some(before),
            // A broker of before does not say which try it refuses.
            _ if is_nameless && takes_money(route) => Some(UnixMs(0)),
            _ if is_nameless || named == signing.at => None,
            // Of an earlier try: it says nothing about what was signed since.
            _ => return self.untrue("it refuses another try than the one it was asked"),
        };
        match until {
            None => ClientError::Refused { url, refusal },
            Some(until) => ClientError::Doubtful {
                url,
                refusal,
                until,
            },
        }
    }

    pub(super) async fn get(
        &self,
        route: &str,
        max_bytes: usize,
    ) -> Result<(Vec<u8>, Option<Signature>), ClientError> {
        let request = self.http.get(format!("{}{route}", self.url));
        let (status, headers, body) = self.send(request, max_bytes).await?;
        if status != 200 {
            return Err(self.fault(status, &body));
        }
        Ok((body, signature_of(&headers)))
    }

    async fn send(
        &self,
        request: reqwest::RequestBuilder,
        max_bytes: usize,
    ) -> Result<(u16, HeaderMap, Vec<u8>), ClientError> {
        let lost = |e: reqwest::Error| ClientError::lost(&self.url, &e);
        let mut response = request.send().await.map_err(lost)?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let mut body = Vec::new();
        while let Some(part) = response.chunk().await.map_err(lost)? {
            if body.len().saturating_add(part.len()) > max_bytes {
                return Err(self.untrue(&format!("it sends more than {max_bytes} bytes")));
            }
            body.extend_from_slice(&part);
        }
        Ok((status, headers, body))
    }

    pub(super) fn read<T: serde::de::DeserializeOwned>(
        &self,
        body: &[u8],
    ) -> Result<T, ClientError> {
        serde_json::from_slice(body).map_err(|error| ClientError::NotABroker {
            url: self.url.clone(),
            why: error.to_string(),
        })
    }

    pub(super) fn check_signature(
        &self,
        broker: &PublicKey,
        body: &[u8],
        signature: Option<Signature>,
    ) -> Result<Signature, ClientError> {
        signature
            .filter(|s| answer_is_signed(broker, body, s))
            .ok_or_else(|| self.untrue(&format!("its answer is not signed by the key {broker}")))
    }

    pub(super) fn untrue(&self, what: &str) -> ClientError {
        ClientError::Untrue {
            url: self.url.clone(),
            what: what.to_owned(),
        }
    }

    fn fault(&self, status: u16, body: &[u8]) -> ClientError {
        let fault = serde_json::from_slice(body).unwrap_or_else(|_| Fault {
            error: "it says nothing about why".to_owned(),
            what_to_do: "check that the URL is a DPay broker's".to_owned(),
        });
        ClientError::Status {
            url: self.url.clone(),
            status,
            fault,
        }
    }
}

/// Whether it would do harm if such a request were carried out after it was refused.
fn takes_money(route: &str) -> bool {
    matches!(route, ask::PURCHASE | ask::WITHDRAW)
}

fn signature_of(headers: &HeaderMap) -> Option<Signature> {
    headers.get(SIGNATURE_HEADER)?.to_str().ok()?.parse().ok()
}
