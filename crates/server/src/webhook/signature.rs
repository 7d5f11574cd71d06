//! Whether an event is from whom it says. Pure; secrets are compared in a time that tells nothing.

use airboss_model::Timestamp;
use axum::http::HeaderMap;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use super::Sender;

/// How far a signed time may be from now, in seconds, in either direction: what is older may be a
/// copy that somebody kept.
pub const REPLAY_WINDOW: i64 = 5 * 60;
/// Most signatures that are looked at.
const SIGNATURES_MAX: usize = 10;
/// Most bytes of a delivery's id.
const ID_MAX: usize = 200;

/// What a good event says of itself in its headers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// The sender's id of the delivery.
    pub id: String,
    /// The kind of event, where a header says it.
    pub event: Option<String>,
}

/// Why an event is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A header is not there, or is none.
    #[error("the header `{name}` is missing or no text: {remedy}")]
    Header {
        /// Which.
        name: &'static str,
        /// What to do.
        remedy: &'static str,
    },
    /// No secret that is configured gives the signature that was sent.
    #[error(
        "`{name}` is not of a secret that is configured here: the secrets differ, or something on the way changed the body"
    )]
    Wrong {
        /// The header with the signature.
        name: &'static str,
    },
    /// It is too old, or from the future.
    #[error(
        "it was signed {apart} s away from now, and {REPLAY_WINDOW} s are allowed: one of the clocks is wrong, or it is a copy of an old one"
    )]
    Time {
        /// By how many seconds.
        apart: i64,
    },
}

/// Whether an event is of `sender`, who shares any of `secrets`.
///
/// # Errors
/// What is wrong with it.
pub fn check(
    sender: Sender,
    headers: &HeaderMap,
    body: &[u8],
    secrets: &[String],
    now: Timestamp,
) -> Result<Proof, Refusal> {
    match sender {
        Sender::GitHub => github(headers, body, secrets),
        Sender::GitLab if headers.contains_key(SIGNATURE) => {
            let proof = standard(headers, body, secrets, now)?;
            let event = text(headers, "x-gitlab-event").map(str::to_owned);
            Ok(Proof { event, ..proof })
        }
        Sender::GitLab => gitlab(headers, secrets),
        Sender::Standard => standard(headers, body, secrets, now),
    }
}

const SIGNATURE: &str = "webhook-signature";

fn github(headers: &HeaderMap, body: &[u8], secrets: &[String]) -> Result<Proof, Refusal> {
    const NAME: &str = "x-hub-signature-256";
    let remedy = "set the webhook's secret in GitHub to the one that is configured here";
    let shown = text(headers, NAME).and_then(|it| it.strip_prefix("sha256="));
    let shown = shown
        .and_then(unhex)
        .ok_or(Refusal::Header { name: NAME, remedy })?;
    let keys = secrets.iter().map(|it| it.as_bytes().to_vec());
    if !is_of_any(keys, &[body], &shown) {
        return Err(Refusal::Wrong { name: NAME });
    }
    Ok(Proof {
        id: id(headers, &["x-github-delivery"])?,
        event: text(headers, "x-github-event").map(str::to_owned),
    })
}

fn gitlab(headers: &HeaderMap, secrets: &[String]) -> Result<Proof, Refusal> {
    const NAME: &str = "x-gitlab-token";
    let remedy = "set the webhook's signing token, or its secret token, in GitLab to the one that is configured here";
    let shown = text(headers, NAME).ok_or(Refusal::Header { name: NAME, remedy })?;
    // Both sides under one key: of equal length, and nothing is to be learnt from the time.
    let under = |text: &str| mac(b"token", &[text.as_bytes()]).finalize().into_bytes();
    let is = |secret: &String| {
        let told = mac(b"token", &[shown.as_bytes()]);
        told.verify_slice(&under(secret)).is_ok()
    };
    if !secrets.iter().any(is) {
        return Err(Refusal::Wrong { name: NAME });
    }
    Ok(Proof {
        id: id(
            headers,
            &["webhook-id", "idempotency-key", "x-gitlab-event-uuid"],
        )?,
        event: text(headers, "x-gitlab-event").map(str::to_owned),
    })
}

