"""Sign up, log in, stay logged in, log out, leave: HTTP verb -> one step -> one envelope."""

import asyncio
import secrets
from functools import partial
from typing import Any, TypeAlias

from litestar import Controller, Request
from litestar.connection import ASGIConnection
from litestar.datastructures import State
from litestar.di import NamedDependency, Provide
from litestar.handlers import BaseRouteHandler
from litestar.params import JSONBody

from app.accounts import described, queries, reauthentication, sessions
from app.accounts.failures import (
    EmailTaken,
    InvalidCredentials,
    InvalidRefreshToken,
    NotForScripts,
    TooManySignUps,
    UserNotFound,
)
from app.accounts.queries import Account
from app.accounts.sessions import Device
from app.accounts.structs import (
    AccountDeletion,
    Credentials,
    LoginData,
    PasswordChange,
    Profile,
    ProfileChanges,
    ProfileData,
    Refresh,
    SignUp,
)
from app.auth import passwords
from app.auth.middleware import CurrentUser, current_user
from app.openapi.described import failure_responses
from app.web.addresses import address_key
from app.web.body import check_body_headers, check_ignored_body
from app.web.failures import Forbidden, Invalid
from app.web.routing import delete, get, patch, post

SECONDS_TO_BE_HEARD = 1.1  # that a login has ended: other workers look a second later, and a test holds both together
SECONDS_TO_REMOVE = 1.0  # what there is of a user, before the answer
MAX_AGENT = 300  # characters

CallersDevice: TypeAlias = NamedDependency[Device]


def device_of(request: Request[Any, Any, Any]) -> Device:
    """Return where a request comes from; a proxy's word for it counts where the proxy is trusted."""
    agent = request.headers.get("user-agent", "")[:MAX_AGENT]
    return Device(request.client.host if request.client else None, agent or None)


