//! Payer and payee together (`docs/protocol.md` sections 3, 5, 7 and 8): honest pairs never stall and
//! pay to the unit, cheats gain a window, and every unit is accounted for.

mod actions;
mod cheats;
mod deadlines;
mod drops;
mod honest;
mod pair;
mod pokes;
mod proposals;
mod purse;
mod resume;
mod sequences;
mod world;
