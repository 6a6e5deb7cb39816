//! What it brings that queries which come together share a forward pass: `./bench queries`.
//!
//! `cargo run --release -p bilin-engine --example shared_queries -- [SECONDS] [ROUNDS]`. Clients encode short questions one after the
//! other, each on a thread of its own, in two ways that take turns: `apart`, every query a pass of its own in one pool, and
//! `shared`, by [`Engine::encode_texts`]. Prints queries per second and latencies (median of all rounds) as a table.
#![allow(clippy::print_stdout)]
use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bilin_encode::{DEFAULT_TEXT_MODEL, Encoder, Input, Prompt};
use bilin_engine::{Engine, EngineConfig};
use rayon::ThreadPool;

const CLIENTS: [usize; 5] = [1, 2, 4, 8, 16];

type Failed = Box<dyn Error + Send + Sync>;

/// How a query becomes a vector.
enum Way {
    Apart(Arc<dyn Encoder>, ThreadPool),
    Shared(Box<Engine>),
}

impl Way {
    fn encode(&self, text: &str) -> Result<usize, Failed> {
        Ok(match self {
            Way::Apart(encoder, pool) => {
                let input = Input::Text { text, prompt: Prompt::Query };
                pool.install(|| encoder.encode(&[input]))?.vectors.len()
            }
            Way::Shared(engine) => engine.encode_texts(None, &[text.to_owned()], Prompt::Query)?.0.len(),
        })
    }
}

fn main() -> Result<(), Failed> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let seconds: f64 = arguments.first().map_or(Ok(2.0), |text| text.parse())?;
    let rounds: usize = arguments.get(1).map_or(Ok(3), |text| text.parse())?;
    let folder = std::env::temp_dir().join(format!("bilin-queries-{}", std::process::id()));
    let engine = Engine::open(EngineConfig::new(&folder))?;
    let pool = rayon::ThreadPoolBuilder::new().build()?;
    let threads = pool.current_num_threads();
    let ways = [
        ("apart", Way::Apart(bilin_encode::open(DEFAULT_TEXT_MODEL)?, pool)),
        ("shared", Way::Shared(Box::new(engine))),
    ];
    println!(
        "{threads} threads\n\n| clients | way | queries/s | median, ms | 95 of 100, ms |\n|---|---|---|---|---|"
    );
    for clients in CLIENTS {
        let mut spans = [Vec::new(), Vec::new()];
        for _ in 0..rounds {
            for ((_, way), spans) in ways.iter().zip(&mut spans) {
                spans.extend(measure(way, clients, Duration::from_secs_f64(seconds))?);
            }
        }
        for ((name, _), mut spans) in ways.iter().zip(spans) {
            spans.sort_unstable();
            let per_s = spans.len() as f64 / (seconds * rounds as f64);
            let at =
                |share: usize| spans.get(spans.len() * share / 100).map_or(0.0, |s| s.as_secs_f64() * 1e3);
            println!("| {clients} | {name} | {per_s:.1} | {:.1} | {:.1} |", at(50), at(95));
        }
    }
    drop(ways);
    std::fs::remove_dir_all(folder)?;
    Ok(())
}

/// How long each query took.
fn measure(way: &Way, clients: usize, time: Duration) -> Result<Vec<Duration>, Failed> {
    way.encode("warm")?;
    let started = Instant::now();
    std::thread::scope(|scope| {
        let asking: Vec<_> = (0..clients)
            .map(|client| {
                scope.spawn(move || {
                    let mut spans = Vec::new();
                    while started.elapsed() < time {
                        let asked = Instant::now();
                        way.encode(&format!("第{client}位客人的第{}个问题: 哪种索引最省内存?", spans.len()))?;
                        spans.push(asked.elapsed());
                    }
                    Ok::<_, Failed>(spans)
                })
            })
            .collect();
        let mut all = Vec::new();
        for client in asking {
            all.extend(client.join().map_err(|_| "a client panicked")??);
        }
        Ok(all)
    })
}
