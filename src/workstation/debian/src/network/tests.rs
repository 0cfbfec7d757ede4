//! The network's settings against real servers and proxies in this process.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::*;

type Log = Arc<Mutex<Vec<String>>>;

/// A server on `address` whose `serve` gets each connection; returns where it listens.
fn listen(address: &str, serve: impl Fn(TcpStream) + Send + Sync + 'static) -> std::net::SocketAddr {
    let listener = TcpListener::bind(address).unwrap();
    let place = listener.local_addr().unwrap();
    let serve = Arc::new(serve);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let serve = serve.clone();
            std::thread::spawn(move || serve(stream));
        }
    });
    place
}

/// Lines of a request's head; empty at the end of the connection.
fn head(reader: &mut impl BufRead) -> Vec<String> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 || line.trim_end().is_empty() {
            return lines;
        }
        lines.push(line.trim_end().to_owned());
    }
}

fn answer(to: &mut impl Write, status: &str, headers: &str, body: &str) {
    let length = body.len();
    let _ = write!(to, "HTTP/1.1 {status}\r\nContent-Length: {length}\r\n{headers}\r\n{body}");
}

/// A server whose answer tells the request line and the host; `/moved` redirects.
fn talk(stream: impl Read + Write) {
    let mut stream = BufReader::new(stream);
    loop {
        let head = head(&mut stream);
        let Some(line) = head.first() else { return };
        let host = head.iter().find(|line| line.to_lowercase().starts_with("host:")).cloned().unwrap_or_default();
        match line.contains("/moved") {
            true => answer(stream.get_mut(), "302 Found", "Location: ../to/here\r\n", ""),
            false => answer(stream.get_mut(), "200 OK", "", &format!("{line}|{host}")),
        }
    }
}

/// A proxy as squid is shipped: CONNECT to port 443 only, which `tls` stands for here; everything else by GET with the
/// whole address.
fn proxy(address: &str, tls: Option<std::net::SocketAddr>) -> (std::net::SocketAddr, Log) {
    let log = Log::default();
    let seen = log.clone();
    let place = listen(address, move |stream| {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        loop {
            let head = head(&mut reader);
            let Some(line) = head.first().cloned() else { return };
            let authorization = head.iter().find(|line| line.to_lowercase().starts_with("proxy-authorization"));
            seen.lock()
                .unwrap()
                .push(format!("{line}{}", authorization.map(|a| format!(" + {a}")).unwrap_or_default()));
            let mut stream = &stream;
            match line.split(' ').collect::<Vec<_>>()[..] {
                ["CONNECT", to, _] if to.ends_with(":443") || tls.is_some_and(|tls| to.ends_with(&tls.to_string())) => {
                    let server = TcpStream::connect(tls.unwrap()).unwrap();
                    stream.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").unwrap();
                    let (mut up, mut from) = (server.try_clone().unwrap(), stream.try_clone().unwrap());
                    std::thread::spawn(move || std::io::copy(&mut from, &mut up));
                    let _ = std::io::copy(&mut &server, &mut stream);
                    return;
                }
                ["CONNECT", ..] => answer(&mut stream, "403 Forbidden", "", "denied"),
                [_, url, _] if url.starts_with("http://login.test/") => {
                    answer(&mut stream, "407 Proxy Authentication Required", "Proxy-Authenticate: Basic\r\n", "");
                }
                [_, url, _] if url.starts_with("http://") && url.contains("/moved") => {
                    answer(&mut stream, "301 Moved", "Location: /there\r\n", "");
                }
                [_, url, _] if url.starts_with("http://") => answer(&mut stream, "200 OK", "", "from the proxy"),
                _ => answer(&mut stream, "400 Bad Request", "", "no whole address"),
            }
        }
    });
    (place, log)
}

/// A server with TLS for `name`, and the certificate of its authority.
fn tls_server(address: &str, name: &str) -> (std::net::SocketAddr, Vec<u8>) {
    let authority_key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let authority = params.self_signed(&authority_key).unwrap();
    let issuer = rcgen::Issuer::from_params(&params, &authority_key);
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![CertificateDer::from(certificate.der().to_vec())],
            PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        )
        .unwrap();
    let config = Arc::new(config);
    let place = listen(address, move |stream| {
        let connection = rustls::ServerConnection::new(config.clone()).unwrap();
        talk(rustls::StreamOwned::new(connection, stream));
    });
    (place, authority.der().to_vec())
}

fn read(network: &Network, url: &str) -> Result<String, Trouble> {
    Ok(network.get(url, &[])?.body_mut().read_to_string().unwrap())
}

fn plain(proxies: Proxies) -> Network {
    Network::with(proxies, Err("no authorities".to_owned()))
}

