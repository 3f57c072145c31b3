//! (datapath)
