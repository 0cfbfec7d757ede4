//! Releases over HTTP: a repository's pieces by name from any of several mirrors, and a bundle as one stream that goes on
//! where it was cut.
//!
//! Nothing that comes from a server is trusted; what is guarded against here is the time and the bandwidth that a bad one
//! could cost.

mod download;
mod forward;
mod mirrors;
mod pace;
mod tls;
mod watch;

use std::fs;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use fruit_release::SourceError;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use ureq::unversioned::resolver::DefaultResolver;
use ureq::unversioned::transport::{ConnectProxyConnector, Connector, TcpConnector};

pub use download::Download;
pub use mirrors::Mirrors;

use fruit_contract::update::config::{ProxyUrl, UpdateConfig};

use crate::local_time;
use pace::Pace;
use watch::{Watch, WatchConnector};

/// Certificates of public authorities, as Debian's `ca-certificates` keeps them.
const SYSTEM_CERTIFICATES: &str = "/etc/ssl/certs/ca-certificates.crt";
/// Most bytes of a file of certificates.
const CERTIFICATES_MAX: u64 = 4 << 20;
/// Most redirects of one request.
const REDIRECTS_MAX: u32 = 5;
/// Most bytes of the head of an answer.
const HEAD_MAX: usize = 32 << 10;
/// Bytes that are read at once.
const PIECE: usize = 16 << 10;

/// Set to end what is going on; looked at several times a second.
pub type Stop = Arc<AtomicBool>;

/// Told several times a second while something is waited for, so that nobody takes the program for dead.
pub type Alive = Arc<dyn Fn() + Send + Sync>;

/// Whether the node knows the time.
pub type ClockKnown = Arc<dyn Fn() -> bool + Send + Sync>;

/// Why no client could be made.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    #[error("{path}: {why}")]
    Certificates { path: String, why: String },
    #[error("{0}")]
    Url(String),
    #[error("TLS: {0}")]
    Tls(#[from] tls::SetUpError),
}

/// How patient a client is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// To connect, TLS included.
    pub connect: Duration,
    /// To the end of an answer's head.
    pub head: Duration,
    /// Time of waiting after which [`Limits::least_rate`] is looked at.
    pub window: Duration,
    /// Bytes per second, averaged over the window; who sends less is left. Waiting for the own bandwidth limit does not
    /// count.
    pub least_rate: u64,
    /// First pause before a failed request is made again; each next one is twice as long, up to [`Limits::pause_max`].
    pub pause: Duration,
    pub pause_max: Duration,
    /// Failures in a row, without a byte in between, that end a download.
    pub failures: u32,
    /// How long a mirror that failed comes last.
    pub penalty: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            connect: Duration::from_secs(20),
            head: Duration::from_secs(30),
            window: Duration::from_secs(30),
            least_rate: 4 << 10,
            pause: Duration::from_secs(1),
            pause_max: Duration::from_secs(60),
            failures: 8,
            penalty: Duration::from_secs(300),
        }
    }
}

/// What downloads of this node have in common.
#[derive(Clone)]
pub struct Settings<'a> {
    /// Bytes per second at most.
    pub bandwidth: Option<u64>,
    /// Certificates to check HTTPS servers against, instead of the public ones.
    pub ca: Option<&'a Path>,
    /// Proxy that everything goes through; without it, what `https_proxy` and the like say.
    pub proxy: Option<&'a ProxyUrl>,
    /// Asked at each connection. A clock that nobody set does not say that a certificate is not valid yet.
    pub clock_known: ClockKnown,
    pub limits: Limits,
    pub stop: Stop,
    pub alive: Alive,
}

impl Default for Settings<'_> {
    fn default() -> Self {
        Settings {
            bandwidth: None,
            ca: None,
            proxy: None,
            clock_known: Arc::new(|| true),
            limits: Limits::default(),
            stop: Stop::default(),
            alive: Arc::new(|| {}),
        }
    }
}

