//! (punch)
