//! What nodes are to be like.

use fruit_base::Sha256;

use crate::id::KeyId;
use crate::limits::{ENTRIES, NAME, RECIPIENTS, SECRET, TEXT};
use crate::selector::Selector;
use crate::wire::{Content, FieldWriter, Fields, Malformed, Reader, Writer};

/// Nodes under one name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Group {
    pub nodes: Selector,
    pub note: String,
}

/// Settings, as `fruit.yaml` has them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    pub nodes: Selector,
    /// Of two that set the same, the one with the higher rank counts.
    pub rank: u64,
    pub settings: Vec<Setting>,
    pub secrets: Vec<Secret>,
}

/// A setting: its place in `fruit.yaml`, such as `network.wifi.ssid`, and its value.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Setting {
    pub path: String,
    pub value: String,
}

/// A setting that only some nodes can read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Secret {
    pub path: String,
    /// By node: what was sealed to its key. Ascending.
    pub sealed: Vec<(KeyId, Vec<u8>)>,
}

/// A container.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct App {
    pub nodes: Selector,
    pub image: String,
    pub command: Vec<String>,
    /// `HOST:CONTAINER` ports.
    pub publish: Vec<String>,
    /// `NAME:PATH` volumes.
    pub volumes: Vec<String>,
    pub devices: Vec<String>,
    pub environment: Vec<String>,
}

/// A script that runs once on each node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Job {
    pub nodes: Selector,
    pub script: Script,
    /// Nodes that run it at once; 0: any number.
    pub batch: u64,
    /// Seconds that it may run.
    pub limit: u64,
}

/// The text of a script, or the blob that has it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Script {
    Inline(Vec<u8>),
    Blob(Sha256),
}

/// Nodes that keep what they run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Hold {
    pub nodes: Selector,
    pub reason: String,
}

/// Bytes of a sealed secret: an X25519 key, the secret, and a tag.
const SEALED: usize = SECRET + 48;
/// Bytes of a script.
const SCRIPT: usize = 3 << 10;

fn texts(fields: &mut Fields<'_>, tag: u8, what: &'static str) -> Result<Vec<String>, Malformed> {
    fields.list(tag, ENTRIES, what, |r| r.text(TEXT, what))
}

fn put_texts(fields: &mut FieldWriter, tag: u8, texts: &[String]) {
    fields.list(tag, texts, |w, text| w.bytes(text.as_bytes()));
}

impl Content for Group {
    const WHAT: &'static str = "the group";

    fn write(&self, fields: &mut FieldWriter) {
        fields.field(1, |w| self.nodes.write(w));
        fields.raw(2, self.note.as_bytes());
    }

    fn read(fields: &mut Fields<'_>) -> Result<Group, Malformed> {
        let nodes = fields.required(1, "the nodes", Selector::read)?;
        Ok(Group { nodes, note: fields.text(2, TEXT, "the note")? })
    }
}

fn write_secret(w: &mut Writer, secret: &Secret) {
    w.bytes(secret.path.as_bytes());
    w.list(secret.sealed.iter(), |w, (node, sealed)| {
        w.raw(&node.0);
        w.bytes(sealed);
    });
}

fn read_secret(r: &mut Reader<'_>) -> Result<Secret, Malformed> {
    let what = "a secret";
    let path = r.text(NAME, what)?;
    let sealed = r.list(RECIPIENTS, what, |r| Ok((KeyId::read(r)?, r.bytes(SEALED, what)?.to_vec())))?;
    if !sealed.is_sorted_by(|a, b| a.0 < b.0) {
        return Err(Malformed::NotCanonical { what });
    }
    Ok(Secret { path, sealed })
}

impl Content for Config {
    const WHAT: &'static str = "the configuration";

    fn write(&self, fields: &mut FieldWriter) {
        fields.field(1, |w| self.nodes.write(w));
        fields.number(2, self.rank);
        fields.list(3, &self.settings, |w, setting| {
            w.bytes(setting.path.as_bytes());
            w.bytes(setting.value.as_bytes());
        });
        fields.list(4, &self.secrets, write_secret);
    }

