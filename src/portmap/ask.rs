//! One question to a gateway by UDP, repeated a few times until it is answered.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::time::{Instant, timeout_at};

use super::refusal::Refusal;

/// How long each try waits. A gateway is one hop away: what is not answered by then is not offered.
const WAITS: [Duration; 3] = [Duration::from_millis(250), Duration::from_millis(500), Duration::from_millis(1000)];

/// Longer answers than PCP allows (RFC 6887 section 7) are cut.
const MAX_ANSWER: usize = 1100;

/// A socket that hears from the gateway alone, from that address of ours which is to be mapped.
pub async fn open(local: IpAddr, gateway: SocketAddr) -> Result<UdpSocket, Refusal> {
    let bound = UdpSocket::bind(SocketAddr::new(local, 0)).await;
    let socket = bound.map_err(|error| failed(&error))?;
    socket.connect(gateway).await.map_err(|error| failed(&error))?;
    Ok(socket)
}

/// Sends `question` until `read` makes something of an answer.
pub async fn ask<T>(socket: &UdpSocket, question: &[u8], read: impl Fn(&[u8]) -> Option<T>) -> Result<T, Refusal> {
    for wait in WAITS {
        let until = Instant::now() + wait;
        socket.send(question).await.map_err(|error| failed(&error))?;
        match timeout_at(until, answer(socket, &read)).await {
            Ok(answered) => return answered.map_err(|error| failed(&error)),
            Err(_) => continue,
        }
    }
    Err(Refusal::Silent)
}

async fn answer<T>(socket: &UdpSocket, read: impl Fn(&[u8]) -> Option<T>) -> io::Result<T> {
    let mut buffer = [0; MAX_ANSWER];
    loop {
        let count = socket.recv(&mut buffer).await?;
        if let Some(answer) = buffer.get(..count).and_then(&read) {
            return Ok(answer);
        }
    }
}

/// A closed port on the gateway is told at once (ICMP), a missing network too.
pub fn failed(error: &io::Error) -> Refusal {
    Refusal::Unreachable(error.kind().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    #[tokio::test]
    async fn a_lost_question_is_repeated_and_other_answers_are_passed_over() {
        let gateway = UdpSocket::bind((HERE, 0)).await.unwrap();
        let socket = open(HERE, gateway.local_addr().unwrap()).await.unwrap();
        let serve = async {
            let mut buffer = [0; 16];
            gateway.recv_from(&mut buffer).await.unwrap();
            let (_, from) = gateway.recv_from(&mut buffer).await.unwrap();
            gateway.send_to(b"junk", from).await.unwrap();
            gateway.send_to(b"yes", from).await.unwrap();
        };
        let read = |bytes: &[u8]| (bytes == b"yes").then_some(42);
        let (answer, ()) = tokio::join!(ask(&socket, b"?", read), serve);
        assert_eq!(answer, Ok(42));
    }

    #[tokio::test]
    async fn a_closed_port_is_known_at_once_and_silence_in_the_end() {
        let gone = UdpSocket::bind((HERE, 0)).await.unwrap().local_addr().unwrap();
        let socket = open(HERE, gone).await.unwrap();
        let refused = ask(&socket, b"?", |_| Some(())).await;
        assert!(matches!(refused, Err(Refusal::Unreachable(_))), "{refused:?}");
        let silent = UdpSocket::bind((HERE, 0)).await.unwrap();
        let socket = open(HERE, silent.local_addr().unwrap()).await.unwrap();
        assert_eq!(ask(&socket, b"?", |_| Some(())).await, Err(Refusal::Silent));
    }
}
