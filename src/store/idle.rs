//! Lets a thread's disk accesses wait for everybody else's (ioprio_set(2)). Where the kernel or its scheduler does not know
//! that, nothing happens.

/// IOPRIO_WHO_PROCESS: a thread, 0 for the calling one.
const WHO_PROCESS: libc::c_int = 1;
/// IOPRIO_CLASS_IDLE, in the bits where the class stands.
const CLASS_IDLE: libc::c_int = 3 << 13;

/// The calling thread reads and writes when nobody else does.
pub(crate) fn be_idle() {
    #[expect(unsafe_code, reason = "ioprio_set takes three numbers and touches no memory of ours")]
    // SAFETY: no pointer is passed; a failure only leaves the priority as it was.
    let answer = unsafe { libc::syscall(libc::SYS_ioprio_set, WHO_PROCESS, 0, CLASS_IDLE) };
    if answer != 0 {
        log::debug!("no idle priority for the disk: {}", std::io::Error::last_os_error());
    }
}
