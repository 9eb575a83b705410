"""What a field of a task is: its types, its rule, and its SQL."""

from collections.abc import Callable
from typing import Any, NamedTuple, get_args

from msgspec import UNSET

from app.db.statements import on_the_wire


class Field(NamedTuple):
    """A field, and a column of the same name of `tasks` and of `task_versions`."""

    name: str
    sql: str  # the type of its parameter in SQL
    shown: Any  # its type in an answer
    sent: Any  # its type in a body; null where it may be
    # Its value in a POST or PUT without it: UNSET leaves it as it is, NODEFAULT refuses the request.
    absent: Any = UNSET
    # Its SQL in a task that is created without it; `{completed}` and `{at}` are the task's own, and the time.
    initial: str = "NULL"
    is_nullable: bool = True  # whether a change can set null
    check: Callable[[Any], Any] | None = None  # returns the value to store; raises Invalid. The admin asks it alone
    kept: str = ""  # the SQL that tells whether a version keeps it; each does, unless only a replaced one is kept
    # Whether every client sends it. A statement binds each of these by itself, and a body with another one as a whole.
    is_common: bool = False

    @property
    def example(self) -> Any:
        return get_args(self.shown)[1].examples[0]

    @property
    def on_the_wire(self) -> str:
        """The SQL of its column as an answer has it."""
        return on_the_wire(self.name, f'"{self.name}"')

    @property
    def sql_shown(self) -> str:
        """Its type in SQL as an answer has it."""
        return self.sql if self.on_the_wire == f'"{self.name}"' else "text"

    @property
    def is_set(self) -> str:
        """The name of the parameter that tells whether a nullable field is to be set."""
        return f"sets_{self.name}"

    def assigned(self, value: str, is_set: str) -> str:
        """Return the SQL that an UPDATE sets the column to: where `is_set` is false or the value is null, itself."""
        if self.is_nullable:
            return f'CASE WHEN {is_set} THEN {value} ELSE "tasks"."{self.name}" END'
        return f'coalesce({value}, "tasks"."{self.name}")'

    def created(self, value: str, at: str) -> str:
        """Return the SQL of the column in a new task, from that of each value in a body, where `{}` is the field."""
        initial = self.initial.format(completed=value.format("completed"), at=at)
        return f"coalesce({value.format(self.name)}, {initial})"
