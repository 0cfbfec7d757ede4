//! Registries over HTTP (OCI distribution specification 1.1): manifests and the files that they name, read only.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use fruit_base::Sha256;
use fruit_debian::{Answer, LockedBlob, LockedDownload, Progress, Store};

use crate::challenge::{Challenge, token, token_address};
use crate::error::{Error, Result};
use crate::image::MAX_TEXT;
use crate::login::Logins;

/// Forms of manifests that are understood.
const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json";

/// Most bytes of an answer with a token.
const MAX_TOKEN: u64 = 1 << 20;

/// How registries are reached.
#[derive(Clone, Default)]
pub struct Registries {
    /// Address by the registry's name, for those that another server stands in for.
    pub addresses: BTreeMap<String, String>,
    pub logins: Logins,
}

/// A repository of a registry.
pub(crate) struct Repository<'a> {
    store: &'a Store,
    progress: &'a dyn Progress,
    /// `https://HOST/v2/REPOSITORY`.
    top: String,
    name: String,
    login: Option<String>,
    granted: RefCell<Option<Granted>>,
}

/// What the registry wants to see in `Authorization`.
#[derive(Clone)]
struct Granted {
    value: String,
    until: Instant,
}

impl Registries {
    pub(crate) fn repository<'a>(
        &self,
        registry: &str,
        name: &str,
        store: &'a Store,
        progress: &'a dyn Progress,
    ) -> Repository<'a> {
        let (base, login) = match self.addresses.get(registry) {
            Some(address) => {
                let base = address.trim_end_matches('/').to_owned();
                let host = base.split_once("://").map_or(base.as_str(), |(_, rest)| rest);
                (base.clone(), self.logins.of(host, name))
            }
            None => (address_of(registry), self.logins.of(registry, name)),
        };
        let top = format!("{base}/v2/{name}");
        let login = login.map(str::to_owned);
        Repository { store, progress, top, name: name.to_owned(), login, granted: RefCell::default() }
    }
}

/// Where a registry is that no setting tells of. Those of this machine speak HTTP, as all tools have it.
fn address_of(registry: &str) -> String {
    if registry == "docker.io" {
        return "https://registry-1.docker.io".to_owned();
    }
    let scheme = if is_this_machine(registry) { "http" } else { "https" };
    format!("{scheme}://{registry}")
}

