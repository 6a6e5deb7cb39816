//! The line in front of an encoder, with one that counts what it is given and stops where it is told to.

use super::lanes::Lanes;
use super::queue::{Bounds, QueryInput, Queue};
use super::{EncodeEvent, EncodeObserver, Passes};
use crate::cancel::CancelToken;
use crate::error::{Error, ErrorKind};
use bilin_encode::{EncodeError, Encoded, Encoder, Input, Modality, ModelCard, Prompt};
use rayon::{ThreadPool, ThreadPoolBuilder};
use std::sync::{Arc, Condvar, Mutex, OnceLock};
use std::thread::ScopedJoinHandle;
use std::time::{Duration, Instant};

/// Encodes a text to its first number and its length; refuses `bad`, panics at `panic`, and keeps every pass waiting until it may go on.
struct Stub {
    card: ModelCard,
    may_go_on: Mutex<usize>,
    opened: Condvar,
    passes: Mutex<Vec<(Vec<String>, usize)>>,
}

impl Stub {
    fn new(is_closed: bool) -> Arc<Stub> {
        let card = ModelCard {
            id: "stub".to_owned(),
            revision: "1".to_owned(),
            space: "stub@1".to_owned(),
            dim: 2,
            modality: Modality::Text,
            also_reads: None,
            max_tokens: Some(64),
            query_prompt: String::new(),
            document_prompt: String::new(),
            licence: String::new(),
            bytes: 0,
        };
        Arc::new(Stub {
            card,
            may_go_on: Mutex::new(if is_closed { 0 } else { usize::MAX }),
            opened: Condvar::new(),
            passes: Mutex::default(),
        })
    }

    /// From now on nobody waits.
    fn open(&self) {
        self.let_through(usize::MAX);
    }

    /// As many more passes as this go on.
    fn let_through(&self, passes: usize) {
        *self.may_go_on.lock().expect("the gate") = passes;
        self.opened.notify_all();
    }

    /// The texts of each pass that has begun, in order.
    fn passes(&self) -> Vec<Vec<String>> {
        self.passes.lock().expect("the passes").iter().map(|(texts, _)| texts.clone()).collect()
    }

    /// How many threads each of them has.
    fn threads(&self) -> Vec<usize> {
        self.passes.lock().expect("the passes").iter().map(|(_, threads)| *threads).collect()
    }
}

impl Encoder for Stub {
    fn card(&self) -> &ModelCard {
        &self.card
    }

    fn encode(&self, inputs: &[Input<'_>]) -> Result<Encoded, EncodeError> {
        let texts: Vec<String> = inputs
            .iter()
            .map(|input| match input {
                Input::Text { text, .. } => (*text).to_owned(),
                Input::Picture(_) => panic!("no text"),
            })
            .collect();
        self.passes.lock().expect("the passes").push((texts.clone(), rayon::current_num_threads()));
        let may_go_on = self.may_go_on.lock().expect("the gate");
        *self.opened.wait_while(may_go_on, |passes| *passes == 0).expect("the gate") -= 1;
        assert!(!texts.iter().any(|text| text.starts_with("panic")), "a test's own panic");
        if let Some(index) = texts.iter().position(|text| text.starts_with("bad")) {
            return Err(EncodeError::EmptyText { index });
        }
        let number =
            |text: &String| text.chars().filter_map(|c| c.to_digit(10)).fold(0.0, |n, d| n * 10.0 + d as f32);
        let vectors = texts.iter().flat_map(|text| [number(text), text.chars().count() as f32]).collect();
        Ok(Encoded { vectors, dim: 2, truncated: 0 })
    }

    fn token_ids(&self, _: &str, _: Prompt) -> Vec<u32> {
        Vec::new()
    }

    fn count_tokens(&self, _: &str) -> usize {
        0
    }
}

/// What was observed: inputs of each pass, inputs dropped.
#[derive(Default)]
struct Seen {
    passes: Vec<usize>,
    waits: usize,
    dropped: usize,
}

struct Bench {
    stub: Arc<Stub>,
    queue: Queue,
    pool: ThreadPool,
    seen: Arc<Mutex<Seen>>,
}

impl Bench {
    /// A closed encoder behind a line with one pass at a time.
    fn new(inputs: usize, tokens: usize) -> Bench {
        Bench::with(Bounds { threads: 1, inputs, tokens })
    }

