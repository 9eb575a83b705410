"""Where am I logged in, and which scripts hold a token of mine? To look, and to put an end to it."""

import re
from typing import Any, ClassVar

from litestar import Request
from litestar.connection import ASGIConnection
from litestar.datastructures import State
from litestar.di import Provide
from litestar.handlers import BaseRouteHandler
from litestar.params import FromPath, JSONBody

from app.accounts import logins, paging, personal_tokens
from app.accounts.controller import AccountRoutes
from app.accounts.failures import SessionNotFound, TokenNotFound, TooManyTokens
from app.accounts.structs import (
    NewPersonalTokenData,
    PersonalTokenListData,
    PersonalTokenRequest,
    SessionListData,
)
from app.auth.middleware import CurrentUser, current_user
from app.bodies import check_body, check_body_headers
from app.handlers import Reply, delete, get, post
from app.openapi import failures
from app.query import InvalidCursor
from app.tasks.keys import IdempotencyKey, KeyReused, idempotency_key, replayed

ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


async def check_session_id(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
    """Guard: what cannot be an id is nobody's. Raises SessionNotFound."""
    if not ID.fullmatch(connection.path_params["session_id"]):
        raise SessionNotFound


async def check_token_id(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
    """Guard: what cannot be an id is nobody's. Raises TokenNotFound."""
    if not ID.fullmatch(connection.path_params["token_id"]):
        raise TokenNotFound


class AccessController(AccountRoutes):
    """The caller's logins and personal access tokens."""

    tags: ClassVar = ["Accounts"]

    security: ClassVar = [{"bearer": []}]
    dependencies: ClassVar = {
        "user": Provide(current_user, sync_to_thread=False),
        "key": Provide(idempotency_key, sync_to_thread=False),
    }

    @get(
        "/sessions",
        guards=[check_body],
        operation_id="listSessions",
        reads_query=True,
        summary="Where am I logged in?",
        responses=failures(401, 403, 413, 415, InvalidCursor, 429, 503),
    )
    async def sessions(self, request: Request[Any, Any, Any], user: CurrentUser) -> Reply[SessionListData]:
        """The last used first: all of them, at most 100; or with a parameter, page by page."""
        window = paging.window(request, user, "sessions")
        return paging.reply(SessionListData, window, await logins.listed(user, window))

    @delete(
        "/sessions/{session_id:str}",
        guards=[check_session_id, check_body],
        operation_id="endSession",
        summary="Log out somewhere else",
        responses=failures(401, 403, 404, 413, 415, 429, 503),
    )
    async def end_session(self, user: CurrentUser, state: State, session_id: FromPath[str]) -> None:
        """Ends one login."""
        await logins.end(user, session_id)
        state.authenticator.forget(user, session_id)

    @post(
        "/tokens",
        guards=[check_body_headers],
        operation_id="createToken",
        summary="Make a personal access token",
        responses=failures(400, 401, 403, 404, TooManyTokens, 413, 415, KeyReused, 429, 503),
    )
    async def create_token(
        self, user: CurrentUser, state: State, key: IdempotencyKey, data: JSONBody[PersonalTokenRequest]
    ) -> Reply[NewPersonalTokenData]:
        """For a script. It is a bearer token for tasks, and is shown this once.

        There are 50 at most, expired ones aside.
        """
        made = await personal_tokens.create(user, data, state.settings.jwt_secrets, key)
        return Reply(NewPersonalTokenData(made), [*replayed(key)])

    @get(
        "/tokens",
        guards=[check_body],
        operation_id="listTokens",
        reads_query=True,
        summary="List my personal access tokens",
        responses=failures(401, 403, 413, 415, InvalidCursor, 429, 503),
    )
    async def list_tokens(self, request: Request[Any, Any, Any], user: CurrentUser) -> Reply[PersonalTokenListData]:
        """The newest first: all of them, at most 50; or with a parameter, page by page. None has the token itself."""
        window = paging.window(request, user, "tokens")
        return paging.reply(PersonalTokenListData, window, await personal_tokens.listed(user, window))

    @delete(
        "/tokens/{token_id:str}",
        guards=[check_token_id, check_body],
        operation_id="deleteToken",
        summary="Revoke a personal access token",
        responses=failures(401, 403, 404, 413, 415, 429, 503),
    )
    async def delete_token(self, user: CurrentUser, token_id: FromPath[str]) -> None:
        """It is refused from now on."""
        await personal_tokens.delete(user, token_id)
