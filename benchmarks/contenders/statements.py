"""The SQL of the limit and of the database alone: what the service itself asks, one round trip each."""

STAMPS = """
    to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS created_at,
    to_char(updated_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS updated_at
"""
COLUMNS = f"id, user_id, title, description, completed, {STAMPS}"

LIST = f"SELECT {COLUMNS} FROM tasks WHERE user_id = $1 ORDER BY tasks.created_at DESC, tasks.id DESC"
GET = f"SELECT {COLUMNS} FROM tasks WHERE user_id = $1 AND id = $2"
POST = f"INSERT INTO tasks (user_id, title, description) VALUES ($1, $2, $3) RETURNING {COLUMNS}"
PUT = f"UPDATE tasks SET title = $3, description = $4 WHERE user_id = $1 AND id = $2 RETURNING {COLUMNS}"
TOGGLE = f"UPDATE tasks SET completed = NOT completed WHERE user_id = $1 AND id = $2 RETURNING {COLUMNS}"
