//! Which rollout or lane is meant, where the command line says little.

use airboss_model::RolloutId;
use airboss_server::api::requests::RolloutQuery;
use airboss_server::api::views::{LaneView, RolloutView};

use crate::client::{Client, ClientError};
use crate::exit::UsageError;

/// The lanes that a command line means.
///
/// # Errors
/// Where a service or environment is named that is not there.
pub(super) async fn lanes(
    client: &Client,
    service: Option<&str>,
    environment: Option<&str>,
) -> anyhow::Result<Vec<LaneView>> {
    Ok(chosen(client.lanes().await?.lanes, service, environment)?)
}

/// The one lane of a service: in the environment named, else the only one, else production.
///
/// # Errors
/// Where there is none, or it cannot be told which one is meant.
pub(super) async fn lane(
    client: &Client,
    service: &str,
    environment: Option<&str>,
) -> anyhow::Result<LaneView> {
    let mut lanes = lanes(client, Some(service), environment).await?;
    if lanes.len() > 1 {
        lanes.retain(|lane| lane.environment == "production");
    }
    lanes.into_iter().next().ok_or_else(|| {
        UsageError(format!(
            "`{service}` is in several environments; name one with --environment"
        ))
        .into()
    })
}

fn chosen(
    lanes: Vec<LaneView>,
    service: Option<&str>,
    environment: Option<&str>,
) -> Result<Vec<LaneView>, UsageError> {
    let known = names(lanes.iter().map(|lane| lane.service.as_str()));
    let of_service: Vec<LaneView> = lanes
        .into_iter()
        .filter(|lane| service.is_none_or(|service| lane.service == service))
        .collect();
    if let Some(service) = service.filter(|_| of_service.is_empty()) {
        return Err(UsageError(if known.is_empty() {
            format!(
                "there is no service `{service}`: none has been shipped yet\n  \
                 ship the first one: airboss ship PATH --version VERSION"
            )
        } else {
            format!("there is no service `{service}`\n  there are: {known}")
        }));
    }
    let environments = names(of_service.iter().map(|lane| lane.environment.as_str()));
    let rest: Vec<LaneView> = of_service
        .into_iter()
        .filter(|lane| environment.is_none_or(|environment| lane.environment == environment))
        .collect();
    match environment {
        Some(environment) if rest.is_empty() && !environments.is_empty() => {
            Err(UsageError(format!(
                "nothing has been shipped to environment `{environment}`\n  there are: {environments}"
            )))
        }
        _ => Ok(rest),
    }
}

/// The rollout of that id. None where there is none, or the text is no rollout's id at all.
///
/// # Errors
/// Where the server cannot be asked.
pub(super) async fn rollout(
    client: &Client,
    named: &str,
) -> Result<Option<RolloutView>, ClientError> {
    if named.parse::<RolloutId>().is_err() {
        return Ok(None);
    }
    match client.rollout(named).await {
        Ok(rollout) => Ok(Some(rollout)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}

/// The rollout to act on: the one named, the one in progress of the service named, else the only
/// one in progress.
///
/// # Errors
/// Where none is in progress, or several are.
pub(super) async fn in_progress(
    client: &Client,
    named: Option<String>,
    verb: &str,
) -> anyhow::Result<String> {
    match named {
        // The server says what it knows of an id; a service's name is looked up here.
        Some(id) if id.parse::<RolloutId>().is_ok() => Ok(id),
        service => Ok(only(&lanes(client, service.as_deref(), None).await?, verb)?),
    }
}

fn only(lanes: &[LaneView], verb: &str) -> Result<String, UsageError> {
    let running: Vec<(&LaneView, &str)> = lanes
        .iter()
        .filter_map(|lane| Some((lane, lane.rollout.as_ref()?.id.as_str())))
        .collect();
    match running.as_slice() {
        [(_, only)] => Ok((*only).to_owned()),
        [] => {
            let waiting: Vec<String> = lanes
                .iter()
                .flat_map(|lane| &lane.queue)
                .map(|queued| format!("\n  waiting: airboss {verb} {}", queued.rollout))
                .collect();
            Err(UsageError(format!(
                "no rollout is in progress, so there is nothing to {verb}{}",
                waiting.concat()
            )))
        }
        several => {
            let list: Vec<String> = several
                .iter()
                .map(|(lane, id)| {
                    format!(
                        "\n  airboss {verb} {id}   ({}/{})",
                        lane.service, lane.environment
                    )
                })
                .collect();
            Err(UsageError(format!(
                "{} rollouts are in progress; say which:{}",
                several.len(),
                list.concat()
            )))
        }
    }
}

/// The rollout to look at: the one named, the newest one of the service named, the only one in
/// progress, else the newest of all.
///
/// # Errors
/// Where there is none.
pub(super) async fn newest(client: &Client, named: Option<&str>) -> anyhow::Result<RolloutView> {
    if let Some(named) = named {
        if let Some(rollout) = rollout(client, named).await? {
            return Ok(rollout);
        }
        let query = RolloutQuery {
            service: Some(named.to_owned()),
            limit: Some(1),
            ..RolloutQuery::default()
        };
        let missing = || {
            UsageError(format!(
                "there is neither a rollout nor a service `{named}`\n  \
                 list them: airboss history, airboss status"
            ))
        };
        let page = match client.rollouts(&query).await {
            Ok(page) => page,
            Err(error) if error.is_not_found() => return Err(missing().into()),
            Err(error) => return Err(error.into()),
        };
        return Ok(page.rollouts.into_iter().next().ok_or_else(missing)?);
    }
    let one = RolloutQuery {
        limit: Some(2),
        ended: Some(false),
        ..RolloutQuery::default()
    };
    let mut open = client.rollouts(&one).await?.rollouts;
    if open.len() == 1 {
        return Ok(open.remove(0));
    }
    let query = RolloutQuery {
        limit: Some(1),
        ..RolloutQuery::default()
    };
    let newest = client.rollouts(&query).await?.rollouts.into_iter().next();
    Ok(newest.ok_or_else(|| {
        UsageError(
            "nothing has been shipped yet\n  \
             ship the first version: airboss ship PATH --version VERSION"
                .to_owned(),
        )
    })?)
}

fn names<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let mut names: Vec<&str> = names.collect();
    names.sort_unstable();
    names.dedup();
    names.join(", ")
}
