//! Homes with routers of all kinds around a public network, in network namespaces: nothing leaves this machine.

use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::process::{Command, Stdio};

/// Set for the process within the namespaces of the laboratory.
const INSIDE: &str = "FRUITCTL_TEST_LAB";
/// The public network, and what stands there.
pub const PUBLIC: &str = "203.0.113.10";

/// What a home's router does. RFC 4787 says what each means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Router {
    /// It only routes.
    Open,
    /// One outer port for each inner one, open to everybody.
    FullCone,
    /// One outer port for each inner one, open to whom the inside has sent something.
    RestrictedCone,
    /// Another outer port for each destination.
    Symmetric,
    /// Nothing but TCP.
    TcpOnly,
}

/// A home: its number is in its addresses and in the names of its namespaces, `rN` for the router and `hN` for the host.
#[derive(Clone, Copy, Debug)]
pub struct Home(pub u8);

impl Home {
    pub fn host(self) -> String {
        format!("h{}", self.0)
    }

    pub fn router(self) -> String {
        format!("r{}", self.0)
    }
}

/// Runs `test` again within namespaces of its own, unless this is there already. Whether it is.
#[track_caller]
pub fn enter(test: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    let mut command = Command::new("unshare");
    // Root needs no user namespace, and some systems keep them from others.
    let root = std::fs::metadata("/proc/self").unwrap().uid() == 0;
    let user: &[&str] = if root { &[] } else { &["--user", "--map-root-user"] };
    command.args(user).args(["--net", "--mount", "--"]).arg(std::env::current_exe().unwrap());
    let status = command.args(["--exact", test, "--nocapture"]).env(INSIDE, "1").status();
    let status = status.unwrap_or_else(|_| panic!("unshare is missing: apt install util-linux"));
    assert!(status.success(), "{test} in namespaces of its own: {status}");
    false
}

/// A command within a namespace.
pub fn inside(namespace: &str, command: &Command) -> Command {
    let mut entered = Command::new("nsenter");
    entered.arg(format!("--net=/run/netns/{namespace}")).arg("--").arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => entered.env(name, value),
            None => entered.env_remove(name),
        };
    }
    if let Some(folder) = command.get_current_dir() {
        entered.current_dir(folder);
    }
    entered.stdin(Stdio::null());
    entered
}

#[track_caller]
fn tool(package: &str, command: &mut Command, input: &str) {
    let program = command.get_program().to_string_lossy().into_owned();
    let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = child.unwrap_or_else(|_| panic!("{program} is missing: apt install {package}"));
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Commands of `ip`, one in each line, in a namespace; in the public one without.
#[track_caller]
pub fn ip(namespace: Option<&str>, lines: &str) {
    let plain = Command::new("ip");
    let mut command = namespace.map_or_else(|| Command::new("ip"), |namespace| inside(namespace, &plain));
    tool("iproute2", command.args(["-batch", "-"]), lines);
}

/// Rules of nftables in a namespace.
#[track_caller]
pub fn rules(namespace: &str, text: &str) {
    tool("nftables", inside(namespace, &Command::new("nft")).args(["-f", "-"]), text);
}

/// What a host sends over an interface takes its time: so many Mbit/s.
#[track_caller]
pub fn slow(namespace: &str, interface: &str, rate: u32) {
    let mut command = inside(namespace, &Command::new("tc"));
    let words = format!("qdisc add dev {interface} root tbf rate {rate}mbit burst 16k latency 100ms");
    tool("iproute2", command.args(words.split(' ')), "");
}

fn forward(namespace: Option<&str>) {
    let plain = Command::new("sh");
    let mut command = namespace.map_or_else(|| Command::new("sh"), |namespace| inside(namespace, &plain));
    tool("util-linux", command.args(["-c", "echo 1 > /proc/sys/net/ipv4/ip_forward"]), "");
}

/// The public network.
pub fn build() {
    tool("mount", Command::new("mount").args(["-t", "tmpfs", "lab", "/run"]), "");
    ip(None, &format!("link set lo up\nlink add pub type bridge\nlink set pub up\naddr add {PUBLIC}/24 dev pub\n"));
    forward(None);
}

/// A home on the public network, or within another home's network.
pub fn home(home: Home, router: Router, within: Option<Home>) {
    let (n, r, h) = (home.0, home.router(), home.host());
    ip(None, &format!("netns add {r}\nnetns add {h}\n"));
    let (outer, way) = match within {
        None => {
            ip(None, &format!("link add w{n} type veth peer name wan netns {r}\nlink set w{n} master pub up\n"));
            (format!("203.0.113.{n}/24"), PUBLIC.to_owned())
        }
        Some(Home(m)) => {
            let line = format!("link add w{n} type veth peer name wan netns {r}\nlink set w{n} master lan up\n");
            ip(Some(&format!("r{m}")), &line);
            (format!("10.{m}.0.{n}/24"), format!("10.{m}.0.1"))
        }
    };
    let lines = format!(
        "link set lo up\nlink set wan up\naddr add {outer} dev wan\nroute add default via {way}\n\
         link add lan type bridge\nlink set lan up\naddr add 10.{n}.0.1/24 dev lan\n"
    );
    ip(Some(&r), &lines);
    forward(Some(&r));
    ip(Some(&h), "link set lo up\n");
    plug(home, home, "eth0", 2);
    ip(Some(&h), &format!("route add default via 10.{n}.0.1\n"));
    if router == Router::Open {
        ip(None, &format!("route add 10.{n}.0.0/24 via 203.0.113.{n}\n"));
    } else {
        rules(&r, &nat(n, router));
    }
}

/// A cable from the host of `home` to the network of another.
pub fn plug(home: Home, to: Home, interface: &str, address: u8) {
    let (h, m) = (home.host(), to.0);
    let router = to.router();
    let cable = format!("p{}x{address}", home.0);
    ip(
        Some(&router),
        &format!("link add {cable} type veth peer name {interface} netns {h}\nlink set {cable} master lan up\n"),
    );
    ip(Some(&h), &format!("link set {interface} up\naddr add 10.{m}.0.{address}/24 dev {interface}\n"));
}

/// What nobody asked for ends at the router before it has taken a port there, as on real ones.
fn nat(n: u8, router: Router) -> String {
    let masquerade = if router == Router::Symmetric { "masquerade fully-random" } else { "masquerade" };
    let (before, forward) = match router {
        Router::FullCone => {
            (format!("iifname wan udp dport 1024-65535 dnat to 10.{n}.0.2"), "iifname wan ct status dnat accept")
        }
        Router::TcpOnly => (String::new(), "meta l4proto udp drop"),
        _ => (String::new(), ""),
    };
    format!(
        "table ip home {{
          chain before {{ type nat hook prerouting priority dstnat; {before}\n }}
          chain after {{ type nat hook postrouting priority srcnat; ip saddr 10.{n}.0.0/24 oifname wan {masquerade}\n }}
          chain own {{ type filter hook input priority filter; policy accept; iifname wan ct state new drop\n }}
          chain through {{ type filter hook forward priority filter; policy drop; {forward}
            ct state established,related accept
            iifname lan accept
          }}
        }}\n"
    )
}
