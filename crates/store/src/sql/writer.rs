//! The one writer. Operations that wait at the same moment share one transaction and so one
//! flush to disk; each is told its result after the flush. What arrives while a transaction is
//! being filled still joins it: else the first caller to come back would get a flush for itself
//! and keep the others waiting. What comes in numbers, measurements and commits, goes last in a
//! transaction and all together, in a few statements; nobody can tell the order of operations that nobody has heard the result of.
//!
//! An operation that is refused takes nothing of the others with it: the transaction is undone
//! and done again with a savepoint around each operation. Savepoints are not there from the
//! start because refusals are rare and each statement costs a trip to SQLite's thread. Where the
//! transaction itself fails (a full disk, say), each operation is tried once more alone, so that
//! one that is too large does not fail the rest.

use std::fs::File;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::commit;
use super::connect::Connect;
use super::db::Db;
use super::evidence::Append;
use super::fault::{Broken, Explain, Fault};
use crate::{Committed, Result, StoreError};

/// Operations that may wait; further callers wait until there is room.
const QUEUE: usize = 1024;
/// Operations that share one transaction at most, which bounds how long the first one waits.
const BATCH: usize = 256;
/// One write. It may be applied several times, so it keeps its values.
pub(crate) trait Write: Send + Sync + 'static {
    /// What the caller gets.
    type Answer: Send + 'static;
    /// What it is, for messages: "the database did not do …".
    const WHAT: &'static str;

    /// Does it, inside the writer's transaction.
    fn apply(&self, db: &mut Db) -> impl Future<Output = Result<Self::Answer, Fault>> + Send;

    /// Whether other controllers are to look at once.
    fn is_news(&self) -> bool {
        false
    }
}

/// A write that comes in numbers: several of them take a few statements in all.
pub(super) trait Together: Send + Sync + 'static {
    /// What the caller gets.
    type Answer: Send + 'static;
    /// As [`Write::WHAT`].
    const WHAT: &'static str;
    /// Writes to a statement.
    const GROUP: usize;

    /// Does them all inside the writer's transaction. None where one of them is refused, and then
    /// what was done of the others is to be undone.
    fn apply(
        db: &mut Db,
        group: &[&Self],
    ) -> impl Future<Output = Result<Option<Vec<Self::Answer>>, Fault>> + Send;

    /// What is said where this one alone is refused without more.
    fn refused(&self) -> StoreError;
}

/// A [`Write`] with someone who waits for it.
#[async_trait]
trait Job: Send {
    /// Applies it and keeps its answer. `Ok(false)` where it was refused.
    async fn apply(&mut self, db: &mut Db) -> Result<bool, Broken>;
    /// As [`Write::is_news`].
    fn is_news(&self) -> bool;
    /// Tells the answer, or why the transaction failed.
    fn tell(self: Box<Self>, place: &dyn Explain, committed: Result<(), &Broken>);
}

struct Waiting<W: Write> {
    write: W,
    answer: Option<Result<W::Answer>>,
    caller: oneshot::Sender<Result<W::Answer>>,
}

#[async_trait]
impl<W: Write> Job for Waiting<W> {
    async fn apply(&mut self, db: &mut Db) -> Result<bool, Broken> {
        let answer = settle(W::WHAT, self.write.apply(db).await)?;
        let kept = answer.is_ok();
        self.answer = Some(answer);
        Ok(kept)
    }

    fn is_news(&self) -> bool {
        self.write.is_news()
    }

    fn tell(self: Box<Self>, place: &dyn Explain, committed: Result<(), &Broken>) {
        tell(W::WHAT, self.caller, self.answer, place, committed);
    }
}

/// One of many with someone who waits for it.
struct Joined<W: Together> {
    write: W,
    answer: Option<Result<W::Answer>>,
    caller: oneshot::Sender<Result<W::Answer>>,
}

/// Parts what concerns one operation from what ends the transaction.
fn settle<T>(what: &'static str, done: Result<T, Fault>) -> Result<Result<T>, Broken> {
    match done {
        Ok(answer) => Ok(Ok(answer)),
        Err(Fault::Refused(error)) => Ok(Err(error)),
        Err(Fault::Broken(broken)) if broken.is_constraint() => Ok(Err(StoreError::Conflict {
            what,
            detail: broken.to_string(),
        })),
        Err(Fault::Broken(broken)) => Err(broken),
    }
}

