//! My holdings: choose, reserve, spend, receive: decisions over loaded rows.
