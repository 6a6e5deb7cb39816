//! What is told to systemd: ready, alive, stopping (sd_notify(3)); nothing where nobody asked for it.
//!
//! The watchdog is fed from a task of the runtime that answers requests, so that it starves when no request would be
//! answered any more, and systemd starts the service anew. What cannot be told is logged and stops nothing.

use sd_notify::NotifyState;
use std::net::SocketAddr;
use std::time::Duration;

/// The collections are open and the address is bound.
pub(crate) fn ready(address: SocketAddr) {
    tell(&[NotifyState::Ready, NotifyState::Status(&format!("serving {address}"))]);
}

/// Requests under way may finish; no new ones come in.
pub(crate) fn stopping() {
    tell(&[NotifyState::Stopping, NotifyState::Status("stopping")]);
}

/// Feeds the watchdog twice in its time, for ever; returns at once where there is none.
pub(crate) async fn feed_watchdog() {
    let Some(within) = sd_notify::watchdog_enabled() else { return };
    let mut often = tokio::time::interval((within / 2).max(Duration::from_millis(1)));
    loop {
        often.tick().await;
        tell(&[NotifyState::Watchdog]);
    }
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "cannot tell systemd how the service is");
    }
}
