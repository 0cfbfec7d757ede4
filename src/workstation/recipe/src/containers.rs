//! `containers`: images of containers that are baked in, and how they are run.

use oci_spec::distribution::Reference;

use crate::declare::{mapping, text};
use crate::decode::{Flaw, Named};
use crate::node::shorten;
use crate::source::At;
use crate::words::{SLUG, absolute, slug};

text! {
    /// A name for a container: lower-case letters, digits, `-` and `_`.
    "a name for a container"
    pub struct ContainerName = slug, pattern SLUG;
}

text! {
    /// An image in a registry: `REGISTRY/NAME:TAG`, `REGISTRY/NAME@sha256:DIGEST`.
    "an image such as `docker.io/library/nginx:1.27`"
    pub struct ImageReference = |text| {
        let read = Reference::try_from(text);
        let read = read.map_err(|why| Flaw::new(format!("`{}` names no image: {why}", shorten(text))).help("write REGISTRY/NAME:TAG"))?;
        let registry = text.split('/').next().filter(|first| first.len() < text.len());
        if !registry.is_some_and(|first| first.contains(['.', ':']) || first == "localhost") {
            return Err(Flaw::new(format!("`{text}` does not say which registry it is in")).did_you_mean(read.whole()));
        }
        if !text.rsplit('/').next().unwrap_or_default().contains([':', '@']) {
            return Err(Flaw::new(format!("`{text}` has neither a tag nor a digest")).did_you_mean(format!("{text}:latest")));
        }
        if let Some(digest) = read.digest().filter(|digest| !digest.starts_with("sha256:")) {
            return Err(Flaw::new(format!("the digest `{}` is none of SHA-256", shorten(digest))));
        }
        Ok(())
    }, pattern r"^[A-Za-z0-9.:-]+/.+[:@].+$";
}

impl ImageReference {
    /// Registry, repository, tag and digest (`sha256:…`).
    pub fn parts(&self) -> (String, String, Option<String>, Option<String>) {
        let Ok(read) = Reference::try_from(self.0.as_str()) else { return Default::default() };
        let owned = |text: Option<&str>| text.map(str::to_owned);
        (read.registry().to_owned(), read.repository().to_owned(), owned(read.tag()), owned(read.digest()))
    }
}

