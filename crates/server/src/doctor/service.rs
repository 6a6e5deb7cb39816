//! The service: its address, its key, its models; and whether one that runs answers.

use super::Check;
use crate::access::Access;
use crate::config::Config;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, ToSocketAddrs};
use std::time::Duration;

/// Longest that a running service is waited for.
const PROBE_TIMEOUT: Duration = Duration::from_secs(3);

/// Whether the address can be bound; `in_use`: another bilin has the data folder, and likely the port.
pub(super) fn port(config: &Config, in_use: bool) -> Check {
    let listen = config.listen;
    match TcpListener::bind(listen) {
        Ok(_) => Check::ok("port", format!("{listen} is free")),
        Err(error) if in_use && error.kind() == std::io::ErrorKind::AddrInUse => {
            Check::ok("port", format!("{listen} is taken, as it should be while bilin runs"))
        }
        Err(error) => Check::failure(
            "port",
            format!("{listen}: {error}"),
            "stop what has it, or choose another (serve.listen, BILIN_LISTEN); ports below 1024 need more rights",
        ),
    }
}

/// Whether the address is only this machine's, or guarded.
pub(super) fn key(config: &Config) -> Check {
    let listen = config.listen;
    let asks = match Access::open(config.access.clone()) {
        Ok(access) => access.asks(),
        Err(error) => {
            return Check::failure(
                "access",
                error.to_string(),
                "mend the file of keys, or make new ones (bilin key)",
            );
        }
    };
    match (asks, listen.ip().is_loopback()) {
        (false, true) => Check::ok("access", format!("{listen} is reached from this machine alone")),
        (false, false) => Check::failure(
            "access",
            format!("{listen} is reached by other machines, and there is no key"),
            "make a key with bilin key create, set BILIN_API_KEY, or listen on 127.0.0.1",
        ),
        (true, _) => Check::ok("access", "requests have to bring a key"),
    }
}

/// Whether the models of new collections can be opened.
pub(super) fn models(config: &Config) -> Vec<Check> {
    let engine = &config.engine;
    let open = |id: &str| bilin_engine::open_model(id).map(drop).map_err(|error| error.message);
    let mut named: Vec<(&str, Result<(), String>)> =
        [&engine.default_text_model, &engine.default_image_model]
            .into_iter()
            .map(|id| (id.as_str(), open(id)))
            .collect();
    if let Some(id) = &engine.rerank.model {
        let opened = bilin_engine::open_cross_encoder(id);
        named.push((id, opened.map(drop).map_err(|error| error.message)));
    }
    let names: Vec<&str> = named.iter().map(|(id, _)| *id).collect();
    let bad: Vec<Check> = named
        .iter()
        .filter_map(|(_, opened)| opened.as_ref().err())
        .map(|reason| {
            Check::failure(
                "models",
                reason.clone(),
                "bilin model list shows those there are, bilin model pull fetches others",
            )
        })
        .collect();
    if bad.is_empty() { vec![Check::ok("models", names.join(", "))] } else { bad }
}

/// Asks a running service whether it lives, in plain HTTP; what a container's health check calls.
pub fn probe(url: &str) -> Check {
    match ask(url) {
        Ok(200) => Check::ok("server", format!("{url} answers")),
        Ok(status) => Check::failure("server", format!("{url}/livez answers {status}"), "look into its log"),
        Err(reason) => Check::failure("server", format!("{url}: {reason}"), "start it, or look into its log"),
    }
}

fn ask(url: &str) -> Result<u16, String> {
    let address = url.strip_prefix("http://").ok_or("expected an address that begins with http://")?;
    let address = address.trim_end_matches('/');
    let target = address.to_socket_addrs().map_err(|error| error.to_string())?.next();
    let target = target.ok_or("there is no such host")?;
    let told = |error: std::io::Error| error.to_string();
    let mut stream = TcpStream::connect_timeout(&target, PROBE_TIMEOUT).map_err(told)?;
    stream.set_read_timeout(Some(PROBE_TIMEOUT)).map_err(told)?;
    stream.set_write_timeout(Some(PROBE_TIMEOUT)).map_err(told)?;
    let request = format!("GET /livez HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).map_err(told)?;
    let mut head = [0; 12];
    stream.read_exact(&mut head).map_err(told)?;
    let head = String::from_utf8_lossy(&head);
    let status = head.strip_prefix("HTTP/1.1 ").and_then(|status| status.parse().ok());
    status.ok_or_else(|| format!("it does not speak HTTP: {head:?}"))
}
