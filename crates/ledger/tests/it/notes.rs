//! Notes, keys and checkpoints.

use airboss_ledger::{
    Checkpoint, CheckpointError, Hash, KeyError, Note, NoteError, SigningKey, VerifyingKey,
};

use crate::make::key;

fn other() -> SigningKey {
    SigningKey::from_seed("witness.test", &[9; 32]).unwrap()
}

fn checkpoint() -> String {
    Checkpoint::sign(42, Hash::leaf(b"root"), &key())
}

#[test]
fn a_checkpoint_comes_back() {
    let keys = [key().verifying_key()];
    let opened = Checkpoint::open(&checkpoint(), &keys).unwrap();
    assert_eq!((opened.size, opened.root), (42, Hash::leaf(b"root")));
    assert_eq!(opened.origin, keys[0].name());
    assert!(opened.extensions.is_empty());
}

#[test]
fn every_flipped_bit_of_a_checkpoint_is_noticed() {
    let (note, keys) = (checkpoint(), [key().verifying_key()]);
    for place in 0..note.len() {
        for bit in 0..8 {
            let mut bytes = note.clone().into_bytes();
            bytes[place] ^= 1 << bit;
            // What is no text any more cannot even be read.
            let Ok(changed) = String::from_utf8(bytes) else {
                continue;
            };
            assert!(
                Checkpoint::open(&changed, &keys).is_err(),
                "bit {bit} of byte {place}: {changed}"
            );
        }
    }
}

#[test]
fn further_signatures_do_no_harm_and_the_logs_own_is_needed() {
    let text = checkpoint();
    let body = text.split_once("\n\n").unwrap().0.to_owned() + "\n";
    let both = text.clone() + &other().signature_line(&body);
    let own = key().verifying_key();
    assert!(Checkpoint::open(&both, std::slice::from_ref(&own)).is_ok());
    assert!(Checkpoint::open(&both, &[own.clone(), other().verifying_key()]).is_ok());
    assert!(matches!(
        Checkpoint::open(&both, &[other().verifying_key()]),
        Err(CheckpointError::Origin(_))
    ));
    // One bad signature of a known key spoils the note, whatever others say.
    let bad = text + &other().signature_line("another text\n");
    assert_eq!(
        Note::parse(&bad)
            .unwrap()
            .verify(&[own, other().verifying_key()]),
        Err(NoteError::BadSignature("witness.test".to_owned()))
    );
}

#[test]
fn a_stranger_is_not_believed() {
    let opened = Checkpoint::open(&checkpoint(), &[other().verifying_key()]);
    assert_eq!(opened, Err(CheckpointError::Note(NoteError::Unknown)));
}

#[test]
fn what_is_no_note_is_refused() {
    for text in [
        "",
        "\n\n",
        "text\n",
        "text\n\n",
        "text\n\n\u{2014} x !\n",
        "a\tb\n\n\u{2014} x AAAAAAA=\n",
    ] {
        assert!(Note::parse(text).is_err(), "{text:?}");
    }
    let many = key().sign("x\n") + &other().signature_line("x\n").repeat(100);
    assert!(Note::parse(&many).is_err());
}

#[test]
fn what_is_signed_but_no_checkpoint_is_refused() {
    let root = Hash::leaf(b"root");
    let name = key().verifying_key().name().to_owned();
    for text in [
        format!("{name}\n"),
        format!("{name}\n042\n{root}\n"),
        format!("{name}\n-1\n{root}\n"),
        format!("{name}\n+1\n{root}\n"),
        format!("{name}\n1\n{root}=\n"),
        format!("{name}\n1\nAAAA\n"),
    ] {
        let opened = Checkpoint::open(&key().sign(&text), &[key().verifying_key()]);
        assert!(matches!(opened, Err(CheckpointError::Form(_))), "{text}");
    }
    let text = format!("{name}\n1\n{root}\nfor others\n");
    let opened = Checkpoint::open(&key().sign(&text), &[key().verifying_key()]).unwrap();
    assert_eq!(opened.extensions, ["for others"]);
}

#[test]
fn keys_come_back_and_changed_ones_are_refused() {
    let secret = key().to_secret_text();
    let again = SigningKey::from_secret_text(&secret).unwrap();
    assert_eq!(again.verifying_key(), key().verifying_key());
    let public = key().verifying_key().to_string();
    assert_eq!(public.parse(), Ok(key().verifying_key()));
    for place in 0..public.len() {
        let mut bytes = public.clone().into_bytes();
        bytes[place] ^= 1;
        let changed = String::from_utf8(bytes).unwrap();
        assert!(changed.parse::<VerifyingKey>().is_err(), "{changed}");
    }
    assert_eq!(
        SigningKey::from_seed("a b", &[0; 32]).unwrap_err(),
        KeyError::Name
    );
    assert_eq!(
        SigningKey::from_seed("", &[0; 32]).unwrap_err(),
        KeyError::Name
    );
    assert!(!format!("{:?}", key()).contains(secret.rsplit('+').next().unwrap()));
}
