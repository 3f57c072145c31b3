//! The Rust driver for the tests, to the letter: `events_raw publish TOPIC JSON`, `events_raw subscribe PATTERN`.

use std::io::Write;

use pilot::Pilot;
use pilot::driver::Draft;

#[tokio::main]
async fn main() -> Result<(), pilot::Error> {
    let events = Pilot::connect().await?.events().await?;
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match &arguments[..] {
        ["publish", topic, json] => {
            events.send(Draft::json(*topic, json.as_bytes())).await?;
            events.flush().await
        }
        ["subscribe", pattern] => {
            let mut heard = events.subscribe(*pattern).await?;
            let mut out = std::io::stdout().lock();
            while let Some(event) = heard.next().await {
                // A reader that has gone away ends the program.
                let written =
                    out.write_all(event.data()).and_then(|()| out.write_all(b"\n")).and_then(|()| out.flush());
                if written.is_err() {
                    break;
                }
            }
            Ok(())
        }
        _ => Err(pilot::Error::new("bad_argument", "publish TOPIC JSON, or subscribe PATTERN")),
    }
}
