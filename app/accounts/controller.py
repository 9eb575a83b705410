"""Sign up, log in, stay logged in, log out, leave: HTTP verb -> one step -> one envelope."""

import asyncio
import secrets
from typing import Any, ClassVar

from litestar import Controller, Request
from litestar.connection import ASGIConnection
from litestar.datastructures import State
from litestar.di import Provide
from litestar.handlers import BaseRouteHandler
from litestar.params import JSONBody

from app import upkeep
from app.accounts import logins, passwords, proof, queries
from app.accounts.failures import NOT_FOR_SCRIPTS, UserNotFound
from app.accounts.logins import Device
from app.accounts.queries import Account
from app.accounts.structs import (
    Credentials,
    Farewell,
    LoginData,
    PasswordChange,
    Profile,
    ProfileChanges,
    ProfileData,
    Refresh,
    SignUp,
)
from app.addresses import address_key
from app.auth.middleware import CurrentUser, current_user
from app.bodies import check_body, check_body_headers
from app.failures import Forbidden, InvalidCredentials, InvalidRefreshToken, TooManyRequests
from app.handlers import delete, get, patch, post
from app.openapi import failures

MAX_BODY_BYTES = 16 * 1024
SECONDS_TO_BE_HEARD = 1.1  # that a login has ended: other workers look a second later, and a test holds both together
SECONDS_TO_REMOVE = 1.0  # what there is of a user, before the answer
MAX_AGENT = 300  # characters
TOO_MANY_SIGN_UPS = "Too many accounts from this network. Try again later."


def device_of(request: Request[Any, Any, Any]) -> Device:
    """Return where a request comes from; a proxy's word for it counts where the proxy is trusted."""
    agent = request.headers.get("user-agent", "")[:MAX_AGENT]
    return Device(request.client.host if request.client else None, agent or None)


