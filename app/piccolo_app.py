"""Which tables are ours, and where their migrations lie: what the `piccolo` command asks for."""

from piccolo.conf.apps import AppConfig

from app.settings import ROOT
from app.tables import (
    Credential,
    IdempotencyKey,
    LoginSession,
    PersonalAccessToken,
    RateLimit,
    Revision,
    Task,
    TaskVersion,
    User,
)

APP_CONFIG = AppConfig(
    app_name="tasks",
    migrations_folder_path=str(ROOT / "piccolo_migrations"),
    table_classes=[
        User,
        Revision,
        Task,
        TaskVersion,
        IdempotencyKey,
        RateLimit,
        Credential,
        LoginSession,
        PersonalAccessToken,
    ],
    migration_dependencies=[],
    commands=[],
)
