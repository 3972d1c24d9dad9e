//! Broker API, errors to status, and the client that speaks to a broker.
