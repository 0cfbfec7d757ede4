//! Who vouches for servers: the authorities that this machine trusts, or those built in where it has none.

use std::fmt;
use std::path::{Path, PathBuf};

use rustls::CertificateError;
use rustls_native_certs::{CertificateResult, ErrorKind, load_certs_from_paths, load_native_certs};
use ureq::tls::{Certificate, RootCerts};

const FILE: &str = "SSL_CERT_FILE";
const FOLDER: &str = "SSL_CERT_DIR";

#[derive(Clone, Debug)]
pub(super) struct Authorities {
    pub(super) roots: RootCerts,
    /// How many the machine brought, and from where.
    of_machine: Option<(usize, String)>,
}

impl Authorities {
    /// Those that `SSL_CERT_FILE` and `SSL_CERT_DIR` name, else the system's; and the files of apt's own settings.
    ///
    /// # Errors
    /// A file that was named and brings none.
    pub(super) fn of_machine(named_by_apt: &[PathBuf]) -> Result<Authorities, String> {
        let named = |variable: &str| std::env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from);
        let (file, folder) = (named(FILE), named(FOLDER));
        let origin = match (&file, &folder) {
            (Some(file), _) => format!("{FILE}={}", file.display()),
            (None, Some(folder)) => format!("{FOLDER}={}", folder.display()),
            (None, None) => "the system's certificate store".to_owned(),
        };
        let mut found = load_native_certs();
        if let Some(file) = &file {
            must_bring_some(file, &found, FILE)?;
        }
        if found.certs.is_empty() && folder.is_some() && file.is_none() {
            return Err(format!("{origin}: holds no certificate of an authority"));
        }
        for file in named_by_apt {
            let more = load_certs_from_paths(Some(file), None);
            must_bring_some(file, &more, "apt's Acquire::https::CaInfo")?;
            found.certs.extend(more.certs);
        }
        if found.certs.is_empty() {
            return Ok(Authorities { roots: RootCerts::WebPki, of_machine: None });
        }
        let certificates: Vec<_> = found.certs.iter().map(|der| Certificate::from_der(der).to_owned()).collect();
        Ok(Authorities {
            of_machine: Some((certificates.len(), origin)),
            roots: RootCerts::new_with_certs(&certificates),
        })
    }

    #[cfg(test)]
    pub(super) fn only(der: &[u8]) -> Authorities {
        let roots = RootCerts::new_with_certs(&[Certificate::from_der(der).to_owned()]);
        Authorities { roots, of_machine: Some((1, "the test".to_owned())) }
    }
}

fn must_bring_some(file: &Path, found: &CertificateResult, origin: &str) -> Result<(), String> {
    let of_file = |error: &&rustls_native_certs::Error| match &error.kind {
        ErrorKind::Io { path, .. } => path == file,
        _ => found.certs.is_empty(),
    };
    if let Some(error) = found.errors.iter().find(of_file) {
        return Err(format!("{origin} names {}, which cannot be used: {error}", file.display()));
    }
    if found.certs.is_empty() {
        return Err(format!("{origin} names {}, which holds no certificate (expected PEM)", file.display()));
    }
    Ok(())
}

impl fmt::Display for Authorities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.of_machine {
            Some((number, origin)) => write!(f, "{number} of {origin}"),
            None => write!(f, "the built-in ones, as this machine has no certificate store: install ca-certificates"),
        }
    }
}

/// What is wrong with a server's certificate, and what to do. `trusted` describes the authorities.
pub(super) fn explain(error: &rustls::Error, trusted: &str) -> String {
    let rustls::Error::InvalidCertificate(certificate) = error else { return format!("TLS: {error}") };
    match certificate {
        // The second: an authority of the same name, with another key.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => format!(
            "the server's certificate comes from an authority that is not trusted here (trusted: {trusted}); if it is your \
             organisation's, copy its certificate to /usr/local/share/ca-certificates/NAME.crt and run \
             update-ca-certificates, or name it in {FILE}; a captive portal answers like this too"
        ),
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            format!("the server's certificate is for another host ({error}); a captive portal answers like this too")
        }
        CertificateError::Expired
        | CertificateError::ExpiredContext { .. }
        | CertificateError::NotValidYet
        | CertificateError::NotValidYetContext { .. } => {
            format!("the server's certificate is not valid now ({error}); check the clock of this machine too")
        }
        other if format!("{other:?}").contains("CaUsedAsEndEntity") => format!(
            "the server shows the certificate of an authority as its own ({error}); let that authority sign one for the \
             server (basicConstraints CA:FALSE)"
        ),
        _ => format!("TLS: {error}"),
    }
}
