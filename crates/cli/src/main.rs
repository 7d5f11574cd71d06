//! The airboss binary.
fn main() {}
