//! Redeems the token of `pilotd up --join`, as soon as the rendezvous can be reached.

use super::calls::Calls;
use crate::identity::Token;
use crate::node::Command;

/// Tries until the node takes the token, or refuses it for good.
pub async fn redeem(calls: Calls, token: Token) {
    let mut changes = calls.changes.clone();
    loop {
        changes.borrow_and_update();
        match calls.ask(Command::Join(token.clone())).await {
            Ok(_) => return,
            Err(error) if error.code == "rendezvous_unreachable" => {}
            Err(error) => {
                tracing::error!("the join token was not redeemed: {error}");
                return;
            }
        }
        if changes.changed().await.is_err() {
            return;
        }
    }
}
