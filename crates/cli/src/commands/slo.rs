//! `airboss slo`.

pub mod kept;
pub mod past;
pub mod report;

use std::time::Duration;

use airboss_model::manifest::Service;
use airboss_server::api::evidence::{ReleaseQuery, ReleaseView};
use airboss_server::api::views::SloList;

use super::check::Told;
use super::{Context, subject};
use crate::args::{GlobalArgs, SloArgs, SloVerb};
use crate::client::Client;
use crate::exit::{Exit, UsageError};
use crate::render;

/// How long a verb that can do without a server waits for one.
const ASK_WITHIN: Duration = Duration::from_secs(2);

/// What a server at hand knows of a service. Nothing where there is no server, it does not answer
/// soon, or it does not know the service: whoever asks here can do without.
pub fn known(service: &Service, global: &GlobalArgs) -> Told {
    let ask = || {
        let client = Context::new(global.clone()).ok()?.client().ok()?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .ok()?;
        let both = async { tokio::join!(traffic(&client, service), newest(&client, service)) };
        let told = runtime.block_on(async { tokio::time::timeout(ASK_WITHIN, both).await });
        let (traffic, newest) = told.ok()?;
        Some(Told { traffic, newest })
    };
    ask().unwrap_or_default()
}

async fn traffic(client: &Client, service: &Service) -> Option<SloList> {
    let name = service.metadata.name.as_str();
    let lane = subject::lane(client, name, None).await.ok()?;
    client.slos(&lane.service, &lane.environment).await.ok()
}

async fn newest(client: &Client, service: &Service) -> Option<ReleaseView> {
    let require = &service.spec.rollout.require;
    if require.is_empty() {
        return None;
    }
    let query = ReleaseQuery {
        service: Some(service.metadata.name.to_string()),
        limit: Some(1),
        ..ReleaseQuery::default()
    };
    let newest = client.releases(&query).await.ok()?.releases.pop()?;
    client.release_for(&newest.id, Some(require)).await.ok()
}

/// Says what a service's history says of its SLOs.
///
/// # Errors
/// Where the server cannot be asked, or there is no such service.
pub async fn run(args: SloArgs, context: &mut Context) -> anyhow::Result<Exit> {
    let args = match args.verb {
        SloVerb::Suggest(args) => args,
        SloVerb::Report(args) => return report::run(args, context).await,
        SloVerb::Backtest(args) => {
            let name = args.past.clone();
            return kept::run(&args, &name, context).await;
        }
        SloVerb::Burn(args) => anyhow::bail!("{args:?} asks no server: a fault of this program"),
    };
    let client = context.client()?;
    let environment = args.environment.as_deref();
    let lane = subject::lane(&client, &args.service, environment).await?;
    let list = client.slos(&lane.service, &lane.environment).await?;
    if args.output.is_json() {
        context.json(&list)?;
        return Ok(Exit::Done);
    }
    if list.slos.is_empty() && list.requests_per_second.is_none() {
        return Err(UsageError(format!(
            "no traffic of {}/{} was seen yet: an objective is proposed from a service's own history",
            lane.service, lane.environment
        ))
        .into());
    }
    context.console.lines(&render::slos(&list))?;
    Ok(Exit::Done)
}
