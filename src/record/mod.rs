//! A statement as a BEP 44 item: slot, encryption, commitment, paths, proofs, and the verdict on what a slot holds (`docs/protocol.md` sections 4 and 6).
