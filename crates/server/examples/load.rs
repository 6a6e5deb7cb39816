//! Searches at a steady rate, whatever becomes of them, or by a number of clients one after the other: `./bench overload`.
//!
//! `load ADDRESS FILE SECONDS (--rate N | --clients N) [--run NAME]`. Every search is a new one (a line of FILE, a number and NAME), so
//! that no cache knows it; it goes to `POST /v1/collections/texts/search`. At a rate the time of an answer counts from when it was due, so
//! that a client that falls behind cannot flatter the service (Tene, "How NOT to Measure Latency"). Prints one line of JSON.
//!
//! It stands for users elsewhere, and the cores are the service's. So at a rate it sleeps through each [`TICK`], then sends what is due and
//! looks at what has come: one write and one read a search, nobody wakes it, and times are up to a tick too long. Clients
//! that wait for their answers are woken at once, for what they miss would be missing from the capacity.
#![allow(clippy::print_stdout)]
use memchr::memmem;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::error::Error;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

type Failed = Box<dyn Error>;

/// Connections at most; what is due while all are taken counts as unsent.
const MAX_CONNECTIONS: usize = 3_000;
/// How long an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often it is looked for those that were not answered in time.
const LOOK_EVERY: Duration = Duration::from_millis(100);
const TICK: Duration = Duration::from_millis(1);
/// More than the longest answer, as a rule.
const READ_BYTES: usize = 64 << 10;

/// One of the connections, with the search that is under way on it.
struct Connection {
    stream: TcpStream,
    /// When its search was due; none: it is idle.
    due: Option<Instant>,
    /// Nothing has been answered on it yet.
    is_new: bool,
    /// What of the search could not be written yet.
    unwritten: Vec<u8>,
    /// The beginning of an answer.
    told: Vec<u8>,
    /// The search, for another connection, should the service close this one as it does with those that were idle for long.
    number: usize,
}

/// Makes searches, of lines that are JSON already.
struct Searches {
    address: SocketAddr,
    /// What stands before the length of the body.
    head: Vec<u8>,
    lines: Vec<String>,
    run: String,
    body: Vec<u8>,
}

impl Searches {
    fn new(address: SocketAddr, lines: Vec<String>, run: String) -> Searches {
        let head = format!(
            "POST /v1/collections/texts/search HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\ncontent-length: "
        );
        Searches { address, head: head.into_bytes(), lines, run, body: Vec::new() }
    }

    fn write(&mut self, number: usize, out: &mut Vec<u8>) -> io::Result<()> {
        let line = &self.lines[number % self.lines.len()];
        self.body.clear();
        write!(self.body, "{{\"text\":\"{line} {number}{}\",\"top_k\":20}}", self.run)?;
        out.clear();
        out.extend_from_slice(&self.head);
        write!(out, "{}\r\n\r\n", self.body.len())?;
        out.extend_from_slice(&self.body);
        Ok(())
    }
}

/// What became of them.
#[derive(Default)]
struct Tally {
    sent: usize,
    unsent: usize,
    failed: BTreeMap<String, u64>,
    good_us: Vec<u32>,
    shed_us: Vec<u32>,
    without_retry: usize,
    degraded: BTreeMap<String, u64>,
    others: BTreeMap<u16, u64>,
    by_second: Vec<u32>,
    behind_us: Vec<u32>,
}

struct Load {
    poll: Poll,
    began: Instant,
    searches: Searches,
    connections: Vec<Option<Connection>>,
    /// Places of `connections`, the last used last.
    idle: Vec<usize>,
    vacant: Vec<usize>,
    /// Searches without an answer yet.
    under_way: usize,
    looked: Instant,
    tally: Tally,
    buffer: Vec<u8>,
    request: Vec<u8>,
}

impl Load {
    /// One search, on a connection that is free or a new one.
    fn search(&mut self, due: Instant) {
        if self.idle.is_empty() && self.open() >= MAX_CONNECTIONS {
            self.tally.unsent += 1;
            return;
        }
        self.tally.sent += 1;
        self.under_way += 1;
        self.send(self.tally.sent, due);
    }

    fn open(&self) -> usize {
        self.connections.len() - self.vacant.len()
    }

    fn send(&mut self, number: usize, due: Instant) {
        let sent = self.try_send(number, due);
        if let Err(error) = sent {
            self.under_way -= 1;
            self.tally.fail(&error.to_string());
        }
    }

    fn try_send(&mut self, number: usize, due: Instant) -> io::Result<()> {
        self.searches.write(number, &mut self.request)?;
        let place = match self.idle.pop() {
            Some(place) => place,
            None => self.connect()?,
        };
        let Some(connection) = &mut self.connections[place] else { return Ok(()) };
        (connection.due, connection.number) = (Some(due), number);
        connection.unwritten.clone_from(&self.request);
        if let Err(error) = connection.write_on() {
            self.lost(place, &error.to_string());
        }
        Ok(())
    }

