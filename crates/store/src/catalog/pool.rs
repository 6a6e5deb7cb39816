//! A bounded pool of read-only connections.
//!
//! Invariant: at most `limit` connections exist; a reader that finds all in use waits for another reader, never for the
//! writer. After [`ReadPool::close`] no connection is given out any more and none stays open. After [`ReadPool::detach`] none
//! is opened any more, since the path may lead to another catalog; those that are open go on reading theirs.
use std::path::{Path, PathBuf};
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
    /// Of those, the ones whose files are being opened, by path.
    opening: usize,
    closed: bool,
    detached: bool,
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

    /// Before the catalog's folder moves: at least one connection is open from now on, and none is opened any more.
    pub(crate) fn detach(&self) -> Result<(), StoreError> {
        let mut state = self.lock();
        while state.opening > 0 {
            state = self.returned.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if state.open == 0 && !state.closed {
            let connection =
                connect(&self.path).map_err(|source| catalog_error("keep it for its readers", source))?;
            state.idle.push(connection);
            state.open = 1;
        }
        state.detached = true;
        self.returned.notify_all();
        Ok(())
    }

    /// As [`ReadPool::read`], for work that has errors of its own.
    pub(crate) fn read_checked<T>(
        &self,
        what: &str,
        read: impl FnOnce(&Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let lent = self.lend(what)?;
        match &lent.connection {
            Some(connection) => read(connection),
            None => Err(catalog_error(what, rusqlite::Error::InvalidQuery)),
        }
    }

    /// Closes connections that nobody uses; the next reader opens one again. Those of a detached pool stay, until the last
    /// snapshot goes.
    pub(crate) fn close_idle(&self) {
        let mut state = self.lock();
        if state.detached {
            return;
        }
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
            if state.detached && state.open == 0 {
                return Err(StoreError::Catalog {
                    what: what.to_owned(),
                    detail: "the collection was replaced".to_owned(),
                });
            }
            if !state.detached && state.open < self.limit {
                state.open += 1;
                state.opening += 1;
                drop(state);
                // Gives its place back when it stays empty.
                let mut lent = Lent { pool: self, connection: None };
                let opened = connect(&self.path);
                self.lock().opening -= 1;
                self.returned.notify_all();
                lent.connection = Some(opened.map_err(|source| catalog_error(what, source))?);
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

/// A reading connection with all its files open: SQLite opens the write-ahead log at the first read, by path.
fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let connection = super::open_reader(path)?;
    connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
    Ok(connection)
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
