//! `airboss keys`: the keys that this installation signs with, and whose it believes.

use std::path::PathBuf;

use airboss_attest::{OwnKey, PublicKey, Revocation, Root, TrustedIdentity, TrustedKey};
use airboss_model::{Span, Timestamp};
use airboss_runtime::Clock;
use anyhow::Context as _;
use clap::{Args, Subcommand};
use serde::Serialize;

use super::Context;
use crate::args::OutputArgs;
use crate::exit::{Exit, UsageError};
use crate::home::{LOG_KEY_FILE, LOG_PUBLIC_KEY_FILE};
use crate::host::keys::{KeyFolder, PASSPHRASE_VARIABLE, Rest};
use crate::render::harmless;

/// Keys: Airboss's own, and those of others.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
These verbs work on the data folder of this machine; a running server follows at once. Private keys
are never printed. They are sealed at rest where AIRBOSS_KEY_PASSPHRASE says where a passphrase is
(env:NAME or file:PATH).")]
pub struct KeysArgs {
    /// What to do.
    #[command(subcommand)]
    pub verb: KeysVerb,
}

/// What to do with keys.
#[derive(Debug, Clone, Subcommand)]
pub enum KeysVerb {
    /// List the keys, whose they are, and how they are kept
    List(ListArgs),
    /// Make the first signing key; the server does it by itself when it starts
    New(NewArgs),
    /// Make a new signing key; what the one before signed stays good
    Rotate(NewArgs),
    /// End the trust in a key or identity for good, also for what it signed before
    Revoke(RevokeArgs),
    /// Print the public key that checks what Airboss signs, as PEM
    Export(ExportArgs),
    /// Seal the private keys in the data folder by the passphrase
    Seal,
    /// Whose signatures are believed
    Trust(TrustArgs),
}

/// `airboss keys list`.
#[derive(Debug, Clone, Args)]
pub struct ListArgs {
    /// Printing.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// `airboss keys new` and `rotate`.
#[derive(Debug, Clone, Args)]
pub struct NewArgs {
    /// Take the Ed25519 key (PEM, PKCS #8) at this place instead of making one: env:NAME or file:/PATH
    #[arg(long, value_name = "REFERENCE")]
    pub secret: Option<String>,
    /// It ends by itself after this long, such as 365d
    #[arg(long, value_name = "SPAN")]
    pub expires: Option<Span>,
}

/// `airboss keys revoke` and `airboss keys trust revoke`.
#[derive(Debug, Clone, Args)]
pub struct RevokeArgs {
    /// Its name, or at least 8 digits of the key's id
    #[arg(value_name = "NAME|ID")]
    pub which: String,
    /// Why, for the record
    #[arg(
        long,
        value_name = "TEXT",
        default_value = "",
        hide_default_value = true
    )]
    pub reason: String,
}

/// `airboss keys export`.
#[derive(Debug, Clone, Args)]
pub struct ExportArgs {
    /// An older key, by its name [default: the one that signs now]
    #[arg(value_name = "NAME")]
    pub name: Option<String>,
}

/// `airboss keys trust`.
#[derive(Debug, Clone, Args)]
pub struct TrustArgs {
    /// What to do.
    #[command(subcommand)]
    pub verb: TrustVerb,
}

/// What to do with trust.
#[derive(Debug, Clone, Subcommand)]
pub enum TrustVerb {
    /// Believe a public key, or an identity that Sigstore's certificates name
    Add(TrustAddArgs),
    /// List who is believed
    List(ListArgs),
    /// End the trust in somebody for good
    Revoke(RevokeArgs),
}

/// `airboss keys trust add`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
For example:
  airboss keys trust add ci --key cosign.pub
  airboss keys trust add github --issuer https://token.actions.githubusercontent.com \\
      --identity 'https://github.com/acme/checkout/.github/workflows/*'")]
