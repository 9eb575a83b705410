"""The SQL of the limit and of the database alone: what the service itself asks, one round trip each."""

STAMPS = ("completed_at", "due_at", "created_at", "updated_at")
AS_TEXT = {name: f"""to_char({name} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')""" for name in STAMPS} | {
    "uid": "uid::text",
    "start_date": "to_char(start_date, 'YYYY-MM-DD')",
    "due_date": "to_char(due_date, 'YYYY-MM-DD')",
    "due_time": "to_char(due_time::interval, 'HH24:MI')",
}
FIELDS = (
    *("id", "uid", "user_id", "title", "description", "completed", "completed_at", "list_id", "parent_id", "position"),
    *("start_date", "due_date", "due_time", "time_zone", "due_at", "priority", "labels", "estimate_minutes", "extra"),
    *("created_at", "updated_at"),
)
COLUMNS = ", ".join(f"{AS_TEXT[name]} AS {name}" if name in AS_TEXT else name for name in FIELDS)
TOGGLED = "completed = NOT completed, completed_at = CASE WHEN NOT completed THEN now() END"

LIST = f"SELECT {COLUMNS} FROM tasks WHERE user_id = $1 ORDER BY tasks.created_at DESC, tasks.id DESC"
GET = f"SELECT {COLUMNS} FROM tasks WHERE user_id = $1 AND id = $2"
POST = f"INSERT INTO tasks (user_id, title, description) VALUES ($1, $2, $3) RETURNING {COLUMNS}"
PUT = f"UPDATE tasks SET title = $3, description = $4 WHERE user_id = $1 AND id = $2 RETURNING {COLUMNS}"
TOGGLE = f"UPDATE tasks SET {TOGGLED} WHERE user_id = $1 AND id = $2 RETURNING {COLUMNS}"
