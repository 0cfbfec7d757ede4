//! What the machine's apt is told about proxies (apt.conf(5), apt-transport-http(1)).

use std::collections::BTreeMap;
use std::io::Read;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A command that finds the proxy gets this long.
const DETECTION_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of its answer that are read.
const ANSWER_LIMIT: u64 = 4096;
/// Bytes of apt's configuration that are read.
const DUMP_LIMIT: u64 = 4 << 20;

/// Settings below `Acquire::`, by name in lower case: names of apt's options have no case.
#[derive(Debug, Default)]
pub(super) struct AptSettings(BTreeMap<String, String>);

/// What apt would do for a host.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum AptProxy {
    /// Apt says nothing about it.
    Unset,
    Direct,
    /// A proxy, and the option that names it.
    Proxy {
        address: String,
        origin: String,
    },
}

impl AptSettings {
    /// Those of this machine; none where there is no apt.
    pub(super) fn of_machine() -> AptSettings {
        let command = Command::new("apt-config").arg("dump").stdin(Stdio::null()).stderr(Stdio::null()).output();
        let dump = command.map(|output| output.stdout).unwrap_or_default();
        let mut text = String::new();
        let _ = (&dump[..]).take(DUMP_LIMIT).read_to_string(&mut text);
        AptSettings::parse(&text)
    }

    /// Lines of `apt-config dump`: `Name::Of::Option "value";`.
    pub(super) fn parse(dump: &str) -> AptSettings {
        let settings = dump.lines().filter_map(|line| {
            let (name, value) = line.trim().split_once(' ')?;
            let value = value.trim().strip_suffix(';')?.trim().strip_prefix('"')?.strip_suffix('"')?;
            let name = name.to_ascii_lowercase();
            (name.starts_with("acquire::") && !value.is_empty()).then(|| (name, value.to_owned()))
        });
        AptSettings(settings.collect())
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.get(&format!("acquire::{}", name.to_ascii_lowercase())).map(String::as_str)
    }

    /// Files with certificates of authorities for `https://`.
    pub(super) fn authorities(&self) -> Vec<PathBuf> {
        self.get("https::CaInfo").map(PathBuf::from).into_iter().collect()
    }

    /// As apt's method for `http` and `https` decides: the host's own setting, the command that detects one, the general
    /// setting. What is not set for `https` is that of `http`.
    ///
    /// # Errors
    /// A command that fails.
    pub(super) fn proxy(&self, scheme: &str, host: &str) -> Result<AptProxy, String> {
        let schemes: &[&str] = if scheme == "https" { &["https", "http"] } else { &["http"] };
        let of = |end: &str| {
            schemes.iter().find_map(|scheme| {
                let name = format!("{scheme}::{end}");
                self.get(&name).map(|value| (format!("apt's Acquire::{name}"), value.to_owned()))
            })
        };
        let decided = |(origin, value): (String, String)| match value.trim().to_ascii_lowercase().as_str() {
            "direct" | "false" => AptProxy::Direct,
            _ => AptProxy::Proxy { address: value.trim().to_owned(), origin },
        };
        if let Some(own) = of(&format!("Proxy::{host}")) {
            return Ok(decided(own));
        }
        if let Some((origin, command)) = of("Proxy-Auto-Detect").or_else(|| of("ProxyAutoDetect")) {
            let answer = detect(&command, &format!("{scheme}://{host}/")).map_err(|why| format!("{origin}: {why}"))?;
            if let Some(answer) = answer {
                return Ok(decided((format!("{origin} ({command})"), answer)));
            }
        }
        Ok(of("Proxy").map_or(AptProxy::Unset, decided))
    }
}

