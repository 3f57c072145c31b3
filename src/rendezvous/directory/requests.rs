//! What a node that is logged in may ask for: pass something on, take a name, confirm a delivery.

use super::login::read_hostname;
use super::registry::Claim;
use super::{Change, Content, Directory, Item, LIFETIME, Output, Refusal, SessionId};
use crate::identity::{Hostname, Network, NodeId, PublicKey, Target};
use crate::wire::Now;
use crate::wire::rendezvous::{
    Deliver, Delivered, HostnameSet, MAX_SEALED, MAX_STATEMENT, Queued, RequestTrust, ServerMessage, SetHostname,
    TrustRequested, client_message, request_trust,
};

/// The most deliveries to a session that wait for its acknowledgement; the next follow as these are confirmed.
const WINDOW: usize = 32;

/// Who asks.
#[derive(Clone, Copy)]
struct Sender {
    session: SessionId,
    key: PublicKey,
    network: Network,
}

impl Directory {
    /// A message of a session that is logged in.
    pub(super) fn request(&mut self, now: Now, session: SessionId, body: client_message::Body) {
        let Some(key) = self.sessions.get(session).map(|session| session.key) else {
            return;
        };
        let Some(network) = self.sessions.of_key(&key).map(|(_, open)| open.network) else {
            return;
        };
        let sender = Sender { session, key, network };
        let done = match body {
            client_message::Body::Hello(_) => Err(Refusal::Malformed("a second Hello")),
            client_message::Body::Deliver(deliver) => self.deliver(now, sender, deliver),
            client_message::Body::RequestTrust(request) => self.request_trust(now, sender, request),
            client_message::Body::SetHostname(set) => self.set_hostname(sender, set),
            client_message::Body::Acknowledge(confirmed) => {
                self.acknowledge(sender, confirmed.delivery);
                Ok(())
            }
        };
        if let Err(refusal) = done {
            self.refuse(now, session, refusal);
        }
    }

    fn deliver(&mut self, now: Now, sender: Sender, deliver: Deliver) -> Result<(), Refusal> {
        let recipient = PublicKey::try_from(deliver.recipient.as_slice())
            .map_err(|_| Refusal::Malformed("the recipient is not a public key"))?;
        if deliver.sealed.len() > MAX_SEALED {
            return Err(Refusal::Malformed("the envelope is longer than 32 KiB"));
        }
        if deliver.durable {
            let target = Target::Key(recipient);
            self.store(now, sender, target, Content::Envelope(deliver.sealed));
        } else {
            self.pass_on(sender.network, &recipient, deliver.sealed);
        }
        Ok(())
    }

    /// Hands an envelope to a node that is there; otherwise it is gone.
    fn pass_on(&mut self, network: Network, recipient: &PublicKey, sealed: Vec<u8>) {
        if let Some((id, open)) = self.sessions.of_key(recipient)
            && open.network == network
        {
            self.send(id, Delivered { sealed, delivery: 0 });
        }
    }

    fn request_trust(&mut self, now: Now, sender: Sender, request: RequestTrust) -> Result<(), Refusal> {
        let target = read_target(request.target)?;
        if request.sender_statement.len() > MAX_STATEMENT {
            return Err(Refusal::Malformed("the trust statement is longer than 2 KiB"));
        }
        // Answered first: the answer cannot come to depend on what follows.
        self.send(sender.session, Queued { request: request.request });
        self.store(now, sender, target, Content::Statement(request.sender_statement));
        Ok(())
    }

    fn store(&mut self, now: Now, sender: Sender, target: Target, content: Content) {
        let Sender { key, network, .. } = sender;
        let expires = now.unix_seconds().saturating_add(LIFETIME);
        let item = Item { network, target: target.clone(), sender: key, content, expires };
        let Some(stored) = self.mailboxes.store(item.clone()) else {
            self.refused += 1;
            return;
        };
        if let Some(replaced) = stored.replaced {
            self.outputs.push_back(Output::Save(Change::Remove(replaced)));
        }
        self.outputs.push_back(Output::Save(Change::Store(stored.number, item)));
        if let Some(recipient) = self.registry.find(network, &target).map(|node| node.key) {
            self.deliver_waiting(&recipient);
        }
    }

    /// Sends what waits for a node under its key, its ID and its name, as far as the window allows.
    pub(super) fn deliver_waiting(&mut self, key: &PublicKey) {
        let (Some(node), Some((id, open))) = (self.registry.get(key), self.sessions.of_key(key)) else {
            return;
        };
        let name = node.hostname.clone().map(Target::Name);
        let targets = [Some(Target::Key(*key)), Some(Target::Node(node.id)), name];
        for target in targets.iter().flatten() {
            for (number, item) in self.mailboxes.of(open.network, target) {
                if open.sent.len() >= WINDOW {
                    return;
                }
                if !open.sent.contains_key(&number) {
                    open.last_delivery += 1;
                    open.sent.insert(number, open.last_delivery);
                    let sender_name = self.registry.find(item.network, &Target::Key(item.sender));
                    let sender_name = sender_name.and_then(|sender| sender.hostname.as_ref());
                    self.outputs.push_back(Output::Send(id, delivery(item, open.last_delivery, sender_name)));
                }
            }
        }
    }

    fn acknowledge(&mut self, sender: Sender, delivery: u64) {
        let Some((_, open)) = self.sessions.of_key(&sender.key) else {
            return;
        };
        let Some(number) = open.sent.iter().find(|(_, sent)| **sent == delivery).map(|(number, _)| *number) else {
            return;
        };
        open.sent.remove(&number);
        self.remove_item(number);
        self.deliver_waiting(&sender.key);
    }

    fn set_hostname(&mut self, sender: Sender, set: SetHostname) -> Result<(), Refusal> {
        let name = set.hostname.map(read_hostname).transpose()?;
        let claim = self.registry.claim(&sender.key, name);
        if claim == Claim::Changed {
            self.save_registration(&sender.key);
        }
        self.send(sender.session, HostnameSet { request: set.request, taken: claim == Claim::Taken });
        self.deliver_waiting(&sender.key);
        Ok(())
    }
}

fn read_target(target: Option<request_trust::Target>) -> Result<Target, Refusal> {
    match target {
        Some(request_trust::Target::Hostname(name)) => Ok(Target::Name(read_hostname(name)?)),
        Some(request_trust::Target::NodeId(number)) => {
            NodeId::from_u64(number).map(Target::Node).map_err(|_| Refusal::Malformed("the node ID is not below 2^48"))
        }
        None => Err(Refusal::Malformed("the trust request has no target")),
    }
}

fn delivery(item: &Item, delivery: u64, sender_hostname: Option<&Hostname>) -> ServerMessage {
    match &item.content {
        Content::Envelope(sealed) => Delivered { sealed: sealed.clone(), delivery }.into(),
        Content::Statement(statement) => TrustRequested {
            delivery,
            sender_key: item.sender.as_bytes().to_vec(),
            sender_hostname: sender_hostname.map(Hostname::to_string).unwrap_or_default(),
            statement: statement.clone(),
        }
        .into(),
    }
}