    fn with(bounds: Bounds) -> Bench {
        let stub = Stub::new(true);
        let seen: Arc<Mutex<Seen>> = Arc::default();
        let observed = Arc::clone(&seen);
        let observer: EncodeObserver = Box::new(move |event| {
            let mut seen = observed.lock().expect("what was seen");
            match event {
                EncodeEvent::Pass { inputs, waits, .. } => {
                    seen.passes.push(*inputs);
                    seen.waits += waits.len();
                }
                EncodeEvent::Dropped { inputs, .. } => seen.dropped += inputs,
            }
        });
        let observers = Arc::new(OnceLock::new());
        assert!(observers.set(observer).is_ok());
        let queue = Queue::new(stub.clone(), bounds, Arc::new(Lanes::default()), observers);
        let pool = ThreadPoolBuilder::new().num_threads(bounds.threads).build().expect("a pool");
        Bench { stub, queue, pool, seen }
    }

    fn encode(&self, texts: &[&str], token: &CancelToken) -> Result<Vec<f32>, Error> {
        self.queue.encode(&self.pool, texts.iter().map(|text| input(text)).collect(), token)
    }

    /// Sends each request from a thread of its own, in this order: the first has begun its pass and the others stand in line
    /// when this returns.
    fn send<'s, 'e>(
        &'e self,
        scope: &'s std::thread::Scope<'s, 'e>,
        requests: &[(&'static [&'static str], CancelToken)],
    ) -> Vec<ScopedJoinHandle<'s, Result<Vec<f32>, Error>>> {
        let mut sent = Vec::new();
        for (position, (texts, token)) in requests.iter().enumerate() {
            let token = token.clone();
            let texts: &'static [&'static str] = texts;
            sent.push(scope.spawn(move || self.encode(texts, &token)));
            wait_until(|| match position {
                0 => self.stub.passes().len() == 1,
                _ => self.queue.waiting() == position,
            });
        }
        sent
    }
}

fn input(text: &str) -> QueryInput {
    QueryInput::Text { text: text.to_owned(), prompt: Prompt::Query }
}

#[track_caller]
fn wait_until(is_so: impl Fn() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < Duration::from_secs(30), "waited in vain");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn wanted(texts: &'static [&'static str]) -> (&'static [&'static str], CancelToken) {
    (texts, CancelToken::new())
}

/// Requests of so many callers, eight at most, of one text each: "1", "2" and so on.
fn one_each(callers: usize) -> Vec<(&'static [&'static str], CancelToken)> {
    const TEXTS: &[[&str; 1]] = &[["1"], ["2"], ["3"], ["4"], ["5"], ["6"], ["7"], ["8"]];
    TEXTS[..callers].iter().map(|texts| wanted(texts)).collect()
}

#[test]
fn the_first_runs_at_once_and_those_that_come_meanwhile_share_the_next_pass() {
    let bench = Bench::new(16, 1_000);
    std::thread::scope(|scope| {
        let sent =
            bench.send(scope, &[wanted(&["1"]), wanted(&["22"]), wanted(&["3", "44"]), wanted(&["555"])]);
        bench.stub.open();
        let got: Vec<Vec<f32>> =
            sent.into_iter().map(|sent| sent.join().expect("no panic").expect("vectors")).collect();
        assert_eq!(got, [vec![1.0, 1.0], vec![22.0, 2.0], vec![3.0, 1.0, 44.0, 2.0], vec![555.0, 3.0]]);
    });
    assert_eq!(bench.stub.passes(), [vec!["1"], vec!["22", "3", "44", "555"]]);
    let seen = bench.seen.lock().expect("what was seen");
    assert_eq!((&seen.passes[..], seen.waits, seen.dropped), (&[1, 4][..], 4, 0));
    drop(seen);
    // Idle again: the next one waits for nobody.
    assert_eq!(bench.encode(&["6"], &CancelToken::new()).expect("vectors"), [6.0, 1.0]);
}

#[test]
fn a_pass_is_bounded_and_nobody_overtakes() {
    // A text of one digit counts for 9 tokens, so three fit, or two inputs.
    for (bench, expected) in [
        (Bench::new(2, 1_000), vec![vec!["1"], vec!["2", "3"], vec!["4", "5"], vec!["6"]]),
        (Bench::new(16, 27), vec![vec!["1"], vec!["2", "3", "4"], vec!["5", "6"]]),
    ] {
        std::thread::scope(|scope| {
            let sent = bench.send(scope, &one_each(6));
            bench.stub.open();
            sent.into_iter().for_each(|sent| drop(sent.join().expect("no panic").expect("vectors")));
        });
        assert_eq!(bench.stub.passes(), expected);
    }
}

