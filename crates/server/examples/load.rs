//! Searches at a steady rate, whatever becomes of them, or by a number of clients one after the other: `./bench overload`.
//!
//! `load ADDRESS FILE SECONDS (--rate N | --clients N) [--run NAME]`. Every search is a new one (a line of FILE, a number and NAME), so
//! that no cache knows it; it goes to `POST /v1/collections/texts/search`. At a rate the time of an answer counts from when it was due, so
//! that a client that falls behind cannot flatter the service (Tene, "How NOT to Measure Latency"). One thread, few instructions:
//! the cores are the service's. Prints one line of JSON.
#![allow(clippy::print_stdout)]
use serde_json::{Map, Value, json};
use std::cell::RefCell;
use std::error::Error;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

type Failed = Box<dyn Error>;

/// Connections at most; what is due while all are taken counts as unsent.
const MAX_CONNECTIONS: usize = 3_000;
/// How long an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(10);
const TICK: Duration = Duration::from_millis(1);

struct Load {
    address: SocketAddr,
    queries: Vec<String>,
    run: String,
    state: RefCell<State>,
}

#[derive(Default)]
struct State {
    idle: Vec<TcpStream>,
    open: usize,
    next: usize,
    sent: usize,
    unsent: usize,
    failed: Map<String, Value>,
    /// Microseconds of answers by status, and when they came.
    answers: Vec<Answered>,
    behind_us: Vec<u32>,
}

struct Answered {
    status: u16,
    us: u32,
    at_s: u32,
    retries: bool,
    degraded: String,
}

impl Load {
    fn body(&self) -> Vec<u8> {
        let mut state = self.state.borrow_mut();
        state.next += 1;
        let number = state.next;
        let text = format!("{} {number}{}", self.queries[number % self.queries.len()], self.run);
        let body = json!({"text": text, "top_k": 20}).to_string();
        let head = format!(
            "POST /v1/collections/texts/search HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            self.address,
            body.len()
        );
        [head, body].concat().into_bytes()
    }

    /// One search, on a connection that is free or a new one.
    async fn search(&self, began: Instant, due: Instant) {
        let idle = self.state.borrow_mut().idle.pop();
        if idle.is_none() && self.state.borrow().open >= MAX_CONNECTIONS {
            self.state.borrow_mut().unsent += 1;
            return;
        }
        let body = self.body();
        self.state.borrow_mut().sent += 1;
        let asked = tokio::time::timeout(PATIENCE, self.answer(idle, &body)).await;
        let us = due.elapsed().as_micros() as u32;
        let mut state = self.state.borrow_mut();
        let why = match asked {
            Ok(Ok((stream, mut answered))) => {
                answered.us = us;
                answered.at_s = began.elapsed().as_secs() as u32;
                state.idle.push(stream);
                state.answers.push(answered);
                return;
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => "no answer in time".to_owned(),
        };
        state.open -= 1;
        let count = state.failed.get(&why).and_then(Value::as_u64).unwrap_or(0);
        state.failed.insert(why, json!(count + 1));
    }

    /// On the idle connection, unless the service has closed it meanwhile, as it does with those that were idle for long.
    async fn answer(&self, idle: Option<TcpStream>, body: &[u8]) -> Result<(TcpStream, Answered), Failed> {
        if let Some(stream) = idle {
            if let Some(answer) = ask(stream, body).await? {
                return Ok(answer);
            }
            self.state.borrow_mut().open -= 1;
        }
        self.state.borrow_mut().open += 1;
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        Ok(ask(stream, body).await?.ok_or("the connection was closed")?)
    }
}

/// The answer and its connection; `None` where that was closed before an answer began.
async fn ask(mut stream: TcpStream, body: &[u8]) -> Result<Option<(TcpStream, Answered)>, Failed> {
    let mut told = Vec::with_capacity(16 << 10);
    if stream.write_all(body).await.is_err() {
        return Ok(None);
    }
    loop {
        match stream.read_buf(&mut told).await {
            Ok(0) | Err(_) if told.is_empty() => return Ok(None),
            Ok(0) => return Err("an answer was cut short".into()),
            Ok(_) => {}
            Err(error) => return Err(error.into()),
        }
        if let Some(answered) = whole(&told)? {
            return Ok(Some((stream, answered)));
        }
    }
}

/// What an answer says, once all of it is there.
fn whole(told: &[u8]) -> Result<Option<Answered>, Failed> {
    let Some(end) = told.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(None) };
    let head = std::str::from_utf8(&told[..end])?;
    let header = |name: &str| {
        head.lines().filter_map(|line| line.split_once(": ")).find(|(key, _)| key.eq_ignore_ascii_case(name))
    };
    let length: usize = header("content-length").ok_or("an answer without a length")?.1.parse()?;
    if told.len() < end + 4 + length {
        return Ok(None);
    }
    let status = head.get(9..12).ok_or("an answer without a status")?.parse()?;
    let body = std::str::from_utf8(&told[end + 4..])?;
    let degraded = body.split_once("\"degraded\":[").and_then(|(_, rest)| rest.split_once(']'));
    let degraded = degraded.map_or("", |(inside, _)| inside).to_owned();
    Ok(Some(Answered { status, us: 0, at_s: 0, retries: header("retry-after").is_some(), degraded }))
}

