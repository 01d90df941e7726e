//! The eBPF programs. Built only for the BPF target; see `observer/build.rs`.
#![cfg_attr(target_arch = "bpf", no_std, no_main, feature(asm_experimental_arch))]
#![cfg_attr(not(target_arch = "bpf"), forbid(unsafe_code))]

#[cfg(target_arch = "bpf")]
mod programs;

#[cfg(not(target_arch = "bpf"))]
fn main() {
    println!("These are eBPF programs: the observer's build script builds them for the kernel.");
}