fn tell<T>(
    what: &'static str,
    caller: oneshot::Sender<Result<T>>,
    answer: Option<Result<T>>,
    place: &dyn Explain,
    committed: Result<(), &Broken>,
) {
    let answer = match (committed, answer) {
        (Ok(()), Some(answer)) => answer,
        (Ok(()), None) => Err(gone(what)),
        (Err(broken), _) => Err(place.explain_broken(what, broken)),
    };
    // A caller that went away meanwhile does not want to know.
    let _ = caller.send(answer);
}

/// Applies writes together; false where one of them is refused.
async fn apply_group<W: Together>(db: &mut Db, writes: &mut [Joined<W>]) -> Result<bool, Broken> {
    let group: Vec<_> = writes.iter().map(|it| &it.write).collect();
    match settle(W::WHAT, W::apply(db, &group).await)? {
        Ok(Some(answers)) => {
            for (joined, answer) in writes.iter_mut().zip(answers) {
                joined.answer = Some(Ok(answer));
            }
            return Ok(true);
        }
        // Which one of several is not known here; alone each one is told its own.
        Ok(None) => {
            for joined in writes {
                joined.answer = Some(Err(joined.write.refused()));
            }
        }
        Err(error) => {
            if let [only] = writes {
                only.answer = Some(Err(error));
            }
        }
    }
    Ok(false)
}

enum Message {
    Write(Box<dyn Job>),
    Evidence(Joined<Append>),
    Commit(Joined<commit::Prepared>),
    Close(oneshot::Sender<()>),
}

/// The way to the writer.
pub(crate) struct Writer {
    queue: mpsc::Sender<Message>,
}

impl Writer {
    /// Starts the writer on a connection; `connect` serves to connect again after a failure.
    /// `in_use`, the lock that says so, is held for as long as the writer lives.
    pub(crate) fn start(
        db: Db,
        connect: Connect,
        place: Arc<dyn Explain>,
        in_use: Option<File>,
    ) -> Self {
        let (queue, messages) = mpsc::channel(QUEUE);
        let desk = Desk {
            db: Some(db),
            connect,
            place,
            in_use,
        };
        tokio::spawn(desk.work(messages));
        Self { queue }
    }

    /// Does one write and waits until it is on disk. Once it is queued it happens even where
    /// the caller stops waiting.
    pub(crate) async fn run<W: Write>(&self, write: W) -> Result<W::Answer> {
        self.ask(W::WHAT, |caller| {
            Message::Write(Box::new(Waiting {
                write,
                answer: None,
                caller,
            }))
        })
        .await
    }

    /// As [`Self::run`], for a commit.
    pub(super) async fn commit(&self, write: commit::Prepared) -> Result<Committed> {
        self.ask(commit::Prepared::WHAT, |caller| {
            Message::Commit(Joined {
                write,
                answer: None,
                caller,
            })
        })
        .await
    }

    /// As [`Self::run`], for measurements.
    pub(super) async fn append(&self, write: Append) -> Result<()> {
        self.ask(Append::WHAT, |caller| {
            Message::Evidence(Joined {
                write,
                answer: None,
                caller,
            })
        })
        .await
    }

    async fn ask<T>(
        &self,
        what: &'static str,
        message: impl FnOnce(oneshot::Sender<Result<T>>) -> Message,
    ) -> Result<T> {
        let (caller, answer) = oneshot::channel();
        self.queue
            .send(message(caller))
            .await
            .map_err(|_| gone(what))?;
        answer.await.map_err(|_| gone(what))?
    }

    /// Ends the writer after everything that is queued.
    pub(crate) async fn close(&self) {
        let (done, ended) = oneshot::channel();
        // An error means that it has ended already.
        if self.queue.send(Message::Close(done)).await.is_ok() {
            let _ = ended.await;
        }
    }
}

fn gone(what: &'static str) -> StoreError {
    StoreError::Unavailable {
        what,
        source: "the store was closed".into(),
    }
}

/// Why a transaction was undone.
enum Undone {
    /// It did not start, so no operation of it is to blame.
    AtBegin(Broken),
    /// An operation or the flush failed.
    Later(Broken),
    /// An operation was refused and there are no savepoints.
    Refused,
}

/// How operations share a transaction.
enum Share<'a> {
    /// One refusal undoes all; whoever arrives meanwhile joins.
    Plain(&'a mut Waitlist),
    /// A refusal undoes only its own operation.
    Savepoints,
}

struct Desk {
    db: Option<Db>,
    connect: Connect,
    place: Arc<dyn Explain>,
    in_use: Option<File>,
}

