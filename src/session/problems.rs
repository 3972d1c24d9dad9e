//! What failures below mean to whoever asked.

use std::net::IpAddr;

use super::view::{Advice, Problem, ProblemCode};
use crate::engine::EngineError;
use crate::gateway::GatewayError;
use crate::node::NodeError;

/// What a failure of the node means to whoever asked.
pub(super) fn node_problem(error: &NodeError) -> Problem {
    let (code, advice) = match error {
        NodeError::Engine(EngineError::NotYet(_)) => (ProblemCode::Conflict, Advice::WaitForCheck),
        NodeError::Engine(EngineError::Gone(_)) => (ProblemCode::NotFound, Advice::SeeList),
        NodeError::Engine(EngineError::Metainfo(_) | EngineError::Magnet(_)) => {
            (ProblemCode::BadTorrent, Advice::OtherTorrent)
        }
        NodeError::Engine(_) => (ProblemCode::Disk, Advice::MakeRoomAndResume),
        _ => (ProblemCode::Internal, Advice::SeeLog),
    };
    Problem::new(code, error.to_string(), advice)
}

pub(super) fn engine_problem(error: EngineError) -> Problem {
    node_problem(&NodeError::Engine(error))
}

/// Why a node did not start, and where to give another address if it is that; `is_given`: it was given to
/// the command.
pub(super) fn not_started(error: &NodeError, is_given: bool) -> String {
    let NodeError::Gateway(GatewayError::Listen { address, .. }) = error else {
        return error.to_string();
    };
    let host = match address.ip() {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    };
    match is_given {
        true => format!("{error}: --listen {host}:PORT when the node is started"),
        false => format!(
            "{error}: in the settings of the page, or with `dpay config set node.listen {host}:PORT`"
        ),
    }
}

/// Does what is to be done as a whole, also where whoever asked for it goes away meanwhile.
///
/// # Errors
/// It broke off, which is a fault of this program.
pub(super) async fn to_its_end<T: Send + 'static>(
    work: impl Future<Output = T> + Send + 'static,
) -> Result<T, Problem> {
    let done = tokio::spawn(work).await;
    done.map_err(|error| Problem::new(ProblemCode::Internal, error.to_string(), Advice::SeeLog))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_that_is_advised_is_one_with_a_port_in_it() {
        for address in ["127.0.0.1:7", "[::1]:7"] {
            let address: std::net::SocketAddr = address.parse().expect("an address");
            let error = std::io::Error::other("taken");
            let error = NodeError::Gateway(GatewayError::Listen { address, error });
            for (is_given, before) in [(true, "--listen "), (false, "node.listen ")] {
                let said = not_started(&error, is_given).replace("PORT", "7");
                let (_, advised) = said.split_once(before).expect(&said);
                let advised = advised.split([' ', '`']).next().expect("a word");
                assert_eq!(advised.parse(), Ok(address), "{said}");
            }
        }
    }
}
