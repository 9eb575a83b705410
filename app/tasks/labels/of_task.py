"""One label of a task: added, or taken away, in one statement, so that two devices lose nothing of each other's."""

import msgspec

from app.db.statements import SET_RLS_OWNER
from app.tasks.change import Change
from app.tasks.failures import PreconditionFailed
from app.tasks.idempotency import execute
from app.tasks.label_names import MAX_LABELS_OF_TASK, LabelName, key_of, too_many_labels
from app.tasks.queries import THAT_TASK, UNCHANGED, UNLESS_CHANGED, execute_on, get_task, update
from app.tasks.structs import Task
from app.web.envelopes import encode
from app.web.failures import Unavailable

LABEL_ATTEMPTS = 20  # of a change that hangs on what the task is
SPELT = f"""(
    SELECT "name" FROM "task_labels" WHERE {SET_RLS_OWNER} AND "user_id" = :owner AND "key" = :label_key::text
)"""
HAS_IT = f'coalesce("tasks"."labels" ? {SPELT}, false)'
ADD_LABEL = update(
    {"labels": '"tasks"."labels" || :new_label::text::jsonb'},
    f'{THAT_TASK} AND {UNLESS_CHANGED} AND NOT {HAS_IT} AND jsonb_array_length("labels") < {MAX_LABELS_OF_TASK}',
)
TAKE_LABEL = update({"labels": f'"tasks"."labels" - {SPELT}'}, f"{THAT_TASK} AND {UNLESS_CHANGED} AND {HAS_IT}")


async def set_label(change: Change, task_id: int, label: LabelName, *, is_wanted: bool) -> Task:
    """Give a task a label, or take it away. Where it is so already, nothing changes.

    Raises Invalid for one label too many, LabelLimitReached, TaskNotFound, PreconditionFailed, KeyReused; and
    Unavailable where the task is changed each time between the statement and the look at why it was not.
    """
    for _ in range(LABEL_ATTEMPTS):
        values = {"new_label": encode([label]).decode()} if is_wanted else {}
        statement = ADD_LABEL if is_wanted else TAKE_LABEL
        if rows := await execute(statement, change, task_id=task_id, label_key=label.key, **values):
            return Task(*rows[0])
        task = await get_task(change.owner, task_id)
        if not change.condition.allows(task.version):
            raise PreconditionFailed(task)
        names = msgspec.json.decode(task.labels, type=list[str])
        if is_wanted == (label.key in map(key_of, names)):
            return Task(*await execute_on(UNCHANGED, change, task_id))
        if is_wanted and len(names) >= MAX_LABELS_OF_TASK:
            raise too_many_labels()
    raise Unavailable
