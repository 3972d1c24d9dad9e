//! Settings from flags, parsed once.
