//! (rendezvous)
