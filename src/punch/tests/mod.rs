mod accord;
mod bounds;
pub(super) mod pair;
mod rules;
mod standby;
mod stories;
