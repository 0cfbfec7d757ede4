//! Whether the default gateway answers to ping (ICMP echo, RFC 792 and RFC 4443).

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, ipproto, recv, sendto, socket_with};

/// Most bytes of a routing table that are read.
const TABLE_MAX: usize = 256 << 10;
/// Most gateways that are asked.
const GATEWAYS_MAX: usize = 8;
/// `RTF_UP | RTF_GATEWAY` (include/uapi/linux/route.h).
const UP_GATEWAY: u32 = 0x3;
/// Between two questions to one gateway.
const AGAIN: Duration = Duration::from_secs(1);

const ECHO_REQUEST_4: u8 = 8;
const ECHO_REPLY_4: u8 = 0;
const ECHO_REQUEST_6: u8 = 128;
const ECHO_REPLY_6: u8 = 129;

/// Waits for an answer of any gateway.
pub fn reach(routes: &Path, time: Duration) -> Result<(), String> {
    let end = Instant::now() + time;
    let gateways = gateways(routes);
    if gateways.is_empty() {
        return Err("there is no default gateway".into());
    }
    let share = time / u32::try_from(gateways.len()).unwrap_or(1).max(1);
    let mut names = Vec::new();
    for gateway in gateways {
        let until = (Instant::now() + share).min(end);
        match ping(gateway, until) {
            Ok(true) => return Ok(()),
            Ok(false) => names.push(gateway.ip().to_string()),
            Err(error) => names.push(format!("{}: {error}", gateway.ip())),
        }
    }
    Err(format!("the gateway does not answer: {}", names.join(", ")))
}

/// Default gateways of both protocols, as the kernel's tables have them.
fn gateways(routes: &Path) -> Vec<SocketAddr> {
    let table = |name: &str| {
        let mut text = fs::read_to_string(routes.join(name)).unwrap_or_default();
        text.truncate(text.floor_char_boundary(TABLE_MAX));
        text
    };
    let mut found: Vec<SocketAddr> = table("route").lines().filter_map(gateway_4).collect();
    found.extend(table("ipv6_route").lines().filter_map(gateway_6));
    found.truncate(GATEWAYS_MAX);
    found
}

/// `Iface Destination Gateway Flags …`, addresses as hexadecimal numbers of this machine's byte order.
fn gateway_4(line: &str) -> Option<SocketAddr> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let [_, "00000000", gateway, flags, ..] = fields[..] else { return None };
    let flags = u32::from_str_radix(flags, 16).ok()?;
    let address = Ipv4Addr::from(u32::from_str_radix(gateway, 16).ok()?.to_ne_bytes());
    (flags & UP_GATEWAY == UP_GATEWAY && !address.is_unspecified()).then_some(SocketAddr::new(IpAddr::V4(address), 0))
}

/// `destination length source length gateway metric … flags interface`.
fn gateway_6(line: &str) -> Option<SocketAddr> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let [destination, "00", _, _, gateway, _, _, _, flags, interface] = fields[..] else { return None };
    let flags = u32::from_str_radix(flags, 16).ok()?;
    let address = Ipv6Addr::from(u128::from_str_radix(gateway, 16).ok()?);
    if !destination.trim_matches('0').is_empty() || flags & UP_GATEWAY != UP_GATEWAY || address.is_unspecified() {
        return None;
    }
    // An address of the link says nothing without its interface.
    let index = fs::read_to_string(Path::new("/sys/class/net").join(interface).join("ifindex"));
    let scope = index.ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0);
    Some(SocketAddr::V6(SocketAddrV6::new(address, 0, 0, scope)))
}

/// A socket for pings: the kind that any user of the right group may have, else a raw one. Whether it is raw.
fn open(gateway: SocketAddr) -> io::Result<(OwnedFd, bool)> {
    let (family, protocol) = match gateway {
        SocketAddr::V4(_) => (AddressFamily::INET, ipproto::ICMP),
        SocketAddr::V6(_) => (AddressFamily::INET6, ipproto::ICMPV6),
    };
    let open = |kind| socket_with(family, kind, SocketFlags::CLOEXEC, Some(protocol));
    match open(SocketType::DGRAM) {
        Ok(socket) => Ok((socket, false)),
        Err(_) => Ok((open(SocketType::RAW)?, true)),
    }
}