pub struct TrustAddArgs {
    /// What to call it
    #[arg(value_name = "NAME")]
    pub name: String,
    /// A file with a public key as PEM: Ed25519 or ECDSA P-256
    #[arg(long, value_name = "FILE", required_unless_present = "issuer")]
    pub key: Option<PathBuf>,
    /// Believe the key for what is first seen from this time on: a day such as 2026-12-31, or a time
    #[arg(long, value_name = "TIME", requires = "key", value_parser = time)]
    pub from: Option<Timestamp>,
    /// Believe the key for what is first seen before this time: a day such as 2026-12-31, or a time
    #[arg(long, value_name = "TIME", requires = "key", value_parser = time)]
    pub until: Option<Timestamp>,
    /// Who vouches for the identity
    #[arg(
        long,
        value_name = "URL",
        conflicts_with = "key",
        requires = "identity"
    )]
    pub issuer: Option<String>,
    /// The identity; `*` stands for any characters
    #[arg(long, value_name = "PATTERN", requires = "issuer")]
    pub identity: Option<String>,
    /// Whose authorities are believed: public, github, or a trusted_root.json of your own
    #[arg(
        long,
        value_name = "ROOT",
        default_value = "public",
        requires = "issuer"
    )]
    pub root: String,
}

/// What `list` prints for programs.
#[derive(Serialize)]
struct Listed {
    own: Vec<OwnLine>,
    log: Option<LogLine>,
    keys: Vec<KeyLine>,
    identities: Vec<TrustedIdentity>,
}

#[derive(Serialize)]
struct OwnLine {
    id: String,
    #[serde(flatten)]
    key: OwnKey,
    signs: bool,
    at_rest: &'static str,
}

#[derive(Serialize)]
struct LogLine {
    key: String,
    at_rest: &'static str,
}

#[derive(Serialize)]
struct KeyLine {
    id: String,
    algorithm: &'static str,
    #[serde(flatten)]
    key: TrustedKey,
}

/// Does what was asked.
///
/// # Errors
/// Where the keys cannot be read or written, or something named is not there.
pub fn run(args: KeysArgs, context: &mut Context) -> anyhow::Result<Exit> {
    let now = Clock::system().now();
    let folder = KeyFolder::of(&context.places.home)?;
    anyhow::ensure!(
        context.places.home.is_dir(),
        UsageError(format!(
            "there is no data folder at {}: run this where the server runs, or name it with AIRBOSS_HOME",
            context.places.home.display()
        ))
    );
    let said = match args.verb {
        KeysVerb::List(args) => return list(&folder, &args, true, now, context),
        KeysVerb::New(args) => {
            if let Some(there) = folder.ring()?.current(now) {
                return Err(UsageError(format!(
                    "`{}` signs already; `airboss keys rotate` makes the next one",
                    there.name
                ))
                .into());
            }
            make(&folder, &args, now)?
        }
        KeysVerb::Rotate(args) => make(&folder, &args, now)?,
        KeysVerb::Export(args) => export(&folder, args.name.as_deref(), now)?,
        KeysVerb::Seal => seal(&folder)?,
        KeysVerb::Trust(args) => match args.verb {
            TrustVerb::Add(args) => trust(&folder, &args)?,
            TrustVerb::List(args) => return list(&folder, &args, false, now, context),
            TrustVerb::Revoke(args) => revoke(&folder, &args, now)?,
        },
        KeysVerb::Revoke(args) => revoke(&folder, &args, now)?,
    };
    context.console.text(said.trim_end())?;
    Ok(Exit::Done)
}

fn make(folder: &KeyFolder, args: &NewArgs, now: Timestamp) -> anyhow::Result<String> {
    let until = args.expires.map(|it| airboss_model::time::after(now, it.0));
    let made = folder.rotate(args.secret.as_deref(), now, until)?;
    Ok(format!(
        "`{}` signs from now on; `airboss keys export` prints its public half\n{}",
        made.name,
        advice(folder.rest(&made.secret))
    ))
}

fn advice(rest: Rest) -> String {
    match rest {
        Rest::Plain => format!(
            "! its private half is not sealed: set {PASSPHRASE_VARIABLE} to env:NAME or file:PATH, then run `airboss keys seal`"
        ),
        _ => String::new(),
    }
}