/// Searches when they are due, and waits for the last ones.
async fn at_rate(load: &Rc<Load>, rate: f64, seconds: f64) {
    let began = Instant::now();
    let (mut count, mut ticks) = (0u64, tokio::time::interval(TICK));
    let mut tasks = tokio::task::JoinSet::new();
    while began.elapsed().as_secs_f64() < seconds {
        ticks.tick().await;
        let due_by_now = (began.elapsed().as_secs_f64() * rate) as u64;
        while count < due_by_now {
            let due = began + Duration::from_secs_f64(count as f64 / rate);
            count += 1;
            load.state.borrow_mut().behind_us.push(due.elapsed().as_micros() as u32);
            let load = Rc::clone(load);
            tasks.spawn_local(async move { load.search(began, due).await });
        }
        while tasks.try_join_next().is_some() {}
    }
    tasks.join_all().await;
}

/// Each client asks again as soon as it is answered.
async fn by_clients(load: &Rc<Load>, clients: usize, seconds: f64) {
    let began = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..clients {
        let load = Rc::clone(load);
        tasks.spawn_local(async move {
            while began.elapsed().as_secs_f64() < seconds {
                load.search(began, Instant::now()).await;
            }
        });
    }
    tasks.join_all().await;
}

/// Figures of times in microseconds, as milliseconds.
fn times(mut us: Vec<u32>) -> Value {
    us.sort_unstable();
    let at = |share: f64| {
        let place = (us.len() as f64 * share) as usize;
        us.get(place.min(us.len().saturating_sub(1))).map(|us| f64::from(*us) / 1e3)
    };
    json!({"count": us.len(), "p50": at(0.5), "p95": at(0.95), "p99": at(0.99), "p999": at(0.999), "most": at(1.0)})
}

fn report(state: &State, seconds: f64) -> Value {
    let mut shapes = Map::new();
    let mut by_second = vec![0u32; seconds.ceil() as usize + 1];
    let (mut good, mut shed, mut others, mut without_retry) = (Vec::new(), Vec::new(), Map::new(), 0);
    for answered in &state.answers {
        match answered.status {
            200 => {
                good.push(answered.us);
                if let Some(count) = by_second.get_mut(answered.at_s as usize) {
                    *count += 1;
                }
                let count = shapes.get(&answered.degraded).and_then(Value::as_u64).unwrap_or(0);
                shapes.insert(answered.degraded.clone(), json!(count + 1));
            }
            429 | 503 => {
                shed.push(answered.us);
                without_retry += usize::from(!answered.retries);
            }
            other => {
                let count = others.get(&other.to_string()).and_then(Value::as_u64).unwrap_or(0);
                others.insert(other.to_string(), json!(count + 1));
            }
        }
    }
    let in_time = by_second[..seconds as usize].iter().map(|count| f64::from(*count)).sum::<f64>();
    json!({
        "seconds": seconds, "sent": state.sent, "unsent": state.unsent, "connections": state.open,
        "good_per_s": in_time / seconds.floor(), "by_second": by_second, "good": times(good), "shed": times(shed),
        "without_retry_after": without_retry, "degraded": shapes, "others": others, "failed": state.failed,
        "client_behind": times(state.behind_us.clone()),
    })
}

fn main() -> Result<(), Failed> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, file, seconds, how, number, rest @ ..] = arguments.as_slice() else {
        return Err("load ADDRESS FILE SECONDS (--rate N | --clients N) [--run NAME]".into());
    };
    let queries = std::fs::read_to_string(file)?.lines().map(str::to_owned).collect();
    let run = rest.get(1).cloned().unwrap_or_default();
    let load = Rc::new(Load { address: address.parse()?, queries, run, state: RefCell::default() });
    let seconds: f64 = seconds.parse()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let all = tokio::task::LocalSet::new();
    match how.as_str() {
        "--rate" => all.block_on(&runtime, at_rate(&load, number.parse()?, seconds)),
        "--clients" => all.block_on(&runtime, by_clients(&load, number.parse()?, seconds)),
        other => return Err(format!("unknown option {other:?}").into()),
    }
    println!("{}", report(&load.state.borrow(), seconds));
    Ok(())
}
