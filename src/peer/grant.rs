//! What a trusted peer may open here, in words: `inbox,events,tcp:22`.
//!
//! In: what the user writes, and what the store kept. Out: a [`Grant`], which writes itself the same way again. What it
//! means for packets is the matter of [`Gate`](super::Gate).

use std::fmt;
use std::str::FromStr;

/// The most items of a grant.
pub const MAX_ITEMS: usize = 32;
/// What a refused item is shown of, in characters.
const SHOWN: usize = 64;

/// What a trusted peer may open here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Grant {
    /// Whatever listens. Written `all`.
    #[default]
    All,
    /// These and nothing else, at most [`MAX_ITEMS`], each once. Written with commas, and `none` where there are none.
    Only(Box<[Item]>),
}

/// Something that can be opened here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Item {
    /// A service of the node. Written as its name.
    Service(Service),
    /// Echo requests of ICMPv6. Written `ping`.
    Ping,
    /// Programs that listen on TCP ports. Written `tcp:22` or `tcp:8000-8100`.
    Tcp(Ports),
    /// Programs that listen on UDP ports. Written `udp:53` or `udp:6000-6010`.
    Udp(Ports),
}

/// A service of the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// Gives every byte back.
    Echo,
    /// Byte streams to programs.
    Stream,
    /// Messages and files.
    Inbox,
    /// Events, published and subscribed to.
    Events,
    /// Work from others.
    Tasks,
}

/// Some ports, from the first to the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ports {
    first: u16,
    last: u16,
}

/// Why a text is no grant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GrantError {
    /// An item is none.
    #[error(
        "{0:?} is nothing that can be granted: write `all`, `none`, or with commas between them echo, stream, inbox, \
         events, tasks, ping, tcp:PORT, tcp:FIRST-LAST, udp:PORT, udp:FIRST-LAST"
    )]
    Unknown(String),
    /// The ports of an item are none.
    #[error("{0:?} names no ports: they are 1 to 65535, the first not above the last, as in tcp:22 or udp:6000-6010")]
    Ports(String),
    /// The list is too long.
    #[error("a grant has at most {MAX_ITEMS} items, and this one has {0}")]
    TooMany(usize),
}

impl Service {
    /// All services, in the order of their ports.
    pub const ALL: [Service; 5] = [Service::Echo, Service::Stream, Service::Inbox, Service::Events, Service::Tasks];

    /// The name that users write.
    pub fn name(self) -> &'static str {
        match self {
            Service::Echo => "echo",
            Service::Stream => "stream",
            Service::Inbox => "inbox",
            Service::Events => "events",
            Service::Tasks => "tasks",
        }
    }

    /// Its TCP port.
    pub fn port(self) -> u16 {
        match self {
            Service::Echo => 7,
            Service::Stream => 1000,
            Service::Inbox => 1001,
            Service::Events => 1002,
            Service::Tasks => 1003,
        }
    }
}

impl Ports {
    /// One port.
    pub fn one(port: u16) -> Ports {
        Ports { first: port, last: port }
    }

    /// The ports from `first` to `last`; none where that are none, or 0 is among them.
    pub fn range(first: u16, last: u16) -> Option<Ports> {
        (0 < first && first <= last).then_some(Ports { first, last })
    }

    /// The first.
    pub fn first(self) -> u16 {
        self.first
    }

    /// The last.
    pub fn last(self) -> u16 {
        self.last
    }

    /// From the smaller of the first ports to the larger of the last.
    pub(super) fn joined(self, other: Ports) -> Ports {
        Ports { first: self.first.min(other.first), last: self.last.max(other.last) }
    }

    fn parse(text: &str) -> Option<Ports> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        Ports::range(number(first)?, number(last)?)
    }
}

/// Digits only: no sign.
fn number(text: &str) -> Option<u16> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

impl FromStr for Grant {
    type Err = GrantError;

