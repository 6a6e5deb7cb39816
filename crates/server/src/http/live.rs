//! What is taken over while the service runs: keys and certificates whose files have changed, and on SIGHUP the settings
//! that need no restart.

use super::telemetry::{Telemetry, Telling};
use super::tls::{Certificate, TlsFiles};
use crate::access::{Access, AccessOptions};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;

/// How often the stamps of files are looked at: a key that was taken back is refused within a second.
const LOOK_EVERY: Duration = Duration::from_millis(400);

/// What a new reading of the configuration says of what may change while the service runs.
pub struct Fresh {
    /// The configured key, rates and origins.
    pub access: AccessOptions,
    /// Where the certificate lies.
    pub tls: Option<TlsFiles>,
    /// What the log is told of requests.
    pub telling: Telling,
}

/// Reads the configuration anew; `None` when it cannot be used, which was told.
pub type Reread = Box<dyn Fn() -> Option<Fresh> + Send + Sync>;

/// What may change.
pub(super) struct Live {
    pub(super) access: Arc<Access>,
    pub(super) certificate: Option<Arc<Certificate>>,
    pub(super) telemetry: Arc<Telemetry>,
    pub(super) reread: Reread,
}

/// A task that ends when this is dropped.
pub(super) struct Watch(JoinHandle<()>);

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Live {
    /// Looks at the files every moment, and at everything on SIGHUP.
    pub(super) fn watch(self) -> std::io::Result<Watch> {
        let live = Arc::new(self);
        let mut hangup = Hangup::new()?;
        Ok(Watch(tokio::spawn(async move {
            loop {
                let hung_up = tokio::select! {
                    () = hangup.received() => true,
                    () = tokio::time::sleep(LOOK_EVERY) => false,
                };
                let live = Arc::clone(&live);
                // It ends with the runtime, as this does.
                let _ = tokio::task::spawn_blocking(move || live.look(hung_up)).await;
            }
        })))
    }

    fn look(&self, hung_up: bool) {
        let mut files = None;
        if hung_up && let Some(fresh) = (self.reread)() {
            self.access.reconfigure(&fresh.access);
            self.telemetry.reconfigure(fresh.telling);
            files = fresh.tls;
        }
        match self.access.refresh(hung_up) {
            Ok(true) => tracing::info!("the keys have changed"),
            Ok(false) => {}
            Err(error) => tracing::error!("{error}; the keys that were read before stay good"),
        }
        if let Some(certificate) = &self.certificate {
            certificate.refresh(files, hung_up);
        }
        if hung_up {
            tracing::info!("reloaded");
        }
    }
}

/// SIGHUP, where there is one.
struct Hangup {
    #[cfg(unix)]
    signal: tokio::signal::unix::Signal,
}

impl Hangup {
    #[cfg(unix)]
    fn new() -> std::io::Result<Hangup> {
        let signal = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup())?;
        Ok(Hangup { signal })
    }

    #[cfg(unix)]
    async fn received(&mut self) {
        if self.signal.recv().await.is_none() {
            std::future::pending::<()>().await;
        }
    }

    #[cfg(not(unix))]
    fn new() -> std::io::Result<Hangup> {
        Ok(Hangup {})
    }

    #[cfg(not(unix))]
    async fn received(&mut self) {
        std::future::pending::<()>().await;
    }
}
