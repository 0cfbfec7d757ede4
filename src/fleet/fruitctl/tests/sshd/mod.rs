//! OpenSSH's own server, in a process that ends with the test, and a key that it takes.

use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::node::until;

pub struct Sshd {
    folder: tempfile::TempDir,
    process: Child,
    pub port: u16,
}

fn tool(name: &str, package: &str) -> Command {
    let found = ["/usr/sbin", "/usr/bin"].map(|folder| Path::new(folder).join(name));
    let found = found.into_iter().find(|path| path.exists());
    // The server starts itself again for each client, by its whole path.
    Command::new(found.unwrap_or_else(|| panic!("{name} is missing: apt install {package}")))
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

impl Sshd {
    pub fn start() -> Sshd {
        let folder = tempfile::tempdir().unwrap();
        for key in ["host", "id"] {
            let made = tool("ssh-keygen", "openssh-client")
                .args(["-q", "-t", "ed25519", "-N", "", "-C", "test", "-f"])
                .arg(folder.path().join(key))
                .status();
            assert!(made.unwrap().success());
        }
        if rustix::process::geteuid().is_root() {
            // As root it wants the folder that its service makes.
            std::fs::create_dir_all("/run/sshd").unwrap();
        }
        let (port, at) = (free_port(), folder.path().display().to_string());
        let config = format!(
            "ListenAddress 127.0.0.1:{port}\nHostKey {at}/host\nAuthorizedKeysFile {at}/id.pub\nPidFile none\nStrictModes no\nUsePAM no\n\
             PasswordAuthentication no\nPermitRootLogin yes\nSubsystem sftp internal-sftp\n"
        );
        std::fs::write(folder.path().join("config"), config).unwrap();
        let mut server = tool("sshd", "openssh-server");
        server.args(["-D", "-e", "-f"]).arg(folder.path().join("config"));
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        let process = server.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().unwrap();
        let sshd = Sshd { folder, process, port };
        until("the ssh server listens", || TcpStream::connect(("127.0.0.1", port)).ok());
        sshd
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The key that it takes.
    pub fn identity(&self) -> String {
        self.path("id").to_str().unwrap().to_owned()
    }
}

/// Who runs the tests: the only account that a server without privileges lets in.
pub fn user() -> String {
    let said = Command::new("id").arg("-un").output().unwrap();
    String::from_utf8(said.stdout).unwrap().trim().to_owned()
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
