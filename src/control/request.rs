//! Everything that can be asked of the daemon.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Error;

/// A request, as it stands in the body of `POST /v1/VERB` or the query of `GET /v1/VERB`.
///
/// `target` is a node: hostname, node ID, address, overlay IPv6 address or public key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verb", rename_all = "kebab-case", rename_all_fields = "snake_case")]
pub enum Request {
    /// Who this node is.
    Info,
    /// Counters and the state of every part.
    Status,
    /// The trusted nodes and the path to each.
    Peers,
    /// Requests for trust that wait for a decision.
    Pending,
    /// The trusted nodes and since when.
    Trusted,
    /// The effective configuration and where each value came from.
    Config,
    /// One trusted node.
    Find {
        /// Which.
        target: String,
    },
    /// The node behind an overlay address.
    Whois {
        /// An overlay IPv6 address, with or without a port.
        address: String,
    },
    /// One round trip inside the tunnel.
    Ping {
        /// To whom.
        target: String,
        /// How long to wait for the answer, milliseconds.
        #[serde(default = "five_seconds")]
        timeout_ms: u64,
    },
    /// Why a node is reached the way it is.
    Why {
        /// Which.
        target: String,
    },
    /// What the networks around this node let through; every server is asked anew.
    Netcheck,
    /// Asks a node for mutual trust.
    Handshake {
        /// Whom.
        target: String,
        /// What the other side is shown.
        #[serde(default)]
        reason: String,
        /// What the node may open here, once it approves: `inbox,tcp:22`; none is everything, or as it was.
        #[serde(default)]
        allow: Option<String>,
        /// For how long from then it is trusted, seconds; none is for good, or as it was.
        #[serde(default)]
        for_secs: Option<u64>,
    },
    /// Approves a pending request.
    Approve {
        /// Whose.
        target: String,
        /// What the node may open here, `inbox,tcp:22`; none is everything.
        #[serde(default)]
        allow: Option<String>,
        /// For how long it is trusted, seconds; none is for good.
        #[serde(default)]
        for_secs: Option<u64>,
    },
    /// Forgets a pending request.
    Reject {
        /// Whose.
        target: String,
    },
    /// Trusts a node by its whole public key, without asking it.
    Trust {
        /// The key.
        key: String,
        /// What the node may open here, `inbox,tcp:22`; none is everything, or as it was.
        #[serde(default)]
        allow: Option<String>,
        /// For how long it is trusted, seconds; none is for good, or as it was.
        #[serde(default)]
        for_secs: Option<u64>,
    },
    /// Changes what a trusted node may open here, at once.
    Grant {
        /// Which.
        target: String,
        /// `inbox,tcp:22`, `all` or `none`.
        allow: String,
    },
    /// Withdraws trust, at once.
    Untrust {
        /// From whom.
        target: String,
    },
    /// Makes a join token.
    Invite {
        /// How many nodes may use it.
        #[serde(default = "one")]
        uses: u32,
        /// How long it is good for, seconds.
        #[serde(default = "one_hour")]
        expires_secs: u64,
        /// What each of them may open here, `inbox,tcp:22`; none is everything.
        #[serde(default)]
        allow: Option<String>,
        /// For how long from its redemption each is trusted, seconds; none is for good.
        #[serde(default)]
        for_secs: Option<u64>,
    },
    /// Redeems a join token of the same rendezvous.
    Join {
        /// The token.
        token: String,
    },
    /// Takes a hostname, or gives it up.
    SetHostname {
        /// The new name; none gives the old one up.
        hostname: Option<String>,
    },
    /// Answers as soon as a condition holds.
    Wait {
        /// `ready`, a node (connected), or `direct:` and a node.
        #[serde(default = "ready")]
        condition: String,
        /// How long to wait at most, milliseconds.
        #[serde(default = "thirty_seconds")]
        timeout_ms: u64,
    },
    /// Ends the daemon.
    Stop,
}

fn five_seconds() -> u64 {
    5_000
}

fn thirty_seconds() -> u64 {
    30_000
}

