//! Pictures and documents fetched from addresses on the web, given one by one.
//!
//! Off unless `add.urls` says yes. What an address leads to is decided by others, so it must not lead into the machine or the
//! network that we stand in (server-side request forgery, CWE-918): only http and https, no names and passwords, and at every step
//! of a redirect the host is resolved once, all its addresses must be global ones (IANA's special-purpose registries, RFC 6890),
//! and the connection is made to those very addresses, so that a name which answers otherwise the second time (DNS rebinding)
//! gains nothing. No proxy is asked, for it would resolve again. Hosts named in `add.url_hosts` are the exception. Bytes, time and
//! redirects are bounded.

use crate::causes::with_causes;
use crate::cli::Failure;
use reqwest::header::{CONTENT_TYPE, LOCATION};
use reqwest::{Client, Response, Url};
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;
use tokio::runtime::Runtime;

const REDIRECTS_MAX: usize = 5;
const CONNECT_MAX: Duration = Duration::from_secs(10);

/// What may be fetched.
#[derive(Clone, Debug)]
pub struct UrlConfig {
    /// `host` or `host:port`, in small letters, whose addresses need not be global.
    pub hosts: BTreeSet<String>,
    /// Longest that one address may take, redirects included.
    pub time: Duration,
}

/// What an address gave.
#[derive(Debug)]
pub(crate) struct Fetched {
    /// The name of a file: the last step of the address, with the ending that the content's type has where it shows none.
    pub(crate) name: String,
    pub(crate) bytes: Vec<u8>,
}

/// Whether an argument is an address on the web.
pub(crate) fn is_url(argument: &str) -> bool {
    let begins =
        |scheme: &str| argument.get(..scheme.len()).is_some_and(|text| text.eq_ignore_ascii_case(scheme));
    begins("http://") || begins("https://")
}

/// Fetches one at a time.
pub(crate) struct Fetcher<'a> {
    config: &'a UrlConfig,
    max_bytes: u64,
    runtime: Runtime,
}

impl<'a> Fetcher<'a> {
    /// At most `max_bytes` of each.
    pub(crate) fn new(config: &'a UrlConfig, max_bytes: u64) -> Result<Fetcher<'a>, Failure> {
        // One provider of cryptography for the process; a second call finds it installed.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Failure::mendable(format!("cannot start to fetch: {error}")))?;
        Ok(Fetcher { config, max_bytes, runtime })
    }

    /// The content behind an address; a refusal tells the reason, to be shown beside the address.
    pub(crate) fn fetch(&self, address: &str) -> Result<Fetched, String> {
        let url = Url::parse(address).map_err(|error| format!("it is no address: {error}"))?;
        let time = self.config.time;
        self.runtime.block_on(async {
            match tokio::time::timeout(time, self.follow(url)).await {
                Ok(fetched) => fetched,
                Err(_) => Err(format!("it took longer than {} s", time.as_secs())),
            }
        })
    }

    async fn follow(&self, mut url: Url) -> Result<Fetched, String> {
        for _ in 0..=REDIRECTS_MAX {
            let response = self.ask(&url).await?;
            let status = response.status();
            if status.is_success() {
                return self.receive(&url, response).await;
            }
            if !matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308) {
                return Err(format!("it answered {status}"));
            }
            let place = response.headers().get(LOCATION).and_then(|place| place.to_str().ok());
            url = place
                .and_then(|place| url.join(place).ok())
                .ok_or_else(|| format!("it redirects to {place:?}, which is no address"))?;
        }
        Err(format!("it redirects more than {REDIRECTS_MAX} times, the last time to {url}"))
    }

