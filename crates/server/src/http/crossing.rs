//! The one place where async code enters the blocking engine.
//!
//! Each [`Lane`] has a bound on calls inside the engine and a bound on calls that wait ([`super::admission`] moves both for searches, and a
//! request of many things takes several places); who finds both full is told to
//! come back (503 with `Retry-After`) at once instead of queueing without end. A permit travels with the blocking call,
//! so a call that outlives its deadline still counts until it is really over.

use super::admission::{Admission, AdmissionOptions, AdmissionStatus, Place, Shed};
use super::error::ApiError;
use super::telemetry::{note_queue, request_span};
use bilin_engine::{CancelToken, Engine, Error, ErrorKind, Restraint};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Callers that may wait, per caller that may be inside.
const WAITING_PER_PERMIT: usize = 4;
/// Short looks at figures; never stuck behind searches or writes.
const LOOK_PERMITS: usize = 8;
/// Each reads or writes whole collections; more at a time would only share the disk.
const UPKEEP_PERMITS: usize = 2;

/// Which queue a call stands in, so that long writes never keep searches out and neither keeps `/health` out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// Searches and encodings: bounded by the request's deadline.
    Search,
    /// Changes: the deadline bounds the wait only. A change that was let in is answered when it is durable, for an
    /// answer of "too late" about a commit that then happens would be untrue.
    Write,
    /// Figures and single documents.
    Look,
    /// What takes minutes (backups, restoring, verifying, builds): as changes, but apart from them, so that it never keeps
    /// small writes waiting.
    Upkeep,
}

struct Queue {
    permits: Arc<Semaphore>,
    /// Places at the start.
    count: usize,
    waiting: AtomicUsize,
    max_waiting: usize,
}

impl Queue {
    fn new(permits: usize) -> Queue {
        Queue::over(Arc::new(Semaphore::new(permits.max(1))))
    }

    /// Before as many places as there are.
    fn over(permits: Arc<Semaphore>) -> Queue {
        let count = permits.available_permits();
        Queue { permits, waiting: AtomicUsize::new(0), count, max_waiting: count * WAITING_PER_PERMIT }
    }
}

/// Cancels when the request it belongs to is over, whether it was answered, ran out of time, or its client went away (the
/// connection's task then drops the handler half-way).
struct CancelOnDrop(CancelToken);
impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

/// What a request counts for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Weight {
    /// Places that it takes, as far as there are.
    pub(super) places: usize,
    /// Whether its time tells how long searches take.
    pub(super) is_measured: bool,
}

impl Weight {
    /// One search.
    pub(super) const ONE: Weight = Weight { places: 1, is_measured: true };
    /// What takes as long as it takes, and says nothing about others.
    pub(super) const LONG: Weight = Weight { places: 1, is_measured: false };

    /// So many things, of which `per_place` are as much work as a search.
    pub(super) fn of(count: usize, per_place: usize) -> Weight {
        Weight { places: count.div_ceil(per_place).max(1), is_measured: true }
    }
}

/// A place inside.
pub(super) struct Entered {
    inside: Inside,
    lane: Lane,
    /// When it was asked for.
    pub(super) since: Instant,
}

/// A place inside, until it is dropped.
#[expect(dead_code, reason = "what they do is done when they are dropped")]
enum Inside {
    Counted(Place),
    Held(OwnedSemaphorePermit),
}

/// Counts a caller that waits, also when its request is dropped half-way.
struct Waiting<'a>(&'a AtomicUsize);
impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// The bounded pool in front of the engine.
pub struct Crossing {
    search: Queue,
    admission: Arc<Admission>,
    write: Queue,
    look: Queue,
    upkeep: Queue,
    timeout: Duration,
}

