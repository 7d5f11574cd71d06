//! Any text as a public key, a private key, a sealed secret or a keyring.
#![no_main]

use airboss_attest::{Keyring, PublicKey, SigningKey};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(key) = text.parse::<PublicKey>() {
        assert_eq!(key.to_string().parse::<PublicKey>(), Ok(key));
    }
    let _ = SigningKey::from_secret(text);
    let _ = Keyring::from_json(text);
});

