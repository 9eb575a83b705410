"""Accounts on the wire: what people send, checked, and what they get back. Passwords only ever come in."""

from datetime import UTC, datetime
from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from app.accounts import emails
from app.auth.passwords import MAX_PASSWORD_CHARACTERS, MIN_CHARACTERS, check_length
from app.web import text as web_text
from app.web.envelopes import Data, NextPage, Stamp
from app.web.failures import Invalid

MAX_USER_NAME = 255  # characters
NAME_RULES = Meta(
    description=f"White space around it is trimmed; what is left has 1 to {MAX_USER_NAME} characters.",
    extra_json_schema={"minLength": 1, "pattern": web_text.pattern(MAX_USER_NAME)},
)

Scope = Literal["read", "write"]
Name = Annotated[str, NAME_RULES, Meta(examples=["Ada Lovelace"])]
Email = Annotated[
    str,
    Meta(description="Upper and lower case are the same.", extra_json_schema={"format": "email"}),
    Meta(examples=["ada@example.com"]),
]
Password = Annotated[str, Meta(examples=["correct horse battery staple"], extra_json_schema={"format": "password"})]
NewPassword = Annotated[
    str,
    Meta(
        description="Of any characters.",
        examples=["correct horse battery staple"],
        extra_json_schema={"format": "password", "minLength": MIN_CHARACTERS, "maxLength": MAX_PASSWORD_CHARACTERS},
    ),
]


class Profile(msgspec.Struct, frozen=True):
    """Who somebody is. Of a user whom only a token has named so far, what the token says."""

    id: Annotated[str, Meta(examples=["5f0c1d1e9a3b4c7d8e2f6a7b8c9d0e1f"])]
    name: Annotated[str, Meta(examples=["Ada Lovelace"])]
    email: Annotated[str | None, Meta(examples=["ada@example.com"])]
    created_at: Stamp | None


class ProfileData(Data[Profile], frozen=True):
    """A user in an envelope."""


class Login(msgspec.Struct, frozen=True):
    """What a login gives: a token to call with, and one to get the next pair with."""

    user: Profile
    token: Annotated[str, Meta(description="A bearer token (JWT).", examples=["eyJhbGciOi…"])]
    refresh_token: Annotated[
        str,
        Meta(description="For one use, within 30 days of its login's last use and 90 days of its login."),
        Meta(examples=["tsr_…"]),
    ]
    expires_in: Annotated[int, Meta(description="Seconds for which `token` is valid.", examples=[900])]
    device_token: Annotated[
        str,
        Meta(
            description="To send along with the next login on this device: guesses of others then do not lock it out. "
            "It ends with the password.",
            examples=["tsd_…"],
        ),
    ]


class LoginData(Data[Login], frozen=True):
    """A login in an envelope."""


class Session(msgspec.Struct, frozen=True):
    """A login that has not ended."""

    id: Annotated[str, Meta(examples=["Zk3v8wXq1mYt5RbL"])]
    user_agent: Annotated[str | None, Meta(examples=["Mozilla/5.0 (X11; Linux x86_64)"])]
    ip_address: Annotated[str | None, Meta(examples=["203.0.113.7"])]
    created_at: Stamp
    last_used_at: Annotated[Stamp, Meta(description="When its refresh token was last changed for a new one.")]
    expires_at: Annotated[
        Stamp, Meta(description="30 days after its last use, and 90 days after it began at the latest.")
    ]
    current: Annotated[bool, Meta(description="Whether it is the one that asks.")]


class SessionListData(Data[list[Session]], frozen=True):
    """Somebody's logins in an envelope, the last used first; and where a page was asked for, where they go on."""

    page: NextPage | UnsetType = UNSET


class PersonalToken(msgspec.Struct, frozen=True):
    """A token for a script, without the token itself."""

    id: Annotated[str, Meta(examples=["Zk3v8wXq1mYt5RbL"])]
    name: Annotated[str, Meta(examples=["Backup script"])]
    scope: Annotated[Scope, Meta(description="`read` changes nothing.")]
    created_at: Stamp
    expires_at: Stamp | None
    last_used_at: Annotated[Stamp | None, Meta(description="To the minute.")]