impl<'a> Settings<'a> {
    /// What a configuration says. `root`: `/`, or where a test has put a node's files.
    pub fn of(config: &'a UpdateConfig, root: &Path) -> Settings<'a> {
        let root = root.to_owned();
        Settings {
            bandwidth: config.bandwidth.map(|rate| rate.bytes_per_second()),
            ca: config.ca.as_ref().map(|path| path.path()),
            proxy: config.proxy.as_ref(),
            clock_known: Arc::new(move || local_time::is_known(&root)),
            ..Settings::default()
        }
    }
}

/// Makes requests, one at a time.
pub struct Client {
    agent: ureq::Agent,
    watch: Arc<Watch>,
    pace: Option<Pace>,
    limits: Limits,
}

/// An answer whose body is still to be read.
struct Answer {
    status: u16,
    /// Of the body, if the server says so.
    len: Option<u64>,
    head: ureq::http::HeaderMap,
    body: ureq::BodyReader<'static>,
}

/// A bundle at `url`, as it comes.
///
/// # Errors
/// No such URL; certificates that can't be read.
pub fn download(url: &str, settings: &Settings<'_>) -> Result<Download, HttpError> {
    fruit_contract::url::check_url(url).map_err(HttpError::Url)?;
    Ok(Download::new(Client::new(settings)?, url))
}

/// The repository that is at each of `urls`.
///
/// # Errors
/// Certificates that can't be read.
pub fn mirrors(urls: Vec<String>, settings: &Settings<'_>) -> Result<Mirrors, HttpError> {
    Ok(Mirrors::new(Client::new(settings)?, urls))
}

impl Client {
    fn new(settings: &Settings<'_>) -> Result<Client, HttpError> {
        let limits = settings.limits;
        let tls = tls::TlsConnector::new(roots(settings.ca)?, Arc::clone(&settings.clock_known))?;
        let mut config = ureq::Agent::config_builder();
        if let Some(proxy) = settings.proxy {
            let known =
                ureq::Proxy::new(proxy.as_str()).map_err(|error| HttpError::Url(format!("{proxy}: {error}")))?;
            config = config.proxy(Some(known));
        }
        let config = config
            .user_agent(concat!("fruit-update/", env!("CARGO_PKG_VERSION")))
            .http_status_as_error(false)
            .max_redirects(REDIRECTS_MAX)
            .max_response_header_size(HEAD_MAX)
            .max_idle_connections(1)
            .timeout_connect(Some(limits.connect))
            .timeout_resolve(Some(limits.connect))
            .timeout_send_request(Some(limits.head))
            .timeout_recv_response(Some(limits.head))
            .build();
        let watch = Arc::new(Watch::new(limits.window, limits.least_rate, settings));
        let connector =
            ().chain(forward::ForwardConnector::default())
                .chain(ConnectProxyConnector::default())
                .chain(TcpConnector::default())
                .chain(WatchConnector(Arc::clone(&watch)))
                .chain(tls);
        let agent = ureq::Agent::with_parts(config, connector, DefaultResolver::default());
        let pace = settings.bandwidth.map(|rate| Pace::new(rate, Arc::clone(&watch)));
        Ok(Client { agent, watch, pace, limits })
    }

    fn stopped(&self) -> bool {
        self.watch.stopped()
    }

    /// Asks for `url`, or the part of it from byte `from` on.
    fn ask(&self, url: &str, from: u64, tag: Option<&str>) -> Result<Answer, SourceError> {
        self.watch.begin();
        let mut request = self.agent.get(url);
        // Who was asked over TLS must not send us on to somebody without.
        if url.starts_with("https://") {
            request = request.config().https_only(true).build();
        }
        if from > 0 {
            request = request.header("Range", format!("bytes={from}-"));
            if let Some(tag) = tag {
                request = request.header("If-Range", tag);
            }
        }
        let response = request.call().map_err(|error| self.failed(url, &error.to_string()))?;
        let (parts, body) = response.into_parts();
        let len = body.content_length();
        Ok(Answer { status: parts.status.as_u16(), len, head: parts.headers, body: body.into_reader() })
    }