fn standard(
    headers: &HeaderMap,
    body: &[u8],
    secrets: &[String],
    now: Timestamp,
) -> Result<Proof, Refusal> {
    let remedy = "sign as Standard Webhooks says: HMAC-SHA256 over ID.TIMESTAMP.BODY, and send webhook-id, webhook-timestamp and webhook-signature";
    let of = |name| text(headers, name).ok_or(Refusal::Header { name, remedy });
    let (time, signatures) = (of("webhook-timestamp")?, of(SIGNATURE)?);
    let id = id(headers, &["webhook-id"])?;
    let shown: Vec<Vec<u8>> = signatures
        .split(' ')
        .filter_map(|it| STANDARD.decode(it.strip_prefix("v1,")?).ok())
        .take(SIGNATURES_MAX)
        .collect();
    let parts: [&[u8]; 5] = [id.as_bytes(), b".", time.as_bytes(), b".", body];
    let is = |shown: &Vec<u8>| is_of_any(secrets.iter().flat_map(|it| keys(it)), &parts, shown);
    if !shown.iter().any(is) {
        return Err(Refusal::Wrong { name: SIGNATURE });
    }
    // Only now: of what is not theirs, nobody is told how far off its clock is.
    let at: i64 = time.parse().map_err(|_| Refusal::Header {
        name: "webhook-timestamp",
        remedy: "give whole seconds since 1970, such as `date +%s` prints",
    })?;
    let apart = now.as_second().saturating_sub(at).saturating_abs();
    if apart > REPLAY_WINDOW {
        return Err(Refusal::Time { apart });
    }
    Ok(Proof { id, event: None })
}

/// What a secret can mean as a key: `whsec_` and base64, base64 alone, or the bytes as they are.
fn keys(secret: &str) -> Vec<Vec<u8>> {
    match secret.strip_prefix("whsec_") {
        Some(encoded) => STANDARD.decode(encoded).into_iter().collect(),
        None => {
            let decoded = STANDARD.decode(secret).ok();
            let long = decoded.filter(|key| key.len() >= super::SECRET_MIN);
            let plain = secret.as_bytes().to_vec();
            [Some(plain), long].into_iter().flatten().collect()
        }
    }
}

fn is_of_any(keys: impl IntoIterator<Item = Vec<u8>>, parts: &[&[u8]], shown: &[u8]) -> bool {
    let is = |key: Vec<u8>| !key.is_empty() && mac(&key, parts).verify_slice(shown).is_ok();
    keys.into_iter().any(is)
}

#[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
fn mac(key: &[u8], parts: &[&[u8]]) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("keys of any length are taken");
    parts.iter().for_each(|part| mac.update(part));
    mac
}