/// Asks the command that the machine's administrator named, as apt does; `None` if it knows nothing.
fn detect(command: &str, url: &str) -> Result<Option<String>, String> {
    let failed = |why: String| format!("the command {command:?} that finds a proxy {why}");
    let spawned = Command::new(command).arg(url).stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
    let mut child = spawned.map_err(|error| failed(format!("cannot be run: {error}")))?;
    let output = child.stdout.take();
    let reader = std::thread::spawn(move || {
        let mut answer = Vec::new();
        let _ = output.map(|output| output.take(ANSWER_LIMIT).read_to_end(&mut answer));
        answer
    });
    if !ends_in_time(&mut child) {
        let _ = child.kill().and_then(|()| child.wait());
        return Err(failed(format!("gave no answer in {} s", DETECTION_TIMEOUT.as_secs())));
    }
    let answer = reader.join().unwrap_or_default();
    let answer = String::from_utf8_lossy(&answer);
    // The newer form lists several; the first is the best.
    let first = answer.lines().next().unwrap_or_default().trim().to_owned();
    Ok(Some(first).filter(|first| !first.is_empty()))
}

fn ends_in_time(child: &mut Child) -> bool {
    let start = Instant::now();
    while start.elapsed() < DETECTION_TIMEOUT {
        match child.try_wait() {
            Ok(None) => std::thread::sleep(Duration::from_millis(10)),
            _ => return true,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxy(address: &str, origin: &str) -> AptProxy {
        AptProxy::Proxy { address: address.to_owned(), origin: format!("apt's Acquire::{origin}") }
    }

    #[test]
    fn apts_settings_count_as_apt_counts_them() {
        let settings = AptSettings::parse(
            "APT \"\";\nAcquire::http::Proxy \"http://cache:3142\";\nAcquire::http::proxy::Own.test \"DIRECT\";\n\
             Acquire::HTTPS::Proxy::tls.test \"http://tls:1\";\nAcquire::https::CaInfo \"/etc/ours.pem\";\nbroken\n",
        );
        assert_eq!(settings.proxy("http", "deb.test").unwrap(), proxy("http://cache:3142", "http::Proxy"));
        assert_eq!(settings.proxy("https", "deb.test").unwrap(), proxy("http://cache:3142", "http::Proxy"));
        assert_eq!(settings.proxy("http", "own.test").unwrap(), AptProxy::Direct);
        assert_eq!(settings.proxy("https", "tls.test").unwrap(), proxy("http://tls:1", "https::Proxy::tls.test"));
        assert_eq!(settings.authorities(), [PathBuf::from("/etc/ours.pem")]);
        let off = AptSettings::parse("Acquire::http::Proxy \"false\";");
        assert_eq!(off.proxy("http", "deb.test").unwrap(), AptProxy::Direct);
        assert_eq!(AptSettings::default().proxy("http", "deb.test").unwrap(), AptProxy::Unset);
    }

    #[test]
    fn a_command_that_detects_the_proxy_is_asked() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let script = dir.path().join("detect");
        std::fs::write(&script, "#!/bin/sh\ncase $1 in *known*) echo http://found:8000;; *own*) echo DIRECT;; esac\n")
            .unwrap();
        std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
        let dump = format!(
            "Acquire::http::Proxy-Auto-Detect \"{}\";\nAcquire::http::Proxy \"http://general:1\";\n",
            script.display()
        );
        let settings = AptSettings::parse(&dump);
        let AptProxy::Proxy { address, origin } = settings.proxy("http", "known.test").unwrap() else { panic!() };
        assert!(address == "http://found:8000" && origin.contains("Proxy-Auto-Detect"), "{address} {origin}");
        assert_eq!(settings.proxy("http", "own.test").unwrap(), AptProxy::Direct);
        assert_eq!(settings.proxy("http", "other.test").unwrap(), proxy("http://general:1", "http::Proxy"));
        let missing = AptSettings::parse("Acquire::http::Proxy-Auto-Detect \"/nonexistent\";");
        let error = missing.proxy("http", "deb.test").unwrap_err();
        assert!(error.contains("Proxy-Auto-Detect") && error.contains("/nonexistent"), "{error}");
    }
}
