//! What the fuzzer checks, over its corpus, on every toolchain.

#[path = "../../../../fuzz/checks/corpus.rs"]
mod corpus;
#[path = "../../../../fuzz/checks/ledger.rs"]
mod ledger;

const CORPUS: corpus::Corpus = corpus::Corpus {
    folders: &["fuzz/corpus/ledger", "crates/cli/tests/data"],
    check: ledger::check,
};

#[test]
fn the_fuzzers_corpus_does_no_harm_to_ledger() {
    CORPUS.does_no_harm();
}

#[test]
fn changed_at_random_it_does_no_harm_to_ledger() {
    CORPUS.does_no_harm_changed_at_random();
}
