//! `fruitctl fleet init`

use super::folder::{ID, KEYS, RECORDS, create, write_id};
use super::opened::write;
use super::{Opened, Options, Signer, at, usage};
use crate::failure::{Code, Failure};
use crate::output::print;
use clap::Args;
use fruit_base::{NotThreshold, Sha256, Threshold};
use fruit_record::body::{Body, Charter, Operator, Relay, ReleaseRoot};
use fruit_record::wire::sorted;
use fruit_record::{Draft, Head, KeyId, Name, Replica, Roles, Selector, Trust};
use fruit_release::keys::passphrase::ask;
use fruit_release::keys::{Held, KeyStore, Passphrase, SecretKey};
use serde_json::json;
use std::path::Path;

#[derive(Args)]
pub struct InitArgs {
    /// Name of the fleet, and of its folder below ~/.config/fruit/fleets unless --fleet names another one.
    name: String,
    /// How many root keys sign a charter, of how many there are.
    #[arg(long, default_value = "2/3", value_name = "N/M")]
    root: String,
    /// The first operator, who may do everything. Without it: you, by the name of your account.
    #[arg(long, value_name = "NAME")]
    operator: Option<String>,
    /// A key that ssh-agent holds, by its public key file: root-1, root-2, … or the operator's name; repeatable.
    #[arg(long, value_name = "KEY=FILE")]
    agent: Vec<String>,
    /// A key that is somewhere else, by its public key file; repeatable.
    #[arg(long, value_name = "KEY=FILE")]
    elsewhere: Vec<String>,
    /// A product whose releases the nodes accept, and the `1.root.json` of its repository; repeatable.
    #[arg(long, value_name = "PRODUCT=FILE")]
    release: Vec<String>,
    /// A relay, and the SHA-256 of its certificate; repeatable.
    #[arg(long, value_name = "HOST:PORT=SHA256")]
    relay: Vec<String>,
}

fn pair<'t>(option: &'t str, expected: &str) -> Result<(&'t str, &'t str), Failure> {
    option.split_once('=').ok_or_else(|| usage(format!("{option:?}: expected {expected}")))
}

/// The keys of a new fleet, made or noted as they are named.
struct NewKeys<'o> {
    store: KeyStore,
    /// Those that are made already: name, public key file, where it is held.
    given: Vec<(&'o str, &'o Path, Held)>,
    passphrase: Option<Passphrase>,
    options: &'o Options,
}

impl NewKeys<'_> {
    fn key(&mut self, name: &str) -> Result<KeyId, Failure> {
        let entry = match self.given.iter().find(|(of, ..)| *of == name) {
            Some((_, file, held)) => {
                let line = std::fs::read_to_string(file).map_err(at(file))?;
                let noted = self.store.note(name, &line, *held);
                noted.map_err(|error| usage(format!("{}: {error}", file.display())))?
            }
            None => {
                let passphrase = match self.passphrase.take() {
                    Some(passphrase) => passphrase,
                    None => {
                        let asked = ask(self.options.passphrase_file(), "the new keys", true);
                        asked.map_err(|why| Failure::new(Code::Refused, why.to_string()))?
                    }
                };
                let passphrase = self.passphrase.insert(passphrase);
                self.store.make(name, passphrase)?
            }
        };
        let key = entry.public.as_ed25519().copied().map(KeyId);
        key.ok_or_else(|| usage(format!("{name}: only ed25519 keys sign records")))
    }
}

