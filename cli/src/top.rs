//! `parallax top`: what the viewer needs from this program.

pub(crate) mod copy_as;
pub(crate) mod player;
pub(crate) mod recording;
