//! Orders to the Linux kernel that no safe interface has: a partition's new size, a mounted ext4's new size, a clock that is
//! sped up for a while. Nothing else is here.

#![expect(
    unsafe_code,
    reason = "ioctl and adjtimex take pointers; each call passes one to a local value that outlives it"
)]

use std::ffi::{c_int, c_longlong, c_void};
use std::fs::File;
use std::io;
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

fn check(answer: c_int) -> io::Result<()> {
    if answer == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
