//! Running a program on a frame that a test has made.

use std::io;

/// Runs a classifier on a frame in the kernel (include/uapi/linux/bpf.h).
pub fn test_run(program: i32, frame: &[u8]) -> io::Result<i32> {
    const BPF_PROG_TEST_RUN: libc::c_long = 10;
    #[repr(C)]
    #[derive(Default)]
    struct TestRun {
        program: u32,
        result: u32,
        size_in: u32,
        size_out: u32,
        data_in: u64,
        data_out: u64,
        repeat: u32,
        duration: u32,
        context_size_in: u32,
        context_size_out: u32,
        context_in: u64,
        context_out: u64,
        flags: u32,
        cpu: u32,
        batch_size: u32,
        padding: u32,
    }
    let mut attributes = TestRun {
        program: program as u32,
        size_in: frame.len() as u32,
        data_in: frame.as_ptr().addr() as u64,
        repeat: 1,
        ..TestRun::default()
    };
    // SAFETY: the attributes describe a frame that outlives the call; no output is asked for.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            BPF_PROG_TEST_RUN,
            &raw mut attributes,
            size_of::<TestRun>(),
        )
    };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(attributes.result as i32)
    }
}
