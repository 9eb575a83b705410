"""Where the `piccolo` command looks first: the engine and the apps.

The engine starts the embedded PostgreSQL by itself where no DATABASE_URL is given.
"""

from piccolo.conf.apps import AppRegistry

from app.db.piccolo_engine import engine

DB = engine

APP_REGISTRY = AppRegistry(
    apps=[
        "app.db.piccolo_app",
        "piccolo.apps.user.piccolo_app",
        "piccolo_api.session_auth.piccolo_app",
    ]
)
