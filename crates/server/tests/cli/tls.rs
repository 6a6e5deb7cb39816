//! HTTPS of the real binary: certificates exchanged under load, and bad ones that change nothing.

use crate::operating::Running;
use crate::workspace::Workspace;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// A certificate of its own for localhost, and its key, as PEM.
fn certificate() -> (String, String) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    (made.cert.pem(), made.signing_key.serialize_pem())
}

/// A client that trusts these certificates alone.
fn trusting(certificates: &[&str]) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates {
        roots.add(CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()).unwrap();
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = config.with_root_certificates(roots).with_no_client_auth();
    // A session that is taken up again shows no certificate.
    config.resumption = rustls::client::Resumption::disabled();
    Arc::new(config)
}

/// Ends the load also when the test ends early.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// One request over a new connection; its status.
fn get(address: SocketAddr, config: &Arc<ClientConfig>) -> std::io::Result<u16> {
    let name = ServerName::try_from("localhost").unwrap();
    let connection = ClientConnection::new(Arc::clone(config), name).map_err(std::io::Error::other)?;
    let socket = TcpStream::connect(address)?;
    socket.set_read_timeout(Some(Duration::from_secs(20)))?;
    let mut stream = StreamOwned::new(connection, socket);
    stream.write_all(b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    answer.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or(std::io::Error::other(answer))
}

#[test]
fn certificates_are_exchanged_under_load_and_bad_ones_change_nothing() {
    let workspace = Workspace::new();
    let ((first, first_key), (second, second_key)) = (certificate(), certificate());
    let put = |certificate: &str, key: &str| {
        workspace.write("tls/key.pem", key);
        workspace.write("tls/chain.pem", certificate);
    };
    put(&first, &first_key);
    let (chain, key) = (workspace.path("tls/chain.pem"), workspace.path("tls/key.pem"));
    let variables = [
        ("BILIN_TLS_CERTIFICATE", chain.to_str().unwrap()),
        ("BILIN_TLS_KEY", key.to_str().unwrap()),
        ("BILIN_LOG", "info"),
    ];
    let service = Running::start(&workspace, &variables);
    let (old, new, both) = (trusting(&[&first]), trusting(&[&second]), trusting(&[&first, &second]));
    assert_eq!(get(service.address, &old).unwrap(), 200);
    assert!(get(service.address, &new).is_err(), "another certificate is not trusted");
    // A client that never goes on with its handshake, and one that speaks plain HTTP, keep nobody waiting.
    let _silent: Vec<_> = (0..20).map(|_| TcpStream::connect(service.address).unwrap()).collect();
    let mut plain = TcpStream::connect(service.address).unwrap();
    plain.write_all(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();

    let (stop, answered) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        let load: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    while !stop.load(Ordering::Acquire) {
                        assert_eq!(get(service.address, &both).unwrap(), 200);
                        answered.fetch_add(1, Ordering::Relaxed);
                    }
                })
            })
            .collect();
        let stopping = Stop(&stop);
        let until = |config: &Arc<ClientConfig>, wanted: bool, what: &str| {
            let started = Instant::now();
            while get(service.address, config).is_ok() != wanted {
                assert!(started.elapsed() < Duration::from_secs(20), "{what}");
            }
        };
        // The files alone, then SIGHUP; a pair that does not fit in between.
        put(&second, &second_key);
        until(&new, true, "the new certificate is used");
        until(&old, false, "the old one is not");
        put(&first, &second_key);
        service.tells(&["chain.pem", "the certificate from before stays in use"]);
        workspace.write("tls/chain.pem", "no certificate");
        service.signal("HUP");
        service.tells(&["no certificate in it"]);
        assert_eq!(get(service.address, &new).unwrap(), 200);
        put(&first, &first_key);
        service.signal("HUP");
        until(&old, true, "the first one is back");
        drop(stopping);
        load.into_iter().for_each(|thread| thread.join().unwrap());
    });
    assert!(answered.load(Ordering::Relaxed) > 10);
    service.signal("TERM");
    assert_eq!(service.ended(), Some(0));
}

#[test]
fn a_start_with_a_bad_certificate_says_what_is_wrong() {
    let workspace = Workspace::new();
    let ((first, _), (_, second_key)) = (certificate(), certificate());
    workspace.write("chain.pem", first);
    workspace.write("key.pem", second_key);
    workspace.write("bilin.toml", "[serve]\ntls_certificate = \"chain.pem\"\ntls_key = \"key.pem\"\n");
    let run = workspace.run(&["serve", "--listen", "127.0.0.1:0"]).exits(1);
    run.complains(&["chain.pem", "key"]);
    run.hints("serve.tls_certificate");
    workspace.write("bilin.toml", "[serve]\ntls_certificate = \"chain.pem\"\n");
    workspace.run(&["serve"]).exits(1).complains(&["serve.tls_key"]);
}
