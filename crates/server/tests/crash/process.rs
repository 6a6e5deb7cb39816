//! The binary run on a data folder, to be killed.
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Upkeep whose every job is due all the time.
const BUSY: [(&str, &str); 8] = [
    ("BILIN_REBUILD_GROWTH_PERCENT", "1"),
    ("BILIN_RETRAIN_AFTER", "1s"),
    ("BILIN_SCRUB_EVERY", "1s"),
    ("BILIN_SCRUB_BYTES_PER_S", "0"),
    ("BILIN_BACKUPS_EVERY", "1s"),
    ("BILIN_BACKUPS_KEPT", "3"),
    ("BILIN_SETTLE", "0"),
    ("BILIN_RECALL_SAMPLE_EVERY", "1"),
];

/// A process that is killed when it is dropped, at the latest.
pub struct Process {
    child: Child,
    stdout: Option<BufReader<ChildStdout>>,
}

impl Process {
    /// Without any setting of the machine's.
    pub fn start(data: &Path, arguments: &[&str]) -> Process {
        Process::start_with(data, &[], arguments)
    }

    fn start_with(data: &Path, settings: &[(&str, &str)], arguments: &[&str]) -> Process {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bilin"));
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("BILIN_") {
                command.env_remove(name);
            }
        }
        command.envs(settings.iter().copied());
        command.arg("--json").arg("--data").arg(data).args(arguments);
        command.current_dir(data).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let stdout = child.stdout.take().map(BufReader::new);
        Process { child, stdout }
    }

    /// A server; `busy`: one that does everything by itself that it can, as often as it can.
    pub fn serve(data: &Path, busy: bool) -> Process {
        let settings: &[_] = if busy { &BUSY } else { &[] };
        Process::start_with(data, settings, &["serve", "--listen", "127.0.0.1:0"])
    }

    /// Where it listens, once it does; `None` when it ended before.
    pub fn address(&mut self) -> Option<SocketAddr> {
        let mut line = String::new();
        self.stdout.as_mut()?.read_line(&mut line).ok()?;
        let listening: Value = serde_json::from_str(&line).ok()?;
        listening["url"].as_str()?.strip_prefix("http://")?.parse().ok()
    }

    /// SIGKILL. Whether it was still running.
    pub fn kill(&mut self) -> bool {
        let was_running = self.is_running();
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        was_running
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits until `begun` says yes. `false` when the process ended first.
    pub fn wait_until(&mut self, mut begun: impl FnMut() -> bool) -> bool {
        while !begun() {
            if !self.is_running() {
                return false;
            }
            thread::sleep(Duration::from_micros(100));
        }
        true
    }

    /// Its exit code and what it said on stdout.
    pub fn finish(mut self) -> (Option<i32>, Vec<Value>) {
        let lines = self.stdout.take().unwrap().lines().map_while(Result::ok);
        let said = lines.map(|line| serde_json::from_str(&line).unwrap()).collect();
        (self.child.wait().unwrap().code(), said)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// How long something takes, learned from the runs that were not killed; a kill comes anywhere in it.
#[derive(Debug)]
pub struct Span(Duration);

impl Span {
    pub fn guess(millis: u64) -> Span {
        Span(Duration::from_millis(millis))
    }

    pub fn learn(&mut self, started: Instant) {
        // Towards the longer one quickly, towards the shorter one slowly.
        self.0 = started.elapsed().max(self.0 * 9 / 10);
    }

    /// What had this time was not done: a span that is too short would never let it be, so that nothing is ever finished.
    pub fn outlasted(&mut self, started: Instant) {
        if started.elapsed() >= self.0 {
            self.0 *= 2;
        }
    }

    /// Sleeps a random part of it, or a little more than it, or until `over`.
    pub fn sleep_part(&self, random: &mut crate::record::Random, over: impl Fn() -> bool) {
        let until = Instant::now() + self.0 * random.below(1_200) as u32 / 1_000;
        while Instant::now() < until && !over() {
            thread::sleep(Duration::from_micros(200));
        }
    }
}
