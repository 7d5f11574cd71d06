//! Sources that turn measurements into ticks for the judge.
