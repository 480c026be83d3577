//! `board` and `update`: what an image for a board calls.

use super::board_args::{BoardOrder, UpdateArgs};
use super::output::Failure;

pub(super) fn run(order: BoardOrder) -> Result<(), Failure> {
    let name = match order {
        BoardOrder::FirstBoot { .. } => "first-boot",
        BoardOrder::Report { .. } => "report",
        BoardOrder::Grow { .. } => "grow",
        BoardOrder::Mdns { .. } => "mdns",
        BoardOrder::Clock { .. } => "clock",
        BoardOrder::Healthy { .. } => "healthy",
    };
    Err(Failure::Failed(format!("`pigeon board {name}` does not exist yet")))
}

pub(super) fn update(_args: &UpdateArgs) -> Result<(), Failure> {
    Err(Failure::Failed("`pigeon update` does not exist yet".to_owned()))
}