    fn failed(&self, place: &str, why: &str) -> SourceError {
        if self.stopped() {
            return SourceError::Stopped;
        }
        SourceError::Unreachable { place: place.to_owned(), why: why.to_owned() }
    }

    /// The next bytes of a body, as fast as the bandwidth limit allows.
    fn read(&mut self, body: &mut impl Read, buf: &mut [u8]) -> io::Result<usize> {
        if self.stopped() {
            return Err(stopped());
        }
        let most = buf.len().min(PIECE);
        let count = body.read(&mut buf[..most])?;
        if let Some(pace) = &mut self.pace {
            pace.take(count as u64)?;
        }
        Ok(count)
    }

    /// Everything at `url`; `None` where the server has nothing of that name.
    fn fetch(&mut self, url: &str, limit: u64) -> Result<Option<Vec<u8>>, SourceError> {
        let broken = |why: String| SourceError::Broken { place: url.to_owned(), why };
        let answer = self.ask(url, 0, None)?;
        match answer.status {
            200 => {}
            // Object stores that do not list their content refuse what they do not have.
            403 | 404 | 410 => return Ok(None),
            status => return Err(self.failed(url, &format!("the server answers with status {status}"))),
        }
        if let Some(len) = answer.len.filter(|len| *len > limit) {
            return Err(broken(format!("{len} bytes, at most {limit} are allowed")));
        }
        let (mut body, mut bytes) = (answer.body, Vec::new());
        let mut buf = [0; PIECE];
        loop {
            match self.read(&mut body, &mut buf) {
                Ok(0) => break,
                Ok(count) => bytes.extend_from_slice(&buf[..count]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.failed(url, &error.to_string())),
            }
            if bytes.len() as u64 > limit {
                return Err(broken(format!("more than {limit} bytes")));
            }
        }
        match answer.len {
            Some(len) if len != bytes.len() as u64 => {
                Err(self.failed(url, &format!("the connection ended after {} of {len} bytes", bytes.len())))
            }
            _ if is_web_page(&bytes) => Err(self.failed(url, WEB_PAGE)),
            _ => Ok(Some(bytes)),
        }
    }

    /// Waits before a request is made again. `failures`: so far, at least one.
    fn pause(&self, failures: u32) -> Result<(), SourceError> {
        let doubled = self.limits.pause.saturating_mul(1 << (failures.max(1) - 1).min(16));
        if pace::sleep(doubled.min(self.limits.pause_max), &self.watch) { Ok(()) } else { Err(SourceError::Stopped) }
    }
}

/// What networks that want a login answer to everything.
const WEB_PAGE: &str = "a web page came in its place; does this network ask for a login (captive portal)?";

/// Whether that is HTML or XML. No piece of a repository begins so.
fn is_web_page(bytes: &[u8]) -> bool {
    bytes.trim_ascii_start().starts_with(b"<")
}

/// How an error of reading says that everything is to stop. Not `Interrupted`: that would be tried again.
fn stopped() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionAborted, "stopped")
}

/// Certificates of `ca` alone; without it those of the node, without these Mozilla's as this program was built with.
fn roots(ca: Option<&Path>) -> Result<RootCertStore, HttpError> {
    let (path, needed) = match ca {
        Some(path) => (path, true),
        None => (Path::new(SYSTEM_CERTIFICATES), false),
    };
    let wrong = |why: String| HttpError::Certificates { path: path.display().to_string(), why };
    let mut text = Vec::new();
    let read = fs::File::open(path).and_then(|file| file.take(CERTIFICATES_MAX).read_to_end(&mut text));
    let mut store = RootCertStore::empty();
    match read {
        // Bundles hold certificates of ways that this program doesn't know, and comments.
        Ok(_) => drop(store.add_parsable_certificates(CertificateDer::pem_slice_iter(&text).flatten())),
        Err(error) if needed => return Err(wrong(error.to_string())),
        Err(_) => {}
    }
    match (store.is_empty(), needed) {
        (true, true) => Err(wrong("no certificate in PEM form is in it".into())),
        (true, false) => Ok(RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() }),
        (false, _) => Ok(store),
    }
}
