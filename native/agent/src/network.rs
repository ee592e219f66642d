//! Addresses and routes, by netlink (rtnetlink(7)).
use crate::failure::{Because, Failure, Result, shown};
use crate::message::Network;
use crate::sys;
use std::io;
use std::net::IpAddr;
use std::os::fd::OwnedFd;

const FAILED: &str = "NETWORK_FAILED";
const LOOPBACK: &str = "lo";
const DEVICE: &str = "eth0";

/// From linux/if_addr.h, linux/if_link.h and linux/rtnetlink.h.
const IFLA_MTU: u16 = 4;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
/// Nobody else is in this network: an address needs no proof that it is free.
const IFA_F_NODAD: u8 = 2;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;

struct Request {
    message: Vec<u8>,
}

impl Request {
    fn new(kind: u16, flags: i32, header: &[u8]) -> Self {
        let flags = (libc::NLM_F_REQUEST | libc::NLM_F_ACK | flags) as u16;
        let mut message = vec![0; 4];
        message.extend_from_slice(&kind.to_ne_bytes());
        message.extend_from_slice(&flags.to_ne_bytes());
        message.extend_from_slice(&[0; 8]);
        message.extend_from_slice(header);
        Self { message }
    }

    fn attribute(mut self, kind: u16, value: &[u8]) -> Self {
        self.message.extend_from_slice(&(4 + value.len() as u16).to_ne_bytes());
        self.message.extend_from_slice(&kind.to_ne_bytes());
        self.message.extend_from_slice(value);
        self.message.resize(self.message.len().next_multiple_of(4), 0);
        self
    }

    fn send(mut self, socket: &OwnedFd) -> io::Result<()> {
        let length = self.message.len() as u32;
        self.message[..4].copy_from_slice(&length.to_ne_bytes());
        let mut answer = [0; 4096];
        let count = sys::netlink_ask(socket, &self.message, &mut answer)?;
        // An acknowledgement: the header, then the error's number, negative.
        let error = answer[..count].get(16..20).and_then(|bytes| bytes.try_into().ok()).map(i32::from_ne_bytes);
        match error {
            Some(0) => Ok(()),
            Some(number) => Err(io::Error::from_raw_os_error(-number)),
            None => Err(io::ErrorKind::InvalidData.into()),
        }
    }
}

fn octets(address: IpAddr) -> (u8, Vec<u8>) {
    match address {
        IpAddr::V4(address) => (libc::AF_INET as u8, address.octets().to_vec()),
        IpAddr::V6(address) => (libc::AF_INET6 as u8, address.octets().to_vec()),
    }
}

fn index_of(device: &str) -> Option<u32> {
    std::fs::read_to_string(format!("/sys/class/net/{device}/ifindex")).ok()?.trim_end().parse().ok()
}

fn bring_up(socket: &OwnedFd, index: u32, mtu: Option<u32>) -> io::Result<()> {
    let mut header = vec![0; 4];
    header.extend_from_slice(&index.to_ne_bytes());
    let up = libc::IFF_UP as u32;
    header.extend_from_slice(&up.to_ne_bytes());
    header.extend_from_slice(&up.to_ne_bytes());
    let mut request = Request::new(libc::RTM_NEWLINK, 0, &header);
    if let Some(mtu) = mtu {
        request = request.attribute(IFLA_MTU, &mtu.to_ne_bytes());
    }
    request.send(socket)
}

fn add_address(socket: &OwnedFd, index: u32, text: &str) -> Result<()> {
    let parsed = text.split_once('/').and_then(|(address, prefix)| {
        let address: IpAddr = address.parse().ok()?;
        let prefix: u8 = prefix.parse().ok()?;
        (prefix <= if address.is_ipv4() { 32 } else { 128 }).then_some((address, prefix))
    });
    let (address, prefix) =
        parsed.ok_or_else(|| Failure::new(FAILED, format!("{text} is no address with a prefix")))?;
    let (family, octets) = octets(address);
    let mut header = vec![family, prefix, IFA_F_NODAD, 0];
    header.extend_from_slice(&index.to_ne_bytes());
    let request = Request::new(libc::RTM_NEWADDR, libc::NLM_F_CREATE | libc::NLM_F_REPLACE, &header);
    let request = request.attribute(IFA_LOCAL, &octets).attribute(IFA_ADDRESS, &octets);
    request.send(socket).because(FAILED, || format!("{text} cannot be an address of the machine"))
}

fn add_default_route(socket: &OwnedFd, index: u32, text: &str) -> Result<()> {
    let gateway: IpAddr = text.parse().because(FAILED, || format!("{text} is no address"))?;
    let (family, octets) = octets(gateway);
    let (table, protocol, scope, kind) =
        (libc::RT_TABLE_MAIN, libc::RTPROT_BOOT, libc::RT_SCOPE_UNIVERSE, libc::RTN_UNICAST);
    let header = [family, 0, 0, 0, table, protocol, scope, kind, 0, 0, 0, 0];
    let request = Request::new(libc::RTM_NEWROUTE, libc::NLM_F_CREATE | libc::NLM_F_REPLACE, &header);
    let request = request.attribute(RTA_GATEWAY, &octets).attribute(RTA_OIF, &index.to_ne_bytes());
    request.send(socket).because(FAILED, || format!("{text} cannot be the gateway of the machine"))
}

/// Loopback always; the device when it is given a network. Every user may listen on any port: the machine is the workload's.
pub fn set_up(network: Option<&Network>) -> Result<()> {
    let socket = sys::netlink_socket().because(FAILED, || "no netlink socket".into())?;
    let loopback = index_of(LOOPBACK).ok_or_else(|| Failure::new(FAILED, "there is no loopback"))?;
    bring_up(&socket, loopback, None).because(FAILED, || "loopback cannot be brought up".into())?;
    std::fs::write("/proc/sys/net/ipv4/ip_unprivileged_port_start", "0")
        .because(FAILED, || "ports below 1024 cannot be opened to every user".into())?;
    let Some(network) = network else { return Ok(()) };
    let device = index_of(DEVICE).ok_or_else(|| Failure::new(FAILED, "the machine has no network device"))?;
    bring_up(&socket, device, Some(network.mtu)).because(FAILED, || format!("{DEVICE} cannot be brought up"))?;
    network.addresses.iter().try_for_each(|address| add_address(&socket, device, &shown(address)))?;
    network.gateways.iter().try_for_each(|gateway| add_default_route(&socket, device, &shown(gateway)))
}
