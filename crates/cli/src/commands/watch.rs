//! `airboss watch`, and the following that `ship` and `rollback` end with.

use std::collections::VecDeque;
use std::future::pending;
use std::io::{self, Write as _};
use std::time::Duration;

use airboss_model::Span;
use airboss_server::api::views::{EventView, LaneView, RolloutView};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc::{self, Receiver};
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, sleep, sleep_until};

use super::{Context, subject};
use crate::args::{OutputArgs, WatchArgs};
use crate::client::follow::{self, Notice, Subject};
use crate::client::{Client, ClientError};
use crate::exit::{Exit, UsageError};
use crate::render::{self, Footnote};
use crate::terminal::Screen;

/// Newest events below the tree.
const EVENTS_SHOWN: usize = 3;
/// Notices that wait while a picture is drawn; the streams wait behind them.
const NOTICES: usize = 256;

/// What is followed.
pub enum Followed {
    /// A rollout until it ends.
    Rollout(Box<RolloutView>),
    /// A service in an environment, until somebody has seen enough.
    Lane(Box<LaneView>),
}

/// Follows a rollout or a service.
///
/// # Errors
/// Where the server cannot be asked or stays away, or there is nothing to follow.
pub async fn run(args: WatchArgs, context: &mut Context) -> anyhow::Result<Exit> {
    let client = context.client()?;
    let followed = resolve(&client, &args).await?;
    follow(client, followed, args.timeout, args.output, context).await
}

async fn resolve(client: &Client, args: &WatchArgs) -> anyhow::Result<Followed> {
    let lanes = client.lanes().await?.lanes;
    let wanted = |lane: &LaneView| {
        args.environment
            .as_deref()
            .is_none_or(|environment| lane.environment == environment)
    };
    let Some(named) = args.subject.as_deref() else {
        let running: Vec<&LaneView> = lanes
            .iter()
            .filter(|lane| lane.rollout.is_some() && wanted(lane))
            .collect();
        if let ([], [only]) = (running.as_slice(), lanes.as_slice()) {
            return Ok(Followed::Lane(Box::new(only.clone())));
        }
        let id = match running.as_slice() {
            [lane] => lane.rollout.as_ref().map(|rollout| rollout.id.clone()),
            _ => None,
        };
        let id = subject::in_progress(client, id, "watch").await?;
        return Ok(Followed::Rollout(Box::new(client.rollout(&id).await?)));
    };
    let of_service: Vec<&LaneView> = lanes
        .iter()
        .filter(|lane| lane.service == named && wanted(lane))
        .collect();
    match of_service.as_slice() {
        [] => {
            let rollout = subject::rollout(client, named).await?.ok_or_else(|| {
                UsageError(format!(
                    "there is neither a rollout nor a service `{named}`{}\n  \
                     list them: airboss history, airboss status",
                    args.environment
                        .as_ref()
                        .map_or_else(String::new, |name| format!(" in environment `{name}`"))
                ))
            })?;
            Ok(Followed::Rollout(Box::new(rollout)))
        }
        several => {
            let lane = several
                .iter()
                .find(|lane| lane.environment == "production")
                .unwrap_or(&several[0]);
            Ok(Followed::Lane(Box::new((*lane).clone())))
        }
    }
}

/// Follows until the end, a signal or the timeout. On a terminal it redraws the tree; elsewhere it
/// appends a line for each event; with JSON each line is an event.
///
/// # Errors
/// Where the server says no or stays away for [`follow::PATIENCE`], or the output is gone.
pub async fn follow(
    client: Client,
    followed: Followed,
    timeout: Option<Span>,
    output: OutputArgs,
    context: &mut Context,
) -> anyhow::Result<Exit> {
    let mut signals = Signals::new()?;
    let deadline = timeout.map(|span| Instant::now() + span.0);
    let picture = context.console.is_terminal() && !output.is_json();
    let (notices, mut incoming) = mpsc::channel(NOTICES);
    let (lane, events) = subjects(&followed);
    let mut streams = JoinSet::new();
    for wanted in picture.then_some(lane).into_iter().chain([events]) {
        streams.spawn(follow::follow(
            client.clone(),
            context.places.clone(),
            wanted,
            notices.clone(),
        ));
    }
    drop(notices);
    let mut seen = Seen::of(&followed);
    let end = if picture {
        draw(
            &client,
            &mut seen,
            &mut incoming,
            &mut signals,
            deadline,
            context,
        )
        .await
    } else {
        append(
            &client,
            &mut seen,
            &mut incoming,
            &mut signals,
            deadline,
            output,
            context,
        )
        .await
    }?;
    conclude(end, &seen, output, context)
}

