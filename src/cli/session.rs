//! What every command works with: the daemon's client, and how to show an answer.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::control::{Client, Error, Request};

/// One run of `pilotctl`.
pub struct Session {
    /// Where the daemon is.
    pub socket: PathBuf,
    /// Whether answers are JSON.
    pub json: bool,
    /// The daemon.
    pub client: Client,
    coloured: bool,
}

impl Session {
    /// A session with the daemon at `socket`; colours are for terminals, and for those who have not set NO_COLOR.
    pub fn new(json: bool, socket: PathBuf) -> Session {
        let coloured = !json && std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        Session { client: Client::new(&socket), socket, json, coloured }
    }

    /// Asks the daemon.
    ///
    /// # Errors
    /// Its refusal, or that it does not run.
    pub async fn call<T: DeserializeOwned>(&self, request: &Request) -> Result<T, Error> {
        self.client.call(request).await
    }

    /// Asks, and shows the answer: as JSON as it came, or for a person by `human`.
    ///
    /// # Errors
    /// As [`Session::call`].
    pub async fn show<T: DeserializeOwned>(
        &self,
        request: &Request,
        human: impl FnOnce(&Session, T) -> String,
    ) -> Result<ExitCode, Error> {
        if self.json {
            self.print_json(&self.client.ask(request).await?);
        } else {
            let text = human(self, self.client.call(request).await?);
            self.print(&text);
        }
        Ok(ExitCode::SUCCESS)
    }

    /// Shows `.data` of an answer of the services: as JSON to the letter, or for a person by `human`.
    ///
    /// # Errors
    /// `internal` where the answer is not what `human` takes.
    pub fn show_raw<T: DeserializeOwned>(
        &self,
        data: &RawValue,
        human: impl FnOnce(&Session, T) -> String,
    ) -> Result<ExitCode, Error> {
        if self.json {
            self.print(&format!("{{\"status\":\"ok\",\"data\":{}}}", data.get()));
        } else {
            let view = serde_json::from_str(data.get()).map_err(|error| {
                Error::new("internal", format!("the daemon's answer is not understood: {error}"))
                    .hint("are pilotctl and pilotd of the same version?")
            })?;
            self.print(&human(self, view));
        }
        Ok(ExitCode::SUCCESS)
    }

    /// Shows a result of our own making.
    pub fn finish(&self, data: &impl Serialize, human: &str) {
        if self.json {
            self.print_json(&serde_json::to_value(data).unwrap_or_default());
        } else {
            self.print(human);
        }
    }

    /// Prints lines for a person.
    pub fn print(&self, text: &str) {
        // A reader that has gone away is no error of ours.
        let _ = writeln!(std::io::stdout(), "{}", text.trim_end());
    }

    fn print_json(&self, data: &Value) {
        self.print(&json!({"status": "ok", "data": data}).to_string());
    }

    /// Shows an error; gives the exit code that goes with it.
    pub fn refuse(&self, error: &Error) -> ExitCode {
        if self.json {
            self.print(&error.to_json().to_string());
        } else {
            let hint = if error.hint.is_empty() { String::new() } else { format!("\n  hint: {}", error.hint) };
            // As above.
            let _ = writeln!(std::io::stderr(), "pilotctl: {}{hint}", error.message);
        }
        ExitCode::from(error.exit_code())
    }

    /// `text` in an ANSI colour (SGR code), on a terminal.
    pub fn colour(&self, code: u8, text: &str) -> String {
        if self.coloured { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}
