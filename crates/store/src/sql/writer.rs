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
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::connect::Connect;
use super::db::Db;
use super::fault::{Broken, Explain, Fault};
use super::log;
use crate::{Result, StoreError};

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

    /// Whether it adds events, which the transaction then seals.
    fn brings_events(&self) -> bool {
        false
    }

    /// Whether other controllers are to look at once.
    fn is_news(&self) -> bool {
        self.brings_events()
    }
}

/// A [`Write`] with someone who waits for it.
#[async_trait]
trait Job: Send {
    /// Applies it and keeps its answer. `Ok(false)` where it was refused.
    async fn apply(&mut self, db: &mut Db) -> Result<bool, Broken>;
    /// As [`Write::brings_events`].
    fn brings_events(&self) -> bool;
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

    fn is_news(&self) -> bool {
        self.write.is_news()
    }

    fn tell(self: Box<Self>, place: &dyn Explain, committed: Result<(), &Broken>) {
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
            tracing::warn!(error = %error.into_broken(), "the database connection did not close cleanly");
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
            // Where the connection is lost, each of them alone would only be lost again.
            Err(Undone::Later(broken)) if jobs.len() > 1 && !broken.is_lost() => {
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
            job.tell(&*self.place, committed);
        }
    }

    /// One transaction over all jobs. On an error nothing of it was written.
    async fn attempt(
        &mut self,
        jobs: &mut Vec<Box<dyn Job>>,
        share: Share<'_>,
    ) -> Result<(), Undone> {
        let within = self.connect.write_within();
        let db = self.begin().await.map_err(Undone::AtBegin)?;
        // A database that says nothing for so long is as good as gone; its own end of the
        // transaction is undone with the connection.
        let done = match timeout(within, transact(db, jobs, share)).await {
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

async fn transact(
    db: &mut Db,
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
        log::seal(db).await.map_err(broken)?;
    }
    let news = jobs.iter().any(|job| job.is_news());
    db.run(db.dialect().commit(news)).await.map_err(broken)
}

fn broken(fault: Fault) -> Undone {
    Undone::Later(fault.into_broken())
}

/// Applies a job in a savepoint of its own.
async fn alone(db: &mut Db, job: &mut dyn Job) -> Result<(), Broken> {
    db.run("SAVEPOINT operation")
        .await
        .map_err(Fault::into_broken)?;
    if !job.apply(db).await? {
        db.run("ROLLBACK TO operation")
            .await
            .map_err(Fault::into_broken)?;
    }
    db.run("RELEASE operation")
        .await
        .map_err(Fault::into_broken)
}
