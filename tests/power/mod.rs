//! The simulator of power cuts: lives of a store under real sessions, and the look at what any cut leaves of them.

pub(crate) mod again;
pub(crate) mod facts;
pub(crate) mod life;
pub(crate) mod look;
pub(crate) mod run;
pub(crate) mod sessions;
pub(crate) mod steps;