    fn connect(&mut self) -> io::Result<usize> {
        let mut stream = TcpStream::connect(self.searches.address)?;
        stream.set_nodelay(true)?;
        let place = self.vacant.pop().unwrap_or(self.connections.len());
        self.poll.registry().register(&mut stream, Token(place), Interest::READABLE | Interest::WRITABLE)?;
        let connection = Connection {
            stream,
            due: None,
            is_new: true,
            unwritten: Vec::new(),
            told: Vec::new(),
            number: 0,
        };
        if place == self.connections.len() {
            self.connections.push(None);
        }
        self.connections[place] = Some(connection);
        Ok(place)
    }

    /// A connection has ended. What was asked on one that had been idle is asked again on another.
    fn lost(&mut self, place: usize, why: &str) {
        let Some(connection) = self.connections[place].take() else { return };
        self.vacant.push(place);
        self.idle.retain(|idle| *idle != place);
        let Some(due) = connection.due else { return };
        if connection.is_new || !connection.told.is_empty() || due.elapsed() > PATIENCE {
            self.under_way -= 1;
            self.tally.fail(why);
        } else {
            self.send(connection.number, due);
        }
    }

    /// Reads what has come, waiting for it no longer than `wait`.
    fn look(&mut self, events: &mut Events, wait: Duration) -> io::Result<()> {
        if let Err(error) = self.poll.poll(events, Some(wait)) {
            return if error.kind() == io::ErrorKind::Interrupted { Ok(()) } else { Err(error) };
        }
        for event in events.iter() {
            if let Err(error) = self.read(event.token().0) {
                self.lost(event.token().0, &error.to_string());
            }
        }
        if self.looked.elapsed() >= LOOK_EVERY {
            self.looked = Instant::now();
            let is_late =
                |connection: &Connection| connection.due.is_some_and(|due| due.elapsed() > PATIENCE);
            let late = |place: &usize| self.connections[*place].as_ref().is_some_and(is_late);
            for place in (0..self.connections.len()).filter(late).collect::<Vec<_>>() {
                self.lost(place, "no answer in time");
            }
        }
        Ok(())
    }

    /// Reads what has come on a connection.
    fn read(&mut self, place: usize) -> Result<(), Failed> {
        let Some(connection) = self.connections.get_mut(place).and_then(Option::as_mut) else {
            return Ok(());
        };
        connection.write_on()?;
        // Once is enough where the buffer was not filled: what comes later is told of by itself.
        let count = loop {
            match connection.stream.read(&mut self.buffer) {
                Ok(0) => return Err("the connection was closed".into()),
                Ok(count) if count == self.buffer.len() => connection.told.extend_from_slice(&self.buffer),
                Ok(count) => break count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break 0,
                Err(error) if error.kind() == io::ErrorKind::NotConnected => break 0,
                Err(error) => return Err(error.into()),
            }
        };
        let told = if connection.told.is_empty() {
            &self.buffer[..count]
        } else {
            connection.told.extend_from_slice(&self.buffer[..count]);
            &connection.told[..]
        };
        let Some(answer) = Answer::of(told)? else {
            if connection.told.is_empty() {
                connection.told.extend_from_slice(&self.buffer[..count]);
            }
            return Ok(());
        };
        let due = connection.due.take().ok_or("an answer to nothing")?;
        self.tally.count(&answer, due, self.began);
        connection.is_new = false;
        connection.told.clear();
        self.idle.push(place);
        self.under_way -= 1;
        Ok(())
    }
}

