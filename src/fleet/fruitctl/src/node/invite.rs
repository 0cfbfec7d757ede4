//! `fruitctl node invite`

use crate::failure::{Code, Failure};
use crate::fleet::{Moment, Opened, Options, Signer, at, cover, domain, scopes, set_clock, shown, usage};
use crate::output::print;
use clap::Args;
use fruit_base::{Replace, replace_with};
use fruit_record::body::{Admission, Body, Grant, Operator};
use fruit_record::wire::sorted;
use fruit_record::{Class, Draft, Head, Invite, KeyId, Labels, Name, Record};
use fruit_release::keys::SecretKey;
use qrcode::render::unicode::Dense1x2;
use qrcode::{EcLevel, QrCode};
use serde_json::{Value, json};
use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

#[derive(Args)]
pub struct InviteArgs {
    /// Number of invites.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    count: u32,
    /// Nodes that each of them is good for; 0: any number.
    #[arg(long, default_value_t = 1)]
    uses: u64,
    /// Labels that the nodes get, such as `site=berlin,rack=1`.
    #[arg(long, default_value = "", hide_default_value = true, value_name = "KEY=VALUE,…")]
    labels: Labels,
    /// Labels that an operator must have in the scope to approve the nodes, such as `site=berlin`: some of --labels. Without it:
    /// those that you have in your own.
    #[arg(long, value_name = "KEY=VALUE,…")]
    domain: Option<Labels>,
    /// When they end: 30d, 12h, 2027-01-31 or never.
    #[arg(long, default_value = "30d", value_name = "TIME")]
    expires: Moment,
    /// Nodes need nobody's approval: an operator's machine that hears of them takes them in (`fruitctl sync` and `serve`).
    #[arg(long)]
    auto: bool,
    /// Serial number of a board that may use them; repeatable. Without it: any board.
    #[arg(long = "serial", value_name = "SERIAL")]
    serials: Vec<String>,
    /// Print each as a QR code as well, for the camera of a telephone.
    #[arg(long, conflicts_with = "csv")]
    qr: bool,
    /// Write them to this CSV file (number, id, invite), which only you can read.
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
}

impl InviteArgs {
    pub fn run(self, options: &Options) -> Result<(), Failure> {
        if let Some(path) = self.csv.as_deref().filter(|path| path.symlink_metadata().is_ok()) {
            let message = "it is there already, and may hold invites that are not used yet; name another file";
            return Err(usage(format!("{}: {message}", path.display())));
        }
        let mut opened = Opened::change(options)?;
        let signer = Signer::new(&opened.store, options)?;
        let operators = signer.operators(&opened)?;
        let domain = self.domain(&operators)?;
        let not_after = self.expires.seconds(set_clock()?);
        // Before anything is signed: an invite that nobody can be given is of no use.
        let csv = self.csv.as_deref().map(Csv::create).transpose()?;
        let grant = Grant {
            uses: self.uses,
            admission: if self.auto { Admission::Auto } else { Admission::Pending },
            labels: self.labels.clone(),
            serials: sorted(self.serials.iter().cloned()),
        };
        let (mut secrets, mut drafts) = (Vec::new(), Vec::new());
        for _ in 0..self.count {
            let seed = SecretKey::random_seed();
            let secret = *seed.map_err(|error| Failure::new(Code::Refused, error.to_string()))?;
            let public = SecretKey::from_seed(&secret).public();
            let id = public.as_ed25519().copied().map(KeyId).unwrap_or(KeyId([0; 32]));
            let next = opened.replica.next(Class::Invite, domain.clone(), Name::Id(id));
            drafts.push(Draft::new(Head { not_after, ..next }, Body::Invite(grant.clone()))?);
            secrets.push(secret);
        }
        let keys: Vec<KeyId> = operators.iter().map(|operator| operator.key).collect();
        let signed = signer.sign(&opened.id(), &drafts, &keys)?;
        let mut invites = Vec::new();
        for (secret, bytes) in secrets.into_iter().zip(&signed) {
            opened.take(bytes)?;
            let invite = opened.replica.trust().invite(secret, Record::parse(bytes)?);
            invites.push(invite.map_err(|error| Failure::new(Code::Refused, error.to_string()))?);
        }
        // Before they are handed out: an invite that is not known here could not be revoked.
        opened.save()?;
        self.hand_out(&invites, csv, options, not_after)
    }

    fn domain(&self, operators: &[Operator]) -> Result<Labels, Failure> {
        let Some(wanted) = &self.domain else { return domain(operators, &self.labels) };
        if !self.labels.contain(wanted) {
            return Err(usage(format!("--domain {wanted}: these are not all among --labels {}", self.labels)));
        }
        if !cover(operators, wanted) {
            let message = format!("--domain {wanted} is outside the scope of who signs ({})", scopes(operators));
            return Err(Failure::new(Code::Untrusted, message));
        }
        Ok(wanted.clone())
    }

    fn hand_out(
        &self,
        invites: &[Invite],
        csv: Option<Csv<'_>>,
        options: &Options,
        not_after: u64,
    ) -> Result<(), Failure> {
        if let Some(csv) = csv {
            let path = csv.path;
            let line = |(at, invite): (usize, &Invite)| format!("{},{},{}\n", at + 1, invite.id(), invite.to_text());
            let lines: String = invites.iter().enumerate().map(line).collect();
            let text = format!("number,id,invite\n{lines}");
            csv.write(&text)?;
            options.say(format_args!("{}: {} invites, which end: {}", path.display(), invites.len(), shown(not_after)));
        }
        if options.json {
            let one = |invite: &Invite| {
                let text = self.csv.is_none().then(|| invite.to_text());
                json!({"id": invite.id().to_string(), "invite": text, "uses": self.uses, "expires": (not_after != 0).then(|| shown(not_after))})
            };
            print(format_args!("{:#}", Value::from(invites.iter().map(one).collect::<Vec<_>>())));
        } else if self.csv.is_none() {
            for invite in invites {
                print(format_args!("{}", invite.to_text()));
                if self.qr {
                    print(format_args!("{}", qr(&invite.to_text())?));
                }
            }
        }
        Ok(())
    }
}

/// A QR code for a terminal, two rows of it in each line.
fn qr(text: &str) -> Result<String, Failure> {
    let code = QrCode::with_error_correction_level(text, EcLevel::L)
        .map_err(|error| Failure::new(Code::Refused, format!("the invite fits into no QR code: {error}")))?;
    Ok(code.render::<Dense1x2>().dark_color(Dense1x2::Light).light_color(Dense1x2::Dark).build())
}

/// A file that is made before there is anything to write into it, and goes away if there never is.
struct Csv<'p> {
    path: &'p Path,
    written: bool,
}

impl Csv<'_> {
    fn create(path: &Path) -> Result<Csv<'_>, Failure> {
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(at(path))?;
        Ok(Csv { path, written: false })
    }

    fn write(mut self, text: &str) -> Result<(), Failure> {
        replace_with(self.path, text.as_bytes(), Replace { mode: 0o600, durable: true }).map_err(at(self.path))?;
        self.written = true;
        Ok(())
    }
}

impl Drop for Csv<'_> {
    fn drop(&mut self) {
        if !self.written {
            let _ = std::fs::remove_file(self.path);
        }
    }
}
