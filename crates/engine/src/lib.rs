//! The state machine of releases: decide and evolve, pure.
