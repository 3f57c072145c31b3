//! Numbers for events: without gaps while the node runs, never smaller after a restart.
//!
//! In: how many are needed. Out: the first of them. Numbers are reserved on disk in blocks, well before they are used:
//! after a crash counting goes on behind the block that was reserved last.

use std::sync::Arc;

use crate::control::Error;
use crate::store::sequence::SequenceFile;

/// Numbers that are reserved at once.
pub const BLOCK: u64 = 1 << 24;

/// Makes it durable which numbers may have been used.
pub trait Reservation: Send + Sync + 'static {
    /// Returns once it is sure that after a crash no number below `until` is used again.
    ///
    /// # Errors
    /// It is not sure.
    fn reserve(&self, until: u64) -> Result<(), Error>;
}

/// Counts without a disk: numbers begin anew with the process.
#[derive(Debug)]
pub struct Volatile;

impl Reservation for Volatile {
    fn reserve(&self, _until: u64) -> Result<(), Error> {
        Ok(())
    }
}

impl Reservation for SequenceFile {
    fn reserve(&self, until: u64) -> Result<(), Error> {
        self.write(until).map_err(|error| Error::new("internal", format!("events cannot be numbered: {error}")))
    }
}

/// Where counting is.
pub struct Sequence {
    next: u64,
    reserved: u64,
    is_reserving: bool,
    reservation: Arc<dyn Reservation>,
}

impl Sequence {
    /// Counts from `first` on; nothing is reserved yet.
    pub fn new(first: u64, reservation: Arc<dyn Reservation>) -> Sequence {
        let next = first.max(1);
        Sequence { next, reserved: next, is_reserving: false, reservation }
    }

    /// Takes `count` numbers, and gives the first. Waits for the disk only where [`Sequence::due`] was not heeded.
    ///
    /// # Errors
    /// They could not be reserved; none is taken.
    pub fn take(&mut self, count: u64) -> Result<u64, Error> {
        let (first, end) = (self.next, self.next + count);
        if end > self.reserved {
            self.reservation.reserve(end + BLOCK)?;
            self.reserved = end + BLOCK;
        }
        self.next = end;
        Ok(first)
    }

    /// Up to where to reserve now, in peace, with whom; that is to be reported by [`Sequence::reserved`].
    pub fn due(&mut self) -> Option<(u64, Arc<dyn Reservation>)> {
        if self.is_reserving || self.reserved - self.next > BLOCK / 2 {
            return None;
        }
        self.is_reserving = true;
        Some((self.reserved + BLOCK, self.reservation.clone()))
    }

    /// What came of it; none if it failed.
    pub fn reserved(&mut self, until: Option<u64>) {
        self.is_reserving = false;
        self.reserved = self.reserved.max(until.unwrap_or(0));
    }

    /// The number that the next event gets.
    pub fn next(&self) -> u64 {
        self.next
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use parking_lot::Mutex;

    #[derive(Default)]
    struct Disk {
        until: Mutex<u64>,
        is_full: Mutex<bool>,
    }

    impl Reservation for Disk {
        fn reserve(&self, until: u64) -> Result<(), Error> {
            if *self.is_full.lock() {
                return Err(Error::new("internal", "full"));
            }
            *self.until.lock() = until;
            Ok(())
        }
    }

    #[test]
    fn no_number_is_given_that_is_not_reserved() {
        let disk = Arc::new(Disk::default());
        let mut sequence = Sequence::new(1, disk.clone());
        let mut next = 1;
        while next < 3 * BLOCK {
            assert_eq!(sequence.take(100_000).unwrap(), next);
            next += 100_000;
            assert!(*disk.until.lock() >= next);
        }
    }

    #[test]
    fn a_full_disk_is_noticed_before_the_block_ends_and_costs_no_number() {
        let disk = Arc::new(Disk::default());
        let mut sequence = Sequence::new(1, disk.clone());
        sequence.take(1).unwrap();
        assert!(sequence.due().is_none());
        *disk.is_full.lock() = true;
        sequence.take(BLOCK - 10).unwrap();
        let (until, reservation) = sequence.due().unwrap();
        assert!(sequence.due().is_none() && reservation.reserve(until).is_err());
        sequence.reserved(None);
        assert!(sequence.take(100).is_err());
        *disk.is_full.lock() = false;
        assert_eq!(sequence.take(100).unwrap(), BLOCK - 8);
    }
}
