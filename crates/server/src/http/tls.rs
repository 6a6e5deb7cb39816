//! TLS from certificate files: rustls with ring, handshakes beside each other, certificates exchanged while serving.
//!
//! Invariants: a certificate is used only when it can be parsed and fits its key; a new one that is not keeps the old one
//! serving, with a line in the log; connections that are open keep the one that they began with.

use axum::serve::Listener;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, SystemTime};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// Longest that a handshake may take.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);
/// Handshakes under way at one time; more wait in the system's queue.
const HANDSHAKES: usize = 256;
/// Connections that are ready and wait to be taken.
const READY: usize = 64;
/// After an error such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Where a certificate and its key lie, as PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The chain, the server's own certificate first.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// Length and time of change of both files.
type Stamps = [Option<(u64, Option<SystemTime>)>; 2];

impl TlsFiles {
    fn stamps(&self) -> Stamps {
        [&self.certificate, &self.key]
            .map(|path| std::fs::metadata(path).ok().map(|told| (told.len(), told.modified().ok())))
    }

    fn read(&self) -> Result<CertifiedKey, String> {
        let cannot = |path: &Path, why: String| format!("cannot use {:?}: {why}", path.display().to_string());
        let chain = CertificateDer::pem_file_iter(&self.certificate)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|error| cannot(&self.certificate, error.to_string()))?;
        if chain.is_empty() {
            return Err(cannot(&self.certificate, "there is no certificate in it".to_owned()));
        }
        let key =
            PrivateKeyDer::from_pem_file(&self.key).map_err(|error| cannot(&self.key, error.to_string()))?;
        CertifiedKey::from_der(chain, key, &rustls::crypto::ring::default_provider())
            .map_err(|error| cannot(&self.certificate, format!("with its key: {error}")))
    }
}

/// The certificate that handshakes use.
#[derive(Debug)]
pub struct Certificate {
    state: Mutex<(TlsFiles, Stamps)>,
    current: RwLock<Arc<CertifiedKey>>,
}

impl Certificate {
    /// Reads the files.
    ///
    /// # Errors
    /// What is wrong with which of them, in words.
    pub fn open(files: TlsFiles) -> Result<Certificate, String> {
        let stamps = files.stamps();
        let current = RwLock::new(Arc::new(files.read()?));
        Ok(Certificate { state: Mutex::new((files, stamps)), current })
    }

    /// Takes over what has changed: other files with `files`, or other content, or both looked at in any case with
    /// `force`. What cannot be used is told of and changes nothing.
    pub(super) fn refresh(&self, files: Option<TlsFiles>, force: bool) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let files = files.unwrap_or_else(|| state.0.clone());
        let stamps = files.stamps();
        if !force && *state == (files.clone(), stamps) {
            return;
        }
        let read = files.read();
        *state = (files, stamps);
        match read {
            Ok(read) => {
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(read);
                tracing::info!("the certificate was read anew");
            }
            Err(why) => tracing::error!("{why}; the certificate from before stays in use"),
        }
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

/// Connections whose handshake is over.
pub(super) struct TlsListener {
    address: SocketAddr,
    ready: mpsc::Receiver<(TlsStream<TcpStream>, SocketAddr)>,
    accepting: JoinHandle<()>,
}

impl Drop for TlsListener {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl TlsListener {
    pub(super) fn new(listener: TcpListener, certificate: Arc<Certificate>) -> io::Result<TlsListener> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_no_client_auth()
            .with_cert_resolver(certificate);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let address = listener.local_addr()?;
        let (tell, ready) = mpsc::channel(READY);
        let accepting = tokio::spawn(accept(listener, TlsAcceptor::from(Arc::new(config)), tell));
        Ok(TlsListener { address, ready, accepting })
    }
}

async fn accept(
    listener: TcpListener,
    acceptor: TlsAcceptor,
    tell: mpsc::Sender<(TlsStream<TcpStream>, SocketAddr)>,
) {
    let handshakes = Arc::new(Semaphore::new(HANDSHAKES));
    loop {
        let Ok(permit) = Arc::clone(&handshakes).acquire_owned().await else { return };
        let (stream, from) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let (acceptor, tell) = (acceptor.clone(), tell.clone());
        // A client that does not go on with its handshake keeps nobody else waiting.
        tokio::spawn(async move {
            let _permit = permit;
            match tokio::time::timeout(HANDSHAKE_MAX, acceptor.accept(stream)).await {
                // Nobody takes it any more when the service ends.
                Ok(Ok(stream)) => drop(tell.send((stream, from)).await),
                Ok(Err(error)) => tracing::debug!(%error, "a handshake failed"),
                Err(_) => tracing::debug!("a handshake took too long"),
            }
        });
    }
}

impl Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        match self.ready.recv().await {
            Some(ready) => ready,
            // The task that accepts lives as long as this.
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }
}
