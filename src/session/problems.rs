//! What failures below mean to whoever asked.

use super::view::{Advice, Problem, ProblemCode};
use crate::engine::EngineError;
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