/// Operations that share a transaction.
#[derive(Default)]
struct Batch {
    jobs: Vec<Box<dyn Job>>,
    evidence: Vec<Joined<Append>>,
    commits: Vec<Joined<commit::Prepared>>,
}

impl Batch {
    fn len(&self) -> usize {
        self.jobs.len() + self.evidence.len() + self.commits.len()
    }

    fn is_news(&self) -> bool {
        self.jobs.iter().any(|job| job.is_news())
            || self.commits.iter().any(|commit| commit.write.is_news())
    }

    /// Each operation alone.
    fn split(self) -> impl Iterator<Item = Self> {
        let jobs = self.jobs.into_iter().map(|job| Self {
            jobs: vec![job],
            ..Self::default()
        });
        let evidence = self.evidence.into_iter().map(|rows| Self {
            evidence: vec![rows],
            ..Self::default()
        });
        let commits = self.commits.into_iter().map(|commit| Self {
            commits: vec![commit],
            ..Self::default()
        });
        jobs.chain(evidence).chain(commits)
    }
}

/// What waits for the writer.
struct Waitlist {
    queue: mpsc::Receiver<Message>,
    closing: Vec<oneshot::Sender<()>>,
}

impl Waitlist {
    /// The next operations; None once the store is closed and everything before that is done.
    async fn next(&mut self) -> Option<Batch> {
        loop {
            let mut batch = Batch::default();
            let message = self.queue.recv().await?;
            self.take(message, &mut batch);
            self.join(&mut batch);
            if batch.len() > 0 {
                return Some(batch);
            }
        }
    }

    /// Adds what waits by now, up to a full batch.
    fn join(&mut self, batch: &mut Batch) {
        while batch.len() < BATCH {
            match self.queue.try_recv() {
                Ok(message) => self.take(message, batch),
                Err(_) => return,
            }
        }
    }

    fn take(&mut self, message: Message, batch: &mut Batch) {
        match message {
            Message::Write(job) => batch.jobs.push(job),
            Message::Evidence(rows) => batch.evidence.push(rows),
            Message::Commit(commit) => batch.commits.push(commit),
            Message::Close(done) => {
                self.queue.close();
                self.closing.push(done);
            }
        }
    }
}

impl Desk {
    async fn work(mut self, queue: mpsc::Receiver<Message>) {
        let mut waitlist = Waitlist {
            queue,
            closing: Vec::new(),
        };
        while let Some(batch) = waitlist.next().await {
            self.run(batch, &mut waitlist).await;
        }
        if let Some(db) = self.db.take()
            && let Err(error) = db.close().await
        {
            tracing::warn!(error = %error.into_broken(), "the database connection did not close cleanly");
        }
        drop(self.in_use);
        for done in waitlist.closing {
            let _ = done.send(());
        }
    }

    async fn run(&mut self, mut batch: Batch, waitlist: &mut Waitlist) {
        let mut done = self.attempt(&mut batch, Share::Plain(waitlist)).await;
        if matches!(done, Err(Undone::Refused)) {
            done = self.attempt(&mut batch, Share::Savepoints).await;
        }
        match done {
            // Where the connection is lost, each of them alone would only be lost again.
            Err(Undone::Later(broken)) if batch.len() > 1 && !broken.is_lost() => {
                tracing::warn!(%broken, operations = batch.len(), "a shared transaction failed; trying its operations one by one");
                for mut alone in batch.split() {
                    let done = self.attempt(&mut alone, Share::Savepoints).await;
                    self.tell(alone, done);
                }
            }
            done => self.tell(batch, done),
        }
    }

    fn tell(&self, batch: Batch, done: Result<(), Undone>) {
        let committed = match &done {
            // With savepoints nothing ends as refused; without, it is tried again with them.
            Ok(()) | Err(Undone::Refused) => Ok(()),
            Err(Undone::AtBegin(broken) | Undone::Later(broken)) => Err(broken),
        };
        for job in batch.jobs {
            job.tell(&*self.place, committed);
        }
        for Joined { caller, answer, .. } in batch.evidence {
            tell(Append::WHAT, caller, answer, &*self.place, committed);
        }
        for Joined { caller, answer, .. } in batch.commits {
            tell(
                commit::Prepared::WHAT,
                caller,
                answer,
                &*self.place,
                committed,
            );
        }
    }

