//! Connections: how many there may be, and how long each may keep us waiting.
//!
//! A client that sends its head byte by byte, that stays silent, or that does not read its answer costs one of a bounded number of
//! places for a bounded time, and nothing else. (Bodies have the request's own time limit, in [`super::extract`].)

use axum::Router;
use axum::serve::Listener;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::Semaphore;
use tokio::time::Sleep;

/// Longest head of a request in bytes; longer ones are answered with 431.
const MAX_HEAD_BYTES: usize = 64 << 10;

/// How many connections may wait to be taken; the system may have a smaller bound (`net.core.somaxconn`). Where it is full, Linux lets some
/// clients believe that they are connected, and those that wait for the server wait for ever.
const BACKLOG: u32 = 4_096;

/// Listens at an address, so that a crowd that comes at once finds room.
///
/// # Errors
/// The address is taken, not ours, or not allowed.
pub(super) fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // As a listener of the standard library: a restart does not wait for old connections to be forgotten.
    #[cfg(unix)]
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// What a connection may cost.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionBounds {
    /// Connections at one time; more wait in the system's queue.
    pub max_connections: usize,
    /// How long the head of a request may take to arrive, and how long a connection may be idle.
    pub head_timeout: Duration,
    /// How long a client may take to read the next piece of an answer.
    pub write_timeout: Duration,
}

impl Default for ConnectionBounds {
    fn default() -> ConnectionBounds {
        ConnectionBounds {
            max_connections: 4_096,
            head_timeout: Duration::from_secs(30),
            write_timeout: Duration::from_secs(30),
        }
    }
}

/// Serves until `stop`, then no new connections, and what is under way for as long as `drain`.
pub(super) async fn run<L>(
    mut listener: L,
    router: Router,
    bounds: ConnectionBounds,
    stop: impl Future<Output = ()> + Send,
    drain: Duration,
) where
    L: Listener,
{
    let mut http = http1::Builder::new();
    // Answers are short: copied behind their heads and sent as one piece.
    http.timer(TokioTimer::new())
        .header_read_timeout(bounds.head_timeout)
        .max_buf_size(MAX_HEAD_BYTES)
        .writev(false);
    let places = Arc::new(Semaphore::new(bounds.max_connections.max(1)));
    let graceful = GracefulShutdown::new();
    let mut stop = pin!(stop);
    loop {
        let accept = async {
            // A place first: who finds none waits outside and not in our memory.
            let place = Arc::clone(&places).acquire_owned().await;
            (place, listener.accept().await.0)
        };
        let (place, stream) = tokio::select! {
            accepted = accept => accepted,
            () = &mut stop => break,
        };
        let stream = TokioIo::new(Patient { stream, patience: bounds.write_timeout, waits: None });
        let connection = http.serve_connection(stream, TowerToHyperService::new(router.clone()));
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            let _place = place;
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection ended");
            }
        });
    }
    drop(listener);
    tokio::select! {
        () = graceful.shutdown() => {}
        () = tokio::time::sleep(drain) => tracing::warn!("stopped with requests still under way"),
    }
}

/// A stream whose other end may take only so long to take what is written.
struct Patient<S> {
    stream: S,
    patience: Duration,
    /// Running while nothing more can be written.
    waits: Option<Pin<Box<Sleep>>>,
}

