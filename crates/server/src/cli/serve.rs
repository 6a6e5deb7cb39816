//! `bilin serve`: the HTTP service over the data folder, until SIGTERM or Ctrl-C.
//!
//! Meanwhile upkeep builds indexes, makes backups and reads everything back by itself. The listener opens as soon as the collections are open. The models are unpacked in the background meanwhile, so that
//! neither the start nor the first query waits for both.

use super::{Context, Exit, Failure, reload};
use crate::access::Access;
use crate::config::Config;
use crate::follow;
use crate::http::{self, Certificate, ServeError, ServeOptions, Telemetry, TlsFiles, Traces};
use crate::offsite::{self, Sending};
use crate::printer::BOLD;
use crate::shared_cache::SharedCache;
use crate::supervision;
use bilin_engine::{Engine, Upkeeper, Watchers};
use clap::Args;
use serde::Serialize;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// Longest that calls inside the engine are waited for after the last answer.
const LAST_CALLS_MAX: Duration = Duration::from_secs(1);

#[derive(Debug, Args)]
pub(super) struct Serve {
    /// Address and port [default: 127.0.0.1:8000]; beyond this machine only with an API key
    #[arg(long, value_name = "ADDRESS")]
    pub(super) listen: Option<SocketAddr>,
    /// Model of new text collections: an id, or the folder of a model [default: e5-small-zh-en]
    #[arg(long, value_name = "ID|DIR")]
    pub(super) model: Option<String>,
    /// Watch a folder and take in what comes, changes and goes; may be repeated [default: watch.sources]
    #[arg(long, value_name = "COLLECTION=FOLDER")]
    pub(super) watch: Vec<String>,
    /// Serve as a read-only replica of another server, or of the folder that one sends its backups to [default: follow.from]
    #[arg(long, value_name = "URL|DIR", conflicts_with = "watch")]
    pub(super) follow: Option<String>,
}

#[derive(Serialize)]
struct Listening {
    url: String,
}

pub(super) fn run(_args: &Serve, context: &Context) -> Result<Exit, Failure> {
    let access = check_address(context)?;
    let engine = context.open()?;
    follow::claim(&context.config, &engine)?;
    for (name, reason) in engine.health().broken {
        context.printer.warning(format_args!("collection {name:?} cannot be opened: {reason}"));
    }
    serve(Arc::new(engine), access, context)
}

/// What can be known about the address before the data folder is touched; what `serve` and `demo` share.
pub(super) fn check_address(context: &Context) -> Result<Arc<Access>, Failure> {
    let listen = context.config.listen;
    let access = Access::open(context.config.access.clone())?;
    if !listen.ip().is_loopback() && !access.asks() {
        return Err(told(ServeError::KeyNeeded { listen }));
    }
    match std::net::TcpListener::bind(listen) {
        Ok(_) => Ok(Arc::new(access)),
        Err(source) => Err(told(ServeError::Bind { listen, source })),
    }
}

/// Serves an open engine; what `serve` and `demo` share.
pub(super) fn serve(engine: Arc<Engine>, access: Arc<Access>, context: &Context) -> Result<Exit, Failure> {
    let config = &context.config;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::mendable(format!("cannot start the service: {error}")))?;
    warm(&engine);
    // All of it goes on until the service has ended.
    let followed = follow::start(config, &engine)?;
    let _own = if followed.is_none() { Some(begin_upkeep(&engine, config)?) } else { None };
    let (_follower, following) = followed.unzip();
    // It is reached from inside the runtime.
    let entered = runtime.enter();
    let shared_cache = config.shared_cache.as_ref().map(SharedCache::new).transpose();
    drop(entered);
    let shared_cache = shared_cache.map_err(|error| Failure::mendable(error.to_string()))?;
    // The address is told from inside the runtime; the printer stays here, on the thread that started.
    let (tell, told_address) = std::sync::mpsc::channel();
    let service = &config.service;
    let traces = match &service.otlp_url {
        Some(url) => Some(traces(url, service.trace_sample, &runtime)?),
        None => None,
    };
    let certificate = match service.tls.clone() {
        Some(files) => Some(Arc::new(certificate(files)?)),
        None => None,
    };
    let scheme = if certificate.is_some() { "https" } else { "http" };
    let options = ServeOptions {
        telemetry: Arc::new(Telemetry::new(service.telling(), traces)),
        following,
        certificate,
        drain: service.drain,
        lame_duck: service.lame_duck,
        reread: reload::reread(context),
        listen: config.listen,
        text_collection: config.text_collection.clone(),
        image_collection: config.image_collection.clone(),
        access,
        shared_cache,
        max_body_bytes: config.max_body_bytes,
        request_timeout_ms: config.request_timeout_ms,
        max_concurrent_requests: config.max_concurrent_requests,
        admission: config.admission.clone(),
        connections: config.connections,
        on_listening: Box::new(move |address| {
            let _ = tell.send(address);
        }),
    };
    let service = runtime.spawn(http::serve(engine, options));
    // Nothing arrives when the service ends before it listens; its error is read below.
    let announced = match told_address.recv() {
        Ok(address) => {
            supervision::ready(address);
            runtime.spawn(supervision::feed_watchdog());
            announce(scheme, address, context)
        }
        Err(_) => Ok(()),
    };
    if let Err(failure) = announced {
        service.abort();
        return Err(failure);
    }
    let served = runtime.block_on(service);
    // Calls that are still inside (a build, a backup) have had their time to end; what they began is put in order at the
    // next start, as after a crash.
    runtime.shutdown_timeout(LAST_CALLS_MAX);
    match served {
        Ok(Ok(())) => {
            // In the log, which waits for no reader.
            tracing::info!("stopped");
            Ok(Exit::Success)
        }
        Ok(Err(error)) => Err(told(error)),
        Err(error) => Err(Failure::internal(format!("the HTTP service ended unexpectedly: {error}"))),
    }
}