fn id(headers: &HeaderMap, names: &[&'static str]) -> Result<String, Refusal> {
    let found = names.iter().find_map(|name| text(headers, name));
    let good = found.filter(|id| !id.is_empty() && id.len() <= ID_MAX);
    good.map(str::to_owned).ok_or(Refusal::Header {
        name: names.first().copied().unwrap_or_default(),
        remedy: "send an id of the event in 1 to 200 bytes; the same event again has the same",
    })
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok().map(str::trim)
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| {
        char::from(byte)
            .to_digit(16)
            .and_then(|it| u8::try_from(it).ok())
    };
    text.as_bytes()
        .chunks(2)
        .map(|pair| match pair {
            [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderMap, HeaderName, HeaderValue};

    use super::*;

    /// The example in GitHub's page "Validating webhook deliveries".
    const GITHUB: (&str, &str, &str) = (
        "It's a Secret to Everybody",
        "Hello, World!",
        "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17",
    );
    /// The example that the libraries of Standard Webhooks test themselves with.
    const STANDARD_SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const STANDARD_BODY: &[u8] = br#"{"test": 2432232314}"#;
    const STANDARD_SIGNATURE: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

    fn headers(all: &[(&'static str, &str)]) -> HeaderMap {
        all.iter()
            .map(|(name, value)| {
                (
                    HeaderName::from_static(name),
                    HeaderValue::from_str(value).unwrap(),
                )
            })
            .collect()
    }

    fn signed(signature: &str, at: &str) -> HeaderMap {
        headers(&[
            ("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek"),
            ("webhook-timestamp", at),
            ("webhook-signature", signature),
        ])
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    #[test]
    fn githubs_own_example_holds_and_every_change_of_it_does_not() {
        let (secret, body, signature) = GITHUB;
        let ask = |secret: &str, body: &str, signature: &str| {
            let headers = headers(&[
                ("x-hub-signature-256", signature),
                ("x-github-delivery", "72d3162e-cc78-11e3-81ab-4c9367dc0958"),
                ("x-github-event", "ping"),
            ]);
            let secrets = ["another secret of somebody".to_owned(), secret.to_owned()];
            check(Sender::GitHub, &headers, body.as_bytes(), &secrets, at(0))
        };
        let proof = ask(secret, body, signature).unwrap();
        assert_eq!(proof.id, "72d3162e-cc78-11e3-81ab-4c9367dc0958");
        assert_eq!(proof.event.as_deref(), Some("ping"));
        let wrong = Refusal::Wrong {
            name: "x-hub-signature-256",
        };
        assert_eq!(ask(secret, "Hello, World?", signature), Err(wrong.clone()));
        assert_eq!(ask("It's a Secret", body, signature), Err(wrong.clone()));
        assert_eq!(ask(secret, body, &signature[..69]), Err(wrong));
        for broken in ["", "sha256", "sha256=xy", "sha1=7571"] {
            let refusal = ask(secret, body, broken).unwrap_err();
            assert!(matches!(refusal, Refusal::Header { .. }), "{broken}");
        }
    }

    #[test]
    fn standard_webhooks_own_example_holds_among_others_and_within_the_window_only() {
        let secrets = [STANDARD_SECRET.to_owned()];
        let several = format!("v1,AAAA v1a,{0} {STANDARD_SIGNATURE}", "A".repeat(44));
        let sent = "1614265330";
        for (signature, now, good) in [
            (STANDARD_SIGNATURE, 1_614_265_330, true),
            (&several, 1_614_265_330 + REPLAY_WINDOW, true),
            (&several, 1_614_265_330 - REPLAY_WINDOW, true),
            (&several, 1_614_265_331 + REPLAY_WINDOW, false),
            (&several, 1_614_265_329 - REPLAY_WINDOW, false),
            ("v1,AAAA", 1_614_265_330, false),
            (&STANDARD_SIGNATURE["v1,".len()..], 1_614_265_330, false),
        ] {
            let headers = signed(signature, sent);
            let found = check(Sender::Standard, &headers, STANDARD_BODY, &secrets, at(now));
            assert_eq!(found.is_ok(), good, "{signature} {now} {found:?}");
        }
        // The time is part of what is signed.
        let moved = signed(STANDARD_SIGNATURE, "1614265331");
        let found = check(
            Sender::Standard,
            &moved,
            STANDARD_BODY,
            &secrets,
            at(1_614_265_331),
        );
        assert!(matches!(found, Err(Refusal::Wrong { .. })));
        // Without its prefix the secret is the same.
        let bare = [STANDARD_SECRET["whsec_".len()..].to_owned()];
        let headers = signed(STANDARD_SIGNATURE, sent);
        check(
            Sender::Standard,
            &headers,
            STANDARD_BODY,
            &bare,
            at(1_614_265_330),
        )
        .unwrap();
    }

    #[test]
    fn gitlab_shows_its_token_or_signs_and_a_bad_signature_is_not_made_good_by_a_token() {
        let secrets = ["0123456789abcdef".to_owned(), STANDARD_SECRET.to_owned()];
        let ask = |headers: &HeaderMap| {
            check(
                Sender::GitLab,
                headers,
                STANDARD_BODY,
                &secrets,
                at(1_614_265_330),
            )
        };
        let token = |token: &str| {
            headers(&[
                ("x-gitlab-token", token),
                ("x-gitlab-event", "Pipeline Hook"),
                (
                    "x-gitlab-event-uuid",
                    "13792a34-cac6-4fda-95a8-c58e00a3954e",
                ),
            ])
        };
        let proof = ask(&token("0123456789abcdef")).unwrap();
        assert_eq!(proof.event.as_deref(), Some("Pipeline Hook"));
        for wrong in ["0123456789abcdeg", "0123456789abcdef0", ""] {
            let refusal = ask(&token(wrong)).unwrap_err();
            assert!(matches!(refusal, Refusal::Wrong { .. }), "{wrong}");
        }
        ask(&signed(STANDARD_SIGNATURE, "1614265330")).unwrap();
        let mut both = token("0123456789abcdef");
        both.extend(signed("v1,AAAA", "1614265330"));
        assert!(matches!(ask(&both), Err(Refusal::Wrong { .. })));
    }

    #[test]
    fn nothing_is_good_without_a_secret() {
        for sender in Sender::ALL {
            let mut all = signed(STANDARD_SIGNATURE, "1614265330");
            all.extend(headers(&[("x-hub-signature-256", GITHUB.2)]));
            let found = check(sender, &all, STANDARD_BODY, &[], at(1_614_265_330));
            assert!(matches!(found, Err(Refusal::Wrong { .. })), "{sender}");
        }
    }
}
