//! Random sequences: whatever happens, every unit is accounted for and everything resolves.
