//! Checkpoints: how large a log is and what its root is, signed; C2SP's tlog-checkpoint.

use crate::hash::Hash;
use crate::note::{Note, NoteError, SigningKey, VerifyingKey};

/// What a log promises at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Which log: the name of its key.
    pub origin: String,
    /// How many entries it has.
    pub size: u64,
    /// The root of the tree over them.
    pub root: Hash,
    /// Further lines that others may understand; empty in ours.
    pub extensions: Vec<String>,
}

/// Why a checkpoint is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// The note around it.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// The text of the note.
    #[error("this is no checkpoint: {0}")]
    Form(&'static str),
    /// Signed by a key that is not the log's own.
    #[error("the checkpoint is of the log `{0}`, whose own key has not signed it")]
    Origin(String),
}

impl Checkpoint {
    /// The checkpoint as a note signed by the log's own key, whose name becomes the origin.
    pub fn sign(size: u64, root: Hash, key: &SigningKey) -> String {
        let origin = key.verifying_key().name().to_owned();
        let checkpoint = Self {
            origin,
            size,
            root,
            extensions: Vec::new(),
        };
        key.sign(&checkpoint.text())
    }

    /// The text that is signed: origin, size, root, extensions, each on a line.
    pub fn text(&self) -> String {
        let mut text = format!("{}\n{}\n{}\n", self.origin, self.size, self.root);
        for line in &self.extensions {
            text += line;
            text.push('\n');
        }
        text
    }

    /// The checkpoint in a note, where the key named like its origin is among `keys` and has
    /// signed it.
    ///
    /// # Errors
    /// Where it is not signed so, or is none.
    pub fn open(note: &str, keys: &[VerifyingKey]) -> Result<Self, CheckpointError> {
        let note = Note::parse(note)?;
        let checkpoint = Self::parse(note.verify(keys)?)?;
        let own: Vec<VerifyingKey> = keys
            .iter()
            .filter(|key| key.name() == checkpoint.origin)
            .cloned()
            .collect();
        match note.verify(&own) {
            Ok(_) => Ok(checkpoint),
            Err(_) => Err(CheckpointError::Origin(checkpoint.origin)),
        }
    }

    fn parse(text: &str) -> Result<Self, CheckpointError> {
        let form = CheckpointError::Form;
        let mut lines = text
            .strip_suffix('\n')
            .ok_or(form("its last line has no end"))?
            .split('\n');
        let mut line = |what| lines.next().filter(|it| !it.is_empty()).ok_or(form(what));
        let origin = line("the first line, its origin, is missing")?.to_owned();
        let digits = line("the second line, its size, is missing")?;
        let size: u64 = digits
            .parse()
            .ok()
            .filter(|size: &u64| size.to_string() == digits)
            .ok_or(form("its size is not a decimal number"))?;
        let root = line("the third line, its root, is missing")?
            .parse()
            .map_err(|_| form("its root is not the base64 of 32 bytes"))?;
        let extensions: Vec<String> = lines.map(str::to_owned).collect();
        if extensions.iter().any(String::is_empty) {
            return Err(form("it has an empty line"));
        }
        Ok(Self {
            origin,
            size,
            root,
            extensions,
        })
    }
}
