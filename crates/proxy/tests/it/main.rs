//! The splitter's promises, over real sockets.

mod division;
mod drain;
mod failure;
mod limits;
mod mirror;
mod protocols;
mod support;
