//! Any bytes as a manifest: read, or refused at a place that is there.

use airboss_model::manifest;

/// Fails where these bytes make reading a manifest fall over, or nobody is told what is wrong.
pub fn check(bytes: &[u8]) {
    match manifest::parse_bytes("fuzzed.yaml", bytes) {
        Ok(documents) => {
            for document in &documents {
                assert!(!document.resource.name().is_empty());
            }
        }
        Err(problems) => {
            assert!(!problems.is_empty(), "refused without a word");
            for problem in &problems {
                assert!(!problem.to_string().is_empty());
            }
        }
    }
}
