//! Any text as a public key, a private key, a sealed secret or a keyring.

use airboss_attest::{Keyring, Passphrase, PublicKey, SigningKey, is_sealed, open};

/// Fails where these bytes make reading a key fall over, or a key does not read back as written.
pub fn check(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    if let Ok(key) = text.parse::<PublicKey>() {
        assert_eq!(key.to_string().parse::<PublicKey>(), Ok(key));
    }
    let _ = SigningKey::from_secret(text);
    let _ = Keyring::from_json(text);
    // What is sealed costs a moment to open, on purpose: only the form is looked at here.
    if !is_sealed(text)
        && let Ok(passphrase) = Passphrase::new(b"fuzzed".to_vec())
    {
        assert!(open(text, &passphrase, "fuzzed").is_err());
    }
}
