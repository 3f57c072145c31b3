//! Tasks over HTTP.

use axum::body::Bytes;
use axum::extract::{Path, Query as UrlQuery, State as Shared};
use axum::http::HeaderMap;
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Extension, Router};
use futures_util::StreamExt;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::decide::Decision;
use super::submit::Submission;
use super::view::TaskView;
use super::{State, Tasks};
use crate::control::{Error, given};
use crate::services::directory::Caller;
use crate::services::reply::{Item, reply, stream};
use crate::store::inbox::{Direction, TaskQuery, TaskRecord};

pub fn router(tasks: Tasks) -> Router {
    Router::new()
        .route("/v1/tasks", post(async |who, tasks, body| reply(submit(who, tasks, body).await)).get(list))
        .route("/v1/tasks/follow", get(follow))
        .route("/v1/tasks/{id}", get(async |who, tasks, id| reply(one(who, tasks, id).await)))
        .route(
            "/v1/tasks/{id}/{verb}",
            post(async |who, tasks, names, body| reply(decide(who, tasks, names, body).await)),
        )
        .with_state(tasks)
}

type Who = Extension<Caller>;
type Here = Shared<Tasks>;
type Fields = UrlQuery<Vec<(String, String)>>;

impl Tasks {
    fn view(&self, record: &TaskRecord) -> TaskView {
        TaskView::new(record, &self.inbox.directory().me())
    }

    /// The query that `fields` are.
    pub(super) fn query<'a>(&self, fields: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<TaskQuery, Error> {
        let mut query = TaskQuery::default();
        for (name, value) in fields.into_iter().filter(|(_, value)| !value.is_empty()) {
            let wrong = |error: String| Error::new("bad_argument", format!("{name}={value}: {error}"));
            match name {
                "state" => {
                    let state: State =
                        value.parse().map_err(|error: super::state::UnknownState| wrong(error.to_string()))?;
                    query.state = Some(state.as_str().to_owned());
                }
                "direction" => {
                    query.direction = Some(match value {
                        "in" => Direction::In,
                        "out" => Direction::Out,
                        _ => return Err(wrong("a task goes in or out".into())),
                    });
                }
                "node" => query.peer = Some(self.inbox.directory().find(value)?.key),
                "id" => query.id = Some(value.to_owned()),
                _ => return Err(Error::new("invalid_request", format!("there is no option {name:?}"))),
            }
        }
        Ok(query)
    }
}

fn pairs(fields: &[(String, String)]) -> impl Iterator<Item = (&str, &str)> {
    fields.iter().map(|(name, value)| (name.as_str(), value.as_str()))
}

async fn submit(Extension(who): Who, Shared(tasks): Here, body: Bytes) -> Result<TaskView, Error> {
    let record = tasks.submit(&who, Submission::parse(&body)?).await?;
    Ok(tasks.view(&record))
}

async fn one(Extension(who): Who, Shared(tasks): Here, Path(id): Path<String>) -> Result<TaskView, Error> {
    Ok(tasks.view(&tasks.get(&who, &id).await?))
}

#[derive(Serialize)]
struct Listed {
    tasks: Vec<TaskView>,
}

async fn list(who: Who, tasks: Here, fields: Fields) -> Response {
    reply(listed(who, tasks, fields).await)
}

async fn listed(Extension(who): Who, Shared(tasks): Here, UrlQuery(fields): Fields) -> Result<Listed, Error> {
    who.require_local()?;
    let found = tasks.list(tasks.query(pairs(&fields))?).await?;
    Ok(Listed { tasks: found.iter().map(|record| tasks.view(record)).collect() })
}

async fn follow(Extension(who): Who, Shared(tasks): Here, UrlQuery(fields): Fields, headers: HeaderMap) -> Response {
    match who.require_local().and_then(|()| tasks.query(pairs(&fields))) {
        Ok(query) => {
            let records = tasks.follow(query);
            stream(&headers, records.map(move |record| record.and_then(|record| item(&tasks.view(&record)))))
        }
        Err(error) => reply(Err::<(), _>(error)),
    }
}

fn item(view: &TaskView) -> Result<Item, Error> {
    let json = serde_json::to_vec(view).map_err(|error| Error::new("internal", error.to_string()))?;
    Ok(Item { json: json.into(), seq: 0 })
}

#[derive(Deserialize)]
struct Said {
    #[serde(default)]
    reason: String,
    #[serde(default = "yes")]
    ok: bool,
    #[serde(default)]
    running: bool,
    #[serde(default, deserialize_with = "given")]
    result: Option<Box<RawValue>>,
}

fn yes() -> bool {
    true
}

async fn decide(
    Extension(who): Who,
    Shared(tasks): Here,
    Path((id, verb)): Path<(String, String)>,
    body: Bytes,
) -> Result<TaskView, Error> {
    who.require_local()?;
    let said: Said = serde_json::from_slice(&body)
        .map_err(|error| Error::new("invalid_request", format!("the body: {error}")).hint("write {} for nothing"))?;
    let record = tasks.decide(decision(id, &verb, said)?).await?;
    Ok(tasks.view(&record))
}

fn decision(id: String, verb: &str, said: Said) -> Result<Decision, Error> {
    match verb {
        "accept" => Decision::because(&id, State::Accepted, &said.reason),
        "decline" => Decision::because(&id, State::Declined, &said.reason),
        "cancel" => Decision::because(&id, State::Cancelled, &said.reason),
        "finish" if said.running => Ok(Decision { id, state: State::Running, result: said.result }),
        "finish" if said.ok => Ok(Decision { id, state: State::Done, result: said.result }),
        "finish" if said.result.is_none() => Decision::because(&id, State::Failed, &said.reason),
        "finish" => Ok(Decision { id, state: State::Failed, result: said.result }),
        _ => Err(Error::new("not_found", format!("a task has no verb {verb:?}"))
            .hint("there are accept, decline, finish and cancel")),
    }
}
