//! `airboss token`: who may ask, and for what.

use airboss_server::api::tokens::{NewToken, TokenView};
use clap::{Args, Subcommand};

use super::Context;
use crate::args::{ByArgs, OutputArgs};
use crate::exit::Exit;
use crate::{identity, render};

/// `airboss token`.
#[derive(Debug, Clone, Args)]
pub struct TokenArgs {
    /// What to do with tokens.
    #[command(subcommand)]
    pub verb: TokenVerb,
}

/// What to do with tokens.
#[derive(Debug, Clone, Subcommand)]
pub enum TokenVerb {
    /// Make a token and print its text, this once
    Create(CreateArgs),
    /// List tokens, newest first
    List(OutputArgs),
    /// Make a token useless, at once and for good
    Revoke(RevokeArgs),
}

/// `airboss token create`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Scopes:
  read     see everything
  ship     ship, steer and take back; includes read
  approve  give and refuse approvals; includes read
  admin    everything that people do, tokens among it
  agent    what an agent does, and nothing else

For example:
  airboss token create ci --scope ship --expires 90d
  export AIRBOSS_TOKEN=$(airboss token create ci --scope ship --output json | jq -r .secret)")]
pub struct CreateArgs {
    /// Who will hold it; the record names it with everything that is asked with the token
    #[arg(value_name = "NAME")]
    pub name: String,
    /// What it allows: read, ship, approve, admin, agent; may be repeated
    #[arg(long = "scope", value_name = "SCOPE", required = true)]
    pub scopes: Vec<String>,
    /// For how long, such as 12h or 30d; `never` for one without an end
    #[arg(long, value_name = "SPAN", default_value = "90d")]
    pub expires: String,
    /// Who asks.
    #[command(flatten)]
    pub by: ByArgs,
    /// How to print.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// `airboss token revoke`.
#[derive(Debug, Clone, Args)]
pub struct RevokeArgs {
    /// The token's id, as `airboss token list` shows it
    #[arg(value_name = "ID")]
    pub id: String,
    /// How to print.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Makes, lists and revokes tokens.
///
/// # Errors
/// Where the server cannot be asked, or says no.
pub async fn run(args: TokenArgs, context: &mut Context) -> anyhow::Result<Exit> {
    let client = context.client()?;
    match args.verb {
        TokenVerb::Create(args) => {
            let made = client
                .create_token(&NewToken {
                    name: args.name,
                    scopes: args.scopes,
                    expires_in: args.expires,
                    by: identity::by(args.by.by.as_deref()),
                })
                .await?;
            if args.output.is_json() {
                context.json(&made)?;
            } else {
                let TokenView { id, name, .. } = &made.token;
                let until = made.token.expires_at.as_deref().map_or_else(
                    || "without an end".to_owned(),
                    |at| format!("until {}", render::words::day_and_clock(at)),
                );
                context.console.text(&format!(
                    "{}\n\nThis is the token {id} of {name}, for {}, {until}. It is shown this once: keep it where secrets are\nkept, and hand it on as $AIRBOSS_TOKEN. `airboss token revoke {id}` makes it useless.",
                    made.secret,
                    made.token.scopes.join(" and "),
                ))?;
            }
        }
        TokenVerb::List(output) => {
            let list = client.tokens().await?;
            if output.is_json() {
                context.json(&list)?;
            } else if list.tokens.is_empty() {
                context
                    .console
                    .text("No tokens but the installation's own, which lies in the data folder.")?;
            } else {
                context.console.lines(&render::tokens(&list.tokens))?;
            }
        }
        TokenVerb::Revoke(args) => {
            let token = client.revoke_token(&args.id).await?;
            if args.output.is_json() {
                context.json(&token)?;
            } else {
                let since = token.revoked_at.as_deref().unwrap_or("now");
                context.console.text(&format!(
                    "The token {} of {} is of no use since {}.",
                    token.id,
                    token.name,
                    render::words::day_and_clock(since)
                ))?;
            }
        }
    }
    Ok(Exit::Done)
}