fn export(folder: &KeyFolder, name: Option<&str>, now: Timestamp) -> anyhow::Result<String> {
    let ring = folder.ring()?;
    let found = match name {
        Some(name) => ring.own.iter().find(|it| it.name == name),
        None => ring.current(now),
    };
    found.map(|it| it.key.to_string()).ok_or_else(|| {
        UsageError(match name {
            Some(name) => format!("no own key is called `{name}`; `airboss keys list` shows all"),
            None => "no key signs now; `airboss keys rotate` makes one".to_owned(),
        })
        .into()
    })
}

fn seal(folder: &KeyFolder) -> anyhow::Result<String> {
    anyhow::ensure!(
        folder.has_passphrase(),
        UsageError(format!(
            "no passphrase is named: set {PASSPHRASE_VARIABLE} to env:NAME or file:PATH, for the server too"
        ))
    );
    let sealed = folder.seal_all()?;
    Ok(match sealed {
        0 => "every private key in the data folder is sealed already".to_owned(),
        1 => "1 private key was sealed".to_owned(),
        more => format!("{more} private keys were sealed"),
    })
}

fn trust(folder: &KeyFolder, args: &TrustAddArgs) -> anyhow::Result<String> {
    let name = &args.name;
    folder.change(|ring| {
        if let (Some(issuer), Some(identity)) = (&args.issuer, &args.identity) {
            let root = match args.root.as_str() {
                "public" => Root::PublicGood,
                "github" => Root::GitHub,
                path => {
                    let text = std::fs::read_to_string(path).with_context(|| {
                        UsageError(format!(
                            "`{path}` is neither `public`, `github` nor a file that can be read"
                        ))
                    })?;
                    Root::own(text).with_context(|| format!("{path} is no trusted_root.json"))?
                }
            };
            ring.trust_identity(name, issuer, identity, root)?;
            return Ok(format!("`{name}` is believed: {identity} by {issuer}"));
        }
        let path = args.key.clone().unwrap_or_default();
        let text = std::fs::read_to_string(&path)
            .with_context(|| UsageError(format!("{} cannot be read", path.display())))?;
        let key: PublicKey = text
            .parse()
            .with_context(|| format!("{}", path.display()))?;
        let said = format!("`{name}` is believed: {} {}", key.algorithm(), key.id());
        ring.trust_key(name, key, args.from, args.until)?;
        Ok(said)
    })
}

fn revoke(folder: &KeyFolder, args: &RevokeArgs, now: Timestamp) -> anyhow::Result<String> {
    folder.change(|ring| {
        let name = ring.revoke(&args.which, &args.reason, now)?;
        let own = ring.own.iter().any(|it| it.name == name);
        let next = if own {
            "\n  `airboss keys rotate` makes the next one; until then nothing is signed"
        } else {
            ""
        };
        Ok(format!(
            "`{name}` is revoked: nothing that it signed counts any more, and rollouts that rest on it are held{next}"
        ))
    })
}

/// A time, or a day, which is its beginning in UTC.
fn time(text: &str) -> Result<Timestamp, String> {
    text.parse()
        .or_else(|_| format!("{text}T00:00:00Z").parse())
        .map_err(|_| {
            "write a day such as 2026-12-31, which is its beginning in UTC, or a time such as 2026-12-31T12:00:00Z"
                .to_owned()
        })
}

fn at_rest(rest: Rest) -> &'static str {
    match rest {
        Rest::Sealed => "sealed",
        Rest::Plain => "not sealed",
        Rest::Elsewhere => "kept elsewhere",
        Rest::Missing => "MISSING",
    }
}