impl Crossing {
    pub(super) fn new(
        max_concurrent_requests: usize,
        timeout: Duration,
        options: AdmissionOptions,
    ) -> Crossing {
        let admission = Arc::new(Admission::new(max_concurrent_requests, options));
        Crossing {
            search: Queue::over(Arc::clone(&admission.permits)),
            admission,
            write: Queue::new(max_concurrent_requests.div_ceil(4)),
            look: Queue::new(LOOK_PERMITS),
            upkeep: Queue::new(UPKEEP_PERMITS),
            timeout,
        }
    }

    /// What searches leave out now.
    pub(super) fn restraint(&self) -> Restraint {
        self.admission.restraint()
    }

    /// How many are let in, and what is left out.
    pub(super) fn status(&self) -> AdmissionStatus {
        self.admission.status()
    }

    /// Runs `work` in [`Lane::Search`]. Its token is cancelled as soon as nobody waits for the answer any more, so that what has
    /// not begun by then need not.
    pub(super) async fn search<T: Send + 'static>(
        &self,
        engine: &Arc<Engine>,
        work: impl FnOnce(&Engine, &CancelToken) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, ApiError> {
        self.search_for(Weight::ONE, engine, work).await
    }

    /// As [`Crossing::search`], for what is more, or other, than one search.
    pub(super) async fn search_for<T: Send + 'static>(
        &self,
        weight: Weight,
        engine: &Arc<Engine>,
        work: impl FnOnce(&Engine, &CancelToken) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, ApiError> {
        let entered = self.enter(Lane::Search, weight).await?;
        self.search_in(entered, engine, work).await
    }

    /// As [`Crossing::search`], for who has a place of [`Lane::Search`].
    pub(super) async fn search_in<T: Send + 'static>(
        &self,
        entered: Entered,
        engine: &Arc<Engine>,
        work: impl FnOnce(&Engine, &CancelToken) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, ApiError> {
        let deadline = entered.since.checked_add(self.timeout);
        let token = deadline.map_or_else(CancelToken::new, CancelToken::with_deadline);
        let _cancel = CancelOnDrop(token.clone());
        let timeout = self.timeout;
        let work = move |engine: &Engine| match work(engine, &token) {
            // Somebody who is told this still listens, so it was the deadline.
            Err(error) if error.kind == ErrorKind::Cancelled => Ok(Err(ApiError::deadline(timeout))),
            done => done.map(Ok),
        };
        self.run_in(entered, engine, work).await?
    }

    /// Runs `work` on a blocking thread. A panic in it becomes a 500; the permit is given back either way.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        lane: Lane,
        engine: &Arc<Engine>,
        work: impl FnOnce(&Engine) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, ApiError> {
        self.run_for(Weight::ONE, lane, engine, work).await
    }

    /// As [`Crossing::run`], for what counts for several.
    pub(super) async fn run_for<T: Send + 'static>(
        &self,
        weight: Weight,
        lane: Lane,
        engine: &Arc<Engine>,
        work: impl FnOnce(&Engine) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, ApiError> {
        let entered = self.enter(lane, weight).await?;
        self.run_in(entered, engine, work).await
    }

    /// As [`Crossing::run`], for who has a place.
    async fn run_in<T: Send + 'static>(
        &self,
        entered: Entered,
        engine: &Arc<Engine>,
        work: impl FnOnce(&Engine) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, ApiError> {
        let Entered { inside, lane, since } = entered;
        note_queue(since.elapsed());
        let engine = Arc::clone(engine);
        let span = request_span();
        let task = tokio::task::spawn_blocking(move || {
            let _inside = inside;
            span.in_scope(|| work(&engine))
        });
        let joined = if matches!(lane, Lane::Write | Lane::Upkeep) {
            task.await
        } else {
            let left = self.timeout.saturating_sub(since.elapsed());
            tokio::time::timeout(left, task).await.map_err(|_| ApiError::deadline(self.timeout))?
        };
        match joined {
            Ok(answer) => answer.map_err(ApiError::from),
            Err(failed) if failed.is_panic() => Err(ApiError::panicked(&*failed.into_panic())),
            Err(_) => Err(ApiError::stopping()),
        }
    }

