//! What failures below mean to whoever asked.

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
    let ip = address.ip();
    match is_given {
        true => format!("{error}: --listen {ip}:PORT when the node is started"),
        false => format!(
            "{error}: in the settings of the page, or with `dpay config set node.listen {ip}:PORT`"
        ),
    }
}
