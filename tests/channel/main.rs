//! Payer and payee together (`docs/protocol.md` sections 3, 5, 7 and 8): honest pairs never stall and
//! pay to the unit, cheats gain a window, and every unit is accounted for.

mod cheats;
mod deadlines;
mod honest;
mod pair;
mod proposals;
mod purse;
mod sequences;
mod world;
