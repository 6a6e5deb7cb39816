//! A bounded pool of read-only connections.
//!
//! Invariant: at most `limit` connections exist; a reader that finds all in use waits for another reader, never for the
//! writer. After [`ReadPool::close`] no connection is given out any more and none stays open.
use std::path::PathBuf;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use rusqlite::Connection;

use crate::error::{StoreError, catalog_error};

/// Fewest and most connections of one collection.
const LEAST_CONNECTIONS: usize = 4;
const MOST_CONNECTIONS: usize = 16;

pub(crate) struct ReadPool {
    path: PathBuf,
    limit: usize,
    state: Mutex<State>,
    returned: Condvar,
}

#[derive(Default)]
struct State {
    idle: Vec<Connection>,
    open: usize,
    closed: bool,
}

impl ReadPool {
    pub(crate) fn new(path: PathBuf) -> ReadPool {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let limit = cores.clamp(LEAST_CONNECTIONS, MOST_CONNECTIONS);
        ReadPool { path, limit, state: Mutex::default(), returned: Condvar::new() }
    }

    /// Runs `read` on a connection. `what` completes "cannot ..." when SQLite fails.
    pub(crate) fn read<T>(
        &self,
        what: &str,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        let lent = self.lend(what)?;
        let result = match &lent.connection {
            Some(connection) => read(connection),
            None => Err(rusqlite::Error::InvalidQuery),
        };
        result.map_err(|source| catalog_error(what, source))
    }

    /// Closes idle connections now and the others as they come back.
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        state.idle.clear();
        self.returned.notify_all();
    }

    /// Closes connections that nobody uses; the next reader opens one again.
    pub(crate) fn close_idle(&self) {
        let mut state = self.lock();
        state.open -= state.idle.len();
        state.idle.clear();
        self.returned.notify_all();
    }

    fn lend(&self, what: &str) -> Result<Lent<'_>, StoreError> {
        let mut state = self.lock();
        loop {
            if state.closed {
                return Err(StoreError::Catalog {
                    what: what.to_owned(),
                    detail: "the collection was removed".to_owned(),
                });
            }
            if let Some(connection) = state.idle.pop() {
                return Ok(Lent { pool: self, connection: Some(connection) });
            }
            if state.open < self.limit {
                state.open += 1;
                drop(state);
                let mut lent = Lent { pool: self, connection: None };
                let connection =
                    super::open_reader(&self.path).map_err(|source| catalog_error(what, source))?;
                lent.connection = Some(connection);
                return Ok(lent);
            }
            state = self.returned.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// The state is counters and idle connections, whole at any point, so a panic elsewhere does not spoil it.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection on loan; given back when dropped.
struct Lent<'a> {
    pool: &'a ReadPool,
    connection: Option<Connection>,
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        let mut state = self.pool.lock();
        match self.connection.take() {
            Some(connection) if !state.closed => state.idle.push(connection),
            _ => state.open -= 1,
        }
        drop(state);
        self.pool.returned.notify_one();
    }
}
