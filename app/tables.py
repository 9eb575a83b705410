"""Every table, one class each. `piccolo_migrations/` makes them; a test keeps the two alike."""

import warnings

from piccolo.columns import Array, BigSerial, Boolean, Bytea, ForeignKey, Integer, Text, Timestamptz, Varchar
from piccolo.columns.base import OnDelete
from piccolo.columns.readable import Readable
from piccolo.constraints import Check
from piccolo.table import Table

from app.database import database

# The name is Better Auth's, whose table this may be, and Piccolo quotes it wherever it writes it.
warnings.filterwarnings("ignore", "We recommend giving your table a different name as `user`", UserWarning)


class User(Table, tablename="user", db=database):
    """Whoever owns tasks, in the shape that Better Auth gives the same table in the same database."""

    id = Text(primary_key=True, default=None, help_text="The user id of the token.")
    name = Text(null=False)
    email = Text(null=False, unique=True, default=None)
    email_verified = Boolean(null=False, default=False, db_column_name="emailVerified")
    image = Text(null=True, default=None)
    created_at = Timestamptz(null=False, db_column_name="createdAt")
    updated_at = Timestamptz(null=False, db_column_name="updatedAt")

    @classmethod
    def get_readable(cls) -> Readable:
        """How the admin names a user."""
        return Readable(template="%s (%s)", columns=[cls.name, cls.id])


class Task(Table, tablename="tasks", db=database):
    """One task of one owner. The database sets both stamps, to the millisecond that JavaScript keeps."""

    id = BigSerial(primary_key=True)
    user_id = ForeignKey(references=User, on_delete=OnDelete.cascade, null=False)
    title = Varchar(length=500, null=False)
    description = Text(null=True, default=None)
    completed = Boolean(null=False, default=False)
    created_at = Timestamptz(null=False)
    updated_at = Timestamptz(null=False, help_text="Moved by a trigger, strictly forwards, on every change.")

    title_has_text = Check("char_length(btrim(title)) BETWEEN 1 AND 500")


class Credential(Table, tablename="credentials", db=database):
    """The password of an account of ours: Argon2id, in the PHC string format."""

    user_id = ForeignKey(references=User, on_delete=OnDelete.cascade, null=False, primary_key=True)
    password_hash = Text(null=False, default=None, secret=True)
    updated_at = Timestamptz(null=False)


class LoginSession(Table, tablename="login_sessions", db=database):
    """One login on one device, and the refresh tokens that come of it, of which one is valid at a time."""

    id = Text(primary_key=True, default=None)
    user_id = ForeignKey(references=User, on_delete=OnDelete.cascade, null=False, index=True)
    family_hash = Bytea(null=False, default=None, unique=True, secret=True, help_text="What its tokens share.")
    token_hash = Bytea(null=False, default=None, secret=True, help_text="What is the valid one's own.")
    user_agent = Text(null=True, default=None)
    ip_address = Text(null=True, default=None)
    created_at = Timestamptz(null=False)
    last_used_at = Timestamptz(null=False)
    expires_at = Timestamptz(null=False, default=None, index=True)


class PersonalAccessToken(Table, tablename="personal_access_tokens", db=database):
    """A token for a script: shown once, and kept as a hash."""

    id = Text(primary_key=True, default=None)
    user_id = ForeignKey(references=User, on_delete=OnDelete.cascade, null=False, index=True)
    name = Text(null=False, default=None)
    scope = Text(null=False, default=None, help_text="`read` or `write`.")
    token_hash = Bytea(null=False, default=None, unique=True, secret=True)
    created_at = Timestamptz(null=False)
    last_used_at = Timestamptz(null=True, default=None)
    expires_at = Timestamptz(null=True, default=None)

    scope_is_known = Check("scope IN ('read', 'write')")


class RateLimit(Table, tablename="rate_limits", db=database):
    """Failed logins of an email address, or from an address on the network, and until when they lock it."""

    email = Text(primary_key=True, default=None, help_text="Or `ip:` and an address, which is no email.")
    failed_attempts = Integer(null=False, default=0)
    last_attempt = Timestamptz(null=False, index=True)
    locked_until = Timestamptz(null=True, default=None)
    created_at = Timestamptz(null=False)
    recent_attempts = Array(base_column=Timestamptz(), default=list, help_text="Those that count, oldest first.")