async def check_kind_of_token(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
    """Guard: a personal access token manages nothing of its account, so a leaked one cannot make others of its kind.

    A handler that has nothing to manage says `for_personal_tokens=True`. Raises Forbidden.
    """
    user = connection.scope.get("user")
    if user is not None and user.is_personal_token and not handler.opt.get("for_personal_tokens"):
        raise Forbidden(NOT_FOR_SCRIPTS)


class AccountRoutes(Controller):
    """What all routes of accounts have in common; a new one refuses personal access tokens until it says otherwise."""

    path = "/api/auth"
    guards: ClassVar = [check_kind_of_token]
    dependencies: ClassVar = {"user": Provide(current_user, sync_to_thread=False)}
    request_max_body_size = MAX_BODY_BYTES


class AccountController(AccountRoutes):
    """Accounts of our own."""

    @post(
        "/signup",
        guards=[check_body_headers],
        operation_id="signUp",
        tags=["Login"],
        summary="Sign up",
        responses=failures(400, 409, 413, 415, 429, 503),
    )
    async def sign_up(self, request: Request[Any, Any, Any], state: State, data: JSONBody[SignUp]) -> LoginData:
        """Make an account, and log in to it. A network may try 20 times an hour, or as often as `SIGNUP_LIMIT` says."""
        _count_sign_up(device_of(request), state)
        password_hash = await passwords.hashed(data.password)
        who = await queries.sign_up(secrets.token_hex(16), data.name, data.email, password_hash)
        return await _log_in(Account(who, password_hash), request, state)

    @post(
        "/login",
        status_code=200,
        guards=[check_body_headers],
        operation_id="logIn",
        tags=["Login"],
        summary="Log in",
        responses=failures(400, 413, 415, 429, 503, InvalidCredentials),
    )
    async def log_in(self, request: Request[Any, Any, Any], state: State, data: JSONBody[Credentials]) -> LoginData:
        """Five failures for an address within 15 minutes lock it for 15, whether it has an account or not.

        A login with a valid device token is counted by that token instead: what others guess does not lock it.
        """
        account = await proof.by_email(data, device_of(request).address, state.settings.jwt_secrets)
        return await _log_in(account, request, state, data.device_token or None)

    @post(
        "/refresh",
        status_code=200,
        guards=[check_body_headers],
        operation_id="refresh",
        tags=["Login"],
        summary="Get the next pair of tokens",
        responses=failures(400, 401, 413, 415, 429, 503),
    )
    async def refresh(self, request: Request[Any, Any, Any], state: State, data: JSONBody[Refresh]) -> LoginData:
        """Spends the refresh token. Sent again within 30 seconds, it gets the same next one.

        Later, or once that one was spent too, it is somebody's copy: the login ends for both.
        """
        try:
            return LoginData(await logins.rotate(data.refresh_token, device_of(request), state.settings.jwt_secrets))
        except InvalidRefreshToken:
            if ended := await logins.end_family(data.refresh_token):
                state.authenticator.forget(ended, ended.session)
            raise

    @post(
        "/logout",
        status_code=204,
        guards=[check_body],
        operation_id="logOut",
        tags=["Login"],
        summary="Log out",
        security=[{"bearer": []}],
        responses=failures(401, 403, 413, 415, 429, 503),
    )
    async def log_out(self, user: CurrentUser, state: State) -> None:
        """Ends the login that the token comes from, and its refresh token with it."""
        if user.session is None:
            raise Forbidden("This token does not come from a login.")
        await logins.end(user, user.session)
        state.authenticator.forget(user, user.session)

    @post(
        "/logout-all",
        status_code=204,
        guards=[check_body],
        operation_id="logOutEverywhere",
        tags=["Accounts"],
        summary="Log out everywhere",
        security=[{"bearer": []}],
        responses=failures(401, 403, 413, 415, 429, 503),
    )
    async def log_out_everywhere(self, user: CurrentUser, state: State) -> None:
        """Ends every login. Personal access tokens stay."""
        await logins.end_all(user)
        state.authenticator.forget(user)

    @get(
        "/me",
        for_personal_tokens=True,
        guards=[check_body],
        operation_id="getMe",
        tags=["Accounts"],
        summary="Who am I?",
        security=[{"bearer": []}],
        responses=failures(401, 413, 415, 429, 503),
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
        security=[{"bearer": []}],
        responses=failures(400, 401, 403, 404, 413, 415, 429, 503),
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
        security=[{"bearer": []}],
        responses=failures(400, 401, 403, 413, 415, 429, 503),
    )
    async def change_password(self, user: CurrentUser, state: State, data: JSONBody[PasswordChange]) -> None:
        """Ends every login but this one, and every device token; with `revoke_tokens`, the personal access tokens too.

        Five wrong passwords within 15 minutes lock this for 15. They are counted apart from failed logins.
        """
        account = await proof.again(user, data.current_password)
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
        security=[{"bearer": []}],
        responses=failures(400, 401, 403, 413, 415, 429, 503),
    )
    async def leave(self, user: CurrentUser, state: State, data: JSONBody[Farewell]) -> None:
        """With all tasks, logins and tokens, for good. Wrong passwords count as with a change of the password.

        Nothing can be done with it any more when this is answered. What is much to remove is removed behind it.
        """
        await proof.again(user, data.password)
        await queries.close_account(user)
        state.authenticator.forget(user)
        await asyncio.gather(asyncio.sleep(SECONDS_TO_BE_HEARD), upkeep.remove_user(user.id, SECONDS_TO_REMOVE))


def _count_sign_up(device: Device, state: State) -> None:
    """Count a sign-up for the network that it comes from, before it costs a hash. Raises TooManyRequests."""
    if state.sign_ups is not None and (wait := state.sign_ups.take(address_key(device.address))[1]):
        raise TooManyRequests(wait, TOO_MANY_SIGN_UPS)


async def _log_in(
    account: Account, request: Request[Any, Any, Any], state: State, device_token: str | None = None
) -> LoginData:
    return LoginData(await logins.start(account, device_of(request), state.settings.jwt_secrets, device_token))
