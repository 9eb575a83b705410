"""The filter by labels: their names, each as a parameter of its own, since names hold commas."""

import msgspec

from app.db.statements import SET_RLS_OWNER
from app.tasks.label_names import LABEL_SCHEMA, MAX_LABEL_NAME, MAX_LABELS_OF_TASK, checked_label
from app.tasks.listing.filters import Filter
from app.web.failures import Invalid

SEPARATOR = "\n"  # which no name has
# What the labels with the wanted keys are called; where one of them is not there, what no task has.
WANTED_NAMES = f"""(
    SELECT CASE WHEN count(*) = json_array_length(:label::text::json) THEN jsonb_agg("name") ELSE '[null]'::jsonb END
    FROM "task_labels" WHERE {SET_RLS_OWNER} AND "user_id" = :owner
        AND "key" IN (SELECT json_array_elements_text(:label::text::json))
)"""


def _keys(text: str) -> str | None:
    """Return the keys of names, each once, as JSON."""
    names = text.split(SEPARATOR)
    try:
        keys = {checked_label(name).key for name in names}
    except Invalid:
        return None
    return msgspec.json.encode(sorted(keys)).decode() if len(names) <= MAX_LABELS_OF_TASK else None


def said_in(name: str, text: str) -> list[str]:
    """Return the values of a parameter as a link to the next page has them; of a cursor none."""
    if name == "cursor":
        return []
    return text.split(SEPARATOR) if name == "label" else [text]


LABELS = Filter(
    _keys,
    f"the name of a label, of 1 to {MAX_LABEL_NAME} characters, and at most {MAX_LABELS_OF_TASK} times",
    "Only those with this label; where it is there more than once, with all of these. Case makes no difference. Where "
    "there is no such label, there are none.",
    {
        "type": "array",
        "items": {"type": "string", **LABEL_SCHEMA},
        "minItems": 1,
        "maxItems": MAX_LABELS_OF_TASK,
        "examples": [["home"]],
    },
    {"style": "form", "explode": True},
    is_list=True,
    separator=SEPARATOR,
    condition=f'(:label::text IS NULL OR "labels" @> {WANTED_NAMES})',
)
