//! Messages of the rendezvous link, in both directions.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pilot::wire::rendezvous::{ClientMessage, ServerMessage, server_message::Body};
use prost::Message;

fuzz_target!(|bytes: &[u8]| {
    let _ = ClientMessage::decode(bytes);
    if let Ok(ServerMessage {
        body: Some(Body::Welcome(welcome)),
    }) = ServerMessage::decode(bytes)
    {
        let _ = welcome.credential();
    }
});
