//! Peers that sent garbage: refused for a day by peer id, by the address they listen on and, where
//! the address is a public one, from all its ports.
//!
//! Our engine sees every inbound peer as coming from loopback, so this is the gateway's work.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

use crate::units::UnixMs;
use crate::wire::frame::PeerId;

const BLOCKED_MS: u64 = 24 * 3600 * 1000;
const MAX_ENTRIES: usize = 10_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Name {
    Id(PeerId),
    Address(SocketAddr),
    Host(IpAddr),
}

/// Who is refused, and until when.
#[derive(Debug, Default)]
pub struct BlockList {
    until: HashMap<Name, UnixMs>,
}

impl BlockList {
    /// Refuses a peer for a day: by its id and by the addresses it listens on, where known.
    pub fn block(&mut self, now: UnixMs, id: Option<PeerId>, listens_on: &[SocketAddr]) {
        if self.until.len() >= MAX_ENTRIES {
            self.until.retain(|_, until| *until > now);
        }
        if self.until.len() >= MAX_ENTRIES {
            self.until.clear();
        }
        let until = now.plus_ms(BLOCKED_MS);
        if let Some(id) = id {
            self.until.insert(Name::Id(id), until);
        }
        for address in listens_on {
            self.until.insert(Name::Address(canonical(*address)), until);
            let host = address.ip().to_canonical();
            if is_public(host) {
                self.until.insert(Name::Host(host), until);
            }
        }
    }

    /// Whether a peer with this id is refused.
    #[must_use]
    pub fn refuses_id(&self, now: UnixMs, id: PeerId) -> bool {
        self.is_listed(now, Name::Id(id))
    }

    /// Whether a peer at this address is refused.
    #[must_use]
    pub fn refuses_address(&self, now: UnixMs, address: SocketAddr) -> bool {
        self.is_listed(now, Name::Address(canonical(address)))
            || self.is_listed(now, Name::Host(address.ip().to_canonical()))
    }

    fn is_listed(&self, now: UnixMs, name: Name) -> bool {
        self.until.get(&name).is_some_and(|until| *until > now)
    }
}

fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// Many machines share a private or a loopback address with us, or a test does.
fn is_public(host: IpAddr) -> bool {
    match host {
        IpAddr::V4(v4) => !(v4.is_loopback() || v4.is_private() || v4.is_link_local()),
        IpAddr::V6(v6) => !(v6.is_loopback() || v6.is_unique_local()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_public_peer_is_refused_from_every_port_for_a_day() {
        let mut list = BlockList::default();
        let listens_on: SocketAddr = "1.2.3.4:6881".parse().expect("address");
        list.block(UnixMs(0), Some(PeerId([1; 20])), &[listens_on]);
        assert!(list.refuses_id(UnixMs(1), PeerId([1; 20])));
        assert!(!list.refuses_id(UnixMs(1), PeerId([2; 20])));
        let other_port: SocketAddr = "[::ffff:1.2.3.4]:50000".parse().expect("address");
        assert!(list.refuses_address(UnixMs(1), other_port));
        assert!(!list.refuses_address(UnixMs(BLOCKED_MS), other_port));
    }

    #[test]
    fn on_loopback_only_the_one_that_listens_there_is_refused() {
        let mut list = BlockList::default();
        list.block(
            UnixMs(0),
            None,
            &["127.0.0.1:6881".parse().expect("address")],
        );
        assert!(list.refuses_address(UnixMs(1), "127.0.0.1:6881".parse().expect("address")));
        assert!(!list.refuses_address(UnixMs(1), "127.0.0.1:6882".parse().expect("address")));
    }
}