fn list(
    folder: &KeyFolder,
    args: &ListArgs,
    with_own: bool,
    now: Timestamp,
    context: &mut Context,
) -> anyhow::Result<Exit> {
    let ring = folder.ring()?;
    let signing = ring.current(now).map(|it| it.name.clone());
    let home = context.places.home.clone();
    let own = ring
        .own
        .into_iter()
        .filter(|_| with_own)
        .map(|key| OwnLine {
            id: key.key.id(),
            signs: signing.as_ref() == Some(&key.name),
            at_rest: at_rest(folder.rest(&key.secret)),
            key,
        });
    let log = std::fs::read_to_string(home.join(LOG_PUBLIC_KEY_FILE)).ok();
    let log = log.filter(|_| with_own).map(|key| LogLine {
        key: key.trim().to_owned(),
        at_rest: at_rest(folder.rest_of_file(&home.join(LOG_KEY_FILE))),
    });
    let listed = Listed {
        own: own.collect(),
        log,
        keys: ring
            .trust
            .keys
            .into_iter()
            .map(|key| KeyLine {
                id: key.key.id(),
                algorithm: key.key.algorithm(),
                key,
            })
            .collect(),
        identities: ring.trust.identities,
    };
    if args.output.is_json() {
        context.json(&listed)?;
    } else {
        for line in words(&listed, with_own, now) {
            context.console.text(&harmless(&line))?;
        }
    }
    Ok(Exit::Done)
}

fn words(listed: &Listed, with_own: bool, now: Timestamp) -> Vec<String> {
    let mut lines = Vec::new();
    if with_own {
        lines.push("airboss signs with".to_owned());
        for line in &listed.own {
            let state = state(
                line.key.until,
                line.key.revoked.as_ref(),
                Some(line.key.from),
                now,
            );
            let state = if line.signs {
                "signs now".to_owned()
            } else {
                state
            };
            lines.push(format!(
                "  {:<16} {}  {state}  {}",
                line.key.name,
                &line.id[..16],
                line.at_rest
            ));
        }
        if listed.own.is_empty() {
            lines.push("  nothing yet: `airboss keys new`, or start the server".to_owned());
        }
        if let Some(log) = &listed.log {
            let name = log.key.split('+').next().unwrap_or_default();
            lines.push("the record is sealed with".to_owned());
            lines.push(format!("  {name}  {}", log.at_rest));
        }
    }
    lines.push("believed".to_owned());
    for line in &listed.keys {
        let state = state(
            line.key.until,
            line.key.revoked.as_ref(),
            line.key.from,
            now,
        );
        lines.push(format!(
            "  {:<16} {}  {}  {state}",
            line.key.name,
            &line.id[..16],
            line.algorithm
        ));
    }
    for it in &listed.identities {
        let state = state(None, it.revoked.as_ref(), None, now);
        lines.push(format!(
            "  {:<16} {} by {}  {state}",
            it.name, it.identity, it.issuer
        ));
    }
    if listed.keys.is_empty() && listed.identities.is_empty() {
        lines.push("  nobody yet: `airboss keys trust add NAME --key FILE`".to_owned());
    }
    let plain = listed
        .own
        .iter()
        .any(|it| it.at_rest == at_rest(Rest::Plain))
        || listed
            .log
            .as_ref()
            .is_some_and(|it| it.at_rest == at_rest(Rest::Plain));
    if plain {
        lines.push(format!(
            "! private keys are readable by whoever reads the data folder: set {PASSPHRASE_VARIABLE} to env:NAME or file:PATH, for the server too, then run `airboss keys seal`"
        ));
    }
    lines
}

fn state(
    until: Option<Timestamp>,
    revoked: Option<&Revocation>,
    from: Option<Timestamp>,
    now: Timestamp,
) -> String {
    if let Some(it) = revoked {
        let why = if it.reason.is_empty() {
            String::new()
        } else {
            format!(" ({})", it.reason)
        };
        return format!("revoked {}{why}", day(it.at));
    }
    match (from, until) {
        (_, Some(until)) if until <= now => format!("ended {}", day(until)),
        (Some(from), _) if from > now => format!("begins {}", day(from)),
        (_, Some(until)) => format!("until {}", day(until)),
        _ => "good".to_owned(),
    }
}

fn day(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%MZ").to_string()
}
