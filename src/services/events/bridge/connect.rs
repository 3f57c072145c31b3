//! The connection to the NATS server: made again for as long as it takes.

use std::time::Duration;

use async_nats::{Client, ConnectOptions, Event};
use tokio::sync::watch;

use super::Settings;
use crate::control::Error;

/// The first wait between two attempts to connect; each further one is twice as long.
const FIRST_DELAY: Duration = Duration::from_millis(100);
/// The longest.
const LONGEST_DELAY: Duration = Duration::from_secs(10);

/// A connection that comes and goes.
#[derive(Clone)]
pub(super) struct Connection {
    /// The client; it reconnects by itself.
    pub client: Client,
    is_up: watch::Receiver<bool>,
}

impl Connection {
    /// Returns when there is a connection.
    pub async fn up(&mut self) {
        // The sender lives in the client, which lives here.
        let _ = self.is_up.wait_for(|is_up| *is_up).await;
    }
}

/// Begins to connect; returns before there is a connection.
///
/// # Errors
/// `bad_argument` for settings with which there will never be one.
pub(super) async fn connect(settings: &Settings, me: &str) -> Result<Connection, Error> {
    let (up, is_up) = watch::channel(false);
    let options = authorised(settings)?
        .name(format!("pilot {me}"))
        .no_echo()
        .retry_on_initial_connect()
        .max_reconnects(None)
        .reconnect_delay_callback(delay)
        .event_callback(move |event| {
            note(&event, &up);
            std::future::ready(())
        });
    let servers: Vec<&str> = settings.url.split(',').map(str::trim).collect();
    let client = options.connect(servers).await.map_err(|error| {
        Error::new("bad_argument", format!("events.bridge.url {:?}: {error}", settings.url))
            .hint("write it as nats://host:4222")
    })?;
    Ok(Connection { client, is_up })
}

fn authorised(settings: &Settings) -> Result<ConnectOptions, Error> {
    let options = ConnectOptions::new();
    match (&settings.credentials, &settings.user, &settings.token) {
        (None, None, None) => Ok(options),
        (None, Some(user), None) => {
            Ok(options.user_and_password(user.clone(), settings.password.clone().unwrap_or_default()))
        }
        (None, None, Some(token)) => Ok(options.token(token.clone())),
        (Some(path), None, None) => {
            let problem = |error: std::io::Error| {
                Error::new("bad_argument", format!("events.bridge.credentials {}: {error}", path.display()))
                    .hint("name a .creds file that pilotd may read")
            };
            let text = std::fs::read_to_string(path).map_err(problem)?;
            options.credentials(&text).map_err(problem)
        }
        _ => Err(Error::new("bad_argument", "events.bridge has more than one of credentials, user and token")
            .hint("keep one of them")),
    }
}

fn delay(attempts: usize) -> Duration {
    let doublings = u32::try_from(attempts.saturating_sub(1)).unwrap_or(u32::MAX).min(16);
    (FIRST_DELAY * 2u32.pow(doublings)).min(LONGEST_DELAY)
}

fn note(event: &Event, up: &watch::Sender<bool>) {
    match event {
        Event::Connected => {
            tracing::info!("the NATS server is connected");
            up.send_replace(true);
        }
        Event::Disconnected | Event::Closed => {
            tracing::warn!("the NATS server is away, trying on");
            up.send_replace(false);
        }
        other => tracing::warn!("NATS: {other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_become_rarer_and_never_stop() {
        assert_eq!([1, 2, 3].map(delay), [100, 200, 400].map(Duration::from_millis));
        assert_eq!([100, usize::MAX].map(delay), [LONGEST_DELAY; 2]);
    }
}