    /// Finds a place, in line if need be. Who is to be refused hears it from here, before the work is put together and carried about.
    pub(super) async fn enter(&self, lane: Lane, weight: Weight) -> Result<Entered, ApiError> {
        let since = Instant::now();
        let queue = match lane {
            Lane::Search => &self.search,
            Lane::Write => &self.write,
            Lane::Look => &self.look,
            Lane::Upkeep => &self.upkeep,
        };
        let shed = |why: Shed, ahead: usize| {
            self.admission.shed(why);
            ApiError::saturated(ahead)
        };
        if matches!(lane, Lane::Search | Lane::Write) && self.admission.memory.is_short() {
            return Err(shed(Shed::Memory, queue.waiting.load(Ordering::Relaxed)));
        }
        // Half of the places at most, so that something else always has one, too, and a limit that sinks leaves enough.
        let most = match lane {
            Lane::Search => (self.admission.status().limit / 2).max(1),
            _ => (queue.count / 2).max(1),
        };
        let places = u32::try_from(weight.places.clamp(1, most)).unwrap_or(1);
        let permit = match Arc::clone(&queue.permits).try_acquire_many_owned(places) {
            Ok(permit) => permit,
            Err(_) => {
                let ahead = queue.waiting.fetch_add(1, Ordering::AcqRel);
                let _waiting = Waiting(&queue.waiting);
                let may = match lane {
                    Lane::Search => self.admission.may_wait(ahead, queue.max_waiting),
                    _ if ahead >= queue.max_waiting => Err(Shed::Queue),
                    _ => Ok(()),
                };
                may.map_err(|why| shed(why, ahead))?;
                let acquiring = Arc::clone(&queue.permits).acquire_many_owned(places);
                let acquired = tokio::time::timeout(self.timeout, acquiring).await;
                acquired.ok().and_then(Result::ok).ok_or_else(|| shed(Shed::Deadline, ahead))?
            }
        };
        let inside = match lane {
            Lane::Search => Inside::Counted(self.admission.enter(permit, weight.is_measured)),
            _ => Inside::Held(permit),
        };
        Ok(Entered { inside, lane, since })
    }
}

#[cfg(test)]
mod tests {
    use super::super::admission::Memory;
    use super::*;
    use bilin_engine::EngineConfig;

    fn engine() -> (tempfile::TempDir, Arc<Engine>) {
        let folder = tempfile::tempdir().unwrap();
        let engine = Engine::open(EngineConfig::new(folder.path().join("data"))).unwrap();
        (folder, Arc::new(engine))
    }

    fn over(places: usize, timeout: Duration) -> Crossing {
        Crossing::new(places, timeout, AdmissionOptions::default())
    }

    #[test]
    fn waiting_is_counted_down_when_a_request_is_dropped() {
        let count = AtomicUsize::new(1);
        drop(Waiting(&count));
        assert_eq!(count.load(Ordering::Acquire), 0);
    }

