//! (tun)