impl<S: AsyncWrite + Unpin> Patient<S> {
    fn timed<T>(
        &mut self,
        context: &mut Context<'_>,
        write: impl FnOnce(Pin<&mut S>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if let Poll::Ready(written) = write(Pin::new(&mut self.stream), context) {
            self.waits = None;
            return Poll::Ready(written);
        }
        let patience = self.patience;
        let waits = self.waits.get_or_insert_with(|| Box::pin(tokio::time::sleep(patience)));
        match waits.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.timed(context, |stream, context| stream.poll_write(context, bytes))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.timed(context, |stream, context| stream.poll_write_vectored(context, pieces))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.timed(context, AsyncWrite::poll_flush)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.timed(context, AsyncWrite::poll_shutdown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::routing::get;
    use std::time::Instant;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;
    use tokio::sync::oneshot;

    const GET: &[u8] = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";

    async fn serving(bounds: ConnectionBounds) -> (SocketAddr, oneshot::Sender<()>) {
        let listener = bind(([127, 0, 0, 1], 0).into()).unwrap();
        let address = listener.local_addr().unwrap();
        let long = || async { vec![b'x'; 64 << 20] };
        let router = Router::new().route("/", get(|| async { "yes" })).route("/long", get(long));
        let (stop, stopped) = oneshot::channel();
        let stopped = async move { drop(stopped.await) };
        tokio::spawn(run(listener, router, bounds, stopped, Duration::from_secs(5)));
        (address, stop)
    }

    fn short() -> ConnectionBounds {
        let short = Duration::from_millis(200);
        ConnectionBounds { head_timeout: short, write_timeout: short, ..ConnectionBounds::default() }
    }

    async fn connect(address: SocketAddr, bytes: &[u8]) -> TcpStream {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        stream
    }

    /// What comes until `end` does.
    async fn read_until(stream: &mut TcpStream, end: &str) -> String {
        let (mut told, mut piece) = (Vec::new(), [0; 1_024]);
        while !String::from_utf8_lossy(&told).contains(end) {
            match stream.read(&mut piece).await.unwrap_or(0) {
                0 => break,
                count => told.extend_from_slice(&piece[..count]),
            }
        }
        String::from_utf8_lossy(&told).into_owned()
    }

    #[tokio::test]
    async fn a_head_that_does_not_end_and_silence_are_cut_off() {
        let (address, _stop) = serving(short()).await;
        for begun in [&b""[..], b"GET / HT", b"GET / HTTP/1.1\r\nhost: a\r\nx-more: "] {
            let mut stream = connect(address, begun).await;
            let mut told = Vec::new();
            let closed = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut told)).await;
            assert!(closed.is_ok(), "{begun:?} keeps its connection");
        }
        let mut drop_by_drop = connect(address, b"GET / HTTP/1.1\r\n").await;
        let started = Instant::now();
        while drop_by_drop.write_all(b"a: b\r\n").await.is_ok() {
            assert!(started.elapsed() < Duration::from_secs(20), "a byte now and then is not enough");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let mut good = connect(address, GET).await;
        assert!(read_until(&mut good, "yes").await.starts_with("HTTP/1.1 200"));
    }

    #[tokio::test]
    async fn a_head_that_is_too_long_is_431() {
        let (address, _stop) = serving(ConnectionBounds::default()).await;
        let head = format!("GET / HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n", "y".repeat(2 * MAX_HEAD_BYTES));
        let mut stream = TcpStream::connect(address).await.unwrap();
        // It may be refused before all of it is sent.
        let _ = stream.write_all(head.as_bytes()).await;
        assert!(read_until(&mut stream, "\r\n").await.starts_with("HTTP/1.1 431"));
    }

    #[tokio::test]
    async fn a_client_that_does_not_read_is_cut_off() {
        let (address, _stop) = serving(ConnectionBounds { max_connections: 1, ..short() }).await;
        let held = connect(address, b"GET /long HTTP/1.1\r\nhost: a\r\n\r\n").await;
        let mut next = connect(address, GET).await;
        let told = tokio::time::timeout(Duration::from_secs(20), read_until(&mut next, "yes")).await;
        assert!(told.is_ok_and(|told| told.starts_with("HTTP/1.1 200")), "the only place is given back");
        drop(held);
    }

    #[tokio::test]
    async fn a_thousand_idle_connections_keep_nobody_out_and_one_too_many_waits() {
        let bounds = ConnectionBounds { max_connections: 1_001, ..ConnectionBounds::default() };
        let (address, _stop) = serving(bounds).await;
        let mut idle = Vec::new();
        for _ in 0..1_000 {
            idle.push(TcpStream::connect(address).await.unwrap());
        }
        let mut last = connect(address, GET).await;
        assert!(read_until(&mut last, "yes").await.starts_with("HTTP/1.1 200"));
        let mut waits = connect(address, GET).await;
        let told = tokio::time::timeout(Duration::from_millis(100), read_until(&mut waits, "yes")).await;
        assert!(told.is_err(), "all places are taken");
        idle.pop();
        assert!(read_until(&mut waits, "yes").await.starts_with("HTTP/1.1 200"));
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn a_crowd_that_comes_while_nobody_is_taken_finds_room() {
        let most = std::fs::read_to_string("/proc/sys/net/core/somaxconn").unwrap();
        let most: usize = most.trim().parse().unwrap();
        let listener = bind(([127, 0, 0, 1], 0).into()).unwrap();
        let address = listener.local_addr().unwrap();
        let mut crowd = Vec::new();
        for _ in 0..most.min(1_400) {
            let connected = tokio::time::timeout(Duration::from_secs(20), TcpStream::connect(address)).await;
            crowd.push(connected.expect("there is room in the queue").unwrap());
        }
        for _ in &crowd {
            drop(tokio::time::timeout(Duration::from_secs(20), listener.accept()).await.unwrap().unwrap());
        }
    }

    #[tokio::test]
    async fn what_is_under_way_is_finished_and_idle_connections_are_not_waited_for() {
        let (address, stop) = serving(ConnectionBounds::default()).await;
        let mut idle = connect(address, GET).await;
        read_until(&mut idle, "yes").await;
        stop.send(()).unwrap();
        let closed = tokio::time::timeout(Duration::from_secs(4), idle.read_to_end(&mut Vec::new())).await;
        assert!(closed.is_ok(), "before the drain time is over");
    }
}