fn is_this_machine(authority: &str) -> bool {
    let host = authority.rsplit_once(':').filter(|(host, _)| !host.ends_with(':')).map_or(authority, |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

impl Repository<'_> {
    /// A manifest or index, by tag, or by digest: then it is the one of that digest.
    pub(crate) fn manifest(&self, reference: &str) -> Result<Vec<u8>> {
        let url = format!("{}/manifests/{reference}", self.top);
        let answer = self.ask(&url)?;
        if let Some(hex) = reference.strip_prefix("sha256:")
            && Sha256::of(&answer.bytes).to_string() != hex
        {
            let found = Sha256::of(&answer.bytes);
            return Err(Error::registry(&url, format!("SHA-256: expected {hex}, found {found}")));
        }
        Ok(answer.bytes)
    }

    /// Fetches a file of an image into the store.
    pub(crate) fn blob(&self, file: &LockedDownload, blob: &LockedBlob) -> Result<()> {
        if self.store.has_download(file) {
            return Ok(());
        }
        let url = format!("{}/blobs/sha256:{}", self.top, blob.sha256);
        let fetch = || {
            let authorization = self.authorization();
            self.store.ensure_authorized(file, &[&url], authorization.as_deref(), self.progress)
        };
        match fetch() {
            // Unauthorized, or not any longer.
            Err(fruit_debian::Error::Missing { .. }) => {
                self.granted.replace(None);
                self.ask_first(&url)?;
                fetch().map_err(|error| match error {
                    fruit_debian::Error::Missing { url, .. } => {
                        Error::registry(&url, "the registry does not have this file of the image, or does not give it")
                    }
                    other => other.into(),
                })
            }
            done => Ok(done?),
        }
    }

    /// Finds out what authorizes, with a request that costs little.
    fn ask_first(&self, url: &str) -> Result<()> {
        let base = self.top.strip_suffix(&self.name).unwrap_or(&self.top);
        let answer = self.store.ask(base, "*/*", None, MAX_TEXT, self.progress)?;
        if answer.status == 401 {
            self.granted.replace(Some(self.authorize(url, &answer)?));
        }
        Ok(())
    }

    fn ask(&self, url: &str) -> Result<Answer> {
        let get = || self.store.ask(url, ACCEPT, self.authorization().as_deref(), MAX_TEXT, self.progress);
        let mut answer = get()?;
        if answer.status == 401 {
            self.granted.replace(Some(self.authorize(url, &answer)?));
            answer = get()?;
        }
        match answer.status {
            200 => Ok(answer),
            401 | 403 => Err(Error::registry(url, self.denied())),
            404 => Err(Error::registry(url, "the registry has no such image")),
            status => Err(Error::registry(url, format!("the registry answered {status}"))),
        }
    }

    fn denied(&self) -> String {
        match &self.login {
            Some(_) => "the registry does not give this image to the user that is logged in".to_owned(),
            None => {
                "the registry has no such image, or wants a login; log in with `podman login` or `docker login` (helpers that keep passwords elsewhere are not asked)".to_owned()
            }
        }
    }

    fn authorization(&self) -> Option<String> {
        let granted = self.granted.borrow();
        granted.as_ref().filter(|granted| granted.until > Instant::now()).map(|granted| granted.value.clone())
    }

    /// What the answer 401 asks for.
    fn authorize(&self, url: &str, answer: &Answer) -> Result<Granted> {
        let hour = Duration::from_secs(3600);
        let basic = |login: &str| format!("Basic {login}");
        match Challenge::of(&answer.challenges) {
            Some(Challenge::Basic) => match &self.login {
                Some(login) => Ok(Granted { value: basic(login), until: Instant::now() + hour }),
                None => Err(Error::registry(url, self.denied())),
            },
            Some(Challenge::Bearer { realm, service, scope }) => {
                let authority = realm.split_once("://").map(|(_, rest)| rest.split('/').next().unwrap_or_default());
                let safe = realm.starts_with("https://")
                    || (realm.starts_with("http://") && authority.is_some_and(is_this_machine))
                    || (realm.starts_with("http://") && self.top.starts_with("http://"));
                if !safe {
                    return Err(Error::registry(url, format!("sends for a token to {realm}, which is not secure")));
                }
                // Of nothing else than this repository, whatever the server says.
                let pull = format!("repository:{}:pull", self.name);
                let scope = scope.filter(|scope| scope.starts_with(&format!("repository:{}:", self.name)));
                let address = token_address(&realm, service.as_deref(), scope.as_ref().unwrap_or(&pull));
                let login = self.login.as_deref().map(basic);
                let given = self.store.ask(&address, "application/json", login.as_deref(), MAX_TOKEN, self.progress)?;
                match (given.status, token(&given.bytes)) {
                    (200, Some((token, seconds))) => Ok(Granted {
                        value: format!("Bearer {token}"),
                        // Somewhat less, for the way and for clocks.
                        until: Instant::now() + Duration::from_secs(seconds.min(3600) * 3 / 4),
                    }),
                    (200, None) => Err(Error::registry(&realm, "gives no token")),
                    (401 | 403, _) => Err(Error::registry(&realm, self.denied())),
                    (status, _) => Err(Error::registry(&realm, format!("the server of tokens answered {status}"))),
                }
            }
            None => {
                Err(Error::registry(url, format!("wants a login of a kind that is not known: {:?}", answer.challenges)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registries_of_this_machine_speak_http_and_all_others_https() {
        for (registry, address) in [
            ("docker.io", "https://registry-1.docker.io"),
            ("quay.example", "https://quay.example"),
            ("localhost:5000", "http://localhost:5000"),
            ("127.0.0.1:5000", "http://127.0.0.1:5000"),
            ("[::1]:5000", "http://[::1]:5000"),
            ("localhost.example:5000", "https://localhost.example:5000"),
            ("127.0.0.1.example", "https://127.0.0.1.example"),
        ] {
            assert_eq!(address_of(registry), address);
        }
    }
}
