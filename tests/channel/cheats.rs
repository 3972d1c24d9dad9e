//! Peers that do what no honest peer does: each gains a window at most.
