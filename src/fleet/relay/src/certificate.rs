//! The relay's certificate. Nobody vouches for it: the charter names its hash.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use fruit_base::{Replace, Sha256, replace_with};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// In it, for those who look at it; clients compare its hash alone.
const NAME: &str = "fruit-relay";
/// Bytes of the file.
const LIMIT: u64 = 64 << 10;

/// Certificate and private key.
#[derive(Debug)]
pub struct Certificate {
    certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
}

/// Why there is none.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    #[error("{path}: {why}")]
    File { path: String, why: io::Error },
    #[error(
        "{path}: there is no certificate with its key in it ({why}). Put the file back from a copy; or remove it, start the relay, \
         which makes another one, and name that in the charter with `fruitctl fleet relay add`"
    )]
    Damaged { path: String, why: String },
    #[error("no certificate can be made: {0}")]
    NotMade(#[from] rcgen::Error),
}

impl Certificate {
    /// The one in this file, which is made if there is none.
    ///
    /// # Errors
    /// [`CertificateError`]. A file that is damaged is not replaced: nodes know the certificate that was in it.
    pub fn keep(path: &Path) -> Result<Certificate, CertificateError> {
        let shown = || path.display().to_string();
        let file = |why| CertificateError::File { path: shown(), why };
        match fs::metadata(path) {
            Err(why) if why.kind() == io::ErrorKind::NotFound => {
                let made = rcgen::generate_simple_self_signed(vec![NAME.to_owned()])?;
                let text = made.cert.pem() + &made.signing_key.serialize_pem();
                replace_with(path, text.as_bytes(), Replace { mode: 0o600, durable: true }).map_err(file)?;
            }
            found => {
                if found.map_err(file)?.len() > LIMIT {
                    return Err(CertificateError::Damaged { path: shown(), why: "it is too large".into() });
                }
            }
        }
        let text = fs::read(path).map_err(file)?;
        let damaged = |why: String| CertificateError::Damaged { path: shown(), why };
        Ok(Certificate {
            certificate: CertificateDer::from_pem_slice(&text).map_err(|why| damaged(why.to_string()))?,
            key: PrivateKeyDer::from_pem_slice(&text).map_err(|why| damaged(why.to_string()))?,
        })
    }

    /// Its hash, as charters name it.
    #[must_use]
    pub fn pin(&self) -> Sha256 {
        Sha256::of(&self.certificate)
    }

    /// How TLS is spoken with it: version 1.3 alone, which all nodes speak.
    pub(crate) fn config(&self, protocols: &[&[u8]]) -> Result<ServerConfig, rustls::Error> {
        let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let builder = builder.with_protocol_versions(&[&rustls::version::TLS13])?.with_no_client_auth();
        let mut config = builder.with_single_cert(vec![self.certificate.clone()], self.key.clone_key())?;
        config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_certificate_is_made_once_and_a_damaged_one_is_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("relay.pem");
        let made = Certificate::keep(&path).unwrap();
        assert_eq!(Certificate::keep(&path).unwrap().pin(), made.pin());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        made.config(&[b"http/1.1"]).unwrap();
        let text = fs::read(&path).unwrap();
        for cut in [0, text.len() / 3, text.len() / 2] {
            fs::write(&path, &text[..cut]).unwrap();
            let said = Certificate::keep(&path).unwrap_err().to_string();
            assert!(said.contains("fruitctl fleet relay add"), "{said}");
            assert_eq!(fs::read(&path).unwrap(), text[..cut]);
        }
        fs::write(&path, vec![b'x'; 100 << 10]).unwrap();
        assert!(Certificate::keep(&path).unwrap_err().to_string().contains("too large"));
    }
}
