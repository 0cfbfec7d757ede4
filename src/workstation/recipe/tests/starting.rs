//! `fruitbuild init` writes a recipe that passes the check.

use std::path::Path;

use fruit_recipe::{
    Answers, Base, BoardName, HostName, ImageName, InitSystem, Search, SshKey, TimeZone, load, starter,
};

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ0uTQ6NVMmvZaZtSY0aZ2cLbTi/f2bBlTy8AuBT1Dh2 o'brien # at: desk";

#[test]
fn a_started_recipe_passes_the_check_as_it_stands() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..");
    let search = Search {
        recipes: vec![top.join("recipes")],
        boards: vec![top.join("boards")],
        overlays: vec![top.join("overlays")],
    };
    let pistack = Base::Recipe(ImageName::new("pistack").unwrap());
    for (base, keys) in [(Base::Systemd, vec![]), (Base::Minimal, vec![SshKey::new(KEY).unwrap()]), (pistack, vec![])] {
        let answers = Answers {
            name: ImageName::new("rack").unwrap(),
            board: BoardName::new("raspberrypi3").unwrap(),
            base: base.clone(),
            hostname: HostName::new("rack-{serial:8}").unwrap(),
            timezone: TimeZone::new("Europe/London").unwrap(),
            ssh_keys: keys.clone(),
        };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rack.yaml");
        std::fs::write(&path, starter(&answers)).unwrap();
        let recipe = load(&path, &search).unwrap_or_else(|found| panic!("{found}\n{}", starter(&answers)));
        assert_eq!(recipe.hostname.as_str(), "rack-{serial:8}");
        assert_eq!(recipe.board_name, "raspberrypi3");
        let expected = if base == Base::Minimal { InitSystem::Busybox } else { InitSystem::Systemd };
        assert_eq!(recipe.init.value, expected);
        let read: Vec<SshKey> = recipe.users.get("root").unwrap().ssh_keys.iter().map(|k| k.value.clone()).collect();
        assert_eq!(read, keys);
    }
}