#[test]
fn a_long_request_comes_in_pieces_and_lets_others_in_between() {
    let bench = Bench::new(2, 1_000);
    std::thread::scope(|scope| {
        let sent = bench.send(scope, &[wanted(&["1", "2", "3", "4", "5"]), wanted(&["6"])]);
        bench.stub.open();
        let got: Vec<_> =
            sent.into_iter().map(|sent| sent.join().expect("no panic").expect("vectors")).collect();
        assert_eq!(got[0], [1.0, 1.0, 2.0, 1.0, 3.0, 1.0, 4.0, 1.0, 5.0, 1.0]);
        assert_eq!(got[1], [6.0, 1.0]);
    });
    let passes = bench.stub.passes();
    assert_eq!(passes[0], ["1", "2"]);
    assert_eq!(passes[1], ["6"], "the one in line comes before the rest of the long request");
    // A text as long as can be still makes a pass of its own.
    let long: &'static str = Box::leak("7".repeat(500).into_boxed_str());
    let tight = Bench::new(16, 10);
    tight.stub.open();
    assert_eq!(tight.encode(&[long, "8"], &CancelToken::new()).expect("vectors")[2..], [8.0, 1.0]);
    assert_eq!(tight.stub.passes().len(), 2);
}

#[test]
fn the_cancelled_leave_before_they_cost_a_pass() {
    let bench = Bench::new(16, 1_000);
    let (gone, late) =
        (CancelToken::new(), CancelToken::with_deadline(Instant::now() + Duration::from_millis(300)));
    std::thread::scope(|scope| {
        let sent = bench.send(
            scope,
            &[wanted(&["1"]), (&["2", "3"], gone.clone()), wanted(&["4"]), (&["5"], late.clone())],
        );
        gone.cancel();
        wait_until(|| late.is_cancelled());
        bench.stub.open();
        let got: Vec<_> = sent.into_iter().map(|sent| sent.join().expect("no panic")).collect();
        assert!(got[0].is_ok() && got[2].is_ok());
        for cancelled in [&got[1], &got[3]] {
            assert_eq!(cancelled.as_ref().expect_err("cancelled").kind, ErrorKind::Cancelled);
        }
    });
    assert_eq!(bench.stub.passes(), [["1"], ["4"]]);
    let seen = bench.seen.lock().expect("what was seen");
    assert_eq!((&seen.passes[..], seen.dropped), (&[1, 1][..], 3));
}

#[test]
fn when_all_are_cancelled_the_line_is_idle_again() {
    let bench = Bench::new(16, 1_000);
    let gone = CancelToken::new();
    std::thread::scope(|scope| {
        let sent = bench.send(scope, &[wanted(&["1"]), (&["2"], gone.clone()), (&["3"], gone.clone())]);
        gone.cancel();
        bench.stub.open();
        let ended: Vec<_> = sent.into_iter().map(|sent| sent.join().expect("no panic").is_ok()).collect();
        assert_eq!(ended, [true, false, false]);
    });
    assert_eq!(bench.encode(&["4"], &CancelToken::new()).expect("vectors"), [4.0, 1.0]);
    assert_eq!(bench.encode(&["5"], &gone).expect_err("cancelled").kind, ErrorKind::Cancelled);
    assert_eq!(bench.stub.passes(), [["1"], ["4"]]);
}

#[test]
fn a_bad_input_fails_alone() {
    let bench = Bench::new(16, 1_000);
    std::thread::scope(|scope| {
        let sent = bench.send(
            scope,
            &[wanted(&["1"]), wanted(&["2"]), wanted(&["3", "bad"]), wanted(&["panic"]), wanted(&["5"])],
        );
        bench.stub.open();
        let mut ended = sent.into_iter().map(ScopedJoinHandle::join);
        let mut next = || ended.next().expect("one each");
        assert_eq!(next().expect("no panic").expect("vectors"), [1.0, 1.0]);
        assert_eq!(next().expect("no panic").expect("vectors"), [2.0, 1.0]);
        let error = next().expect("no panic").expect_err("bad");
        assert_eq!(error.kind, ErrorKind::InvalidInput);
        assert!(error.message.contains("text 1 "), "counted within its own request: {error}");
        let payload = next().expect_err("its own panic");
        assert_eq!(payload.downcast_ref::<&str>(), Some(&"a test's own panic"));
        assert_eq!(next().expect("no panic").expect("vectors"), [5.0, 1.0]);
    });
    assert_eq!(bench.encode(&["6"], &CancelToken::new()).expect("vectors"), [6.0, 1.0]);
}

#[test]
fn few_share_a_pass_of_all_threads() {
    let bench = Bench::with(Bounds { threads: 2, inputs: 16, tokens: 1_000 });
    std::thread::scope(|scope| {
        let sent = bench.send(scope, &[wanted(&["1"]), wanted(&["2"]), wanted(&["3", "4", "5", "6"])]);
        bench.stub.open();
        sent.into_iter().for_each(|sent| drop(sent.join().expect("no panic").expect("vectors")));
    });
    assert_eq!(bench.stub.passes(), [vec!["1"], vec!["2", "3", "4", "5", "6"]]);
    assert_eq!(bench.stub.threads(), [2, 2], "callers count, not what each of them asks");
}