/// Type, code, checksum, identifier, sequence number, and bytes to know the answer by.
fn request(kind: u8, sequence: u16, mark: u32) -> [u8; 12] {
    let mut packet = [0; 12];
    packet[0] = kind;
    packet[4..6].copy_from_slice(&(mark as u16).to_be_bytes());
    packet[6..8].copy_from_slice(&sequence.to_be_bytes());
    packet[8..].copy_from_slice(&mark.to_be_bytes());
    // RFC 1071. For ICMPv6 the kernel puts in its own, which covers addresses too.
    let mut sum: u32 = packet.chunks_exact(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    packet[2..4].copy_from_slice(&(!(sum as u16)).to_be_bytes());
    packet
}

fn is_answer(packet: &[u8], kind: u8, mark: u32) -> bool {
    packet.first() == Some(&kind) && packet.get(8..12) == Some(&mark.to_be_bytes()[..])
}

fn ping(gateway: SocketAddr, until: Instant) -> io::Result<bool> {
    let (socket, raw) = open(gateway)?;
    let mark = std::process::id() ^ (until.saturating_duration_since(Instant::now()).subsec_nanos());
    let (ask, reply) = match gateway {
        SocketAddr::V4(_) => (ECHO_REQUEST_4, ECHO_REPLY_4),
        SocketAddr::V6(_) => (ECHO_REQUEST_6, ECHO_REPLY_6),
    };
    for sequence in 0.. {
        if Instant::now() >= until {
            break;
        }
        sendto(&socket, &request(ask, sequence, mark), SendFlags::NOSIGNAL, &gateway)?;
        let again = until.min(Instant::now() + AGAIN);
        loop {
            let left = again.saturating_duration_since(Instant::now());
            let left = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() };
            let mut waited = [PollFd::new(&socket, PollFlags::IN)];
            match poll(&mut waited, Some(&left)) {
                Ok(0) => break,
                Ok(_) => {}
                Err(rustix::io::Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            }
            let mut packet = [0; 256];
            let (count, _) = recv(&socket, &mut packet[..], RecvFlags::DONTWAIT)?;
            let mut packet = &packet[..count.min(256)];
            // A raw IPv4 socket gives the head of the packet too; its length is in words of 4 bytes.
            if raw && gateway.is_ipv4() {
                let head = usize::from(packet.first().unwrap_or(&0) & 0xf) * 4;
                packet = packet.get(head..).unwrap_or_default();
            }
            if is_answer(packet, reply, mark) {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gateways_are_found_in_the_kernels_tables() {
        let folder = tempfile::tempdir().unwrap();
        let gateway = format!("{:08X}", u32::from_ne_bytes([10, 0, 2, 2]));
        let table = format!(
            "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\n\
             eth0\t00000000\t{gateway}\t0003\t0\t0\t1024\t00000000\n\
             eth0\t0002000A\t00000000\t0001\t0\t0\t1024\t00FFFFFF\n"
        );
        fs::write(folder.path().join("route"), table).unwrap();
        let zero = "0".repeat(32);
        let table = format!(
            "{zero} 00 {zero} 00 fe800000000000000000000000000001 00000400 00000001 00000000 00000003 lo\n\
             fe800000000000000000000000000000 40 {zero} 00 {zero} 00000100 00000001 00000000 00000001 lo\n\
             {zero} 00 {zero} 00 {zero} ffffffff 00000001 00000000 00200200 lo\n"
        );
        fs::write(folder.path().join("ipv6_route"), table).unwrap();
        let found = gateways(folder.path());
        assert_eq!(found.len(), 2, "{found:?}");
        assert_eq!(found[0].ip().to_string(), "10.0.2.2");
        assert_eq!(found[1].ip().to_string(), "fe80::1");
        let SocketAddr::V6(six) = found[1] else { panic!() };
        assert_eq!(six.scope_id(), 1, "lo is the first interface");
    }

    #[test]
    fn without_a_route_there_is_no_gateway() {
        let folder = tempfile::tempdir().unwrap();
        assert!(reach(folder.path(), Duration::from_millis(10)).unwrap_err().contains("no default gateway"));
    }

    #[test]
    fn a_machine_that_is_there_answers() {
        let until = || Instant::now() + Duration::from_secs(20);
        assert!(ping("127.0.0.1:0".parse().unwrap(), until()).unwrap());
    }

    #[test]
    fn no_answer_but_the_own_one_counts() {
        let mark = 0x1234_5678;
        let answer = request(ECHO_REPLY_4, 1, mark);
        assert!(is_answer(&answer, ECHO_REPLY_4, mark));
        assert!(!is_answer(&answer, ECHO_REPLY_4, mark + 1), "to another program");
        assert!(!is_answer(&request(ECHO_REQUEST_4, 1, mark), ECHO_REPLY_4, mark), "the question itself");
        for cut in 0..answer.len() {
            assert!(!is_answer(&answer[..cut], ECHO_REPLY_4, mark));
        }
        assert!(!ping("127.0.0.1:0".parse().unwrap(), Instant::now()).unwrap(), "no time to answer");
    }

    #[test]
    fn checksums_are_those_of_the_specification() {
        let packet = request(ECHO_REQUEST_4, 1, 0x1234_5678);
        let sum: u32 = packet.chunks_exact(2).map(|p| u32::from(u16::from_be_bytes([p[0], p[1]]))).sum();
        assert_eq!((sum & 0xffff) + (sum >> 16), 0xffff, "the sum over all, checksum included, is all ones");
    }
}
