//! The only room that says mainline: slots, and peers for the engine.