    /// One transaction over a batch. On an error nothing of it was written.
    async fn attempt(&mut self, batch: &mut Batch, share: Share<'_>) -> Result<(), Undone> {
        let within = self.connect.write_within();
        let db = self.begin().await.map_err(Undone::AtBegin)?;
        // A database that says nothing for so long is as good as gone; its own end of the
        // transaction is undone with the connection.
        let done = match timeout(within, transact(db, batch, share)).await {
            Ok(done) => done,
            Err(_) => Err(Undone::Later(Broken::silent(within))),
        };
        match &done {
            Ok(()) => {}
            Err(Undone::AtBegin(broken) | Undone::Later(broken)) if broken.is_lost() => {
                self.db = None;
            }
            // The database may have rolled back by itself, then this says so and changes nothing.
            Err(_) => drop(db.run("ROLLBACK").await),
        }
        done
    }

    /// A connection with an open transaction. A connection that turns out to be dead is replaced
    /// once: the server may have been restarted since it was used last.
    async fn begin(&mut self) -> Result<&mut Db, Broken> {
        let within = self.connect.write_within();
        if let Some(db) = self.db.take() {
            match begin(db, within).await {
                Ok(db) => return Ok(self.db.insert(db)),
                Err(broken) if broken.is_lost() => {}
                Err(broken) => return Err(broken),
            }
        }
        let db = self.connect.connect().await?;
        Ok(self.db.insert(begin(db, within).await?))
    }
}

/// Opens a transaction. On PostgreSQL it has the database to itself among all that write, so
/// that replicas write in one order and never wait for each other half-way.
async fn begin(mut db: Db, within: Duration) -> Result<Db, Broken> {
    match timeout(within, db.run(db.dialect().begin())).await {
        Ok(begun) => begun.map(|()| db).map_err(Fault::into_broken),
        Err(_) => Err(Broken::silent(within)),
    }
}

async fn transact(db: &mut Db, batch: &mut Batch, share: Share<'_>) -> Result<(), Undone> {
    match share {
        Share::Plain(waitlist) => together(db, batch, waitlist).await?,
        Share::Savepoints => one_by_one(db, batch).await.map_err(Undone::Later)?,
    }
    let commit = db.dialect().commit(batch.is_news());
    run(db, commit).await.map_err(Undone::Later)
}

/// Applies a batch and what arrives meanwhile.
async fn together(db: &mut Db, batch: &mut Batch, waitlist: &mut Waitlist) -> Result<(), Undone> {
    let (mut jobs, mut evidence, mut commits) = (0, 0, 0);
    loop {
        let kept = if let Some(job) = batch.jobs.get_mut(jobs) {
            jobs += 1;
            job.apply(db).await
        } else if let Some(group) = next_group(&mut batch.evidence, &mut evidence) {
            apply_group(db, group).await
        } else if let Some(group) = next_group(&mut batch.commits, &mut commits) {
            apply_group(db, group).await
        } else {
            return Ok(());
        };
        if !kept.map_err(Undone::Later)? {
            return Err(Undone::Refused);
        }
        waitlist.join(batch);
    }
}

/// The next of those that are not done yet, as many as go together; None where all are done.
fn next_group<'a, W: Together>(
    all: &'a mut [Joined<W>],
    done: &mut usize,
) -> Option<&'a mut [Joined<W>]> {
    let from = *done;
    *done = all.len().min(from + W::GROUP);
    all.get_mut(from..*done).filter(|group| !group.is_empty())
}

/// Applies each operation in a savepoint of its own.
async fn one_by_one(db: &mut Db, batch: &mut Batch) -> Result<(), Broken> {
    for job in &mut batch.jobs {
        run(db, "SAVEPOINT operation").await?;
        let kept = job.apply(db).await?;
        end_savepoint(db, kept).await?;
    }
    each_alone(db, &mut batch.evidence).await?;
    each_alone(db, &mut batch.commits).await
}

async fn each_alone<W: Together>(db: &mut Db, writes: &mut [Joined<W>]) -> Result<(), Broken> {
    for write in writes.chunks_mut(1) {
        run(db, "SAVEPOINT operation").await?;
        let kept = apply_group(db, write).await?;
        end_savepoint(db, kept).await?;
    }
    Ok(())
}

async fn end_savepoint(db: &mut Db, keep: bool) -> Result<(), Broken> {
    if !keep {
        run(db, "ROLLBACK TO operation").await?;
    }
    run(db, "RELEASE operation").await
}

async fn run(db: &mut Db, text: &str) -> Result<(), Broken> {
    db.run(text).await.map_err(Fault::into_broken)
}