impl InitArgs {
    pub fn run(self, options: &Options) -> Result<(), Failure> {
        let root: Threshold =
            self.root.parse().map_err(|why: NotThreshold| usage(format!("--root {}: {why}", self.root)))?;
        let (threshold, roots) = (u64::from(root.needed), 1..=root.keys);
        let roots: Vec<String> = roots.map(|number| format!("root-{number}")).collect();
        let operator = self.operator_name()?;
        if roots.contains(&operator) {
            return Err(usage(format!(
                "{operator}: this is the name of a root key; name another operator with --operator"
            )));
        }
        let mut given = Vec::new();
        for (list, held) in [(&self.agent, Held::Agent), (&self.elsewhere, Held::Elsewhere)] {
            for option in list {
                let (name, file) = pair(option, "KEY=FILE, such as root-2=yubikey.pub")?;
                if name != operator && !roots.iter().any(|root| root == name) {
                    let names = roots.join(", ");
                    return Err(usage(format!("{name}: the keys of this fleet are called {names} and {operator}")));
                }
                given.push((name, Path::new(file), held));
            }
        }
        let random = SecretKey::random_seed().map_err(|error| Failure::new(Code::Refused, error.to_string()))?;
        let charter = Charter {
            name: self.name.clone(),
            nonce: random.first_chunk().copied().unwrap_or_default(),
            root: Vec::new(),
            threshold,
            operators: Vec::new(),
            rules: Vec::new(),
            releases: self.releases()?,
            relays: self.relays()?,
            seeds: Vec::new(),
        };
        let folder = options.new_folder(&self.name)?;
        let mut id = None;
        create(&folder, options, |beside| {
            let store = KeyStore::open(&beside.join(KEYS))?;
            let mut keys = NewKeys { store, given, passphrase: None, options };
            let root = roots.iter().map(|name| keys.key(name)).collect::<Result<Vec<KeyId>, Failure>>()?;
            let key = keys.key(&operator)?;
            let first =
                Operator { name: operator.clone(), key, roles: Roles::all(), scope: Selector::all(), expires: 0 };
            let charter = Charter { root: sorted(root.iter().copied()), operators: vec![first], ..charter };
            let draft = Draft::new(Head::first(Name::Single), Body::Charter(Box::new(charter)))?;
            let fleet = draft.fleet();
            keys.store.save(None)?;
            let signer = Signer::new(&keys.store, options)?;
            let signed = signer.sign_enough(&fleet, std::slice::from_ref(&draft), &root, threshold)?;
            let first = signed.first().map(Vec::as_slice).unwrap_or_default();
            let trust = Trust::new(fleet, first).map_err(|error| {
                let message = format!(
                    "{error}. Make the fleet where {threshold} of its root keys can sign; keys in ssh-agent (--agent) and in \
                     files (--key-file) do"
                );
                Failure::new(Code::Refused, message)
            })?;
            write(&beside.join(RECORDS), &Replica::new(trust))?;
            write_id(&beside.join(ID), &fleet)?;
            id = Some(fleet);
            Ok(())
        })?;
        let id = id.map(|id| id.to_string()).unwrap_or_default();
        if options.json {
            print(format_args!(
                "{:#}",
                json!({"name": self.name, "id": id, "folder": folder, "operator": operator, "root": roots, "threshold": threshold})
            ));
        } else {
            print(format_args!("fleet {}: {id}", self.name));
            print(format_args!("folder: {}", folder.display()));
            print(format_args!("operator: {operator}"));
        }
        super::show::warn_of_roots(&Opened::at(&folder)?, options);
        Ok(())
    }

    fn operator_name(&self) -> Result<String, Failure> {
        let account = || std::env::var("USER").or_else(|_| std::env::var("LOGNAME")).ok();
        let name = self.operator.clone().or_else(account).unwrap_or_default();
        if fruit_record::wire::is_name(&name) {
            Ok(name)
        } else {
            Err(usage(format!(
                "{name:?} is no name of an operator (letters, digits, `-`, `_` and `.`): name one with --operator"
            )))
        }
    }

    fn releases(&self) -> Result<Vec<ReleaseRoot>, Failure> {
        let read = |option: &String| {
            let (product, file) = pair(option, "PRODUCT=FILE, such as pistack=releases/metadata/1.root.json")?;
            let bytes = super::opened::file(Path::new(file), super::opened::LIMIT)?;
            let root = fruit_release::tuf::Trust::from_root(&bytes);
            root.map_err(|error| Failure::new(Code::Untrusted, format!("{file}: {error}")))?;
            Ok(ReleaseRoot { product: product.to_owned(), root: Sha256::of(&bytes) })
        };
        Ok(sorted(self.release.iter().map(read).collect::<Result<Vec<_>, Failure>>()?))
    }

    fn relays(&self) -> Result<Vec<Relay>, Failure> {
        let read = |text: &String| super::relay::relay(text).map_err(usage);
        Ok(sorted(self.relay.iter().map(read).collect::<Result<Vec<_>, Failure>>()?))
    }
}
