//! Claim, decide, commit, perform: the engine on a store and targets.
