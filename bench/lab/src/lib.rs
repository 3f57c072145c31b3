//! What the benchmarks share: hosts in network namespaces, processes and nodes in them, what they cost.

mod hosts;
mod nodes;
mod process;
mod spread;
mod usage;

pub use hosts::{Host, Lab};
pub use nodes::{Network, Node};
pub use process::{Server, output, shell, until};
pub use spread::Spread;
pub use usage::{Cpu, resident_mib};
