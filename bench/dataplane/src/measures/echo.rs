//! A thread that answers every datagram with the same.

use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use super::prompt::come_first;

/// An echo; ends on drop.
pub struct Echo {
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Echo {
    /// Answers on a connected socket that has a timeout.
    pub fn start(socket: UdpSocket) -> Echo {
        let is_over = Arc::new(AtomicBool::new(false));
        let seen = is_over.clone();
        let answer = move || {
            // Where it is not granted its waiting shows in the figures.
            let _ = come_first();
            let mut buffer = [0; 2048];
            while !seen.load(Ordering::Relaxed) {
                if let Some(datagram) = socket.recv(&mut buffer).ok().and_then(|len| buffer.get(..len)) {
                    // What is lost is counted by whoever waits for it.
                    let _ = socket.send(datagram);
                }
            }
        };
        Echo { is_over, thread: Some(std::thread::spawn(answer)) }
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