#[test]
fn many_are_shared_out_among_passes_of_one_thread() {
    let bench = Bench::with(Bounds { threads: 2, inputs: 16, tokens: 1_000 });
    std::thread::scope(|scope| {
        let sent = bench.send(scope, &one_each(8));
        bench.stub.let_through(1);
        wait_until(|| bench.stub.passes().len() == 3);
        assert_eq!(bench.queue.waiting(), 0);
        bench.stub.let_through(1);
        wait_until(|| bench.queue.taken() == 1);
        let more = scope.spawn(|| bench.encode(&["9"], &CancelToken::new()));
        wait_until(|| bench.stub.passes().len() == 4);
        assert_eq!(bench.queue.taken(), 2, "a thread without a pass waits for nobody");
        bench.stub.open();
        sent.into_iter().for_each(|sent| drop(sent.join().expect("no panic").expect("vectors")));
        assert_eq!(more.join().expect("no panic").expect("vectors"), [9.0, 1.0]);
    });
    let mut passes = bench.stub.passes();
    passes[1..3].sort();
    assert_eq!(passes, [vec!["1"], vec!["2", "3", "4", "5"], vec!["6", "7", "8"], vec!["9"]]);
    assert_eq!(bench.stub.threads(), [2, 1, 1, 1]);
}

#[test]
fn a_crowd_is_one_until_a_pass_had_a_lone_caller() {
    let bench = Bench::with(Bounds { threads: 2, inputs: 16, tokens: 1_000 });
    std::thread::scope(|scope| {
        let sent = bench.send(scope, &one_each(8));
        bench.stub.open();
        sent.into_iter().for_each(|sent| drop(sent.join().expect("no panic").expect("vectors")));
    });
    // Told before their pass is off the line.
    wait_until(|| bench.queue.taken() == 0);
    for _ in 0..2 {
        bench.encode(&["9"], &CancelToken::new()).expect("vectors");
        wait_until(|| bench.queue.taken() == 0);
    }
    assert_eq!(bench.stub.threads(), [2, 1, 1, 1, 2]);
}

#[test]
fn what_one_thread_may_not_hold_waits_for_all_of_them() {
    let bench = Bench::with(Bounds { threads: 2, inputs: 2, tokens: 1_000 });
    std::thread::scope(|scope| {
        let sent = bench.send(scope, &one_each(4));
        bench.stub.let_through(1);
        wait_until(|| bench.stub.passes().len() == 3);
        let long = scope.spawn(|| bench.encode(&["5", "6", "7"], &CancelToken::new()));
        wait_until(|| bench.queue.waiting() == 1);
        let last = scope.spawn(|| bench.encode(&["8"], &CancelToken::new()));
        wait_until(|| bench.queue.waiting() == 2);
        bench.stub.let_through(1);
        wait_until(|| bench.queue.taken() == 1);
        assert_eq!(bench.queue.waiting(), 2, "nobody overtakes");
        bench.stub.open();
        sent.into_iter().for_each(|sent| drop(sent.join().expect("no panic").expect("vectors")));
        assert_eq!(long.join().expect("no panic").expect("vectors").len(), 6);
        assert_eq!(last.join().expect("no panic").expect("vectors"), [8.0, 1.0]);
    });
    assert_eq!(bench.stub.passes()[3], ["5", "6", "7", "8"]);
    assert_eq!(bench.stub.threads(), [2, 1, 1, 2]);
}

#[test]
fn many_callers_get_their_own_vectors() {
    let passes = Passes::new(2);
    let stub = Stub::new(false);
    let encoder: Arc<dyn Encoder> = stub.clone();
    let pool = ThreadPoolBuilder::new().num_threads(2).build().expect("a pool");
    std::thread::scope(|scope| {
        for caller in 0..16_u32 {
            let (passes, encoder, pool) = (&passes, &encoder, &pool);
            scope.spawn(move || {
                for round in 0..50 {
                    let number = caller * 100 + round;
                    let inputs =
                        (0..=round % 3).map(|more| input(&format!("{}", number * 10 + more))).collect();
                    let got = passes.encode(pool, encoder, inputs, &CancelToken::new()).expect("vectors");
                    let numbers: Vec<f32> = got.iter().step_by(2).copied().collect();
                    let expected: Vec<f32> =
                        (0..=round % 3).map(|more| (number * 10 + more) as f32).collect();
                    assert_eq!(numbers, expected);
                }
            });
        }
    });
    let encoded: usize = stub.passes().iter().map(Vec::len).sum();
    assert_eq!(encoded, 16 * (0..50).map(|round| round % 3 + 1).sum::<usize>());
}
