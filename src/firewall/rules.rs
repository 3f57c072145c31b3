//! What the table says. As `nft list table` prints it, for interface `pilot0`:
//!
//! ```text
//! table ip6 pilot-pilot0 {
//!     flags owner
//!     chain arriving {
//!         type filter hook prerouting priority raw; policy accept;
//!         iifname "pilot0" accept
//!         iifname "lo" accept
//!         ip6 saddr fd50:494c:4f54::/64 counter drop
//!         ip6 daddr fd50:494c:4f54::/64 counter drop
//!     }
//!     chain leaving {
//!         type filter hook postrouting priority raw; policy accept;
//!         oifname "pilot0" accept
//!         …
//!     }
//! }
//! ```
//!
//! `raw` on the way in is before connection tracking, so that a stranger's packets leave no entry there, and
//! before the routing decision, so that forwarding is covered as well. `postrouting` on the way out sees the
//! interface finally chosen, for our own packets and for forwarded ones, before source NAT rewrites them.
//! Interfaces are matched by name: the rules hold before the device is there and after it was made anew.

use super::netlink::{Attributes, Message};
use ipnet::Ipv6Net;
use nix::libc;

// The attributes of linux/netfilter/nf_tables.h that the table needs.
const TABLE_NAME: u16 = 1;
const TABLE_FLAGS: u16 = 2;
const TABLE_OWNED: u32 = 2;
const CHAIN_TABLE: u16 = 1;
const CHAIN_NAME: u16 = 3;
const CHAIN_HOOK: u16 = 4;
const CHAIN_POLICY: u16 = 5;
const CHAIN_TYPE: u16 = 7;
const HOOK_NUMBER: u16 = 1;
const HOOK_PRIORITY: u16 = 2;
const RULE_TABLE: u16 = 1;
const RULE_CHAIN: u16 = 2;
const RULE_EXPRESSIONS: u16 = 4;
const LIST_ELEMENT: u16 = 1;
const EXPRESSION_NAME: u16 = 1;
const EXPRESSION_DATA: u16 = 2;
const META_REGISTER: u16 = 1;
const META_KEY: u16 = 2;
const PAYLOAD_REGISTER: u16 = 1;
const PAYLOAD_BASE: u16 = 2;
const PAYLOAD_OFFSET: u16 = 3;
const PAYLOAD_LENGTH: u16 = 4;
const BITWISE_FROM: u16 = 1;
const BITWISE_TO: u16 = 2;
const BITWISE_LENGTH: u16 = 3;
const BITWISE_MASK: u16 = 4;
const BITWISE_XOR: u16 = 5;
const COMPARE_REGISTER: u16 = 1;
const COMPARE_OPERATION: u16 = 2;
const COMPARE_DATA: u16 = 3;
const IMMEDIATE_REGISTER: u16 = 1;
const IMMEDIATE_DATA: u16 = 2;
const DATA_VALUE: u16 = 1;
const DATA_VERDICT: u16 = 2;
const VERDICT_CODE: u16 = 1;

const REGISTER: u32 = libc::NFT_REG_1 as u32;
/// Where source and destination stand in an IPv6 header, in bytes (RFC 8200 section 3).
const ADDRESSES: [u32; 2] = [8, 24];

/// The two ways of a packet, each a chain: name, hook, and which interface it asks for.
const CHAINS: [(&str, libc::c_int, libc::c_int); 2] = [
    ("arriving", libc::NF_INET_PRE_ROUTING, libc::NFT_META_IIFNAME),
    ("leaving", libc::NF_INET_POST_ROUTING, libc::NFT_META_OIFNAME),
];

/// The table for one interface and one overlay network.
pub struct Table {
    name: String,
    interface: String,
    network: Ipv6Net,
}

impl Table {
    /// The table that keeps `network` on `interface`.
    pub fn new(interface: &str, network: Ipv6Net) -> Table {
        Table { name: format!("pilot-{interface}"), interface: interface.to_owned(), network: network.trunc() }
    }

    /// The name of the table, in family `ip6`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The transaction that puts the table there, in place of one that was left behind; `owned` ties it to the
    /// socket that sends this.
    pub fn install(&self, owned: bool) -> Vec<Message> {
        // To delete what may not be there: make it first, which is no error when it is there.
        let mut messages = vec![self.table(false), self.delete(), self.table(owned)];
        for (chain, hook, meta) in CHAINS {
            messages.push(self.chain(chain, hook));
            for interface in [&self.interface, "lo"] {
                messages.push(
                    self.rule(chain, on_interface(meta, interface).into_iter().chain([verdict(libc::NF_ACCEPT)])),
                );
            }
            for offset in ADDRESSES {
                let drop = address_in(offset, self.network).into_iter().chain([counter(), verdict(libc::NF_DROP)]);
                messages.push(self.rule(chain, drop));
            }
        }
        messages
    }

