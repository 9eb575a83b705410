"""Which tables are ours, and where their migrations lie: what the `piccolo` command asks for."""

from piccolo.conf.apps import AppConfig

from app.settings import ROOT
from app.tables import Credential, LoginSession, PersonalAccessToken, RateLimit, Task, User

APP_CONFIG = AppConfig(
    app_name="tasks",
    migrations_folder_path=str(ROOT / "piccolo_migrations"),
    table_classes=[User, Task, RateLimit, Credential, LoginSession, PersonalAccessToken],
    migration_dependencies=[],
    commands=[],
)