/// What a server does by itself; a replica does none of it, since its changes are those of its primary. Watchers end before
/// upkeep does, after the commit under way.
fn begin_upkeep(
    engine: &Arc<Engine>,
    config: &Config,
) -> Result<(Watchers, Option<Sending>, Upkeeper), Failure> {
    let upkeep = engine.start_upkeep();
    let sending = match offsite::connect(engine, config)? {
        true => Some(Sending::start(engine, config.engine.upkeep.backups_kept)?),
        false => None,
    };
    Ok((engine.watch_sources(&config.sources, config.watch_timing), sending, upkeep))
}

fn certificate(files: TlsFiles) -> Result<Certificate, Failure> {
    Certificate::open(files).map_err(|why| {
        Failure::mendable(why).with_hint(
            "serve.tls_certificate names a PEM file with the chain, the server's certificate first; serve.tls_key its key",
        )
    })
}

fn traces(url: &str, sample: f64, runtime: &tokio::runtime::Runtime) -> Result<Traces, Failure> {
    let _inside = runtime.enter();
    Traces::start(url, sample).map_err(|why| Failure::mendable(format!("cannot send traces: {why}")))
}

fn announce(scheme: &str, address: SocketAddr, context: &Context) -> Result<(), Failure> {
    let url = format!("{scheme}://{address}");
    if context.printer.is_json() {
        return context.printer.record("listening", &Listening { url });
    }
    context
        .printer
        .note(format_args!("serving {BOLD}{url}{BOLD:#} (page at /, API reference at /docs); Ctrl-C stops"));
    Ok(())
}

/// Opens the models of the collections there are, and begins to fill full texts that are not whole, on a thread of its own.
fn warm(engine: &Arc<Engine>) {
    let engine = engine.clone();
    // Failing to warm is no failure: the first query opens the model and tells what is wrong.
    let _ = std::thread::Builder::new().name("warm".to_owned()).spawn(move || {
        if let Err(error) = engine.warm_up() {
            tracing::warn!("cannot open the models beforehand: {error}");
        }
        engine.begin_full_texts();
    });
}

fn told(error: ServeError) -> Failure {
    let message = error.to_string();
    match error {
        ServeError::Bind { listen, source } => {
            let port = listen.port();
            let failure = Failure::mendable(format!("{message}: {source}"));
            match source.kind() {
                std::io::ErrorKind::AddrInUse => failure.with_hint(format!(
                    "another program uses port {port}: stop it, or choose another with --listen {}:{}",
                    listen.ip(),
                    port.checked_add(1).unwrap_or(8_000)
                )),
                std::io::ErrorKind::PermissionDenied => {
                    failure.with_hint("ports below 1024 need more rights")
                }
                _ => failure.with_hint("choose an address of this machine with --listen"),
            }
        }
        ServeError::KeyNeeded { .. } => Failure::mendable(message)
            .with_hint("make a key with bilin key create, or set BILIN_API_KEY (serve.api_key in bilin.toml), or listen on 127.0.0.1"),
        ServeError::Serve(source) => Failure::mendable(format!("{message}: {source}")),
    }
}