text! {
    /// Ports that reach into a container: `HOST:CONTAINER`, `127.0.0.1:8080:80`, `5353:53/udp`, `8000-8010:8000-8010`.
    "ports such as `8080:80`"
    pub struct PublishedPorts = |text| {
        let wrong = || Flaw::new(format!("`{}` publishes no port", shorten(text))).help("write HOST:CONTAINER, as in `8080:80` or `127.0.0.1:5353:53/udp`");
        let (ports, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
        let (rest, inside) = ports.rsplit_once(':').ok_or_else(wrong)?;
        let (address, outside) = rest.rsplit_once(':').map_or((None, rest), |(address, port)| (Some(address), port));
        let address_fits = address.is_none_or(|address| {
            let address = address.strip_prefix('[').and_then(|a| a.strip_suffix(']')).unwrap_or(address);
            address.parse::<std::net::IpAddr>().is_ok()
        });
        let length = |range: &str| {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            let port = |text: &str| text.parse::<u16>().ok().filter(|port| *port > 0 && text.bytes().all(|b| b.is_ascii_digit()));
            port(last)?.checked_sub(port(first)?)
        };
        let same = length(inside).zip(length(outside)).is_some_and(|(a, b)| a == b);
        if same && address_fits && matches!(protocol, "tcp" | "udp" | "sctp") { Ok(()) } else { Err(wrong()) }
    }, pattern r"^.+:.+$";
}

text! {
    /// A folder or volume of the node inside a container: `/srv/web:/usr/share/nginx/html:ro`, `data:/var/lib/app`.
    "a volume such as `/srv/web:/web:ro`"
    pub struct VolumeMount = |text| {
        let mut parts = text.split(':');
        let (source, target) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let options = parts.next().unwrap_or("ro");
        let plain = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
        let named = source.starts_with(|c: char| c.is_ascii_alphanumeric()) && source.chars().all(plain);
        if !named {
            absolute(source)?;
        }
        if parts.next().is_some() || target.is_empty() || options.is_empty() || !options.chars().all(|c| plain(c) || ",=".contains(c)) {
            return Err(Flaw::new(format!("`{}` mounts nothing", shorten(text))).help("write SOURCE:TARGET or SOURCE:TARGET:ro"));
        }
        absolute(target)
    }, pattern r"^[^:]+:/.*$";
}

text! {
    /// A device of the node inside a container: `/dev/ttyUSB0`, `/dev/i2c-1:/dev/i2c-1:rw`.
    "a device such as `/dev/ttyUSB0`"
    pub struct ContainerDevice = |text| {
        let mut parts = text.splitn(3, ':');
        absolute(parts.next().unwrap_or_default())?;
        parts.next().map_or(Ok(()), absolute)?;
        let rights = parts.next().unwrap_or("r");
        if rights.is_empty() || !rights.chars().all(|c| "rwm".contains(c)) {
            return Err(Flaw::new(format!("`{}` are no rights of a device", shorten(rights))).help("write letters of `rwm`"));
        }
        Ok(())
    }, pattern r"^/.+";
}

text! {
    /// A network of containers: `host`, `none`, `bridge` (the default) or the name of one.
    "a network such as `host`"
    pub struct ContainerNetwork = |text| {
        let plain = |c: char| c.is_ascii_alphanumeric() || "_.-:=,/".contains(c);
        if text.len() <= 256 && text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.chars().all(plain) {
            return Ok(());
        }
        Err(Flaw::new(format!("`{}` names no network", shorten(text))))
    };
}

text! {
    /// The name of a variable of the environment.
    "the name of an environment variable"
    pub struct EnvironmentName = |text| {
        let good = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if text.len() <= 256 && text.starts_with(|c: char| good(c) && !c.is_ascii_digit()) && text.chars().all(good) {
            return Ok(());
        }
        Err(Flaw::new(format!("`{}` cannot be the name of an environment variable", shorten(text))))
    }, pattern r"^[A-Za-z_][A-Za-z0-9_]*$";
}

text! {
    /// A text of one line.
    "a text of one line"
    pub struct OneLine = |text| {
        if text.len() > 4096 || text.chars().any(|c| c.is_control() && c != '\t') {
            return Err(Flaw::new("the text has more than one line, or more than 4096 characters"));
        }
        Ok(())
    };
}

mapping! {
    /// How a container is run from boot on.
    "the settings of a container that is run"
    pub struct RunContainer {
        /// Ports of the node that lead into it: `8080:80`.
        publish: Vec<At<PublishedPorts>>,
        /// Folders and volumes of the node that it sees: `/srv/web:/usr/share/nginx/html:ro`. A named volume lives on the data
        /// partition; a folder must be there at boot.
        volumes: Vec<At<VolumeMount>>,
        /// Variables of its environment.
        environment: Named<EnvironmentName, At<OneLine>>,
        /// Words of its command, instead of the image's own.
        command: Vec<At<OneLine>>,
        /// Its network. Default: Podman's bridge.
        network: Option<At<ContainerNetwork>>,
        /// Devices of the node that it may use.
        devices: Vec<At<ContainerDevice>>,
    }
}

mapping! {
    /// An image of a container.
    "the image of a container"
    pub struct Container {
        /// The image in its registry. The lock pins it by its digest, for the board's architecture.
        image: Option<At<ImageReference>>,
        /// A file that it comes from instead, relative to this file: of `docker save`, of `podman save`, an OCI archive or an OCI
        /// layout's folder. If it holds several images, `image` says which.
        archive: Option<At<String>>,
        /// Runs it from boot on, as the systemd service of its name. Without it the image is there for `podman run`.
        run: Option<RunContainer>,
    }
}
