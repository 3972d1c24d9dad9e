//! Errors that are no signed answers: `{error, what_to_do}` and a status.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use crate::broker::answer::Fault;
use crate::cashier::broker::BrokerCashierError;
use crate::store::broker::BrokerStoreError;

/// A status with what happened and what to do next.
#[derive(Debug)]
pub(super) struct ApiError {
    status: StatusCode,
    error: String,
    what_to_do: String,
}

impl ApiError {
    pub(super) fn new(
        status: StatusCode,
        error: impl Into<String>,
        what_to_do: impl Into<String>,
    ) -> Self {
        ApiError {
            status,
            error: error.into(),
            what_to_do: what_to_do.into(),
        }
    }

    pub(super) fn busy() -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "the broker is busy or shutting down",
            "ask again in a while with the same request id",
        )
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let fault = Fault {
            error: self.error,
            what_to_do: self.what_to_do,
        };
        (self.status, Json(fault)).into_response()
    }
}

impl From<BrokerCashierError> for ApiError {
    fn from(error: BrokerCashierError) -> Self {
        match error {
            BrokerCashierError::Full => ApiError::new(
                StatusCode::INSUFFICIENT_STORAGE,
                "the broker's disk is full; nothing was changed",
                "ask again later with the same request id, or tell the operator",
            ),
            BrokerCashierError::Busy => ApiError::busy(),
            BrokerCashierError::Early => ApiError::new(
                StatusCode::TOO_EARLY,
                "the request was signed before another one of this account was refused, or before it had money",
                "sign it again now, with the same request id; if that does not help, set this machine's clock",
            ),
            BrokerCashierError::Refused(_)
            | BrokerCashierError::Store(_)
            | BrokerCashierError::Broken(_) => ApiError::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "the broker could not do it; nothing was changed",
                "ask again later with the same request id, or tell the operator",
            ),
        }
    }
}

impl From<BrokerStoreError> for ApiError {
    fn from(error: BrokerStoreError) -> Self {
        tracing::error!(%error, "the broker's store could not be read");
        BrokerCashierError::Store(error.to_string()).into()
    }
}
