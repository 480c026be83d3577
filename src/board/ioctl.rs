//! What the Linux kernel is asked for that no safe interface has: a partition's new size, a mounted ext4's new size, a clock
//! that is sped up for a while, the addresses of its interfaces. Nothing else is here.

#![expect(
    unsafe_code,
    reason = "ioctl and adjtimex take pointers; each call passes one to a local value that outlives it"
)]

use std::ffi::{CStr, c_int, c_longlong, c_void};
use std::fs::File;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsRawFd;

/// linux/blkpg.h
const BLKPG: u64 = 0x1269;
const BLKPG_RESIZE_PARTITION: c_int = 3;
/// linux/ext4.h: `_IOW('f', 16, __u64)`
const EXT4_IOC_RESIZE_FS: u64 = 0x4008_6610;

/// linux/blkpg.h: `struct blkpg_partition`
#[repr(C)]
struct Partition {
    start: c_longlong,
    length: c_longlong,
    number: c_int,
    device_name: [u8; 64],
    volume_name: [u8; 64],
}

/// linux/blkpg.h: `struct blkpg_ioctl_arg`
#[repr(C)]
struct Order {
    op: c_int,
    flags: c_int,
    length: c_int,
    data: *mut c_void,
}

/// Tells the kernel where a partition lies now, in octets; it may be mounted.
pub(super) fn resize_partition(disk: &File, number: u8, start: u64, length: u64) -> io::Result<()> {
    let size = |octets: u64| c_longlong::try_from(octets).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput));
    let mut partition = Partition {
        start: size(start)?,
        length: size(length)?,
        number: c_int::from(number),
        device_name: [0; 64],
        volume_name: [0; 64],
    };
    let data = (&raw mut partition).cast::<c_void>();
    let length = c_int::try_from(size_of::<Partition>()).unwrap_or(c_int::MAX);
    let mut order = Order { op: BLKPG_RESIZE_PARTITION, flags: 0, length, data };
    // SAFETY: the kernel reads `order` and `partition`, laid out as its headers say, and keeps neither.
    check(unsafe { libc::ioctl(disk.as_raw_fd(), BLKPG as _, &raw mut order) })
}

/// Grows the mounted ext4 that `mounted` is open on to so many blocks; as many as it has is no failure.
pub(super) fn grow_ext4(mounted: &File, blocks: u64) -> io::Result<()> {
    let mut blocks = blocks;
    // SAFETY: the kernel reads one 64-bit number and keeps no pointer.
    check(unsafe { libc::ioctl(mounted.as_raw_fd(), EXT4_IOC_RESIZE_FS as _, &raw mut blocks) })
}

/// Speeds the system's clock up or slows it down until it has gained or lost this much; half a second takes a quarter of an
/// hour.
pub(super) fn slew(offset_us: i64) -> io::Result<()> {
    // SAFETY: a `timex` of zeros is a valid one, of which the kernel is told to read the offset alone; it keeps no pointer.
    check(unsafe {
        let mut order: libc::timex = std::mem::zeroed();
        order.modes = libc::ADJ_OFFSET_SINGLESHOT;
        order.offset = libc::c_long::try_from(offset_us).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
        // It answers the clock's state, and that may be "not synchronised".
        libc::adjtimex(&raw mut order).min(0)
    })
}

/// An address of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Local {
    /// The interface's number.
    pub(super) interface: u32,
    pub(super) address: IpAddr,
    /// Bits that the addresses of its network have in common.
    pub(super) prefix: u32,
}

impl Local {
    /// Whether a datagram from there came over its network.
    pub(super) fn has(&self, from: SocketAddr) -> bool {
        let same =
            |one: u128, other: u128, bits: u32| bits == 0 || (one ^ other) >> (bits - self.prefix.min(bits)) == 0;
        match (self.address, from) {
            (IpAddr::V4(ours), SocketAddr::V4(from)) => same(ours.to_bits().into(), from.ip().to_bits().into(), 32),
            (IpAddr::V6(ours), SocketAddr::V6(from)) => {
                let is_here = !from.ip().is_unicast_link_local() || from.scope_id() == self.interface;
                is_here && same(ours.to_bits(), from.ip().to_bits(), 128)
            }
            _ => false,
        }
    }
}

/// The addresses of all interfaces that are up and take multicasts, or of the one that is named.
pub(super) fn local_addresses(only: Option<&str>) -> io::Result<Vec<Local>> {
    const WANTED: u32 = (libc::IFF_UP | libc::IFF_RUNNING | libc::IFF_MULTICAST) as u32;
    const UNWANTED: u32 = (libc::IFF_LOOPBACK | libc::IFF_POINTOPOINT) as u32;
    let mut locals = Vec::new();
    // SAFETY: getifaddrs sets `list` to a list that is ours until freeifaddrs; its pointers are null or valid until then, and
    // an address has the layout that its family says.
    unsafe {
        let mut list: *mut libc::ifaddrs = std::ptr::null_mut();
        check(libc::getifaddrs(&raw mut list))?;
        let mut next = list;
        while let Some(entry) = next.as_ref() {
            next = entry.ifa_next;
            let name = CStr::from_ptr(entry.ifa_name).to_string_lossy();
            let flags = entry.ifa_flags;
            let is_wanted = match only {
                Some(only) => name == only,
                None => flags & WANTED == WANTED && flags & UNWANTED == 0,
            };
            if let Some(address) = ip(entry.ifa_addr).filter(|_| is_wanted) {
                let prefix = match ip(entry.ifa_netmask) {
                    Some(IpAddr::V4(mask)) => mask.to_bits().leading_ones(),
                    Some(IpAddr::V6(mask)) => mask.to_bits().leading_ones(),
                    None => continue,
                };
                locals.push(Local { interface: libc::if_nametoindex(entry.ifa_name), address, prefix });
            }
        }
        libc::freeifaddrs(list);
    }
    Ok(locals)
}

/// The address behind the pointer, if it is one of IP.
///
/// # Safety
/// The pointer is null, or valid for what its family says.
unsafe fn ip(address: *const libc::sockaddr) -> Option<IpAddr> {
    // SAFETY: as the caller promises.
    unsafe {
        match i32::from(address.as_ref()?.sa_family) {
            libc::AF_INET => Some(
                Ipv4Addr::from(address.cast::<libc::sockaddr_in>().read_unaligned().sin_addr.s_addr.to_ne_bytes())
                    .into(),
            ),
            libc::AF_INET6 => {
                Some(Ipv6Addr::from(address.cast::<libc::sockaddr_in6>().read_unaligned().sin6_addr.s6_addr).into())
            }
            _ => None,
        }
    }
}

fn check(answer: c_int) -> io::Result<()> {
    if answer == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_a_loopback_address_and_knows_its_network() {
        let locals = local_addresses(Some("lo")).unwrap();
        let loopback = locals.iter().find(|local| local.address.is_ipv4()).unwrap();
        assert_eq!((loopback.address.to_string().as_str(), loopback.prefix), ("127.0.0.1", 8));
        assert!(loopback.interface > 0);
        assert!(loopback.has("127.3.2.1:5353".parse().unwrap()) && !loopback.has("192.0.2.1:5353".parse().unwrap()));
        assert!(local_addresses(None).unwrap().iter().all(|local| !local.address.is_loopback()));
    }
}
