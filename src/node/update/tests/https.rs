//! Downloads over real TLS and through a real tunnel, on the loopback: whose certificates are believed, and when.

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use crate::server::{Answer, Server};
use fruit_contract::update::config::ProxyUrl;
use fruit_update::http::{self, Limits, Settings};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// An authority of a test, and the file of its certificate.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: tempfile::TempDir,
}

impl Authority {
    fn new(name: &str) -> Authority {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ca.pem"), issuer.pem()).unwrap();
        Authority { issuer, folder }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// What a server of that name needs, good from one time to the other.
    fn server(&self, name: &str, from: SystemTime, to: SystemTime) -> Arc<ServerConfig> {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        (params.not_before, params.not_after) = (from.into(), to.into());
        let certificate: CertificateDer<'static> = params.signed_by(&key, &self.issuer).unwrap().der().clone();
        let key = PrivatePkcs8KeyDer::from(key.serialize_der());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        Arc::new(config.with_no_client_auth().with_single_cert(vec![certificate], key.into()).unwrap())
    }

    /// As [`Authority::server`], good today.
    fn good(&self, name: &str) -> Arc<ServerConfig> {
        self.server(name, SystemTime::now() - DAY, SystemTime::now() + DAY)
    }
}

/// Carries bytes between two ends until one is done.
fn carry(mut one: impl Read + Write, mut other: TcpStream) -> io::Result<()> {
    let mut buf = [0; 16 << 10];
    let mut piece = |from: &mut dyn Read, to: &mut dyn Write| -> io::Result<bool> {
        match from.read(&mut buf) {
            Ok(0) => Ok(false),
            Ok(count) => to.write_all(&buf[..count]).and_then(|()| to.flush()).map(|()| true),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => Ok(true),
            Err(error) => Err(error),
        }
    };
    while piece(&mut one, &mut other)? && piece(&mut other, &mut one)? {}
    Ok(())
}

/// Accepts on a free port until the test ends, each connection in a thread of its own.
fn listen(serve: impl Fn(TcpStream) -> io::Result<()> + Send + Sync + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let serve = Arc::new(serve);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // Reads give up soon, so that one thread can carry both ways.
            stream.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
            let serve = Arc::clone(&serve);
            // Who is not believed goes away in the middle.
            std::thread::spawn(move || drop(serve(stream)));
        }
    });
    port
}

fn connect(address: &str) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_millis(5)))?;
    Ok(stream)
}

/// TLS in front of a server that knows nothing of it; its port.
fn with_tls(plain: &Server, config: Arc<ServerConfig>) -> u16 {
    let plain = plain.url("").trim_start_matches("http://").trim_end_matches('/').to_owned();
    listen(move |stream| {
        let connection = ServerConnection::new(Arc::clone(&config)).map_err(io::Error::other)?;
        carry(StreamOwned::new(connection, stream), connect(&plain)?)
    })
}

fn limits() -> Limits {
    Limits {
        connect: Duration::from_secs(20),
        pause: Duration::from_millis(10),
        pause_max: Duration::from_millis(50),
        failures: 2,
        ..Limits::default()
    }
}

fn content() -> Vec<u8> {
    (0..200_000_u32).flat_map(|i| i.wrapping_mul(2_654_435_761).to_le_bytes()).collect()
}

fn file_server() -> Server {
    let bytes = content();
    Server::start(move |_, _| Answer::file(&bytes))
}

fn fetch(url: &str, settings: &Settings<'_>) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let mut download = http::download(url, settings).map_err(|error| error.to_string())?;
    download.read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    Ok(bytes)
}

#[test]
fn a_server_that_the_configured_authority_vouches_for_is_believed() {
    let (authority, plain) = (Authority::new("fleet"), file_server());
    for name in ["localhost", "127.0.0.1"] {
        let port = with_tls(&plain, authority.good(name));
        let ca = authority.file();
        let settings = Settings { ca: Some(&ca), limits: limits(), ..Settings::default() };
        assert!(fetch(&format!("https://{name}:{port}/x"), &settings).unwrap() == content());
    }
}

#[test]
fn other_authorities_and_names_are_not_believed() {
    let (authority, other, plain) = (Authority::new("fleet"), Authority::new("others"), file_server());
    let port = with_tls(&plain, authority.good("localhost"));
    let (ca, other) = (authority.file(), other.file());
    let of = |ca| Settings { ca, limits: limits(), clock_known: Arc::new(|| false), ..Settings::default() };
    for (host, ca, why) in [
        ("localhost", Some(&*other), "UnknownIssuer"),
        ("localhost", None, "UnknownIssuer"),
        ("127.0.0.1", Some(&*ca), "not valid for name"),
    ] {
        let error = fetch(&format!("https://{host}:{port}/x"), &of(ca)).unwrap_err();
        assert!(error.contains(why), "{error}");
    }
    assert_eq!(plain.requests().len(), 0);
}

