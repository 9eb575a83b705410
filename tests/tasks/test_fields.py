"""A field of a task is in every place that it has to be in: it is declared once, and the rest follows."""

import re

import asyncpg
import pytest

from app.db.statements import Statement
from app.db.tables import TaskVersion
from app.tasks import creation, past_versions, queries
from app.tasks.batch import queries as batch_queries
from app.tasks.history import queries as history_queries
from app.tasks.history.diff import Changes
from app.tasks.structs import Task, TaskContent, TaskPatch

CONTENT = TaskPatch.__struct_fields__  # whatever a client can set


def test_what_can_be_set_can_be_read() -> None:
    assert {*CONTENT} <= {*Task.__struct_fields__}
    assert {*TaskContent.__struct_fields__} <= {*CONTENT, "uid"}


async def test_what_can_be_set_is_kept_as_it_was(sql: asyncpg.Connection) -> None:
    assert {*CONTENT} <= {column._meta.name for column in TaskVersion._meta.columns}  # pyright: ignore[reportPrivateUsage]
    keeping = await sql.fetchval("SELECT prosrc FROM pg_proc WHERE proname = 'tasks_stamp'")
    assert {*CONTENT} <= {*re.findall(r"OLD\.(\w+)", keeping)}


def test_what_can_be_set_is_told_as_it_was() -> None:
    assert {*CONTENT} == {*Changes.__struct_fields__}


@pytest.mark.parametrize("field", CONTENT)
def test_what_can_be_set_can_be_set_in_a_batch_and_brought_back(field: str) -> None:
    assert [
        f'"{field}" =' in change.sql
        for change in (queries.PATCH_WHOLE, batch_queries.CHANGE_TASKS, history_queries.REVERT)
    ] == [True] * 3
    assert [
        f'"{field}"' in each
        for each in (history_queries.HISTORY.sql, history_queries.THAT_STATE.sql, past_versions.AS_THEY_WERE.sql)
    ] == [True] * 3


@pytest.mark.parametrize("change", [creation.CREATE_WHOLE, batch_queries.CREATE_TASKS], ids=["alone", "batch"])
def test_what_a_task_is_made_of_is_stored_in_one_statement(change: Statement) -> None:
    stored = re.search(r'INSERT INTO "tasks" \((.+?)\)', change.sql, re.DOTALL)
    assert stored
    assert {f'"{field}"' for field in TaskContent.__struct_fields__} <= {each.strip() for each in stored[1].split(",")}


@pytest.mark.parametrize("field", TaskContent.__struct_fields__)
def test_what_a_task_is_made_of_is_replaced_together_but_its_uid(field: str) -> None:
    assert (f'"{field}" =' in queries.PATCH_WHOLE.sql) == (field != "uid")
