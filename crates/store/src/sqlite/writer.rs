//! The one writer. Operations that wait at the same moment share one transaction and so one
//! flush to disk; each is told its result after the flush. What arrives while a transaction is
//! being filled still joins it: else the first caller to come back would get a flush for itself
//! and keep the others waiting.
//!
//! An operation that is refused takes nothing of the others with it: the transaction is undone
//! and done again with a savepoint around each operation. Savepoints are not there from the
//! start because refusals are rare and each statement costs a trip to SQLite's thread. Where the
//! transaction itself fails (a full disk, say), each operation is tried once more alone, so that
//! one that is too large does not fail the rest.

use std::fs::File;

use async_trait::async_trait;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions as _, Connection as _};
use tokio::sync::{mpsc, oneshot};

use super::fault::{Broken, Fault, Place};
use super::log;
use crate::{Result, StoreError};

/// Operations that may wait; further callers wait until there is room.
const QUEUE: usize = 1024;
/// Operations that share one transaction at most, which bounds how long the first one waits.
const BATCH: usize = 256;

/// One write. It may be applied several times, so it keeps its values.
pub(super) trait Write: Send + Sync + 'static {
    /// What the caller gets.
    type Answer: Send + 'static;
    /// What it is, for messages: "the database did not do …".
    const WHAT: &'static str;

    /// Does it, inside the writer's transaction.
    fn apply(
        &self,
        db: &mut SqliteConnection,
    ) -> impl Future<Output = Result<Self::Answer, Fault>> + Send;

    /// Whether it adds events, which the transaction then seals.
    fn brings_events(&self) -> bool {
        false
    }
}

/// A [`Write`] with someone who waits for it.
#[async_trait]
trait Job: Send {
    /// Applies it and keeps its answer. `Ok(false)` where it was refused.
    async fn apply(&mut self, db: &mut SqliteConnection) -> Result<bool, Broken>;
    /// As [`Write::brings_events`].
    fn brings_events(&self) -> bool;
    /// Tells the answer, or why the transaction failed.
    fn tell(self: Box<Self>, place: &Place, committed: Result<(), &Broken>);
}

struct Waiting<W: Write> {
    write: W,
    answer: Option<Result<W::Answer>>,
    caller: oneshot::Sender<Result<W::Answer>>,
}

#[async_trait]
impl<W: Write> Job for Waiting<W> {
    async fn apply(&mut self, db: &mut SqliteConnection) -> Result<bool, Broken> {
        let answer = match self.write.apply(db).await {
            Ok(answer) => Ok(answer),
            Err(Fault::Refused(error)) => Err(error),
            Err(Fault::Broken(broken)) if broken.is_constraint() => Err(StoreError::Conflict {
                what: W::WHAT,
                detail: broken.to_string(),
            }),
            Err(Fault::Broken(broken)) => return Err(broken),
        };
        let kept = answer.is_ok();
        self.answer = Some(answer);
        Ok(kept)
    }

    fn brings_events(&self) -> bool {
        self.write.brings_events()
    }

    fn tell(self: Box<Self>, place: &Place, committed: Result<(), &Broken>) {
        let answer = match (committed, self.answer) {
            (Ok(()), Some(answer)) => answer,
            (Ok(()), None) => Err(gone(W::WHAT)),
            (Err(broken), _) => Err(place.explain_broken(W::WHAT, broken)),
        };
        // A caller that went away meanwhile does not want to know.
        let _ = self.caller.send(answer);
    }
}

enum Message {
    Write(Box<dyn Job>),
    Close(oneshot::Sender<()>),
}

/// The way to the writer.
pub(super) struct Writer {
    queue: mpsc::Sender<Message>,
}

impl Writer {
    /// Starts the writer on a connection; `options` serve to connect again after a failure.
    /// `in_use`, the lock that says so, is held for as long as the writer lives.
    pub(super) fn start(
        db: SqliteConnection,
        options: SqliteConnectOptions,
        place: Place,
        in_use: Option<File>,
    ) -> Self {
        let (queue, messages) = mpsc::channel(QUEUE);
        let desk = Desk {
            db: Some(db),
            options,
            place,
            in_use,
        };
        tokio::spawn(desk.work(messages));
        Self { queue }
    }

    /// Does one write and waits until it is on disk. Once it is queued it happens even where
    /// the caller stops waiting.
    pub(super) async fn run<W: Write>(&self, write: W) -> Result<W::Answer> {
        let (caller, answer) = oneshot::channel();
        let job = Waiting {
            write,
            answer: None,
            caller,
        };
        self.queue
            .send(Message::Write(Box::new(job)))
            .await
            .map_err(|_| gone(W::WHAT))?;
        answer.await.map_err(|_| gone(W::WHAT))?
    }

    /// Ends the writer after everything that is queued.
    pub(super) async fn close(&self) {
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
    db: Option<SqliteConnection>,
    options: SqliteConnectOptions,
    place: Place,
    in_use: Option<File>,
}

/// What waits for the writer.
struct Waitlist {
    queue: mpsc::Receiver<Message>,
    closing: Vec<oneshot::Sender<()>>,
}

impl Waitlist {
    /// The next jobs; None once the store is closed and everything before that is done.
    async fn next(&mut self) -> Option<Vec<Box<dyn Job>>> {
        loop {
            let mut jobs = Vec::new();
            let message = self.queue.recv().await?;
            self.take(message, &mut jobs);
            self.join(&mut jobs);
            if !jobs.is_empty() {
                return Some(jobs);
            }
        }
    }

