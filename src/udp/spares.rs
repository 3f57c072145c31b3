//! Spare sockets by number: what probing a NAT and punching from many ports at once take.

use super::socket::Socket;
use crate::threads::Wake;
use arc_swap::ArcSwap;
use parking_lot::Mutex;
use std::{collections::BTreeMap, sync::Arc};

/// The most of them: a home router has room for some thousands of mappings, all hosts together.
const MAX: usize = 512;

/// The open ones; looked up for each datagram, changed seldom.
#[derive(Default)]
pub(super) struct Spares {
    open: ArcSwap<BTreeMap<u16, Arc<Socket>>>,
    /// The number given last; held while the map is changed.
    last: Mutex<u16>,
}

impl Spares {
    /// Has `wake` wait for a socket, too, and gives its number; none when there are too many.
    pub fn add(&self, socket: Socket, wake: &Wake) -> Option<u16> {
        let mut last = self.last.lock();
        let mut open = BTreeMap::clone(&self.open.load());
        if open.len() >= MAX {
            return None;
        }
        let number = next(*last, &open);
        wake.add(&*socket, number.into()).ok()?;
        *last = number;
        open.insert(number, Arc::new(socket));
        self.open.store(Arc::new(open));
        Some(number)
    }

    /// Lets sockets go; they close when nobody sends by them any more.
    pub fn remove(&self, numbers: &[u16]) {
        let _changing = self.last.lock();
        let mut open = BTreeMap::clone(&self.open.load());
        open.retain(|number, _| !numbers.contains(number));
        self.open.store(Arc::new(open));
    }

    /// The socket of this number.
    pub fn get(&self, number: u16) -> Option<Arc<Socket>> {
        self.open.load().get(&number).cloned()
    }
}

/// The next free number; used ones come back late, so that a datagram for the former is not taken for the new one's.
fn next(last: u16, open: &BTreeMap<u16, Arc<Socket>>) -> u16 {
    let mut number = last;
    loop {
        number = number.checked_add(1).unwrap_or(1);
        if !open.contains_key(&number) {
            return number;
        }
    }
}
