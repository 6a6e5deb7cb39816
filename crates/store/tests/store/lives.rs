//! A process that does the same steps over and over, tells each, and is killed somewhere in one.
use std::env;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use crate::sample::Random;

/// Set for the child: the data folder that it works in.
pub(crate) const CHILD: &str = "BILIN_TEST_CHILD";

/// Runs the test `process` of this binary in a process of its own on `folder`, kills it, and gives back the lines that it told.
///
/// The kill falls anywhere in one of its steps, however fast the machine is: some lines are waited for, and then a part of the
/// time that the last one took.
pub(crate) fn live(process: &str, folder: &Path, random: &mut Random) -> Vec<String> {
    let mut child = Command::new(env::current_exe().unwrap())
        .args(["--exact", process, "--nocapture"])
        .env(CHILD, folder)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    let (tell, told) = mpsc::channel();
    let reader = thread::spawn(move || {
        for line in output.lines().map_while(Result::ok).filter(|line| !line.is_empty()) {
            // Nobody listens once enough was told; the lines are kept all the same.
            let _ = tell.send(line);
        }
    });
    let mut lines = Vec::new();
    let (mut last, mut step) = (Instant::now(), Duration::from_millis(20));
    for _ in 0..2 + random.below(5) {
        lines.push(told.recv_timeout(Duration::from_secs(60)).expect("a process that works"));
        step = last.elapsed();
        last = Instant::now();
    }
    thread::sleep(step * random.below(1000) as u32 / 1000);
    child.kill().unwrap();
    child.wait().unwrap();
    reader.join().unwrap();
    lines.extend(told);
    lines
}
