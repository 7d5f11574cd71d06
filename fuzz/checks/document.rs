//! Any bytes as documents about an artifact: read, verified and judged without falling over.

use airboss_attest::{Hint, Known, Requirement, ScanLimit, Trust, assess, read_lines, verify};
use airboss_model::{Digest, Timestamp};

/// Fails where these bytes make reading, verifying or judging fall over.
pub fn check(bytes: &[u8]) {
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
}
