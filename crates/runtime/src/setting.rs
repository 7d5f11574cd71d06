//! What a controller was started with or told, sealed where an auditor will ask who set it and when.

use airboss_model::{LaneId, Timestamp};
use airboss_store::{NewEvent, NoteRow, Store, StoreError};
use serde_json::Value;

/// A setting of a controller.
#[derive(Debug, Clone, PartialEq)]
pub struct Setting<'a> {
    /// What is set, such as `trust`.
    pub topic: &'a str,
    /// The controller.
    pub controller: &'a str,
    /// What it is set to; the body of the sealed event.
    pub body: Value,
    /// True where it is what holds as long as nobody set anything.
    pub is_default: bool,
}

/// Seals a setting where it is not what the controller sealed last. `message` is made from what that
/// was (None: nothing was sealed before). True where it was sealed.
///
/// # Errors
/// Where the store does not answer.
pub async fn record(
    store: &dyn Store,
    setting: &Setting<'_>,
    kind: &str,
    message: impl FnOnce(Option<&Value>) -> String,
    by: &str,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let lane = LaneId::installation();
    let topic = format!("{} {}", setting.topic, setting.controller);
    let known = store.note(&lane, &topic).await?;
    let is_known = match &known {
        Some(note) => note.body == setting.body,
        None => setting.is_default,
    };
    if is_known {
        return Ok(false);
    }
    let event = NewEvent {
        rollout: None,
        kind: kind.to_owned(),
        message: message(known.as_ref().map(|note| &note.body)),
        body: setting.body.clone(),
    };
    store.seal(&event, by, now).await?;
    // Should this get lost, the same is sealed once more.
    let note = NoteRow {
        lane,
        topic,
        body: setting.body.clone(),
        at: now,
    };
    store.put_note(&note).await?;
    Ok(true)
}
