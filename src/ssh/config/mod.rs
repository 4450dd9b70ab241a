//! ssh_config(5), as OpenSSH itself reads it.
//!
//! `ssh -G` is asked for what holds for a host: it knows Host, Match, Include, tokens and the files of
//! the system. The readers of ssh_config at hand as libraries let what stands under `Match` leak into
//! the block above it, so one of them is used only where there is no `ssh`, and only for files that have
//! nothing it gets wrong.

mod answer;
mod ask;
mod general;
mod reader;
mod tokens;

pub(super) use answer::Answer;
pub(super) use ask::{Answers, Question};
pub(super) use tokens::Tokens;
