//! Tasks between the swarm and the engine: SOCKS5 out, listener in, channels on top.
pub mod digest;
