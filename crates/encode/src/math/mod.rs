//! The numeric kernels: matrix products against weights laid out beforehand, and what runs between them.
//!
//! All but the products of whole numbers is safe Rust over `pulp`, which picks AVX-512, AVX2/FMA, NEON or scalar code once per process; the
//! scalar code is the same source, so the kernels cannot drift apart. All matrices are f32 and row-major.

pub(crate) mod attention;
pub(crate) mod depthwise;
pub(crate) mod elementwise;
#[cfg_attr(not(all(target_arch = "x86_64", target_os = "linux")), allow(dead_code))]
mod fixed;
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod fixed_x86;
pub(crate) mod gate;
pub(crate) mod grouped;
mod integer;
#[cfg(target_arch = "x86_64")]
mod integer_x86;
pub(crate) mod linear;
mod packed;
pub(crate) mod panels;
pub(crate) mod rms;
pub(crate) mod rotation;
mod tile;

pub(crate) use tile::finished;
