//! Plain threads that run until they are told to stop, and what they sleep on.
//!
//! In: what a thread is to do. Out: [`Threads`], which end when it is dropped. Each is given the end of a pipe that closes
//! when it is time; [`Wake`] waits for that and for whatever else there is to read.

mod wake;

pub use wake::Wake;

use std::{
    io::{self, PipeReader, PipeWriter},
    thread::{self, JoinHandle},
};

/// Running threads; dropping it stops them, and waits until they have ended.
pub struct Threads {
    /// Closing it is the signal to stop.
    stop: Option<PipeWriter>,
    stopped: PipeReader,
    running: Vec<JoinHandle<()>>,
}

impl Threads {
    /// None yet.
    pub fn new() -> io::Result<Threads> {
        let (stopped, stop) = io::pipe()?;
        Ok(Threads { stop: Some(stop), stopped, running: Vec::new() })
    }

    /// What closes at its other end when it is time to stop.
    pub fn stopped(&self) -> &PipeReader {
        &self.stopped
    }

    /// Starts one.
    pub fn start(&mut self, name: &str, work: impl FnOnce(&PipeReader) + Send + 'static) -> io::Result<()> {
        let stopped = self.stopped.try_clone()?;
        let thread = thread::Builder::new().name(name.to_owned());
        self.running.push(thread.spawn(move || work(&stopped))?);
        Ok(())
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.stop = None;
        for thread in self.running.drain(..) {
            // A thread that panicked has said so itself.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        net::UdpSocket,
        sync::mpsc,
        time::{Duration, Instant},
    };

    #[test]
    fn a_thread_is_woken_for_what_it_waits_for_and_ends_with_its_owner() {
        let (reader, writer) = (UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
        let to = reader.local_addr().unwrap();
        let (sender, woken) = mpsc::channel();
        let mut threads = Threads::new().unwrap();
        threads
            .start("waits", move |stopped| {
                let wake = Wake::new().unwrap();
                wake.stop_by(stopped).unwrap();
                wake.add(&reader, 7).unwrap();
                while let Some(ready) = wake.wait().unwrap() {
                    ready.for_each(|number| sender.send((number, reader.recv(&mut [0; 8]).unwrap())).unwrap());
                }
            })
            .unwrap();
        let patience = Duration::from_secs(10);
        for len in [1, 2] {
            writer.send_to(&[0; 8][..len], to).unwrap();
            assert_eq!(woken.recv_timeout(patience), Ok((7, len)));
        }
        let start = Instant::now();
        drop(threads);
        assert_eq!(woken.recv_timeout(patience), Err(mpsc::RecvTimeoutError::Disconnected));
        assert!(start.elapsed() < patience);
    }
}
