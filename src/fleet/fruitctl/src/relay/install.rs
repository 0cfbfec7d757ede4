//! The systemd unit of a relay.

use super::RunOptions;
use crate::failure::Failure;
use crate::fleet::{at, usage};
use crate::net::{shown, units, word};
use crate::output::{print, talk};
use clap::Args;
use fruit_base::replace;
use std::path::{Path, PathBuf};

const UNIT: &str = "fruit-relay.service";
/// Where units of the machine are.
const UNITS: &str = "/etc/systemd/system";

/// What a relay of the machine may do. It has a user of its own, who lives as long as the unit runs.
const SYSTEM: &str = "\
DynamicUser=yes
AmbientCapabilities=CAP_NET_BIND_SERVICE
CapabilityBoundingSet=CAP_NET_BIND_SERVICE
ProtectSystem=strict
ProtectHome=yes
PrivateTmp=yes
PrivateDevices=yes
ProtectClock=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectControlGroups=yes
ProtectProc=invisible
LockPersonality=yes
MemoryDenyWriteExecute=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_NETLINK AF_UNIX
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
RemoveIPC=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallErrorNumber=EPERM
UMask=0077
";

#[derive(Args)]
pub struct InstallArgs {
    /// For you, not for the machine: it needs no root, and a port from 1024 on.
    #[arg(long)]
    user: bool,
    /// Print the unit instead of writing it.
    #[arg(long)]
    print: bool,
}

impl InstallArgs {
    pub fn run(&self, options: &RunOptions) -> Result<(), Failure> {
        let text = self.text(options)?;
        if self.print {
            print(format_args!("{}", text.trim_end()));
            return Ok(());
        }
        let folder = if self.user { units()? } else { PathBuf::from(UNITS) };
        std::fs::create_dir_all(&folder).map_err(at(&folder))?;
        let path = folder.join(UNIT);
        replace(&path, text.as_bytes()).map_err(at(&path))?;
        print(format_args!("{}", path.display()));
        let systemctl = if self.user { "systemctl --user" } else { "systemctl" };
        talk(format_args!(
            "start it, now and at each boot: {systemctl} daemon-reload && {systemctl} enable --now {UNIT}"
        ));
        if self.user {
            talk(format_args!("without a session too: loginctl enable-linger"));
        }
        talk(format_args!("what it prints, with its id and certificate: {} -u {UNIT}", self.journal()));
        Ok(())
    }

    fn journal(&self) -> &'static str {
        if self.user { "journalctl --user" } else { "journalctl" }
    }

    fn text(&self, options: &RunOptions) -> Result<String, Failure> {
        if self.user && (1..1024).contains(&options.listen.port()) {
            let message = format!("port {} is for root: name one from 1024 on with --listen", options.listen.port());
            return Err(usage(message));
        }
        let program = std::env::current_exe()?;
        let homes = ["/home", "/root"].map(Path::new);
        if !self.user && homes.iter().any(|home| program.starts_with(home)) {
            let shown = program.display();
            talk(format_args!("note: {shown}: services of the machine do not see homes; move it to /usr/local/bin"));
        }
        let mut command = format!("{} relay --listen {}", shown(&program)?, options.listen);
        command += &format!(" --seed-port {} --connections {}", options.seed_port, options.connections);
        command += &format!(" --rate {} --cache {}", options.rate, options.cache);
        for (id, address) in &options.peers {
            command += &format!(" --peer {}", word(&format!("{id}@{address}"))?);
        }
        let mut more = match (&options.state, self.user) {
            (None, _) => "StateDirectory=fruit-relay\nStateDirectoryMode=0700\n".to_owned(),
            // A user that lives only as long as the unit owns no folder of this machine's.
            (Some(_), false) => {
                return Err(usage("--state is for --user: systemd keeps a service's state in /var/lib/fruit-relay"));
            }
            (Some(folder), true) => {
                command += &format!(" --state {}", shown(folder)?);
                String::new()
            }
        };
        match &options.invite {
            Some(invite) if self.user => command += &format!(" --invite {}", shown(invite)?),
            // Nor can it read root's files: systemd hands it a copy.
            Some(invite) => {
                command += " --invite %d/invite";
                more += &format!("LoadCredential=invite:{}\n", shown(invite)?.trim_matches('"'));
            }
            None => {}
        }
        let (confined, target) = if self.user { ("", "default.target") } else { (SYSTEM, "multi-user.target") };
        Ok(format!(
            "[Unit]\nDescription=Relay and seed of a fleet\nWants=network-online.target\nAfter=network-online.target\n\n\
             [Service]\nExecStart={command}\nRestart=on-failure\nRestartSec=5\n{more}NoNewPrivileges=yes\n\
             LimitNOFILE=65536\nMemoryMax=512M\n{confined}\n\
             [Install]\nWantedBy={target}\n"
        ))
    }
}
