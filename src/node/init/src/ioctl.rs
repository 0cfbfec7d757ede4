//! The few `ioctl(2)` calls that fruit-init makes: the only unsafe code of the program.
#![allow(unsafe_code)]

use std::ffi::c_void;
use std::io;
use std::os::fd::AsFd;

use rustix::ioctl::{Ioctl, IoctlOutput, Opcode, Setter, ioctl, opcode};

/// Numbers of device-mapper requests (include/uapi/linux/dm-ioctl.h).
#[derive(Clone, Copy)]
#[repr(u8)]
pub enum DmRequest {
    Create = 3,
    Remove = 4,
    Suspend = 6,
    TableLoad = 9,
}

/// `sizeof(struct dm_ioctl)`: what the request number carries; the real size of the buffer is in its `data_size`.
pub const DM_HEADER: usize = 312;

/// A request whose argument is a whole buffer.
struct OnBuffer<'a> {
    opcode: Opcode,
    buffer: &'a mut [u8],
}

// SAFETY: the pointer is to `buffer`, which lives and is exclusively borrowed for the whole call; every opcode used with
// it (below) reads and writes no more than the buffer's length, which the caller states in it where the kernel asks.
unsafe impl Ioctl for OnBuffer<'_> {
    type Output = ();
    const IS_MUTATING: bool = true;

    fn opcode(&self) -> Opcode {
        self.opcode
    }

    fn as_ptr(&mut self) -> *mut c_void {
        self.buffer.as_mut_ptr().cast()
    }

    unsafe fn output_from_ptr(_: IoctlOutput, _: *mut c_void) -> rustix::io::Result<()> {
        Ok(())
    }
}

/// A device-mapper request. Writes the buffer's length into the `data_size` field of the header before the call.
///
/// # Errors
/// A buffer shorter than the header or longer than 64 KiB, and those of the kernel.
pub fn device_mapper(control: impl AsFd, request: DmRequest, buffer: &mut [u8]) -> io::Result<()> {
    const DATA_SIZE_AT: usize = 12;
    let size = u32::try_from(buffer.len()).ok().filter(|&n| (DM_HEADER..=1 << 16).contains(&(n as usize)));
    let size = size.ok_or_else(|| io::Error::other("a device-mapper request of an impossible size"))?;
    buffer[DATA_SIZE_AT..DATA_SIZE_AT + 4].copy_from_slice(&size.to_ne_bytes());
    let opcode = opcode::read_write::<[u8; DM_HEADER]>(0xfd, request as u8);
    // SAFETY: a device-mapper request reads and writes `data_size` bytes at most (drivers/md/dm-ioctl.c, ctl_ioctl), and
    // that is the buffer's length, set above.
    unsafe { ioctl(control, OnBuffer { opcode, buffer }) }.map_err(Into::into)
}

/// `struct blkpg_partition` (include/uapi/linux/blkpg.h).
#[repr(C)]
struct BlkpgPartition {
    start: i64,
    length: i64,
    number: i32,
    device_name: [u8; 64],
    volume_name: [u8; 64],
}

/// `struct blkpg_ioctl_arg`.
#[repr(C)]
struct BlkpgArgument {
    operation: i32,
    flags: i32,
    length: i32,
    data: *mut BlkpgPartition,
}

/// Tells the kernel the new length of a partition that may be in use (`BLKPG_RESIZE_PARTITION`); bytes.
///
/// # Errors
/// Those of the kernel, and numbers beyond its range.
pub fn resize_partition(disk: impl AsFd, number: u32, start: u64, length: u64) -> io::Result<()> {
    const BLKPG: Opcode = 0x1269;
    const RESIZE_PARTITION: i32 = 3;
    let out_of_range = |_| io::Error::other("a partition beyond what the kernel can address");
    let mut partition = BlkpgPartition {
        start: i64::try_from(start).map_err(out_of_range)?,
        length: i64::try_from(length).map_err(out_of_range)?,
        number: i32::try_from(number).map_err(out_of_range)?,
        device_name: [0; 64],
        volume_name: [0; 64],
    };
    let argument = BlkpgArgument {
        operation: RESIZE_PARTITION,
        flags: 0,
        length: size_of::<BlkpgPartition>() as i32,
        data: &raw mut partition,
    };
    // SAFETY: BLKPG takes a pointer to `struct blkpg_ioctl_arg`, laid out as in C; its `data` points to `partition`, laid
    // out as in C, whose size it states and which outlives the call. The kernel only reads both.
    unsafe { ioctl(disk, Setter::<BLKPG, BlkpgArgument>::new(argument)) }.map_err(Into::into)
}

/// Makes the kernel read the partition table again; fails with `EBUSY` if a partition is in use.
///
/// # Errors
/// Those of the kernel.
pub fn reread_partitions(disk: impl AsFd) -> io::Result<()> {
    const BLKRRPART: Opcode = opcode::none(0x12, 95);
    // SAFETY: BLKRRPART takes no argument.
    unsafe { ioctl(disk, rustix::ioctl::NoArg::<BLKRRPART>::new()) }.map_err(Into::into)
}

/// Grows a mounted ext4 to `blocks` blocks (`EXT4_IOC_RESIZE_FS`). `mounted` is any open file on it.
///
/// # Errors
/// Those of the kernel.
pub fn resize_ext4(mounted: impl AsFd, blocks: u64) -> io::Result<()> {
    const RESIZE_FS: Opcode = opcode::write::<u64>(b'f', 16);
    // SAFETY: EXT4_IOC_RESIZE_FS takes a pointer to a u64, which the kernel only reads.
    unsafe { ioctl(mounted, Setter::<RESIZE_FS, u64>::new(blocks)) }.map_err(Into::into)
}