    fn from_str(text: &str) -> Result<Grant, GrantError> {
        match text.trim() {
            "all" => return Ok(Grant::All),
            "none" => return Ok(Grant::Only(Box::default())),
            _ => {}
        }
        let count = text.split(',').count();
        if count > MAX_ITEMS {
            return Err(GrantError::TooMany(count));
        }
        let mut items = Vec::new();
        for item in text.split(',') {
            let item = item.trim().parse()?;
            if !items.contains(&item) {
                items.push(item);
            }
        }
        Ok(Grant::Only(items.into()))
    }
}

impl FromStr for Item {
    type Err = GrantError;

    fn from_str(text: &str) -> Result<Item, GrantError> {
        let ports = |ports| Ports::parse(ports).ok_or_else(|| GrantError::Ports(shown(text)));
        match text.split_once(':') {
            Some(("tcp", rest)) => Ok(Item::Tcp(ports(rest)?)),
            Some(("udp", rest)) => Ok(Item::Udp(ports(rest)?)),
            None if text == "ping" => Ok(Item::Ping),
            _ => {
                let service = Service::ALL.into_iter().find(|service| service.name() == text);
                service.map(Item::Service).ok_or_else(|| GrantError::Unknown(shown(text)))
            }
        }
    }
}

fn shown(text: &str) -> String {
    text.chars().take(SHOWN).collect()
}

impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Grant::All => f.write_str("all"),
            Grant::Only(items) if items.is_empty() => f.write_str("none"),
            Grant::Only(items) => {
                let items: Vec<String> = items.iter().map(ToString::to_string).collect();
                f.write_str(&items.join(","))
            }
        }
    }
}

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Item::Service(service) => f.write_str(service.name()),
            Item::Ping => f.write_str("ping"),
            Item::Tcp(ports) => write!(f, "tcp:{ports}"),
            Item::Udp(ports) => write!(f, "udp:{ports}"),
        }
    }
}

impl fmt::Display for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.first == self.last {
            true => write!(f, "{}", self.first),
            false => write!(f, "{}-{}", self.first, self.last),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(text: &str) -> Result<Grant, GrantError> {
        text.parse()
    }

    #[test]
    fn a_grant_is_written_as_it_is_read() {
        for text in ["all", "none", "inbox,events,tcp:22", "echo,stream,tasks,ping,tcp:8000-8100,udp:53,udp:1-65535"] {
            assert_eq!(parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn spaces_repeats_and_other_spellings_make_no_difference() {
        assert_eq!(parse(" inbox, tcp:22 ,inbox,tcp:22-22").unwrap().to_string(), "inbox,tcp:22");
        assert_eq!(parse(" all "), Ok(Grant::All));
    }

    #[test]
    fn refusals_name_the_item_and_what_is_allowed() {
        for text in ["", "inbox,", "inbox,all", "none,ping", "Inbox", "http", "sctp:5", "ping:1", "inbox events", "-"] {
            let error = parse(text).unwrap_err();
            assert!(matches!(error, GrantError::Unknown(_)), "{text}: {error}");
        }
        let error = parse("inbox,evnets").unwrap_err().to_string();
        assert!(error.contains("\"evnets\"") && error.contains("tcp:FIRST-LAST"), "{error}");
        for text in ["tcp:", "tcp:0", "tcp:65536", "tcp:90-80", "tcp:+1", "udp:1-", "udp:-1", "tcp:1-2-3", "tcp:ssh"] {
            assert!(matches!(parse(text), Err(GrantError::Ports(item)) if item == text), "{text}");
        }
        let many = vec!["ping"; MAX_ITEMS].join(",");
        assert!(parse(&many).is_ok());
        assert_eq!(parse(&(many + ",ping")), Err(GrantError::TooMany(MAX_ITEMS + 1)));
        let long = parse(&"x".repeat(10_000)).unwrap_err().to_string();
        assert!(long.len() < 400, "{long}");
    }

    proptest! {
        #[test]
        fn whatever_is_read_is_read_again_alike(text in "(all|none|[a-z]{1,6}|(tcp|udp):[0-9]{1,6}(-[0-9]{1,5})?|,){0,9}") {
            if let Ok(grant) = parse(&text) {
                prop_assert_eq!(parse(&grant.to_string()), Ok(grant));
            }
        }

        #[test]
        fn arbitrary_text_never_panics(text: String) {
            let _ = parse(&text);
        }
    }
}
