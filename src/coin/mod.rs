//! Certificates, statements, holding ids, hash chains: encode, sign, verify (`docs/protocol.md` sections 2 to 4).