#[test]
fn a_certificate_younger_than_a_clock_that_nobody_set_is_believed() {
    let (authority, plain) = (Authority::new("fleet"), file_server());
    let now = SystemTime::now();
    let port = with_tls(&plain, authority.server("localhost", now + 300 * DAY, now + 390 * DAY));
    let ca = authority.file();
    let url = format!("https://localhost:{port}/x");
    let of = |known: bool| Settings {
        ca: Some(&ca),
        limits: limits(),
        clock_known: Arc::new(move || known),
        ..Settings::default()
    };
    assert!(fetch(&url, &of(false)).unwrap() == content());
    let error = fetch(&url, &of(true)).unwrap_err();
    assert!(error.contains("not valid yet"), "{error}");
}

#[test]
fn an_expired_certificate_is_not_believed_with_any_clock() {
    let (authority, plain) = (Authority::new("fleet"), file_server());
    let now = SystemTime::now();
    let port = with_tls(&plain, authority.server("localhost", now - 90 * DAY, now - DAY));
    let ca = authority.file();
    for known in [true, false] {
        let settings =
            Settings { ca: Some(&ca), limits: limits(), clock_known: Arc::new(move || known), ..Settings::default() };
        let error = fetch(&format!("https://localhost:{port}/x"), &settings).unwrap_err();
        assert!(error.contains("expired"), "{error}");
    }
}

#[test]
fn who_was_asked_over_tls_does_not_send_us_on_to_somebody_without() {
    let (authority, open) = (Authority::new("fleet"), file_server());
    let to = open.url("x");
    let plain = Server::start(move |_, _| Answer { status: 302, location: Some(to.clone()), ..Answer::file(b"") });
    let port = with_tls(&plain, authority.good("localhost"));
    let ca = authority.file();
    let settings = Settings { ca: Some(&ca), limits: limits(), ..Settings::default() };
    fetch(&format!("https://localhost:{port}/x"), &settings).unwrap_err();
    assert_eq!(open.requests().len(), 0);
}

/// A proxy that makes tunnels and fetches, and what it was asked for.
fn proxy(answer: &'static str) -> (ProxyUrl, Arc<Mutex<Vec<String>>>) {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let port = listen({
        let asked = Arc::clone(&asked);
        move |stream| {
            stream.set_read_timeout(Some(Duration::from_secs(20)))?;
            let mut reader = BufReader::new(stream.try_clone()?);
            let mut request = String::new();
            reader.read_line(&mut request)?;
            let (mut line, mut head) = (String::new(), String::new());
            while reader.read_line(&mut line)? > 2 {
                head += &std::mem::take(&mut line);
            }
            asked.lock().unwrap().push(request.trim_end().to_owned());
            if !answer.starts_with("200") {
                return write!(&mut &stream, "HTTP/1.1 {answer}\r\ncontent-length: 0\r\n\r\n");
            }
            let target = request.split(' ').nth(1).unwrap_or_default();
            let server = match target.strip_prefix("http://").and_then(|rest| rest.split_once('/')) {
                // As a proxy does: the server sees a request for a path.
                Some((host, path)) => {
                    let mut server = connect(host)?;
                    write!(server, "GET /{path} HTTP/1.1\r\n{head}\r\n")?;
                    server
                }
                None => {
                    write!(&mut &stream, "HTTP/1.1 {answer}\r\n\r\n")?;
                    connect(target)?
                }
            };
            stream.set_read_timeout(Some(Duration::from_millis(5)))?;
            carry(stream, server)
        }
    });
    (ProxyUrl::try_from(format!("http://127.0.0.1:{port}")).unwrap(), asked)
}

#[test]
fn downloads_go_through_the_configured_proxy_by_get_for_http_and_by_a_tunnel_for_https() {
    let (authority, plain) = (Authority::new("fleet"), file_server());
    let port = with_tls(&plain, authority.good("localhost"));
    let ca = authority.file();
    let (through, asked) = proxy("200 Connection established");
    let settings = Settings { ca: Some(&ca), proxy: Some(&through), limits: limits(), ..Settings::default() };
    assert!(fetch(&format!("https://localhost:{port}/x"), &settings).unwrap() == content());
    assert!(fetch(&plain.url("x"), &settings).unwrap() == content());
    let asked = asked.lock().unwrap();
    assert_eq!(asked[0], format!("CONNECT localhost:{port} HTTP/1.1"));
    assert_eq!(asked[1], format!("GET {} HTTP/1.1", plain.url("x")), "{asked:?}");
}

#[test]
fn a_proxy_that_refuses_is_named() {
    let (authority, plain) = (Authority::new("fleet"), file_server());
    let port = with_tls(&plain, authority.good("localhost"));
    let ca = authority.file();
    let (through, _) = proxy("403 Forbidden");
    let settings = Settings { ca: Some(&ca), proxy: Some(&through), limits: limits(), ..Settings::default() };
    let error = fetch(&format!("https://localhost:{port}/x"), &settings).unwrap_err();
    assert!(error.to_lowercase().contains("proxy") && error.contains("403"), "{error}");
    let error = fetch(&plain.url("x"), &settings).unwrap_err();
    assert!(error.contains("403"), "{error}");
    assert_eq!(plain.requests().len(), 0);
}
