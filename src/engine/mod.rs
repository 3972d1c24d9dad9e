//! The only room that says librqbit: session, storage wrapper, piece events.