fn one() -> u32 {
    1
}

fn one_hour() -> u64 {
    3_600
}

fn ready() -> String {
    "ready".to_owned()
}

/// The name of a request in the path of its URL, and whether it only reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verb {
    /// The last part of the path.
    pub name: String,
    /// Whether it is a GET.
    pub reads: bool,
}

const READS: &[&str] =
    &["info", "status", "peers", "pending", "trusted", "config", "find", "whois", "wait", "why", "netcheck"];

impl Request {
    /// The verb of this request, and its other fields.
    pub fn into_parts(&self) -> Result<(Verb, Map<String, Value>), Error> {
        let value = serde_json::to_value(self).map_err(|error| Error::new("internal", error.to_string()))?;
        let Value::Object(mut fields) = value else {
            return Err(Error::new("internal", "a request is no JSON object"));
        };
        let name = fields.remove("verb").and_then(|verb| verb.as_str().map(str::to_owned)).unwrap_or_default();
        let reads = READS.contains(&name.as_str());
        Ok((Verb { name, reads }, fields))
    }

    /// The request of a verb with the given fields.
    ///
    /// # Errors
    /// `not_found` for an unknown verb, `invalid_request` for missing or wrong fields.
    pub fn from_parts(verb: &Verb, mut fields: Map<String, Value>) -> Result<Request, Error> {
        fields.insert("verb".to_owned(), Value::String(verb.name.clone()));
        let request: Request = serde_json::from_value(Value::Object(fields)).map_err(|error| refused(verb, &error))?;
        if verb.reads && !READS.contains(&verb.name.as_str()) {
            return Err(Error::new("invalid_request", format!("{} changes something: use POST", verb.name)));
        }
        Ok(request)
    }
}

fn refused(verb: &Verb, error: &serde_json::Error) -> Error {
    let message = error.to_string();
    if message.starts_with("unknown variant") {
        return Error::new("not_found", format!("there is no /v1/{}", verb.name)).hint("docs/cli.md lists the paths");
    }
    Error::new("invalid_request", format!("/v1/{}: {message}", verb.name)).hint("docs/cli.md lists the fields")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(name: &str, reads: bool, fields: Value) -> Result<Request, Error> {
        let fields = fields.as_object().cloned().unwrap_or_default();
        Request::from_parts(&Verb { name: name.to_owned(), reads }, fields)
    }

    #[test]
    fn a_request_survives_the_wire() {
        for request in [
            Request::Info,
            Request::SetHostname { hostname: None },
            Request::Handshake {
                target: "alpha".into(),
                reason: "why not".into(),
                allow: Some("none".into()),
                for_secs: None,
            },
            Request::Wait { condition: "direct:alpha".into(), timeout_ms: 7 },
            Request::Trust { key: "k".into(), allow: Some("inbox,tcp:22".into()), for_secs: Some(60) },
        ] {
            let (verb, fields) = request.into_parts().unwrap();
            assert_eq!(Request::from_parts(&verb, fields).unwrap(), request);
        }
    }

    #[test]
    fn fields_have_defaults_where_the_command_line_has_them() {
        let invite = parts("invite", false, serde_json::json!({})).unwrap();
        assert_eq!(invite, Request::Invite { uses: 1, expires_secs: 3_600, allow: None, for_secs: None });
        let approve = parts("approve", false, serde_json::json!({"target": "alpha"})).unwrap();
        assert_eq!(approve, Request::Approve { target: "alpha".into(), allow: None, for_secs: None });
    }

    #[test]
    fn refusals_name_the_verb_and_the_field() {
        assert_eq!(parts("nonsense", true, Value::Null).unwrap_err().code, "not_found");
        let missing = parts("ping", false, serde_json::json!({})).unwrap_err();
        assert_eq!(missing.code, "invalid_request");
        assert!(missing.message.contains("ping") && missing.message.contains("target"), "{missing}");
        assert_eq!(parts("stop", true, Value::Null).unwrap_err().code, "invalid_request");
    }
}