    /// Adds what waits by now, up to a full batch.
    fn join(&mut self, jobs: &mut Vec<Box<dyn Job>>) {
        while jobs.len() < BATCH {
            match self.queue.try_recv() {
                Ok(message) => self.take(message, jobs),
                Err(_) => return,
            }
        }
    }

    fn take(&mut self, message: Message, jobs: &mut Vec<Box<dyn Job>>) {
        match message {
            Message::Write(job) => jobs.push(job),
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
        while let Some(jobs) = waitlist.next().await {
            self.run(jobs, &mut waitlist).await;
        }
        if let Some(db) = self.db.take()
            && let Err(error) = db.close().await
        {
            tracing::warn!(%error, "the database connection did not close cleanly");
        }
        drop(self.in_use);
        for done in waitlist.closing {
            let _ = done.send(());
        }
    }

    async fn run(&mut self, mut jobs: Vec<Box<dyn Job>>, waitlist: &mut Waitlist) {
        let mut done = self.attempt(&mut jobs, Share::Plain(waitlist)).await;
        if matches!(done, Err(Undone::Refused)) {
            done = self.attempt(&mut jobs, Share::Savepoints).await;
        }
        match done {
            Err(Undone::Later(broken)) if jobs.len() > 1 => {
                tracing::warn!(%broken, operations = jobs.len(), "a shared transaction failed; trying its operations one by one");
                for job in jobs {
                    let mut alone = vec![job];
                    let done = self.attempt(&mut alone, Share::Savepoints).await;
                    self.tell(alone, done);
                }
            }
            done => self.tell(jobs, done),
        }
    }

    fn tell(&self, jobs: impl IntoIterator<Item = Box<dyn Job>>, done: Result<(), Undone>) {
        let committed = match &done {
            // With savepoints nothing ends as refused; without, it is tried again with them.
            Ok(()) | Err(Undone::Refused) => Ok(()),
            Err(Undone::AtBegin(broken) | Undone::Later(broken)) => Err(broken),
        };
        for job in jobs {
            job.tell(&self.place, committed);
        }
    }

    /// One transaction over all jobs. On an error nothing of it was written.
    async fn attempt(
        &mut self,
        jobs: &mut Vec<Box<dyn Job>>,
        share: Share<'_>,
    ) -> Result<(), Undone> {
        let db = match &mut self.db {
            Some(db) => db,
            none => {
                let db = self.options.connect().await;
                none.insert(db.map_err(|error| Undone::AtBegin(Broken::Sql(error.into())))?)
            }
        };
        if let Err(broken) = statement(db, "BEGIN IMMEDIATE").await {
            // The connection may be beyond help; the next transaction has a new one.
            self.db = None;
            return Err(Undone::AtBegin(broken));
        }
        let done = transact(db, jobs, share).await;
        if done.is_err() {
            // SQLite may have rolled back by itself, then this says so and changes nothing.
            let _ = statement(db, "ROLLBACK").await;
        }
        done
    }
}

async fn transact(
    db: &mut SqliteConnection,
    jobs: &mut Vec<Box<dyn Job>>,
    share: Share<'_>,
) -> Result<(), Undone> {
    match share {
        Share::Plain(waitlist) => {
            let mut next = 0;
            while let Some(job) = jobs.get_mut(next) {
                if !job.apply(db).await.map_err(Undone::Later)? {
                    return Err(Undone::Refused);
                }
                next += 1;
                waitlist.join(jobs);
            }
        }
        Share::Savepoints => {
            for job in jobs.iter_mut() {
                alone(db, job.as_mut()).await.map_err(Undone::Later)?;
            }
        }
    }
    if jobs.iter().any(|job| job.brings_events()) {
        seal(db).await.map_err(Undone::Later)?;
    }
    statement(db, "COMMIT").await.map_err(Undone::Later)
}

/// Seals the transaction's events, all of them at once.
async fn seal(db: &mut SqliteConnection) -> Result<(), Broken> {
    log::seal(db).await.map_err(|fault| match fault {
        Fault::Broken(broken) => broken,
        Fault::Refused(error) => Broken::Unreadable(error.to_string()),
    })
}

/// Applies a job in a savepoint of its own.
async fn alone(db: &mut SqliteConnection, job: &mut dyn Job) -> Result<(), Broken> {
    statement(db, "SAVEPOINT operation").await?;
    if !job.apply(db).await? {
        statement(db, "ROLLBACK TO operation").await?;
    }
    statement(db, "RELEASE operation").await
}

async fn statement(db: &mut SqliteConnection, sql: &'static str) -> Result<(), Broken> {
    match sqlx::query(sql).execute(db).await {
        Ok(_) => Ok(()),
        Err(error) => Err(Broken::Sql(error.into())),
    }
}
