//! The server's messages, checked and typed.

use super::{Client, Notice, Output, State};
use crate::identity::{Hostname, PublicKey};
use crate::wire::rendezvous::server_message::Body;
use crate::wire::rendezvous::{Delivered, Refused, ServerMessage, TrustRequested, Welcome};
use crate::wire::{Drop, Now};

impl Client {
    pub(super) fn handle_message(&mut self, now: Now, message: ServerMessage) -> Result<(), Drop> {
        let notice = match message.body.ok_or(Drop::MalformedRendezvous)? {
            Body::Welcome(welcome) => return self.welcomed(now, welcome),
            Body::Refused(refused) => {
                self.go_down(now, refusal(&refused));
                return Ok(());
            }
            Body::Queued(_) => return Ok(()),
            Body::Delivered(delivered) => self::delivered(delivered),
            Body::TrustRequested(request) => trust_requested(request)?,
            Body::HostnameSet(answer) => Notice::HostnameSet { request: answer.request, taken: answer.taken },
        };
        self.outputs.push_back(Output::Notice(notice));
        Ok(())
    }

    fn welcomed(&mut self, now: Now, welcome: Welcome) -> Result<(), Drop> {
        if self.state != State::LoggingIn {
            return Err(Drop::Unexpected);
        }
        let hostname = read_hostname(welcome.hostname.as_deref())?;
        self.binding.set_credential(now.monotonic, welcome.credential()?);
        self.gather.start(now.monotonic);
        self.enter(now, State::LoggedIn);
        self.outputs.push_back(Output::Notice(Notice::LoggedIn { hostname, hostname_taken: welcome.hostname_taken }));
        for message in self.kept.take() {
            self.send(now, message);
        }
        Ok(())
    }
}

fn delivered(delivered: Delivered) -> Notice {
    Notice::Delivered { sealed: delivered.sealed, delivery: delivered.delivery }
}

fn trust_requested(request: TrustRequested) -> Result<Notice, Drop> {
    let sender = request.sender_key.as_slice().try_into().ok();
    let sender = sender.and_then(|bytes| PublicKey::from_bytes(bytes).ok());
    let name = Some(request.sender_hostname.as_str()).filter(|name| !name.is_empty());
    Ok(Notice::TrustRequested {
        delivery: request.delivery,
        sender: sender.ok_or(Drop::MalformedRendezvous)?,
        hostname: read_hostname(name)?,
        statement: request.statement,
    })
}

fn read_hostname(text: Option<&str>) -> Result<Option<Hostname>, Drop> {
    text.map(str::parse).transpose().map_err(|_| Drop::MalformedRendezvous)
}

/// What the server said, as far as a log line or a terminal can bear it.
fn refusal(refused: &Refused) -> String {
    let text = format!("refused ({}): {}", refused.code, refused.message);
    text.chars().filter(|c| !c.is_control()).take(600).collect()
}
