//! Which signatures count. Keys and signatures are made by GnuPG, with its clock set as each case needs.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use fruit_debian::Keyring;
use fruit_debian::keyring::Clock;
use fruit_debian::release::Release;
use proptest::prelude::*;

/// 2026-01-01 00:00:00 UTC.
const NOW: i64 = 1_767_225_600;
const DAY: i64 = 86_400;

const RELEASE: &str = "Origin: Test\nSuite: stable\nCodename: trixie\nDate: Wed, 31 Dec 2025 12:00:00 UTC\n\
    Valid-Until: Wed, 07 Jan 2026 12:00:00 UTC\nArchitectures: all arm64\nComponents: main\nAcquire-By-Hash: yes\n\
    No-Support-for-Architecture-all: Packages\nDescription: - a dash\nSHA256:\n \
    e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855 0 main/binary-arm64/Packages\n";

struct Gpg {
    home: tempfile::TempDir,
}

impl Gpg {
    fn new() -> Gpg {
        let home = tempfile::tempdir().unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        fs::set_permissions(home.path(), mode).unwrap();
        Gpg { home }
    }

    /// Runs GnuPG at a moment, with `input`.
    fn run(&self, at: i64, args: &[&str], input: &str) -> Vec<u8> {
        let mut child = Command::new("gpg")
            .arg("--homedir")
            .arg(self.home.path())
            .args(["--batch", "--quiet", "--yes", "--pinentry-mode=loopback", "--passphrase="])
            // `!`: the clock stands still, however long gpg takes.
            .arg(format!("--faked-system-time={at}!"))
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("this test needs GnuPG: install the Debian package gpg");
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "gpg {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }

    /// Makes a key `name` that may do `usage`, for `life` (`0` is for ever).
    fn key(&self, at: i64, name: &str, usage: &str, life: &str) {
        self.run(at, &["--quick-gen-key", name, "ed25519", usage, life], "");
    }

    fn fingerprint(&self, name: &str) -> String {
        let text = String::from_utf8(self.run(NOW, &["--with-colons", "--list-keys", name], "")).unwrap();
        let line = text.lines().find(|line| line.starts_with("fpr:")).unwrap();
        line.split(':').nth(9).unwrap().to_owned()
    }

    fn sign(&self, at: i64, name: &str, text: &str) -> Vec<u8> {
        self.run(at, &["--digest-algo=SHA512", "--local-user", name, "--clearsign"], text)
    }

    fn ring(&self) -> Keyring {
        Keyring::parse(&self.run(NOW, &["--export"], ""), "the test's keyring").unwrap()
    }
}

impl Drop for Gpg {
    fn drop(&mut self) {
        let _ = Command::new("gpgconf").arg("--homedir").arg(self.home.path()).args(["--kill", "all"]).status();
    }
}

fn clock(now: i64) -> Clock {
    Clock { now, allow_expired: false }
}

fn refused(ring: &Keyring, message: &[u8], now: i64) -> String {
    Release::verify(message, ring, clock(now), "test InRelease").unwrap_err().to_string()
}

#[test]
fn a_good_signature_gives_the_signed_text() {
    let gpg = Gpg::new();
    gpg.key(NOW - 30 * DAY, "a", "sign", "0");
    let message = gpg.sign(NOW - DAY, "a", RELEASE);
    let release = Release::verify(&message, &gpg.ring(), clock(NOW), "t").unwrap();
    assert_eq!((release.codename.as_deref(), release.by_hash), (Some("trixie"), true));
    assert_eq!(release.file("main/binary-arm64/Packages").unwrap().size, 0);
    release.check_suite("trixie").unwrap();
    release.check_suite("stable").unwrap();
    let other = release.check_suite("bookworm").unwrap_err().to_string();
    assert!(other.contains("expected bookworm, found trixie or stable"), "{other}");
    // An armoured keyring is as good.
    let armoured = gpg.run(NOW, &["--armor", "--export"], "");
    let ring = Keyring::parse(&armoured, "armoured").unwrap();
    assert_eq!(ring.fingerprints().collect::<Vec<_>>(), [gpg.fingerprint("a")]);
    Release::verify(&message, &ring, clock(NOW), "t").unwrap();
}

#[test]
fn a_subkey_may_sign() {
    let gpg = Gpg::new();
    gpg.key(NOW - 30 * DAY, "a", "cert", "0");
    let primary = gpg.fingerprint("a");
    gpg.run(NOW - 29 * DAY, &["--quick-add-key", &primary, "ed25519", "sign", "0"], "");
    let message = gpg.sign(NOW - DAY, "a", RELEASE);
    Release::verify(&message, &gpg.ring(), clock(NOW), "t").unwrap();
}

#[test]
fn an_altered_text_is_refused() {
    let gpg = Gpg::new();
    gpg.key(NOW - 30 * DAY, "a", "sign", "0");
    let message = String::from_utf8(gpg.sign(NOW - DAY, "a", RELEASE)).unwrap();
    let message = message.replace("arm64/Packages", "arm64/Malware_");
    assert!(refused(&gpg.ring(), message.as_bytes(), NOW).contains("bad signature"));
}

#[test]
fn text_around_the_signed_one_is_refused() {
    let gpg = Gpg::new();
    gpg.key(NOW - 30 * DAY, "a", "sign", "0");
    let message = String::from_utf8(gpg.sign(NOW - DAY, "a", RELEASE)).unwrap();
    for wrapped in
        [format!("Package: evil\n{message}"), format!("{message}\nPackage: evil\n"), format!("{message}{message}")]
    {
        assert!(refused(&gpg.ring(), wrapped.as_bytes(), NOW).contains("not one OpenPGP cleartext-signed message"));
    }
}

#[test]
fn a_key_that_is_not_in_the_ring_does_not_count() {
    let (gpg, other) = (Gpg::new(), Gpg::new());
    gpg.key(NOW - 30 * DAY, "a", "sign", "0");
    other.key(NOW - 30 * DAY, "b", "sign", "0");
    let text = refused(&gpg.ring(), &other.sign(NOW - DAY, "b", RELEASE), NOW);
    assert!(text.contains(&other.fingerprint("b")) && text.contains("not in the keyring"), "{text}");
    // One good signature among others suffices.
    let both = Gpg::new();
    both.key(NOW - 30 * DAY, "a", "sign", "0");
    let ring = both.ring();
    both.key(NOW - 30 * DAY, "b", "sign", "0");
    let message = both.run(NOW - DAY, &["--digest-algo=SHA512", "-u", "a", "-u", "b", "--clearsign"], RELEASE);
    Release::verify(&message, &ring, clock(NOW), "t").unwrap();
}

#[test]
fn an_expired_key_counts_only_where_expired_metadata_is_allowed() {
    let gpg = Gpg::new();
    gpg.key(NOW - 30 * DAY, "a", "sign", "10d");
    let message = gpg.sign(NOW - 25 * DAY, "a", &RELEASE.replace("Valid-Until", "X-Until"));
    assert!(refused(&gpg.ring(), &message, NOW).contains("the key expired on Fri, 12 Dec 2025"));
    Release::verify(&message, &gpg.ring(), Clock { now: NOW, allow_expired: true }, "t").unwrap();
}

#[test]
fn a_revoked_key_never_counts() {
    let gpg = Gpg::new();
    gpg.key(NOW - 30 * DAY, "a", "sign", "0");
    let message = gpg.sign(NOW - DAY, "a", RELEASE);
    let revocation: PathBuf = gpg.home.path().join("openpgp-revocs.d").join(format!("{}.rev", gpg.fingerprint("a")));
    let text = fs::read_to_string(revocation).unwrap().replace(":-----BEGIN", "-----BEGIN");
    gpg.run(NOW, &["--import"], &text);
    assert!(refused(&gpg.ring(), &message, NOW).contains("the key is revoked"));
    let lenient = Clock { now: NOW, allow_expired: true };
    assert!(Release::verify(&message, &gpg.ring(), lenient, "t").is_err());
}

#[test]
fn a_revoked_subkey_never_counts() {
    let gpg = Gpg::new();
    gpg.key(NOW - 30 * DAY, "a", "cert", "0");
    let primary = gpg.fingerprint("a");
    gpg.run(NOW - 29 * DAY, &["--quick-add-key", &primary, "ed25519", "sign", "0"], "");
    let message = gpg.sign(NOW - DAY, "a", RELEASE);
    gpg.run(NOW, &["--command-fd=0", "--edit-key", &primary], "key 1\nrevkey\ny\n0\n\ny\nsave\n");
    assert!(refused(&gpg.ring(), &message, NOW).contains("the subkey is revoked"));
}

#[test]
fn weak_digests_do_not_count() {
    let gpg = Gpg::new();
    gpg.key(NOW - 30 * DAY, "a", "sign", "0");
    let weak = ["--allow-weak-digest-algos", "--digest-algo=SHA1", "--local-user", "a", "--clearsign"];
    let message = gpg.run(NOW - DAY, &weak, RELEASE);
    assert!(refused(&gpg.ring(), &message, NOW).contains("digest weaker than SHA-256"));
}

#[test]
fn a_key_may_have_signed_itself_with_an_old_digest() {
    let gpg = Gpg::new();
    let old =
        ["--allow-weak-key-signatures", "--cert-digest-algo=SHA1", "--quick-gen-key", "a", "rsa2048", "sign", "0"];
    gpg.run(NOW - 30 * DAY, &old, "");
    Release::verify(&gpg.sign(NOW - DAY, "a", RELEASE), &gpg.ring(), clock(NOW), "t").unwrap();
}

#[test]
fn metadata_has_its_time() {
    let gpg = Gpg::new();
    gpg.key(NOW - 30 * DAY, "a", "sign", "0");
    let message = gpg.sign(NOW - DAY, "a", RELEASE);
    let late = refused(&gpg.ring(), &message, NOW + 10 * DAY);
    assert!(late.contains("valid until Wed, 07 Jan 2026 12:00:00 UTC") && late.contains("snapshot"), "{late}");
    Release::verify(&message, &gpg.ring(), Clock { now: NOW + 10 * DAY, allow_expired: true }, "t").unwrap();
    assert!(refused(&gpg.ring(), &message, NOW - 20 * DAY).contains("signed in the future"));
    let limited = gpg.run(NOW - DAY, &["--default-sig-expire=2d", "-u", "a", "--clearsign"], RELEASE);
    assert!(refused(&gpg.ring(), &limited, NOW + 3 * DAY).contains("the signature expired"));
}

#[test]
fn a_signed_text_that_is_no_release_file_is_refused() {
    let gpg = Gpg::new();
    gpg.key(NOW - 30 * DAY, "a", "sign", "0");
    for (text, why) in [
        ("hello\n".to_owned(), "no ':'"),
        (RELEASE.replace("07 Jan", "07 Foo"), "check_valid_until: false"),
        (RELEASE.replace("SHA256:", "SHA1:"), "has no field SHA256: only SHA1"),
    ] {
        let message = refused(&gpg.ring(), &gpg.sign(NOW - DAY, "a", &text), NOW);
        assert!(message.contains(why), "{message}");
    }
}

#[test]
fn odd_dates_are_taken_from_the_signature_and_odd_lines_passed_over() {
    let gpg = Gpg::new();
    gpg.key(NOW - 30 * DAY, "a", "sign", "0");
    for text in [RELEASE.replace("Date: Wed", "Dated: Wed"), RELEASE.replace("31 Dec", "31 Foo")] {
        let release = Release::verify(&gpg.sign(NOW - DAY, "a", &text), &gpg.ring(), clock(NOW), "t").unwrap();
        assert_eq!((release.date, release.warnings.len()), (NOW - DAY, 1), "{:?}", release.warnings);
    }
    let odd = RELEASE.replace(" 0 main", " zero main");
    let release = Release::verify(&gpg.sign(NOW - DAY, "a", &odd), &gpg.ring(), clock(NOW), "t").unwrap();
    assert!(release.file("main/binary-arm64/Packages").is_none());
}

#[test]
fn a_clock_that_is_wrong_is_shown() {
    let gpg = Gpg::new();
    gpg.key(NOW - 30 * DAY, "a", "sign", "0");
    let message = refused(&gpg.ring(), &gpg.sign(NOW - DAY, "a", RELEASE), 100);
    assert!(message.contains("the clock of this machine shows Thu, 01 Jan 1970 00:01:40 UTC"), "{message}");
}

#[test]
fn one_good_signature_suffices_whatever_the_others_are() {
    let gpg = Gpg::new();
    gpg.key(NOW - 30 * DAY, "a", "sign", "0");
    gpg.key(NOW - 30 * DAY, "b", "sign", "0");
    let detached = |name: &str, text: &str| {
        gpg.run(NOW - DAY, &["--digest-algo=SHA512", "--local-user", name, "--detach-sign"], text)
    };
    let (good, bad) = (detached("a", RELEASE), detached("b", "another text"));
    let verify =
        |signature: &[u8]| Release::verify_detached(RELEASE.as_bytes(), signature, &gpg.ring(), clock(NOW), "t");
    let unknown = [0xc2, 0x03, 99, 1, 2]; // a signature packet of version 99
    for signature in [[&bad[..], &good].concat(), [&good[..], &bad].concat(), [&unknown[..], &good].concat()] {
        verify(&signature).unwrap();
    }
    for signature in [&bad[..], &unknown, b"", b"hello"] {
        let message = verify(signature).unwrap_err().to_string();
        assert!(message.contains("none of its signatures counts"), "{message}");
    }
}

#[test]
fn the_keys_that_come_with_the_program_are_those_of_the_archive() {
    let ring = Keyring::debian_archive().unwrap();
    let keys: Vec<String> = ring.fingerprints().collect();
    // The automatic signing keys of bookworm (12) and trixie (13), as ftp-master publishes them.
    for known in ["B8B80B5B623EAB6AD8775C45B7C5D7D6350947F8", "04B54C3CDCA79751B16BC6B5225629DF75B188BD"] {
        assert!(keys.iter().any(|k| k == known), "{known} not in {keys:?}");
    }
}

#[test]
fn what_is_no_keyring_is_refused() {
    for bad in [&b""[..], b"hello", b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nnonsense\n", &[0x99, 0xff, 0xff, 1, 2]] {
        let message = Keyring::parse(bad, "some.gpg").unwrap_err().to_string();
        assert!(message.starts_with("some.gpg: "), "{message}");
    }
}

#[test]
fn files_of_keys_are_taken_as_people_have_them_and_others_are_named() {
    let gpg = Gpg::new();
    gpg.key(NOW - 30 * DAY, "a", "sign", "0");
    gpg.key(NOW - 30 * DAY, "b", "sign", "0");
    let armoured = |name: &str| String::from_utf8(gpg.run(NOW, &["--armor", "--export", name], "")).unwrap();
    let (a, b) = (armoured("a"), armoured("b"));
    let count = |text: &str| Keyring::parse(text.as_bytes(), "k").unwrap().fingerprints().count();
    assert_eq!(count(&format!("{b}{a}")), 2);
    assert_eq!(count(&format!("pub ed25519 Case\n\n{a}\nthe other:\n{b}end\n")), 2);
    assert_eq!(count(&a.replace('\n', "\r\n")), 1);
    assert_eq!(count(&format!("<pre>\n{a}</pre>")), 1);
    let home = gpg.home.path();
    let keybox = fs::read(home.join("pubring.kbx")).unwrap();
    let secret = gpg.run(NOW, &["--export-secret-keys", "a"], "");
    let armoured_secret = gpg.run(NOW, &["--armor", "--export-secret-keys", "a"], "");
    let signature = gpg.run(NOW, &["--armor", "--detach-sign"], "x");
    for (bytes, what) in [
        (&keybox[..], "is a GnuPG keybox, the form of GnuPG's own database; export its keys"),
        (b"<!DOCTYPE html><p>not found", "is a web page"),
        (b"\n<html>", "is a web page"),
        (b"{\"error\": 404}", "JSON"),
        (b"", "is empty"),
        (b"ssh-ed25519 AAAA me", "an SSH key"),
        (b"-----BEGIN CERTIFICATE-----\n", "PEM"),
        (&secret, "private key"),
        (&armoured_secret, "private key"),
        (&signature, "is a signature"),
        (b"hello", "no public key in it"),
    ] {
        let message = Keyring::parse(bytes, "some.gpg").unwrap_err().to_string();
        assert!(message.starts_with("some.gpg: ") && message.contains(what), "{what}: {message}");
    }
}

proptest! {
    #[test]
    fn any_bytes_as_a_signed_message_or_keyring_fail_cleanly(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let ring = Keyring::debian_archive().unwrap();
        prop_assert!(Release::verify(&bytes, &ring, clock(NOW), "t").is_err());
        let armoured = [b"-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\n".to_vec(), bytes.clone()].concat();
        prop_assert!(Release::verify(&armoured, &ring, clock(NOW), "t").is_err());
        let _ = Keyring::parse(&bytes, "t");
    }
}
