//! Views as text. Pure: a view, a width and a choice of colour give lines.

mod artifact;
mod deliveries;
mod detail;
pub mod dossier;
mod layout;
mod promises;
mod rehearsal;
mod report;
mod table;
mod trace;
mod tree;
pub mod words;

pub use artifact::{artifact, artifacts, drift, retention};
pub use deliveries::deliveries;
pub use detail::{doctor, event_line, explanation, final_line, lines_of_log};
pub use layout::{Chunk, Line, Paper, Style, harmless, paint, visible_width};
pub use promises::slos;
pub use rehearsal::rehearsal;
pub use report::report;
pub use table::{agents, history, lanes, tokens};
pub use trace::trace;
pub use tree::{Footnote, footnotes, tree};
