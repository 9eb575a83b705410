"""Which tables are ours, and where their migrations lie: what the `piccolo` command asks for."""

from piccolo.conf.apps import AppConfig

from app.config.settings import ROOT
from app.db import tables as t
from app.db.history_tables import TaskLabelVersion, TaskListVersion

APP_CONFIG = AppConfig(
    app_name="tasks",
    migrations_folder_path=str(ROOT / "piccolo_migrations"),
    table_classes=[
        *(t.User, t.Revision, t.Task, t.TaskVersion, t.TaskLabel, t.IdempotencyKey, t.RateLimit),
        *(t.Credential, t.LoginSession, t.PersonalAccessToken, t.TaskList),
        *(TaskListVersion, TaskLabelVersion),
    ],
)