    /// One request, to addresses that were checked.
    async fn ask(&self, url: &Url) -> Result<Response, String> {
        if !matches!(url.scheme(), "http" | "https") {
            return Err(format!("{url} is neither http nor https"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("it holds a name or a password, which are not sent".to_owned());
        }
        let host = url.host_str().ok_or_else(|| format!("{url} names no host"))?;
        let port = url.port_or_known_default().unwrap_or(80);
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let found: Vec<SocketAddr> = tokio::net::lookup_host((bare, port))
            .await
            .map_err(|error| format!("{host:?} has no address: {error}"))?
            .collect();
        let is_allowed = self.is_allowed(bare, port);
        if let Some(private) = found.iter().find(|address| !is_allowed && !is_global(address.ip())) {
            return Err(format!("{host:?} leads to {}, which is not a public address", private.ip()));
        }
        if found.is_empty() {
            return Err(format!("{host:?} has no address"));
        }
        let client = Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT_MAX)
            .resolve_to_addrs(bare, &found)
            .user_agent(concat!("bilin/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| format!("cannot set up HTTP: {error}"))?;
        let response = client.get(url.clone()).send().await.map_err(|error| with_causes(&error))?;
        // Once more from the other end: what is talked to is what was checked.
        match response.remote_addr() {
            Some(peer) if !is_allowed && !is_global(peer.ip()) => {
                Err(format!("{host:?} was reached at {}, which is not a public address", peer.ip()))
            }
            _ => Ok(response),
        }
    }

    fn is_allowed(&self, host: &str, port: u16) -> bool {
        let host = host.to_ascii_lowercase();
        self.config.hosts.contains(&host) || self.config.hosts.contains(&format!("{host}:{port}"))
    }

    async fn receive(&self, url: &Url, mut response: Response) -> Result<Fetched, String> {
        let most = self.max_bytes;
        let too_long = || format!("it is longer than the {most} bytes that are read");
        if response.content_length().is_some_and(|length| length > most) {
            return Err(too_long());
        }
        let kind =
            response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).map(str::to_owned);
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| with_causes(&error))? {
            bytes.extend_from_slice(&chunk);
            if bytes.len() as u64 > most {
                return Err(too_long());
            }
        }
        Ok(Fetched { name: name(url, kind.as_deref()), bytes })
    }
}

/// See [`Fetched::name`].
fn name(url: &Url, kind: Option<&str>) -> String {
    let last = url.path_segments().and_then(|mut steps| steps.next_back()).filter(|step| !step.is_empty());
    let last = last.unwrap_or("page");
    let kind = kind.and_then(|kind| kind.split(';').next()).unwrap_or_default().trim().to_ascii_lowercase();
    let ending = match kind.as_str() {
        "text/html" | "application/xhtml+xml" => "html",
        "text/plain" => "txt",
        "text/markdown" => "md",
        "application/pdf" => "pdf",
        "application/zip" => "zip",
        _ => return last.to_owned(),
    };
    match last.rsplit_once('.') {
        Some((stem, known)) if !stem.is_empty() && (1..=8).contains(&known.len()) => last.to_owned(),
        _ => format!("{last}.{ending}"),
    }
}

/// Whether an address is one of the public Internet.
fn is_global(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_global_v4(address),
        IpAddr::V6(address) => is_global_v6(address),
    }
}

fn is_global_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let is_special = matches!(
        (a, b, c),
        // This network, private use, shared by carriers, loopback, link-local.
        (0 | 10 | 127, ..) | (100, 64..=127, _) | (169, 254, _) | (172, 16..=31, _) | (192, 168, _)
        // Protocol assignments, documentation, relays, benchmarks.
        | (192, 0, 0 | 2) | (192, 88, 99) | (198, 18 | 19, _) | (198, 51, 100) | (203, 0, 113)
        // Multicast, reserved, broadcast.
        | (224.., ..)
    );
    !is_special
}