impl Connection {
    /// Writes what can be written.
    fn write_on(&mut self) -> io::Result<()> {
        while !self.unwritten.is_empty() {
            match self.stream.write(&self.unwritten) {
                Ok(count) => drop(self.unwritten.drain(..count)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                // The handshake is still under way.
                Err(error) if error.kind() == io::ErrorKind::NotConnected => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// An answer, once all of it is there.
struct Answer<'a> {
    status: u16,
    retries: bool,
    degraded: &'a str,
}

impl Answer<'_> {
    fn of(told: &[u8]) -> Result<Option<Answer<'_>>, Failed> {
        let Some(end) = memmem::find(told, b"\r\n\r\n") else { return Ok(None) };
        let head = std::str::from_utf8(&told[..end])?;
        let (mut length, mut retries) = (None, false);
        for line in head.split("\r\n") {
            // Most headers are told apart by their length.
            match line.split_once(": ") {
                Some((name, value)) if name.eq_ignore_ascii_case("content-length") => length = Some(value),
                Some((name, _)) => retries |= name.eq_ignore_ascii_case("retry-after"),
                None => {}
            }
        }
        let length: usize = length.ok_or("an answer without a length")?.parse()?;
        if told.len() < end + 4 + length {
            return Ok(None);
        }
        let status = head.get(9..12).ok_or("an answer without a status")?.parse()?;
        let mut degraded = "";
        if status == 200 {
            let body = std::str::from_utf8(&told[end + 4..])?;
            let list = body.split_once("\"degraded\":[").and_then(|(_, rest)| rest.split_once(']'));
            degraded = list.map_or("", |(inside, _)| inside);
        }
        Ok(Some(Answer { status, retries, degraded }))
    }
}

impl Tally {
    fn count(&mut self, answer: &Answer<'_>, due: Instant, began: Instant) {
        let now = Instant::now();
        let us = now.saturating_duration_since(due).as_micros() as u32;
        match answer.status {
            200 => {
                self.good_us.push(us);
                let second = now.saturating_duration_since(began).as_secs() as usize;
                if let Some(count) = self.by_second.get_mut(second) {
                    *count += 1;
                }
                match self.degraded.get_mut(answer.degraded) {
                    Some(count) => *count += 1,
                    None => drop(self.degraded.insert(answer.degraded.to_owned(), 1)),
                }
            }
            429 | 503 => {
                self.shed_us.push(us);
                self.without_retry += usize::from(!answer.retries);
            }
            other => *self.others.entry(other).or_default() += 1,
        }
    }

    fn fail(&mut self, why: &str) {
        *self.failed.entry(why.to_owned()).or_default() += 1;
    }
}

/// Searches when they are due, and waits for the last ones.
fn at_rate(load: &mut Load, events: &mut Events, rate: f64, seconds: f64) -> io::Result<()> {
    let mut count = 0u64;
    while load.began.elapsed().as_secs_f64() < seconds || load.under_way > 0 {
        let due_by_now = (load.began.elapsed().as_secs_f64().min(seconds) * rate) as u64;
        while count < due_by_now {
            let due = load.began + Duration::from_secs_f64(count as f64 / rate);
            count += 1;
            load.tally.behind_us.push(due.elapsed().as_micros() as u32);
            load.search(due);
        }
        std::thread::sleep(TICK);
        load.look(events, Duration::ZERO)?;
    }
    Ok(())
}

/// Each client asks again as soon as it is answered, or its search has failed.
fn by_clients(load: &mut Load, events: &mut Events, clients: usize, seconds: f64) -> io::Result<()> {
    loop {
        if load.began.elapsed().as_secs_f64() < seconds {
            for _ in load.under_way..clients {
                load.search(Instant::now());
            }
        } else if load.under_way == 0 {
            return Ok(());
        }
        load.look(events, LOOK_EVERY)?;
    }
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

fn report(load: Load, seconds: f64) -> Value {
    let connections = load.open();
    let tally = load.tally;
    let in_time = tally.by_second[..seconds as usize].iter().map(|count| f64::from(*count)).sum::<f64>();
    let others: Map<String, Value> =
        tally.others.into_iter().map(|(status, count)| (status.to_string(), json!(count))).collect();
    json!({
        "seconds": seconds, "sent": tally.sent, "unsent": tally.unsent, "connections": connections,
        "good_per_s": in_time / seconds.floor(), "by_second": tally.by_second, "good": times(tally.good_us),
        "shed": times(tally.shed_us), "without_retry_after": tally.without_retry, "degraded": tally.degraded,
        "others": others, "failed": tally.failed, "client_behind": times(tally.behind_us),
    })
}

fn main() -> Result<(), Failed> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, file, seconds, how, number, rest @ ..] = arguments.as_slice() else {
        return Err("load ADDRESS FILE SECONDS (--rate N | --clients N) [--run NAME]".into());
    };
    // Without the quotes, for more is put behind it.
    let inner = |line: &str| {
        let quoted = json!(line).to_string();
        quoted[1..quoted.len() - 1].to_owned()
    };
    let lines = std::fs::read_to_string(file)?.lines().map(inner).collect();
    let (address, seconds): (SocketAddr, f64) = (address.parse()?, seconds.parse()?);
    let run = rest.get(1).cloned().unwrap_or_default();
    let now = Instant::now();
    let mut load = Load {
        poll: Poll::new()?,
        began: now,
        searches: Searches::new(address, lines, run),
        connections: Vec::new(),
        idle: Vec::new(),
        vacant: Vec::new(),
        under_way: 0,
        looked: now,
        tally: Tally { by_second: vec![0; seconds.ceil() as usize + 1], ..Tally::default() },
        buffer: vec![0; READ_BYTES],
        request: Vec::new(),
    };
    let mut events = Events::with_capacity(MAX_CONNECTIONS);
    match how.as_str() {
        "--rate" => at_rate(&mut load, &mut events, number.parse()?, seconds)?,
        "--clients" => by_clients(&mut load, &mut events, number.parse()?, seconds)?,
        other => return Err(format!("unknown option {other:?}").into()),
    }
    println!("{}", report(load, seconds));
    Ok(())
}
