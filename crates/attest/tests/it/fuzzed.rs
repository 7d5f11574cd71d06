//! What the fuzzers check, over their corpora, on every toolchain.

#[path = "../../../../fuzz/checks/corpus.rs"]
mod corpus;
#[path = "../../../../fuzz/checks/document.rs"]
mod document;
#[path = "../../../../fuzz/checks/key.rs"]
mod key;

const DOCUMENTS: corpus::Corpus = corpus::Corpus {
    folders: &["fuzz/corpus/document", "crates/attest/tests/samples"],
    check: document::check,
};

const KEYS: corpus::Corpus = corpus::Corpus {
    folders: &["fuzz/corpus/key"],
    check: key::check,
};

#[test]
fn the_fuzzers_corpus_does_no_harm_to_document() {
    DOCUMENTS.does_no_harm();
}

#[test]
fn changed_at_random_it_does_no_harm_to_document() {
    DOCUMENTS.does_no_harm_changed_at_random();
}

#[test]
fn the_fuzzers_corpus_does_no_harm_to_key() {
    KEYS.does_no_harm();
}

#[test]
fn changed_at_random_it_does_no_harm_to_key() {
    KEYS.does_no_harm_changed_at_random();
}
