"""The tour with openapi-python-client: the same as those in tests/live/generators, and the same report."""

import json
import sys
from typing import TypeVar

from client import AuthenticatedClient, Client
from client.api.login import sign_up
from client.api.tasks import batch_tasks, complete_task, create_task, list_tasks, patch_task, replace_task
from client.models import (
    Batch,
    BatchErrorBody,
    BatchTasksReturn,
    CompleteOperation,
    CompleteOperationOp,
    CreateOperation,
    CreateOperationOp,
    DeleteOperation,
    DeleteOperationOp,
    ErrorBody,
    ErrorCode,
    ListTasksFieldsItem,
    SignUp,
    TaskCompletion,
    TaskContent,
    TaskData,
    TaskFieldsData,
    TaskListData,
    TaskPatch,
)
from client.types import Unset

T = TypeVar("T")


def there(value: T | Unset | None) -> T:
    """Return the value, which has to be there."""
    assert value is not None
    assert not isinstance(value, Unset)
    return value


url = sys.argv[1]
login = sign_up.sync(
    client=Client(base_url=url),
    body=SignUp(name="Ada", email="ada@python.example.com", password="correct horse"),
)
assert login is not None
assert not isinstance(login, ErrorBody)
client = AuthenticatedClient(base_url=url, token=login.data.token)

created = create_task.sync_detailed(client=client, body=TaskContent(title="Buy milk"))
assert isinstance(created.parsed, TaskData)
task = created.parsed.data
other = create_task.sync(client=client, body=TaskContent(title="Buy oats", description=None, completed=True))
assert isinstance(other, TaskData)

first = list_tasks.sync(client=client, limit=1, count=True)
assert isinstance(first, TaskListData)
first_page = there(first.page)
second = list_tasks.sync(client=client, cursor=there(first_page.next_))
assert isinstance(second, TaskListData)
some = list_tasks.sync(client=client, fields=[ListTasksFieldsItem.ID, ListTasksFieldsItem.TITLE])
assert isinstance(some, TaskFieldsData)

patched = patch_task.sync(task.id, client=client, body=TaskPatch(description="Two litres"))
assert isinstance(patched, TaskData)
completed = complete_task.sync(task.id, client=client)
assert isinstance(completed, TaskData)
operations = [
    CreateOperation(op=CreateOperationOp.CREATE, data=TaskContent(title="Call the plumber")),
    CompleteOperation(op=CompleteOperationOp.COMPLETE, id=task.id, data=TaskCompletion(completed=False)),
    DeleteOperation(op=DeleteOperationOp.DELETE, id=other.data.id),
]
batch = batch_tasks.sync(client=client, return_=BatchTasksReturn.MINIMAL, body=Batch(operations=[*operations]))
assert batch is not None
assert not isinstance(batch, BatchErrorBody | ErrorBody)
stale = replace_task.sync_detailed(task.id, client=client, body=TaskContent(title="Buy bread"), if_match='"v0"')
assert isinstance(stale.parsed, ErrorBody)
code: ErrorCode = stale.parsed.error.code
invalid = create_task.sync_detailed(client=client, body=TaskContent(title=" "))
assert isinstance(invalid.parsed, ErrorBody)

report = {
    "user": login.data.user.name,
    "created": [created.status_code, task.title, task.description, task.completed],
    "pages": [
        [each.title for each in first.data],
        there(first_page.total),
        [each.title for each in second.data],
        there(second.page).next_,
    ],
    "fields": [[*each.to_dict()] for each in some.data],
    "patched": patched.data.description,
    "completed": completed.data.completed,
    "batch": [[each.op, each.status, [*each.data.to_dict()] if each.data is not None else []] for each in batch.data],
    "stale": [stale.status_code, code, there(stale.parsed.error.current).title],
    "invalid": [
        invalid.status_code,
        invalid.parsed.error.code,
        [each.field for each in there(invalid.parsed.error.fields)],
    ],
}
print(json.dumps(report))
