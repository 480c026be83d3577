//! The program as its operator meets it.

#![allow(clippy::expect_used, reason = "a test that cannot go on says so")]

mod backup;
mod certificate;
mod passed;
mod process;
mod serve;
mod transfer;
mod up;
