//! The few system calls that have no safe wrapper.
#![allow(unsafe_code)]

use bytes::BytesMut;
use rustix::net::RecvFlags;
use rustix::process::Pid;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, IntoRawFd};

/// The descriptor behind one of glommio's sockets, which offer only `AsRawFd`.
pub(super) fn borrow(stream: &impl AsRawFd) -> BorrowedFd<'_> {
    // SAFETY: glommio's streams own their descriptor and keep it open until they are dropped, and the result borrows the
    // stream, so it cannot outlive it.
    unsafe { BorrowedFd::borrow_raw(stream.as_raw_fd()) }
}

/// Hands a socket over to the glommio executor of this thread.
pub(super) fn adopt(stream: std::os::unix::net::UnixStream) -> glommio::net::UnixStream {
    // SAFETY: `into_raw_fd` gives up ownership, so the new stream is the only owner of a descriptor that is open.
    unsafe { glommio::net::UnixStream::from_raw_fd(stream.into_raw_fd()) }
}

/// Receives at most `at_most` bytes into the spare capacity of `buffer`, which it never grows. 0 is the end of the stream.
pub(super) fn receive(
    fd: BorrowedFd<'_>,
    buffer: &mut BytesMut,
    at_most: usize,
    flags: RecvFlags,
) -> rustix::io::Result<usize> {
    let spare = buffer.spare_capacity_mut();
    let room = spare.len().min(at_most);
    let received = {
        let ((filled, _), _) = rustix::net::recv(fd, &mut spare[..room], flags)?;
        filled.len()
    };
    // SAFETY: the kernel has just written `received` bytes at the start of the spare capacity.
    unsafe { buffer.set_len(buffer.len() + received) };
    Ok(received)
}

/// SO_RCVLOWAT: the socket counts as readable only from this many bytes on (or at its end, or when its buffer is full).
pub(super) fn set_low_mark(fd: BorrowedFd<'_>, bytes: usize) -> io::Result<()> {
    let value = libc::c_int::try_from(bytes).unwrap_or(libc::c_int::MAX);
    // SAFETY: the pointer is to a live `c_int` and the length says so; the descriptor is open for the whole call.
    let failed = unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_RCVLOWAT,
            (&raw const value).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if failed == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Sends a signal to one thread of this process. One that has ended takes none.
pub(super) fn interrupt(thread: Pid, signal: i32) {
    // SAFETY: the call touches no memory of ours; what the signal does is what its handler does.
    let _ = unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), thread.as_raw_nonzero().get(), signal) };
}

/// Asks the kernel for a ring and gives it back: can this process use io_uring at all?
pub(super) fn probe_io_uring() -> io::Result<()> {
    // `struct io_uring_params` is 120 bytes, all zero for a plain ring.
    let mut params = [0u64; 15];
    // SAFETY: the kernel reads and writes 120 bytes at the pointer, which is exactly what is there.
    let fd = unsafe { libc::syscall(libc::SYS_io_uring_setup, 1, params.as_mut_ptr()) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call above has just opened this descriptor, and nobody else knows it.
    drop(unsafe { std::os::fd::OwnedFd::from_raw_fd(fd as libc::c_int) });
    Ok(())
}
