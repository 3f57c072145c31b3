//! Tasks over gRPC.

use std::pin::Pin;

use futures_util::{Stream, StreamExt};
use serde_json::value::RawValue;
use tonic::{Request, Response, Status};

use super::decide::Decision;
use super::submit::Submission;
use super::view::to_api;
use super::{State, Tasks};
use crate::control::Error;
use crate::services::api;
use crate::services::api::tasks_server::TasksServer;
use crate::services::directory::Caller;
use crate::services::door::status;
use crate::services::inbox::message::{check_json, one_line};
use crate::store::inbox::TaskRecord;

/// Room for what is not the task.
const ENVELOPE: usize = 64 << 10;

pub fn service(tasks: Tasks) -> TasksServer<Service> {
    let longest = tasks.inbox.max_message() + ENVELOPE;
    TasksServer::new(Service(tasks)).max_decoding_message_size(longest)
}

/// The methods of `pilot.v1.Tasks`.
pub struct Service(Tasks);

fn caller<T>(request: &Request<T>) -> Result<Caller, Status> {
    request.extensions().get().cloned().ok_or_else(|| Status::permission_denied("nobody knows who calls"))
}

fn local<T>(request: &Request<T>) -> Result<(), Status> {
    caller(request)?.require_local().map_err(|error| status(&error))
}

fn json(bytes: &[u8]) -> Result<Box<RawValue>, Error> {
    check_json(bytes)?;
    one_line(bytes).ok_or_else(|| Error::new("invalid_request", "this is no UTF-8"))
}

impl Service {
    fn told(&self, outcome: Result<TaskRecord, Error>) -> Result<Response<api::Task>, Status> {
        let me = self.0.inbox.directory().me();
        outcome.map(|record| Response::new(to_api(record, &me))).map_err(|error| status(&error))
    }

    async fn decide(&self, request: Request<api::TaskDecision>, state: State) -> Result<Response<api::Task>, Status> {
        local(&request)?;
        let api::TaskDecision { id, reason } = request.into_inner();
        let decided = match Decision::because(&id, state, &reason) {
            Ok(decision) => self.0.decide(decision).await,
            Err(error) => Err(error),
        };
        self.told(decided)
    }

    fn query(&self, asked: &api::TaskQuery) -> Result<crate::store::inbox::TaskQuery, Status> {
        let fields = [("state", &*asked.state), ("direction", &*asked.direction), ("node", &*asked.node)];
        self.0.query(fields).map_err(|error| status(&error))
    }
}

fn result(said: api::TaskResult) -> Result<Decision, Error> {
    let state = match (said.running, said.ok) {
        (true, _) => State::Running,
        (false, true) => State::Done,
        (false, false) => State::Failed,
    };
    let result = (!said.result.is_empty()).then(|| json(&said.result)).transpose()?;
    Ok(Decision { id: said.id, state, result })
}

#[tonic::async_trait]
impl api::tasks_server::Tasks for Service {
    type FollowStream = Pin<Box<dyn Stream<Item = Result<api::Task, Status>> + Send>>;

    async fn submit(&self, request: Request<api::TaskRequest>) -> Result<Response<api::Task>, Status> {
        let caller = caller(&request)?;
        let api::TaskRequest { node, id, task, deadline_secs } = request.into_inner();
        let submitted = match json(&task) {
            Ok(task) => self.0.submit(&caller, Submission { task, id, deadline_secs, node }).await,
            Err(error) => Err(error),
        };
        self.told(submitted)
    }

    async fn list(&self, request: Request<api::TaskQuery>) -> Result<Response<api::TaskList>, Status> {
        local(&request)?;
        let found = self.0.list(self.query(request.get_ref())?).await.map_err(|error| status(&error))?;
        let me = self.0.inbox.directory().me();
        Ok(Response::new(api::TaskList { tasks: found.into_iter().map(|record| to_api(record, &me)).collect() }))
    }

    async fn follow(&self, request: Request<api::TaskQuery>) -> Result<Response<Self::FollowStream>, Status> {
        local(&request)?;
        let me = self.0.inbox.directory().me();
        let records = self.0.follow(self.query(request.get_ref())?);
        let told = records.map(move |record| record.map(|record| to_api(record, &me)).map_err(|error| status(&error)));
        Ok(Response::new(Box::pin(told)))
    }

    async fn accept(&self, request: Request<api::TaskDecision>) -> Result<Response<api::Task>, Status> {
        self.decide(request, State::Accepted).await
    }

    async fn decline(&self, request: Request<api::TaskDecision>) -> Result<Response<api::Task>, Status> {
        self.decide(request, State::Declined).await
    }

    async fn finish(&self, request: Request<api::TaskResult>) -> Result<Response<api::Task>, Status> {
        local(&request)?;
        let decided = match result(request.into_inner()) {
            Ok(decision) => self.0.decide(decision).await,
            Err(error) => Err(error),
        };
        self.told(decided)
    }

    async fn cancel(&self, request: Request<api::TaskDecision>) -> Result<Response<api::Task>, Status> {
        self.decide(request, State::Cancelled).await
    }

    async fn get(&self, request: Request<api::TaskDecision>) -> Result<Response<api::Task>, Status> {
        let caller = caller(&request)?;
        let found = self.0.get(&caller, &request.get_ref().id).await;
        self.told(found)
    }
}