    /// The transaction that takes the table away.
    pub fn remove(&self) -> Vec<Message> {
        vec![self.table(false), self.delete()]
    }

    fn table(&self, owned: bool) -> Message {
        let name = Attributes::default().text(TABLE_NAME, &self.name);
        let attributes = if owned { name.number(TABLE_FLAGS, TABLE_OWNED) } else { name };
        Message { kind: libc::NFT_MSG_NEWTABLE, flags: libc::NLM_F_CREATE, attributes }
    }

    fn delete(&self) -> Message {
        let attributes = Attributes::default().text(TABLE_NAME, &self.name);
        Message { kind: libc::NFT_MSG_DELTABLE, flags: 0, attributes }
    }

    fn chain(&self, name: &str, hook: libc::c_int) -> Message {
        let hook =
            Attributes::default().number(HOOK_NUMBER, hook as u32).number(HOOK_PRIORITY, libc::NF_IP6_PRI_RAW as u32);
        let attributes = Attributes::default()
            .text(CHAIN_TABLE, &self.name)
            .text(CHAIN_NAME, name)
            .nest(CHAIN_HOOK, hook)
            .number(CHAIN_POLICY, libc::NF_ACCEPT as u32)
            .text(CHAIN_TYPE, "filter");
        Message { kind: libc::NFT_MSG_NEWCHAIN, flags: libc::NLM_F_CREATE, attributes }
    }

    fn rule(&self, chain: &str, expressions: impl Iterator<Item = Expression>) -> Message {
        let list = expressions.fold(Attributes::default(), |list, (name, data)| {
            let expression = Attributes::default().text(EXPRESSION_NAME, name).nest(EXPRESSION_DATA, data);
            list.nest(LIST_ELEMENT, expression)
        });
        let attributes =
            Attributes::default().text(RULE_TABLE, &self.name).text(RULE_CHAIN, chain).nest(RULE_EXPRESSIONS, list);
        Message { kind: libc::NFT_MSG_NEWRULE, flags: libc::NLM_F_CREATE | libc::NLM_F_APPEND, attributes }
    }
}

/// The name of an expression and its attributes.
type Expression = (&'static str, Attributes);

/// `iifname` or `oifname`: the name fills the kernel's sixteen bytes, so that no longer name matches.
fn on_interface(meta: libc::c_int, interface: &str) -> [Expression; 2] {
    let mut name = interface.as_bytes().to_vec();
    name.resize(libc::IFNAMSIZ, 0);
    let load = Attributes::default().number(META_REGISTER, REGISTER).number(META_KEY, meta as u32);
    [("meta", load), equals(&name)]
}

/// `ip6 saddr` or `ip6 daddr`, by its offset in the header, within a network.
fn address_in(offset: u32, network: Ipv6Net) -> [Expression; 3] {
    let load = Attributes::default()
        .number(PAYLOAD_REGISTER, REGISTER)
        .number(PAYLOAD_BASE, libc::NFT_PAYLOAD_NETWORK_HEADER as u32)
        .number(PAYLOAD_OFFSET, offset)
        .number(PAYLOAD_LENGTH, 16);
    let mask = Attributes::default()
        .number(BITWISE_FROM, REGISTER)
        .number(BITWISE_TO, REGISTER)
        .number(BITWISE_LENGTH, 16)
        .nest(BITWISE_MASK, value(&network.netmask().octets()))
        .nest(BITWISE_XOR, value(&[0; 16]));
    [("payload", load), ("bitwise", mask), equals(&network.network().octets())]
}

fn equals(bytes: &[u8]) -> Expression {
    let data = Attributes::default()
        .number(COMPARE_REGISTER, REGISTER)
        .number(COMPARE_OPERATION, libc::NFT_CMP_EQ as u32)
        .nest(COMPARE_DATA, value(bytes));
    ("cmp", data)
}

fn counter() -> Expression {
    ("counter", Attributes::default())
}

fn verdict(code: libc::c_int) -> Expression {
    let verdict = Attributes::default().number(VERDICT_CODE, code as u32);
    let data = Attributes::default()
        .number(IMMEDIATE_REGISTER, libc::NFT_REG_VERDICT as u32)
        .nest(IMMEDIATE_DATA, Attributes::default().nest(DATA_VERDICT, verdict));
    ("immediate", data)
}

fn value(bytes: &[u8]) -> Attributes {
    Attributes::default().bytes(DATA_VALUE, bytes)
}