#[test]
fn plain_http_goes_through_a_proxy_by_get_with_the_whole_address() {
    let (place, log) = proxy("127.0.0.1:0", None);
    let address = format!("http://me:s3cret@{place}");
    let network = plain(Proxies::of("", &[("http_proxy", &address)]));
    // The name has no address here: the proxy looks it up.
    assert_eq!(read(&network, "http://mirror.invalid/debian/x?y").unwrap(), "from the proxy");
    assert_eq!(read(&network, "http://mirror.invalid:8080/moved").unwrap(), "from the proxy");
    let seen = log.lock().unwrap().clone();
    let credentials = " + proxy-authorization: Basic bWU6czNjcmV0";
    let expected =
        ["http://mirror.invalid/debian/x?y", "http://mirror.invalid:8080/moved", "http://mirror.invalid:8080/there"];
    assert_eq!(seen, expected.map(|url| format!("GET {url} HTTP/1.1{credentials}")));
    let trouble = read(&network, "http://login.test/").unwrap_err();
    assert!(trouble.why.contains("asks for a user") && trouble.why.contains("from http_proxy"), "{trouble:?}");
    assert!(!trouble.why.contains("s3cret") && !trouble.passing, "{trouble:?}");
}

#[test]
fn apts_proxy_is_used_and_its_exceptions_hold() {
    let (place, log) = proxy("127.0.0.1:0", None);
    let server = listen("127.0.0.1:0", talk);
    let apt = format!("Acquire::http::Proxy \"http://{place}/\";\nAcquire::http::Proxy::127.0.0.1 \"DIRECT\";\n");
    let network = plain(Proxies::of(&apt, &[]));
    assert_eq!(read(&network, "http://mirror.invalid/debian/x").unwrap(), "from the proxy");
    assert!(read(&network, &format!("http://{server}/x")).unwrap().starts_with("GET /x HTTP/1.1|"));
    assert_eq!(log.lock().unwrap().len(), 1);
}

#[test]
fn https_goes_through_a_tunnel_and_a_private_authority_is_enough() {
    let (server, authority) = tls_server("127.0.0.1:0", "127.0.0.1");
    let (place, log) = proxy("127.0.0.1:0", Some(server));
    let url = format!("https://{server}/debian/x");
    let through = Proxies::of("", &[("https_proxy", &place.to_string())]);
    let network = Network::with(through, Ok(Authorities::only(&authority)));
    assert!(read(&network, &url).unwrap().starts_with("GET /debian/x HTTP/1.1|"));
    assert_eq!(*log.lock().unwrap(), [format!("CONNECT {server} HTTP/1.1")]);
    let trouble = read(&network, "https://mirror.invalid:8443/x").unwrap_err();
    assert!(trouble.why.contains("403") && trouble.why.contains("from https_proxy") && !trouble.passing, "{trouble:?}");

    let direct = Network::with(Proxies::default(), Ok(Authorities::only(&authority)));
    assert!(read(&direct, &url).unwrap().starts_with("GET /debian/x"));
    let stranger = Network::with(Proxies::default(), Ok(Authorities::only(&tls_server("127.0.0.1:0", "x.test").1)));
    let trouble = read(&stranger, &url).unwrap_err();
    let words = ["not trusted here", "1 of the test", "update-ca-certificates", "SSL_CERT_FILE"];
    assert!(words.iter().all(|word| trouble.why.contains(word)) && !trouble.passing, "{trouble:?}");
    let other = tls_server("127.0.0.1:0", "other.test");
    let misnamed = Network::with(Proxies::default(), Ok(Authorities::only(&other.1)));
    let trouble = read(&misnamed, &format!("https://{}/x", other.0)).unwrap_err();
    assert!(trouble.why.contains("for another host"), "{trouble:?}");
}

#[test]
fn addresses_of_ipv6_work_everywhere() {
    let server = listen("[::1]:0", talk);
    let network = plain(Proxies::default());
    let said = read(&network, &format!("http://{server}/debian/moved")).unwrap();
    assert!(said.starts_with("GET /debian/../to/here HTTP/1.1|") || said.starts_with("GET /to/here"), "{said}");
    assert!(said.to_lowercase().ends_with(&format!("host: {server}")), "{said}");
    let (tls, authority) = tls_server("[::1]:0", "::1");
    let (place, log) = proxy("[::1]:0", Some(tls));
    let address = format!("http://{place}");
    let variables = [("http_proxy", address.as_str()), ("https_proxy", &address)];
    let network = Network::with(Proxies::of("", &variables), Ok(Authorities::only(&authority)));
    assert_eq!(read(&network, "http://[2001:db8::1]/debian/x").unwrap(), "from the proxy");
    assert!(read(&network, &format!("https://{tls}/debian/x")).unwrap().starts_with("GET /debian/x"));
    let expected = ["GET http://[2001:db8::1]/debian/x HTTP/1.1".to_owned(), format!("CONNECT {tls} HTTP/1.1")];
    assert_eq!(*log.lock().unwrap(), expected);
    let around = Proxies::of("", &[("http_proxy", "http://127.0.0.1:9"), ("no_proxy", "::1")]);
    assert!(read(&plain(around), &format!("http://{server}/x")).unwrap().starts_with("GET /x"));
}

#[test]
fn places_of_redirects_are_joined() {
    let base: Uri = "http://h.test:81/a/b?c".parse().unwrap();
    for (location, expected) in [
        ("https://o.test/x", "https://o.test/x"),
        ("//o.test/x#part", "http://o.test/x"),
        ("/x", "http://h.test:81/x"),
        ("x?u=http://y", "http://h.test:81/a/x?u=http://y"),
        ("?q", "http://h.test:81/a/b?q"),
    ] {
        assert_eq!(follow(&base, location), expected);
    }
    assert!(parse("ftp://x/").is_err() && parse("http:///x").is_err() && parse("http://a b/").is_err());
}