class NewPersonalToken(PersonalToken, frozen=True):
    """A token for a script, on the one occasion that it is shown."""

    token: Annotated[str, Meta(examples=["tsk_…"])]


class PersonalTokenListData(Data[list[PersonalToken]], frozen=True):
    """Somebody's tokens for scripts in an envelope, the newest first; and of a page, where they go on."""

    page: NextPage | UnsetType = UNSET


class NewPersonalTokenData(Data[NewPersonalToken], frozen=True):
    """A new token for a script in an envelope."""


class SignUp(msgspec.Struct, frozen=True):
    """A new account."""

    name: Name
    email: Email
    password: NewPassword

    def __post_init__(self) -> None:
        """Trim and normalise. Raises Invalid."""
        msgspec.structs.force_setattr(self, "name", _name(self.name))
        msgspec.structs.force_setattr(self, "email", emails.normal(self.email))
        check_length("password", self.password)


class Credentials(msgspec.Struct, frozen=True):
    """An email address and its password."""

    email: Email
    password: Password
    device_token: (
        Annotated[
            str | None,
            Meta(
                description="From the last login on this device. With it, wrong passwords that others send do not lock "
                "this login. One that is not valid counts as none.",
                examples=["tsd_…"],
            ),
        ]
        | UnsetType
    ) = UNSET

    def __post_init__(self) -> None:
        """Normalise the address. Raises Invalid."""
        msgspec.structs.force_setattr(self, "email", emails.normal(self.email))


class Refresh(msgspec.Struct, frozen=True):
    """The token that came with the last pair."""

    refresh_token: Annotated[str, Meta(examples=["tsr_…"])]


class ProfileChanges(msgspec.Struct, frozen=True):
    """What somebody may change about themselves."""

    name: Name

    def __post_init__(self) -> None:
        """Trim. Raises Invalid."""
        msgspec.structs.force_setattr(self, "name", _name(self.name))


class PasswordChange(msgspec.Struct, frozen=True):
    """A new password, and the one that it replaces."""

    current_password: Password
    new_password: Annotated[NewPassword, Meta(examples=["a longer horse battery staple"])]
    revoke_tokens: (
        Annotated[bool, Meta(description="Whether to revoke all personal access tokens as well.", examples=[True])]
        | UnsetType
    ) = UNSET

    def __post_init__(self) -> None:
        """Raises Invalid."""
        check_length("new_password", self.new_password)


class AccountDeletion(msgspec.Struct, frozen=True):
    """The password, because what follows is for good."""

    password: Password


class PersonalTokenRequest(msgspec.Struct, frozen=True):
    """A token for a script."""

    name: Annotated[str, NAME_RULES, Meta(examples=["Backup script"])]
    scope: Annotated[Scope, Meta(description="`read` changes nothing.")]
    expires_at: Annotated[
        datetime | None,
        Meta(
            description="RFC 3339, in the future. Absent or null: never.",
            examples=["2030-01-01T00:00:00Z"],
            extra_json_schema={"format": "date-time"},
        ),
    ] = None

    def __post_init__(self) -> None:
        """Trim. Raises Invalid."""
        msgspec.structs.force_setattr(self, "name", _name(self.name))
        if self.expires_at is not None and not _is_ahead(self.expires_at):
            raise Invalid("expires_at", "Expires at must be a time in the future, with its offset from UTC")


def _is_ahead(time: datetime) -> bool:
    try:
        return time.tzinfo is not None and time.astimezone(UTC) > datetime.now(UTC)
    except OverflowError:  # the last year, and then an offset
        return False


def _name(text: str) -> str:
    name = text.strip()
    if not name:
        raise Invalid("name", "Name is required")
    if len(name) > MAX_USER_NAME:
        raise Invalid("name", f"Name must have {MAX_USER_NAME} characters at most")
    if "\0" in name:
        raise Invalid("name", "Name must not contain the character U+0000")
    return name
