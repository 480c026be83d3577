#![doc = include_str!("ARCHITECTURE.md")]

pub mod accounts;
pub mod base;
pub mod board;
pub mod cli;
pub mod config;
pub mod delivery;
pub mod imap;
pub mod mail;
pub mod net;
pub mod pop3;
pub mod sasl;
pub mod serve;
pub mod smtp;
pub mod store;
pub mod tls;
