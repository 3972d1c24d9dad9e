//! Metainfo: our maker, reading, the private flag (BEP 3, BEP 27).
