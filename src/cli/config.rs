//! `pilotctl config`: every setting and where it comes from.

use std::process::ExitCode;

use super::Session;
use super::format::table;
use crate::control::views::Config;
use crate::control::{Error, Request};

pub async fn run(session: &Session) -> Result<ExitCode, Error> {
    session.show(&Request::Config, |_, config: Config| human(config)).await
}

fn human(config: Config) -> String {
    let rows: Vec<Vec<String>> = config
        .settings
        .into_iter()
        .map(|setting| vec![setting.key, setting.value.to_string(), setting.origin])
        .collect();
    table(&["SETTING", "VALUE", "FROM"], &rows)
}