fn is_global_v6(address: Ipv6Addr) -> bool {
    if let Some(mapped) = address.to_ipv4_mapped() {
        return is_global_v4(mapped);
    }
    let [a, b, ..] = address.segments();
    // Of 2000::/3, the global unicast space: not protocol assignments, documentation, and 6to4, which holds an IPv4 address.
    let is_special =
        (a == 0x2001 && (b < 0x0200 || b == 0x0db8)) || a == 0x2002 || (a == 0x3fff && b < 0x1000);
    (0x2000..=0x3fff).contains(&a) && !is_special
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::TcpListener;

    #[test]
    fn only_public_addresses_are_global() {
        for (address, expected) in [
            ("8.8.8.8", true),
            ("93.184.216.34", true),
            ("2606:4700::1111", true),
            ("127.0.0.1", false),
            ("127.9.9.9", false),
            ("0.0.0.0", false),
            ("10.1.2.3", false),
            ("100.100.1.1", false),
            ("100.128.1.1", true),
            ("169.254.169.254", false),
            ("172.31.0.1", false),
            ("172.32.0.1", true),
            ("192.168.1.1", false),
            ("198.19.1.1", false),
            ("224.0.0.1", false),
            ("255.255.255.255", false),
            ("::", false),
            ("::1", false),
            ("::ffff:127.0.0.1", false),
            ("::ffff:8.8.8.8", true),
            ("::127.0.0.1", false),
            ("64:ff9b::7f00:1", false),
            ("fe80::1", false),
            ("fd00::1", false),
            ("ff02::1", false),
            ("2001:db8::1", false),
            ("2001::1", false),
            ("2002:7f00:1::", false),
        ] {
            assert_eq!(is_global(address.parse().unwrap()), expected, "{address}");
        }
    }

    #[test]
    fn files_are_named_by_address_and_type() {
        for (url, kind, expected) in [
            ("https://a.org/x/photo.jpg?size=9", Some("image/jpeg"), "photo.jpg"),
            ("https://a.org/", Some("text/html; charset=utf-8"), "page.html"),
            ("https://a.org/about", Some("text/html"), "about.html"),
            ("https://a.org/paper.pdf", Some("text/html"), "paper.pdf"),
            ("https://a.org/x/..%2F..%2Fy", None, "..%2F..%2Fy"),
        ] {
            assert_eq!(name(&Url::parse(url).unwrap(), kind), expected, "{url}");
        }
        assert!(is_url("HTTPS://a.org") && is_url("http://a") && !is_url("ftp://a") && !is_url("https"));
    }

    /// A server on this machine that gives each request the answer for its path, until the test ends.
    fn server(answer: impl Fn(&str) -> Vec<u8> + Send + 'static) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut request = [0; 2048];
                let length = stream.read(&mut request).unwrap_or(0);
                let request = String::from_utf8_lossy(&request[..length]).into_owned();
                let path = request.split(' ').nth(1).unwrap_or("/").to_owned();
                let _ = stream.write_all(&answer(&path));
            }
        });
        port
    }

    fn ok(body: &[u8]) -> Vec<u8> {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
        [head.as_bytes(), body].concat()
    }

    fn to(place: &str) -> Vec<u8> {
        format!("HTTP/1.1 302 Found\r\nLocation: {place}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            .into_bytes()
    }

    fn fetch(config: &UrlConfig, url: &str) -> Result<Fetched, String> {
        Fetcher::new(config, 1_000).unwrap().fetch(url)
    }

    fn allowing(hosts: &[String]) -> UrlConfig {
        UrlConfig { hosts: hosts.iter().cloned().collect(), time: Duration::from_secs(5) }
    }

    #[test]
    fn this_machine_is_refused_at_the_first_step_and_at_every_later_one() {
        let inner = server(|_| ok(b"secret"));
        let outer = server(move |path| match path {
            "/photo.jpg" => ok(b"picture"),
            "/inside" => to(&format!("http://127.0.0.1:{inner}/")),
            "/named" => to(&format!("http://localhost:{inner}/")),
            "/mapped" => to(&format!("http://[::ffff:127.0.0.1]:{inner}/")),
            "/decimal" => to(&format!("http://2130706433:{inner}/")),
            "/file" => to("file:///etc/passwd"),
            "/again" => to("/again"),
            "/photo" => to("photo.jpg"),
            _ => ok(&[7; 2_000]),
        });
        let place = |path: &str| format!("http://127.0.0.1:{outer}{path}");
        let none = allowing(&[]);
        for url in
            [place("/photo.jpg"), format!("http://localhost:{outer}/"), format!("http://[::1]:{outer}/")]
        {
            let told = fetch(&none, &url).unwrap_err();
            assert!(told.contains("not a public address") || told.contains("no address"), "{url}: {told}");
        }
        // One host and port is allowed; what it redirects to is not for that.
        let one = allowing(&[format!("127.0.0.1:{outer}")]);
        assert_eq!(fetch(&one, &place("/photo.jpg")).unwrap().bytes, b"picture");
        assert_eq!(fetch(&one, &place("/photo")).unwrap().name, "photo.jpg");
        for path in ["/inside", "/named", "/mapped", "/decimal"] {
            let told = fetch(&one, &place(path)).unwrap_err();
            assert!(told.contains("not a public address"), "{path}: {told}");
        }
        for (path, word) in
            [("/file", "neither http nor https"), ("/again", "more than 5 times"), ("/long", "longer than")]
        {
            let told = fetch(&one, &place(path)).unwrap_err();
            assert!(told.contains(word), "{path}: {told}");
        }
        for (url, word) in [
            (format!("http://user:secret@127.0.0.1:{outer}/"), "password"),
            ("http://".to_owned(), "no address"),
        ] {
            let told = fetch(&one, &url).unwrap_err();
            assert!(told.contains(word), "{url}: {told}");
        }
    }

    #[test]
    fn what_never_ends_is_given_up() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        // Connections are taken by the system and never answered.
        let config = UrlConfig { time: Duration::from_millis(200), ..allowing(&["127.0.0.1".to_owned()]) };
        let told = fetch(&config, &format!("http://127.0.0.1:{port}/")).unwrap_err();
        assert!(told.contains("longer than 0 s"), "{told}");
        drop(listener);
    }
}
