//! Any bytes as a document: read, verified and judged without falling over.
#![no_main]

use airboss_attest::{Hint, Known, Requirement, ScanLimit, Trust, assess, read_lines, verify};
use airboss_model::{Digest, Timestamp};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let subject = Digest::from_sha256([7; 32]);
    let hint = Hint {
        subject: &subject,
        name: "fuzzed@1",
        form: None,
    };
    let Ok(documents) = read_lines(bytes, &hint) else {
        return;
    };
    let (trust, now) = (Trust::default(), Timestamp::UNIX_EPOCH);
    for document in &documents {
        let verification = verify(document, &subject, &trust, now, now);
        let known = Known {
            id: document.id,
            facts: &document.facts,
            verification: &verification,
            seen: now,
        };
        let items = [
            Requirement::Signed,
            Requirement::Provenance,
            Requirement::Tests,
            Requirement::Scan(ScanLimit::default()),
            Requirement::Sbom,
        ];
        assert_eq!(assess(&items, &[known], "add", now).len(), items.len());
    }
});