    fn read(fields: &mut Fields<'_>) -> Result<Config, Malformed> {
        let config = Config {
            nodes: fields.required(1, "the nodes", Selector::read)?,
            rank: fields.number(2, "the rank")?,
            settings: fields.list(3, 256, "the settings", |r| {
                Ok(Setting { path: r.text(NAME, "a setting")?, value: r.text(1024, "a setting")? })
            })?,
            secrets: fields.list(4, ENTRIES, "the secrets", read_secret)?,
        };
        let settings = config.settings.iter().map(|setting| &setting.path);
        let twice = |paths: Vec<&String>| !paths.is_sorted_by(|a, b| a < b);
        if twice(settings.collect()) || twice(config.secrets.iter().map(|secret| &secret.path).collect()) {
            return Err(Malformed::NotCanonical { what: "the settings" });
        }
        Ok(config)
    }
}

impl Content for App {
    const WHAT: &'static str = "the app";

    fn write(&self, fields: &mut FieldWriter) {
        fields.field(1, |w| self.nodes.write(w));
        fields.raw(2, self.image.as_bytes());
        put_texts(fields, 3, &self.command);
        put_texts(fields, 4, &self.publish);
        put_texts(fields, 5, &self.volumes);
        put_texts(fields, 6, &self.devices);
        put_texts(fields, 7, &self.environment);
    }

    fn read(fields: &mut Fields<'_>) -> Result<App, Malformed> {
        let app = App {
            nodes: fields.required(1, "the nodes", Selector::read)?,
            image: fields.text(2, TEXT, "the image")?,
            command: texts(fields, 3, "the command")?,
            publish: texts(fields, 4, "the ports")?,
            volumes: texts(fields, 5, "the volumes")?,
            devices: texts(fields, 6, "the devices")?,
            environment: texts(fields, 7, "the environment")?,
        };
        if app.image.is_empty() { Err(Malformed::Missing { what: "the image" }) } else { Ok(app) }
    }
}

impl Content for Job {
    const WHAT: &'static str = "the job";

    fn write(&self, fields: &mut FieldWriter) {
        fields.field(1, |w| self.nodes.write(w));
        match &self.script {
            Script::Inline(text) => fields.raw(2, text),
            Script::Blob(digest) => fields.raw(3, &digest.0),
        }
        fields.number(4, self.batch);
        fields.number(5, self.limit);
    }

    fn read(fields: &mut Fields<'_>) -> Result<Job, Malformed> {
        let nodes = fields.required(1, "the nodes", Selector::read)?;
        let what = "the script";
        let here = fields.optional(2, what, |r| {
            let found = r.rest().len() as u64;
            if found > SCRIPT as u64 {
                return Err(Malformed::TooMany { what, found, limit: SCRIPT });
            }
            r.take(r.rest().len(), what)
        })?;
        let blob = fields.optional(3, what, |r| r.array(what))?;
        let script = match (here, blob) {
            (Some(text), None) => Script::Inline(text.to_vec()),
            (None, Some(digest)) => Script::Blob(Sha256(digest)),
            _ => return Err(Malformed::Missing { what }),
        };
        Ok(Job { nodes, script, batch: fields.number(4, "the batch")?, limit: fields.number(5, "the limit")? })
    }
}

impl Content for Hold {
    const WHAT: &'static str = "the hold";

    fn write(&self, fields: &mut FieldWriter) {
        fields.field(1, |w| self.nodes.write(w));
        fields.raw(2, self.reason.as_bytes());
    }

    fn read(fields: &mut Fields<'_>) -> Result<Hold, Malformed> {
        let nodes = fields.required(1, "the nodes", Selector::read)?;
        Ok(Hold { nodes, reason: fields.text(2, TEXT, "the reason")? })
    }
}
