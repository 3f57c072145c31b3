"""What is asked about tasks."""

from __future__ import annotations

import json
import uuid
from typing import Any, List, Mapping, Optional

from . import _http
from ._call import Call, Duration, Query, encode_json, seconds
from .records import Task


def submit_task(node: str, task: Any, id: Optional[str], deadline: Optional[Duration]) -> Call[Task]:
    """Submits a task. The ID is made here, so that asking again is harmless."""
    fields = {
        "node": node,
        "id": id or uuid.uuid4().hex,
        "deadline_secs": None if deadline is None else round(seconds(deadline)),
    }
    encoded = json.dumps(task, separators=(",", ":"), ensure_ascii=False)
    return Call("POST", "/v1/tasks", Task.parse, body=encode_json(fields, ("task", encoded)))


def tasks_query(state: Optional[str], direction: Optional[str], node: Optional[str]) -> Query:
    """Which tasks."""
    return (("state", state), ("direction", direction), ("node", node))


def tasks(query: Query) -> Call[List[Task]]:
    """The tasks that match."""
    return Call("GET", "/v1/tasks", lambda data: [Task.parse(each) for each in data["tasks"]], query)


def task(id: str) -> Call[Task]:
    """One task."""
    return Call("GET", f"/v1/tasks/{_http.segment(id)}", Task.parse)


def decide_task(id: str, decision: str, fields: Mapping[str, Any]) -> Call[Task]:
    """Accepts, declines, finishes or cancels one."""
    return Call("POST", f"/v1/tasks/{_http.segment(id)}/{decision}", Task.parse, body=json.dumps(dict(fields)).encode())


FOLLOW = "/v1/tasks/follow"