fn subjects(followed: &Followed) -> (Subject, Subject) {
    let (service, environment) = match followed {
        Followed::Rollout(rollout) => (&rollout.service, &rollout.environment),
        Followed::Lane(lane) => (&lane.service, &lane.environment),
    };
    let lane = Subject::Lane {
        service: service.clone(),
        environment: environment.clone(),
    };
    let events = match followed {
        Followed::Rollout(rollout) => Subject::Events {
            rollout: Some(rollout.id.clone()),
            after: 0,
        },
        Followed::Lane(lane) => Subject::Events {
            rollout: None,
            after: lane.last_event,
        },
    };
    (lane, events)
}

/// How following ended.
enum End {
    Ended(Box<RolloutView>),
    Interrupted,
    TimedOut,
}

struct Signals {
    interrupt: Signal,
    terminate: Signal,
    resized: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            resized: signal(SignalKind::window_change())?,
        })
    }
}

async fn at(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => pending().await,
    }
}

/// What was seen of the thing followed.
struct Seen {
    service: String,
    environment: String,
    /// The rollout that is followed. None while a service is.
    rollout: Option<String>,
    lane: Option<LaneView>,
    newest: VecDeque<EventView>,
    /// Since when the server has not answered, and what happened.
    lost: Option<(Instant, String)>,
    /// The rollout may have ended: ask.
    maybe_over: bool,
}

impl Seen {
    fn of(followed: &Followed) -> Self {
        let (service, environment, rollout, maybe_over) = match followed {
            Followed::Rollout(rollout) => (
                &rollout.service,
                &rollout.environment,
                Some(rollout.id.clone()),
                rollout.outcome.is_some(),
            ),
            Followed::Lane(lane) => (&lane.service, &lane.environment, None, false),
        };
        Self {
            service: service.clone(),
            environment: environment.clone(),
            rollout,
            lane: None,
            newest: VecDeque::new(),
            lost: None,
            maybe_over,
        }
    }

    /// Takes a notice in. Gives the event in it, where it is one of the thing followed.
    fn take(&mut self, notice: Notice) -> Result<Option<EventView>, ClientError> {
        match notice {
            Notice::Lane(lane) => {
                self.maybe_over |= self.rollout.as_ref().is_some_and(|id| {
                    lane.rollout
                        .as_ref()
                        .is_none_or(|rollout| rollout.id != *id)
                        && lane.queue.iter().all(|queued| queued.rollout != *id)
                });
                self.lane = Some(*lane);
            }
            Notice::Event(event) => {
                if event.service != self.service || event.environment != self.environment {
                    return Ok(None);
                }
                self.maybe_over |= self.rollout.is_some()
                    && event.rollout == self.rollout
                    && matches!(event.kind.as_str(), "ended" | "withdrawn");
                // The tree itself shows what these two tell.
                if !matches!(event.kind.as_str(), "observed" | "desired_changed") {
                    self.newest.push_back((*event).clone());
                    if self.newest.len() > EVENTS_SHOWN {
                        self.newest.pop_front();
                    }
                }
                return Ok(Some(*event));
            }
            Notice::Lost(error) => {
                self.lost.get_or_insert((Instant::now(), error.to_string()));
            }
            Notice::Back => self.lost = None,
            Notice::Failed(error) => return Err(error),
        }
        Ok(None)
    }

