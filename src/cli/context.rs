//! `pilotctl context`: every verb and its arguments as JSON, for agents that are to use it.

use std::process::ExitCode;

use clap::{Command, CommandFactory};
use serde_json::{Value, json};

use super::{Arguments, Session};
use crate::control::Error;

pub fn run(session: &Session) -> Result<ExitCode, Error> {
    let verbs = verbs(&Arguments::command());
    let human = serde_json::to_string_pretty(&verbs).map_err(|error| Error::new("internal", error.to_string()))?;
    session.finish(&json!({"verbs": verbs}), &human);
    Ok(ExitCode::SUCCESS)
}

fn verbs(command: &Command) -> Vec<Value> {
    command.get_subcommands().filter(|verb| verb.get_name() != "help").map(verb).collect()
}

fn verb(command: &Command) -> Value {
    let about = command.get_about().map(ToString::to_string);
    let arguments = command.get_arguments().filter(|argument| !argument.is_global_set()).map(|argument| {
        let values = argument.get_value_names().unwrap_or_default().iter().map(ToString::to_string);
        json!({
            "name": argument.get_long().map_or_else(|| argument.get_id().to_string(), |long| format!("--{long}")),
            "takes": argument.get_action().takes_values().then(|| values.collect::<Vec<_>>()),
            "required": argument.is_required_set(),
            "help": argument.get_help().map(ToString::to_string),
        })
    });
    let arguments: Vec<Value> = arguments.collect();
    json!({"verb": command.get_name(), "does": about, "arguments": arguments, "verbs": verbs(command)})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verb_says_what_it_does() {
        let verbs = verbs(&Arguments::command());
        let publish = verbs.iter().find(|verb| verb["verb"] == "publish").unwrap();
        assert!(publish["arguments"].as_array().unwrap().iter().any(|argument| argument["name"] == "--data"));
        assert!(verbs.iter().all(|verb| verb["does"].is_string()), "{verbs:?}");
    }
}
