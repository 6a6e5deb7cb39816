//! What is taken over while the service runs: keys that were made or taken back.

use crate::access::Access;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;

/// How often the stamps of files are looked at: a key that was taken back is refused within a second.
const LOOK_EVERY: Duration = Duration::from_millis(400);

/// A task that ends when this is dropped.
pub(super) struct Watch(JoinHandle<()>);

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Reads the key file anew whenever it was changed.
pub(super) fn watch_keys(access: Arc<Access>) -> Watch {
    Watch(tokio::spawn(async move {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let access = Arc::clone(&access);
            // It ends with the runtime, as this does.
            let _ = tokio::task::spawn_blocking(move || refresh_keys(&access, false)).await;
        }
    }))
}

/// Takes over the keys as they are now; those that were read stay when the file cannot be trusted.
pub(super) fn refresh_keys(access: &Access, force: bool) {
    match access.refresh(force) {
        Ok(true) => tracing::info!("the keys have changed"),
        Ok(false) => {}
        Err(error) => tracing::error!("{error}; the keys that were read before stay good"),
    }
}
