//! Metadata made and signed by python-tuf 7.0.0, the reference implementation: `tests/data/python-tuf`.

use fruit_release::tuf::{Clock, Error, Kind, Role, Time, Trust};

fn file(name: &str) -> Option<Vec<u8>> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/python-tuf/");
    std::fs::read(format!("{folder}{name}")).ok()
}

fn clock(time: &str) -> Clock {
    Clock::Trusted(time.parse::<Time>().unwrap())
}

fn refreshed(clock: Clock) -> Result<Trust, Error> {
    let mut trust = Trust::from_root(&file("1.root.json").unwrap())?;
    let mut refresh = trust.refresh(clock);
    while let Some(want) = refresh.want() {
        refresh.give(file(want.name.strip_prefix("metadata/").unwrap()).as_deref())?;
    }
    Ok(trust)
}

#[test]
fn a_repository_of_python_tuf_verifies() {
    let clock = clock("2027-01-01T00:00:00Z");
    let trust = refreshed(clock).unwrap();
    assert_eq!(trust.root_version(), 2);
    let target = trust.target("a/release.bin", &clock).unwrap();
    let content = file("content").unwrap();
    assert_eq!(target.length(), content.len() as u64);
    assert!(target.file().starts_with("targets/a/") && target.file().ends_with(".release.bin"), "{}", target.file());
    assert_eq!(*target.accept(content.clone()).unwrap(), content);
    let release = target.release().unwrap();
    assert_eq!((release.version.as_str(), release.epoch, release.min_bootloader), ("1.1", 3, 2));
    assert!(matches!(&release.kind, Kind::Delta { from } if from.version == "1.0"));
    assert!(trust.target("other", &clock).unwrap().accept(b"x".to_vec()).is_ok());
}

#[test]
fn it_does_not_when_any_byte_of_it_changes() {
    let content = file("content").unwrap();
    let clock = clock("2027-01-01T00:00:00Z");
    let target = refreshed(clock).unwrap().target("a/release.bin", &clock).unwrap();
    for name in ["1.root.json", "2.root.json", "timestamp.json", "1.snapshot.json", "1.targets.json"] {
        let good = file(name).unwrap();
        for at in (0..good.len()).step_by(7) {
            let mut bad = good.clone();
            bad[at] ^= 1;
            let result = (|| {
                let root = file("1.root.json").unwrap();
                let mut trust = Trust::from_root(if name == "1.root.json" { &bad } else { &root })?;
                let mut refresh = trust.refresh(clock);
                while let Some(want) = refresh.want() {
                    let wanted = want.name.strip_prefix("metadata/").unwrap();
                    refresh.give(if wanted == name { Some(bad.clone()) } else { file(wanted) }.as_deref())?;
                }
                trust.target("a/release.bin", &clock)
            })();
            // A change of white space or of a signature that is not needed is none of what was signed.
            if let Ok(accepted) = result {
                assert_eq!(accepted, target, "byte {at} of {name}");
            }
        }
    }
    assert!(target.accept([&content[..], b"\0"].concat()).is_err());
    assert!(target.accept(content[1..].to_vec()).is_err());
}

#[test]
fn it_does_not_when_it_has_expired() {
    let error = refreshed(clock("2030-01-01T00:00:00Z")).unwrap_err();
    assert!(matches!(error, Error::Expired { role: Role::Root, .. }), "{error}");
    assert!(refreshed(clock("2029-12-31T23:59:59Z")).is_ok());
}
