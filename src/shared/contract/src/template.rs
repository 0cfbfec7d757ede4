//! The `fruit.yaml` that a fresh image carries: every key explained, all commented out.

/// Text of the template: pure comments, so the image's own settings apply until a person edits it. Lines end with
/// CR LF, because the file is edited with whatever the PC at hand has.
pub fn fruit_yaml_template() -> String {
    TEMPLATE.replace('\n', "\r\n")
}

const TEMPLATE: &str = r##"# Settings of this node. Remove the '#' (and the space after it) in front of what you need, save, put the card back.
# They apply at each boot, before the network comes up. A mistake never stops the boot: it is shown on the console and
# in the journal (journalctl -b -t fruit-init), and everything else still applies. JSON is accepted too.

# Host name. {serial:8}: last 8 characters of the board's serial number; also {serial}, {mac} and {name} (of the image).
# hostname: node-{serial:8}

# Network. Without this, every Ethernet port asks DHCP.
# network:
#   - interface: eth0
#     addresses: [192.168.1.10/24]
#     gateways: [192.168.1.1]
#     dns: [192.168.1.1]
#     search: [example.org]
#   - interface: wlan0
#     dhcp: true

# Wi-Fi.
# wifi:
#   country: DE
#   networks:
#     - ssid: "my network"
#       psk: "its passphrase"
#       hidden: false
#     - ssid: "company"
#       eap:
#         method: peap
#         identity: "ann@example.org"
#         password: "secret"
#         phase2: mschapv2
#         ca_cert: /etc/ssl/certs/ca-certificates.crt

# Public ssh keys that may log in as root, besides those of the image.
# ssh_authorized_keys:
#   - ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f ann@desk

# Password of root for the console, hashed: openssl passwd -6
# root_password_hash: "$6$saltsalt$qFmFH.bQmmtXzyBY0s9v7Oicd2z4XSIecDzlB5KiA2/jctKu9YterLp8wwnSq.qc.eoxqOmSuNp2xS0ktL3nh/"

# timezone: Europe/Berlin

# ntp_servers: [ntp.example.org, 192.168.1.1]

# Keyboard layout of the console.
# keyboard: de(nodeadkeys)

# The operator whom this node obeys: an ed25519 public key (64 hex digits, or a line of OpenSSH).
# operator_key: ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f

# Invite to a fleet: the line that "fruitctl node invite" prints, whole. Whoever reads it can join the fleet.
# invite: fruit1-dGhlIGxpbmUgdGhhdCBmcnVpdGN0bCBub2RlIGludml0ZSBwcmludHNpqT__

# Free labels, to select nodes by.
# labels:
#   rack: "1"
#   role: worker
"##;
