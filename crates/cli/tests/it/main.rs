//! What people and scripts see of `airboss`.

#![allow(missing_docs, reason = "tests are described by their names")]
#![allow(
    clippy::unwrap_used,
    reason = "a test's helpers fail by panicking, as tests do"
)]

mod audit;
mod docs;
mod help;
mod home;
mod keys;
mod rendering;
mod server;
mod views;

#[test]
fn without_a_server_every_verb_says_what_to_do() {
    trycmd::TestCases::new()
        .env("AIRBOSS_HOME", "/nonexistent/airboss")
        .env("AIRBOSS_USER", "ada@example.org")
        .env("NO_COLOR", "1")
        .case("tests/cmd/*.trycmd");
}