    #[tokio::test]
    async fn a_panic_is_a_500_with_an_id_and_the_permit_comes_back() {
        let (_folder, engine) = engine();
        let crossing = over(1, Duration::from_secs(5));
        for _ in 0..3 {
            let error = crossing
                .run(Lane::Search, &engine, |_| -> Result<(), Error> { panic!("a test's own panic") })
                .await
                .unwrap_err();
            assert_eq!((error.status.as_u16(), error.code), (500, "internal"));
            assert!(error.message.contains("error id") && !error.message.contains("own panic"), "{error:?}");
        }
        assert_eq!(crossing.run(Lane::Search, &engine, |_| Ok(7)).await.unwrap(), 7);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_request_of_many_takes_the_places_of_many_up_to_half() {
        let (_folder, engine) = engine();
        let crossing = over(8, Duration::from_secs(60));
        let inside = async |weight: Weight| {
            let (tell, told) = std::sync::mpsc::channel::<()>();
            let look = async {
                while crossing.status().inside == 0 {
                    tokio::task::yield_now().await;
                }
                let inside = crossing.status().inside;
                tell.send(()).unwrap();
                inside
            };
            let work = crossing.run_for(weight, Lane::Search, &engine, move |_| Ok(told.recv()));
            let (done, inside) = tokio::join!(work, look);
            done.unwrap().unwrap();
            inside
        };
        assert_eq!(inside(Weight::ONE).await, 1);
        assert_eq!(inside(Weight::of(17, 8)).await, 3, "17 texts, of which 8 are as much as a search");
        assert_eq!(inside(Weight::of(10_000, 1)).await, 4, "half of the places at most");
        assert_eq!(crossing.status().inside, 0);
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn where_memory_is_short_nothing_new_is_begun_and_looking_goes_on() {
        let (_folder, engine) = engine();
        let mut crossing = over(1, Duration::from_secs(5));
        Arc::get_mut(&mut crossing.admission).unwrap().memory = Memory::within(Some(4_096));
        for lane in [Lane::Search, Lane::Write] {
            let error = crossing.run(lane, &engine, |_| Ok(7)).await.unwrap_err();
            assert_eq!((error.status.as_u16(), error.code), (503, "busy"));
            assert!(error.retry_after_s.is_some());
        }
        assert!(crossing.status().shed.contains(&("memory", 2)), "{:?}", crossing.status().shed);
        assert_eq!(crossing.run(Lane::Look, &engine, |_| Ok(7)).await.unwrap(), 7);
        Arc::get_mut(&mut crossing.admission).unwrap().memory = Memory::within(Some(u64::MAX));
        assert_eq!(crossing.run(Lane::Search, &engine, |_| Ok(7)).await.unwrap(), 7);
    }

    #[tokio::test]
    async fn a_search_is_cancelled_when_its_deadline_passes_or_its_request_is_dropped() {
        let (_folder, engine) = engine();
        let crossing = over(2, Duration::from_millis(50));
        let (tell, told) = std::sync::mpsc::channel();
        let until_cancelled = |tell: std::sync::mpsc::Sender<()>| {
            move |_: &Engine, token: &CancelToken| {
                while !token.is_cancelled() {
                    std::thread::sleep(Duration::from_millis(1));
                }
                tell.send(()).unwrap();
                Err::<(), _>(Error::new(ErrorKind::Cancelled, "given up"))
            }
        };
        let error = crossing.search(&engine, until_cancelled(tell.clone())).await.unwrap_err();
        assert_eq!(error.code, "deadline_exceeded");
        told.recv_timeout(Duration::from_secs(10)).unwrap();
        let patient = over(2, Duration::from_secs(600));
        let dropped =
            tokio::time::timeout(Duration::from_millis(50), patient.search(&engine, until_cancelled(tell)));
        assert!(dropped.await.is_err(), "the request is dropped while its work is under way");
        told.recv_timeout(Duration::from_secs(10)).unwrap();
    }

    #[tokio::test]
    async fn a_search_has_a_deadline_and_a_change_that_was_let_in_has_none() {
        let (_folder, engine) = engine();
        let crossing = over(1, Duration::from_millis(50));
        let slow = |_: &Engine| {
            std::thread::sleep(Duration::from_millis(200));
            Ok(7)
        };
        let error = crossing.run(Lane::Search, &engine, slow).await.unwrap_err();
        assert_eq!((error.status.as_u16(), error.code), (503, "deadline_exceeded"));
        assert!(error.retry_after_s.is_some());
        let error = crossing.run(Lane::Search, &engine, |_| Ok(7)).await.unwrap_err();
        assert_eq!(error.code, "busy", "the late search still holds its permit");
        assert_eq!(crossing.run(Lane::Write, &engine, slow).await.unwrap(), 7);
        assert_eq!(crossing.run(Lane::Upkeep, &engine, slow).await.unwrap(), 7);
    }
}