async def check_kind_of_token(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
    """Guard: a personal access token manages nothing of its account, so a leaked one cannot make others of its kind.

    A handler that has nothing to manage says `for_personal_tokens=True`. Raises NotForScripts.
    """
    scope: Any = connection.scope
    user = scope.get("user")
    if user is not None and user.is_personal_token and not handler.opt.get("for_personal_tokens"):
        raise NotForScripts


ACCOUNT_OPT = {"needs_token": True, "needs_accounts": True}
ACCOUNT_DEPENDENCIES = {
    "user": Provide(current_user, sync_to_thread=False),
    "device": Provide(device_of, sync_to_thread=False),
}


class AccountRoutes(Controller):
    """What all routes of accounts have in common; a new one refuses personal access tokens until it says otherwise."""

    path = "/api/auth"
    opt = ACCOUNT_OPT
    guards = (check_kind_of_token,)
    dependencies = ACCOUNT_DEPENDENCIES
    request_max_body_size = described.MAX_ACCOUNT_BODY_BYTES


# What somebody without a token asks for.
public_post = partial(post, guards=[check_body_headers], needs_token=False, rate_limited=True, tags=["Login"])


class AccountController(AccountRoutes):
    """Accounts of our own."""

    @public_post(
        "/signup",
        operation_id="signUp",
        summary="Sign up",
        responses=failure_responses(*described.LOGIN, EmailTaken, described.INVALID_EMAIL, TooManySignUps),
    )
    async def sign_up(self, device: CallersDevice, state: State, data: JSONBody[SignUp]) -> LoginData:
        """Make an account, and log in to it. A network may try 20 times an hour, or as often as `SIGNUP_LIMIT` says."""
        if state.sign_ups is not None and (wait := state.sign_ups.take(address_key(device.address))[1]):
            raise TooManySignUps(wait)
        password_hash = await passwords.hashed(data.password)
        who = await queries.sign_up(secrets.token_hex(16), data.name, data.email, password_hash)
        return LoginData(await sessions.start(Account(who, password_hash), device, state.settings.jwt_secrets))

    @public_post(
        "/login",
        status_code=200,
        operation_id="logIn",
        summary="Log in",
        responses=failure_responses(*described.LOGIN, InvalidCredentials, described.INVALID_EMAIL, described.LOCKED),
    )
    async def log_in(self, device: CallersDevice, state: State, data: JSONBody[Credentials]) -> LoginData:
        """Five failures for an address within 15 minutes lock it for 15, whether it has an account or not.

        A login with a valid device token is counted by that token instead: what others guess does not lock it.
        """
        keys = state.settings.jwt_secrets
        account = await reauthentication.by_email(data, device.address, keys)
        return LoginData(await sessions.start(account, device, keys, data.device_token or None))

    @public_post(
        "/refresh",
        status_code=200,
        operation_id="refresh",
        summary="Get the next pair of tokens",
        responses=failure_responses(
            *described.LOGIN, InvalidRefreshToken, Invalid("refresh_token", "Refresh token is required"), 429
        ),
    )
    async def refresh(self, device: CallersDevice, state: State, data: JSONBody[Refresh]) -> LoginData:
        """Spends the refresh token. Sent again within 30 seconds, it gets the same next one.

        Later, or once that one was spent too, it is somebody's copy: the login ends for both.
        """
        try:
            return LoginData(await sessions.rotate(data.refresh_token, device, state.settings.jwt_secrets))
        except InvalidRefreshToken:
            if ended := await sessions.end_family(data.refresh_token):
                state.authenticator.forget(ended, ended.session)
            raise

    @post(
        "/logout",
        status_code=204,
        guards=[check_ignored_body],
        operation_id="logOut",
        tags=["Login"],
        summary="Log out",
        responses=failure_responses(*described.MANAGE),
    )
    async def log_out(self, user: CurrentUser, state: State) -> None:
        """Ends the login that the token comes from, and its refresh token with it."""
        if user.session is None:
            raise Forbidden("This token does not come from a login.")
        await sessions.end(user, user.session)
        state.authenticator.forget(user, user.session)

    @post(
        "/logout-all",
        status_code=204,
        guards=[check_ignored_body],
        operation_id="logOutEverywhere",
        tags=["Accounts"],
        summary="Log out everywhere",
        responses=failure_responses(*described.MANAGE),
    )
    async def log_out_everywhere(self, user: CurrentUser, state: State) -> None:
        """Ends every login. Personal access tokens stay."""
        await sessions.end_all(user)
        state.authenticator.forget(user)

    @get(
        "/me",
        for_personal_tokens=True,
        guards=[check_ignored_body],
        operation_id="getMe",
        tags=["Accounts"],
        summary="Who am I?",
        responses=failure_responses(401, described.TOO_LARGE, 415, 429, 503),
    )
    async def me(self, user: CurrentUser) -> ProfileData:
        """Of a user whom the database has not seen yet, what the token says."""
        account = await queries.get(user)
        return ProfileData(account.profile if account else Profile(user.id, user.name or "", user.email, None))

    @patch(
        "/me",
        guards=[check_body_headers],
        operation_id="changeMe",
        tags=["Accounts"],
        summary="Change my name",
        responses=failure_responses(*described.MANAGE, 400, UserNotFound, Invalid("name", "Name is required")),
    )
    async def change(self, user: CurrentUser, data: JSONBody[ProfileChanges]) -> ProfileData:
        """The tokens that are about go on saying the old one."""
        profile = await queries.rename(user, data.name)
        if profile is None:
            raise UserNotFound
        return ProfileData(profile)

    @post(
        "/me/password",
        status_code=204,
        guards=[check_body_headers],
        operation_id="changePassword",
        tags=["Accounts"],
        summary="Change my password",
        responses=failure_responses(
            *described.WITH_PASSWORD, Invalid("new_password", "New password must have 8 characters at least")
        ),
    )
    async def change_password(self, user: CurrentUser, state: State, data: JSONBody[PasswordChange]) -> None:
        """Ends every login but this one, and every device token; with `revoke_tokens`, the personal access tokens too.

        Five wrong passwords within 15 minutes lock this for 15. They are counted apart from failed logins.
        """
        account = await reauthentication.reauthenticate(user, data.current_password)
        new = await passwords.hashed(data.new_password)
        old = f"{account.password_hash}"
        if not await queries.change_password(user, old, new, revoke_tokens=data.revoke_tokens is True):
            raise InvalidCredentials  # somebody else has changed it meanwhile
        state.authenticator.forget(user)

    @delete(
        "/me",
        guards=[check_body_headers],
        operation_id="deleteMe",
        tags=["Accounts"],
        summary="Delete my account",
        responses=failure_responses(*described.WITH_PASSWORD, Invalid("password", "Password is required")),
    )
    async def delete_account(self, user: CurrentUser, state: State, data: JSONBody[AccountDeletion]) -> None:
        """With all tasks, logins and tokens, for good. Wrong passwords count as with a change of the password.

        Nothing can be done with it any more when this is answered. What is much to remove is removed behind it.
        """
        await reauthentication.reauthenticate(user, data.password)
        await queries.close_account(user)
        state.authenticator.forget(user)
        await asyncio.gather(asyncio.sleep(SECONDS_TO_BE_HEARD), state.cleanup.remove_user(user.id, SECONDS_TO_REMOVE))