    /// The rollout's end, if it has come.
    async fn end(&mut self, client: &Client) -> Result<Option<End>, ClientError> {
        let Some(id) = self.rollout.as_ref().filter(|_| self.maybe_over) else {
            return Ok(None);
        };
        match client.rollout(id).await {
            Ok(rollout) => {
                self.maybe_over = false;
                let over = rollout.outcome.is_some();
                Ok(over.then(|| End::Ended(Box::new(rollout))))
            }
            // Asked again with the next notice, or after the pause that the callers make.
            Err(error) if error.is_passing() => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Appends a line for each event.
async fn append(
    client: &Client,
    seen: &mut Seen,
    incoming: &mut Receiver<Notice>,
    signals: &mut Signals,
    deadline: Option<Instant>,
    output: OutputArgs,
    context: &mut Context,
) -> anyhow::Result<End> {
    // One that is over sends no more: what happened is read as a list.
    if let Some(end) = seen.end(client).await? {
        let mut after = None;
        while let Some(id) = &seen.rollout {
            let page = client.events(id, after).await?.events;
            for event in &page {
                print(event, output, context)?;
            }
            match page.last() {
                Some(last) => after = Some(last.number),
                None => break,
            }
        }
        return Ok(end);
    }
    loop {
        let again = async {
            match seen.maybe_over {
                true => sleep(Duration::from_secs(1)).await,
                false => pending().await,
            }
        };
        tokio::select! {
            notice = incoming.recv() => {
                let Some(notice) = notice else {
                    anyhow::bail!("the live stream ended without a word: a fault of this program");
                };
                let was_lost = seen.lost.is_some();
                if let Some(event) = seen.take(notice)? {
                    print(&event, output, context)?;
                }
                // On standard error, so that what is piped on stays pure.
                match (&seen.lost, was_lost) {
                    (Some((_, why)), false) => {
                        writeln!(io::stderr(), "airboss: {why}\n  waiting for it")?;
                    }
                    (None, true) => writeln!(io::stderr(), "airboss: the server answers again")?,
                    _ => {}
                }
            }
            () = again => {}
            () = at(deadline) => return Ok(End::TimedOut),
            _ = signals.interrupt.recv() => return Ok(End::Interrupted),
            _ = signals.terminate.recv() => return Ok(End::Interrupted),
        }
        if let Some(end) = seen.end(client).await? {
            return Ok(end);
        }
    }
}

fn print(event: &EventView, output: OutputArgs, context: &mut Context) -> anyhow::Result<()> {
    if output.is_json() {
        context.console.text(&serde_json::to_string(event)?)?;
    } else {
        context.console.lines(&[render::event_line(event)])?;
    }
    Ok(())
}

/// Draws the tree over and over.
async fn draw(
    client: &Client,
    seen: &mut Seen,
    incoming: &mut Receiver<Notice>,
    signals: &mut Signals,
    deadline: Option<Instant>,
    context: &mut Context,
) -> anyhow::Result<End> {
    if let Some(end) = seen.end(client).await? {
        return Ok(end);
    }
    let mut screen = Screen::new(&mut context.console)?;
    let mut seconds = interval(Duration::from_secs(1));
    let end = loop {
        tokio::select! {
            notice = incoming.recv() => {
                let Some(notice) = notice else {
                    anyhow::bail!("the live stream ended without a word: a fault of this program");
                };
                seen.take(notice)?;
                // A picture for all that has come, not one for each.
                while let Ok(notice) = incoming.try_recv() {
                    seen.take(notice)?;
                }
            }
            _ = seconds.tick() => {
                if seen.lost.is_none() && !seen.maybe_over {
                    continue;
                }
            }
            _ = signals.resized.recv() => {}
            () = at(deadline) => break End::TimedOut,
            _ = signals.interrupt.recv() => break End::Interrupted,
            _ = signals.terminate.recv() => break End::Interrupted,
        }
        picture(&mut screen, seen)?;
        if let Some(end) = seen.end(client).await? {
            break end;
        }
    };
    if matches!(end, End::Ended(_))
        && let Ok(list) = client.lanes().await
    {
        // The last picture shows how it ended, not the moment before.
        seen.lost = None;
        seen.lane = list
            .lanes
            .into_iter()
            .find(|lane| lane.service == seen.service && lane.environment == seen.environment)
            .or(seen.lane.take());
        picture(&mut screen, seen)?;
    }
    Ok(end)
}

fn picture(screen: &mut Screen<'_>, seen: &Seen) -> io::Result<()> {
    let mut notes = Vec::new();
    if let Some((since, why)) = &seen.lost {
        let why = why.lines().next().unwrap_or_default();
        notes.push(Footnote::Trouble(format!(
            "{why} ({} s); waiting for it, the picture is from before",
            since.elapsed().as_secs()
        )));
    }
    let events: Vec<EventView> = seen.newest.iter().cloned().collect();
    screen.draw(&match &seen.lane {
        Some(lane) => render::tree(lane, &events, &notes),
        None => render::footnotes(&notes),
    })
}

fn conclude(
    end: End,
    seen: &Seen,
    output: OutputArgs,
    context: &mut Context,
) -> anyhow::Result<Exit> {
    let (exit, hint) = match (&end, &seen.rollout) {
        (End::Ended(rollout), _) => {
            if !output.is_json() {
                context.console.lines(&render::final_line(rollout))?;
            }
            return Ok(Exit::of(rollout));
        }
        (End::TimedOut, Some(id)) => (
            Exit::Waiting,
            format!("{id} goes on; follow it: airboss watch {id}"),
        ),
        (End::Interrupted, Some(id)) => (
            Exit::Interrupted,
            format!(
                "{id} goes on; follow it: airboss watch {id}, take it back: airboss abort {id}"
            ),
        ),
        // Nothing was waited for: it was looked at for as long as somebody wanted.
        (End::TimedOut, None) => return Ok(Exit::Done),
        (End::Interrupted, None) => return Ok(Exit::Interrupted),
    };
    writeln!(io::stderr(), "{hint}")?;
    Ok(exit)
}
