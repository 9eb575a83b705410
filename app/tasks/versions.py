"""A task's version: its entity tag, and what a change may hang on."""

from typing import NamedTuple


class Condition(NamedTuple):
    """The versions that a task must have to be changed, or where they are not `wanted`, must not have."""

    versions: list[int] | None = None  # None: any
    wanted: bool = True

    def without(self, versions: list[int]) -> "Condition":
        """Return the condition that the task has none of these versions either."""
        if self.versions is None:
            return Condition(versions, wanted=False)
        refused = set(versions)  # thousands may be sent of each
        return Condition([each for each in self.versions if each not in refused])

    def as_array(self) -> str | None:
        """Return the versions as PostgreSQL writes an array."""
        return None if self.versions is None else f"{{{','.join(map(str, self.versions))}}}"


ANYWAY = Condition()


def etag(version: int) -> str:
    """Return the entity tag of a version of a task."""
    return f'"v{version}"'
