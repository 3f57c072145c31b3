//! Everything that can be wrong with a name, and what a right one looks like.

/// Why some text or bytes name nothing, or prove nothing.
///
/// Text that was refused is quoted, shortened and with control characters escaped, except where it
/// could be a secret (private keys, tokens).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// Text that is no public key.
    #[error(
        "{0} is not a public key: expected 43 characters of unpadded base64url that are an Ed25519 key, \
         such as 11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"
    )]
    PublicKeyText(String),
    /// Bytes that are no public key.
    #[error(
        "not an Ed25519 public key: expected the 32 bytes of a point in its canonical form that is not of small order"
    )]
    PublicKeyBytes,
    /// A signature that was not made by this key over this message.
    #[error("the {0} signature does not fit the key and the message: ask the sender to send it again")]
    Signature(String),
    /// Text that is no private identity key.
    #[error(
        "not an Ed25519 private key in PKCS#8 PEM form (-----BEGIN PRIVATE KEY-----): restore the identity \
         from a copy, or remove the file to get a new identity"
    )]
    PrivateKey,
    /// Text that is no node ID.
    #[error("{0} is not a node ID: expected three groups of four hex digits, such as a1b2.c3d4.e5f6")]
    NodeIdText(String),
    /// A number that is no node ID.
    #[error("{0} is not a node ID: expected a number below 2^48")]
    NodeIdNumber(u64),
    /// Text that is no network number.
    #[error("{0} is not a network: expected a decimal number from 0 to 65535, such as 0")]
    Network(String),
    /// Text that is no overlay address.
    #[error("{0} is not an address: expected NETWORK:NODE, such as 0:a1b2.c3d4.e5f6")]
    Address(String),
    /// Text that is no overlay address with a port.
    #[error("{0} is not an address with a port: expected NETWORK:NODE:PORT, such as 0:a1b2.c3d4.e5f6:1000")]
    SocketAddress(String),
    /// A prefix that overlay addresses cannot be made from.
    #[error("{0} is not an overlay prefix: expected a unique local or global IPv6 /48, such as fd50:494c:4f54::/48")]
    Prefix(String),
    /// Text that is no host name.
    #[error(
        "{0} is not a host name: expected 1 to 63 lowercase letters, digits and inner hyphens that do not \
         read as a public key, such as worker-1"
    )]
    Hostname(String),
    /// Text that is no tunnel key.
    #[error(
        "{0} is not a tunnel key: expected 44 characters of base64 as `wg pubkey` prints them, \
         such as xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg="
    )]
    TunnelKey(String),
    /// A tunnel key with which everybody agrees on the same secret.
    #[error("the tunnel key is a point of small order, which protects nothing: the sender must make another")]
    WeakTunnelKey,
    /// Text that names no node in any form.
    #[error(
        "{0} names no node: expected a node ID (a1b2.c3d4.e5f6), an address (0:a1b2.c3d4.e5f6), \
         an overlay IPv6 address (fd50:494c:4f54::a1b2:c3d4:e5f6), a public key (43 characters of base64url) \
         or a host name (worker-1)"
    )]
    Target(String),
    /// A host that can be neither resolved nor dialled.
    #[error(
        "{0} is not a host: expected a DNS name, an IPv4 address or an IPv6 address, such as rendezvous.example.org"
    )]
    Host(String),
    /// Text that is no rendezvous URL.
    #[error(
        "{text} is not a rendezvous URL: {why}; expected pilot://KEY@HOST:PORT as `pilotd rendezvous --print-url` prints it"
    )]
    Url {
        /// The refused text, quoted.
        text: String,
        /// The part that is wrong.
        why: String,
    },
    /// Text that has not the shape of a token, or holds something that no token may hold.
    #[error(
        "malformed join token: expected pilot- and base64url characters, in one piece, as `pilotctl invite` prints it"
    )]
    TokenMalformed,
    /// Text of the right shape with a wrong checksum.
    #[error("the join token is mistyped or cut: its checksum does not fit; copy it again, whole")]
    TokenChecksum,
    /// A token of a later version.
    #[error("the join token has version {0}, this program reads version 1: update this program")]
    TokenVersion(u8),
    /// Bytes that are no envelope for this recipient.
    #[error("not an envelope sealed to this node: it is cut, damaged, or meant for another key")]
    Envelope,
}
