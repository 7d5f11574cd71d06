//! What CI and others say of an artifact: attestations read, verified and judged.
//!
//! * **Is for**: reading statements and plain reports ([`read`]), drawing the facts from them
//!   ([`Facts`]), checking who signed them ([`verify`]), comparing them with what a rollout
//!   requires ([`assess`]), and signing what Airboss itself says ([`SigningKey::sign`]).
//! * **Must never**: do I/O, read a clock or draw a random number; change the bytes that it was
//!   given; take a document for verified because it can be read.
//! * **Start reading** at [`Document`], what one file became; then [`verify`]; then [`assess`].
//!
//! Formats: DSSE 1.0, in-toto Statement v1 (v0.1 as well), Sigstore bundle v0.3, SLSA provenance
//! v1 (v0.2 as well) and verification summary v1, the in-toto predicates test-result, vulns and
//! SVR, SPDX 2.3, CycloneDX 1.3 to 1.7, JUnit XML, SARIF 2.1, and OSV-scanner's JSON.

mod assess;
mod document;
mod dsse;
mod facts;
mod keyless;
mod keyring;
mod read;
mod seal;
mod sign;
mod statement;
mod summary;
mod trust;
mod verify;

pub use airboss_model::evidence::{ItemState, ItemVerdict, Requirement, ScanLimit, Severity};
pub use assess::{Known, assess};
pub use document::{DOCUMENT_BYTES_MAX, Document, Form, Hint, LINES_MAX, ReadError};
pub use dsse::{Envelope, EnvelopeError, PAYLOAD_TYPE, SIGNATURES_MAX};
pub use facts::{
    Counts, Facts, Field, Finding, Input, LISTED_MAX, Provenance, Sbom, Scan, Suite, Summary, Tests,
};
pub use keyring::{KEYRING_MAX, Keyring, KeyringError, OwnKey};
pub use read::{read, read_lines};
pub use seal::{EmptyPassphrase, Passphrase, SEAL_RANDOM_BYTES, SealError, is_sealed, open, seal};
pub use sign::{SecretError, SigningKey};
pub use statement::{Statement, Subject};
pub use summary::{Passed, summarise};
pub use trust::{
    CLOCK_SKEW, KeyError, PublicKey, Revocation, Root, RootError, Trust, TrustedIdentity,
    TrustedKey,
};
pub use verify::{Checked, SignatureState, Signer, Verdict, Verification, verify};
