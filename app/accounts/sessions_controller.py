"""Where am I logged in, and which scripts hold a token of mine? To look, and to put an end to it."""

import re
from collections.abc import Awaitable, Callable
from typing import Any

from litestar import Request
from litestar.connection import ASGIConnection
from litestar.datastructures import State
from litestar.di import NamedDependency
from litestar.handlers import BaseRouteHandler
from litestar.params import FromPath, JSONBody

from app.accounts import personal_tokens, sessions
from app.accounts.controller import AccountRoutes
from app.accounts.described import CREATED_TOKEN, MANAGE, PAGED, SESSION_ID_IN_PATH, TOKEN_ID_IN_PATH
from app.accounts.failures import SessionNotFound, TokenNotFound, TooManyTokens
from app.accounts.structs import (
    NewPersonalTokenData,
    PersonalToken,
    PersonalTokenListData,
    PersonalTokenRequest,
    Session,
    SessionListData,
)
from app.auth.middleware import CurrentUser
from app.openapi.described import OF_PAGES, failure_responses
from app.web.body import check_body_headers, check_ignored_body
from app.web.failures import Invalid, KeyReused, NotFound
from app.web.idempotency_key import IDEMPOTENCY_KEY, Key, idempotency_key, replayed
from app.web.query import Documented, PageQuery, WantedPage, in_query
from app.web.routing import JSONResponse, delete, get, post

ID_PATTERN = re.compile(r"[A-Za-z0-9_-]{1,64}")


def check_id(name: str, not_found: type[NotFound]) -> Callable[..., Awaitable[None]]:
    """Return a guard: no row has an id that this pattern does not match."""

    async def check(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
        if not ID_PATTERN.fullmatch(connection.path_params[name]):
            raise not_found

    return check


class SessionController(AccountRoutes):
    """The caller's logins and personal access tokens."""

    tags = ("Accounts",)

    @get(
        "/sessions",
        guards=[check_ignored_body],
        operation_id="listSessions",
        reads_query=True,
        dependencies={"wanted": in_query(PageQuery)},
        summary="Where am I logged in?",
        described=PAGED,
        responses=failure_responses(*MANAGE, *OF_PAGES),
    )
    async def list_sessions(
        self, request: Request[Any, Any, Any], user: CurrentUser, wanted: WantedPage
    ) -> JSONResponse[SessionListData]:
        """The last used first: all of them, at most 100; or with a parameter, page by page."""

        def session(session_id: str, *columns: Any) -> Session:
            return Session(session_id, *columns, current=session_id == user.session)

        return await sessions.SESSIONS.reply(request, user, wanted, session, SessionListData)

    @delete(
        "/sessions/{session_id:str}",
        guards=[check_id("session_id", SessionNotFound), check_ignored_body],
        operation_id="endSession",
        summary="Log out somewhere else",
        path_parameters=SESSION_ID_IN_PATH,
        responses=failure_responses(*MANAGE, SessionNotFound),
    )
    async def end_session(self, user: CurrentUser, state: State, session_id: FromPath[str]) -> None:
        """Ends one login."""
        await sessions.end(user, session_id)
        state.authenticator.forget(user, session_id)

    @post(
        "/tokens",
        guards=[check_body_headers],
        dependencies={"key": Documented(idempotency_key, IDEMPOTENCY_KEY)},
        operation_id="createToken",
        summary="Make a personal access token",
        described=CREATED_TOKEN,
        responses=failure_responses(
            *MANAGE, 400, TokenNotFound, TooManyTokens, Invalid("name", "Name is required"), KeyReused
        ),
    )
    async def create_token(
        self, user: CurrentUser, state: State, key: NamedDependency[Key | None], data: JSONBody[PersonalTokenRequest]
    ) -> JSONResponse[NewPersonalTokenData]:
        """For a script. It is a bearer token for tasks, and is shown this once.

        There are 50 at most, expired ones aside.
        """
        made = await personal_tokens.create(user, data, state.settings.jwt_secrets, key)
        return JSONResponse(NewPersonalTokenData(made), [*replayed(key)])

    @get(
        "/tokens",
        guards=[check_ignored_body],
        operation_id="listTokens",
        reads_query=True,
        dependencies={"wanted": in_query(PageQuery)},
        summary="List my personal access tokens",
        described=PAGED,
        responses=failure_responses(*MANAGE, *OF_PAGES),
    )
    async def list_tokens(
        self, request: Request[Any, Any, Any], user: CurrentUser, wanted: WantedPage
    ) -> JSONResponse[PersonalTokenListData]:
        """The newest first: all of them, at most 50; or with a parameter, page by page. None has the token itself."""
        return await personal_tokens.TOKENS.reply(request, user, wanted, PersonalToken, PersonalTokenListData)

    @delete(
        "/tokens/{token_id:str}",
        guards=[check_id("token_id", TokenNotFound), check_ignored_body],
        operation_id="deleteToken",
        summary="Revoke a personal access token",
        path_parameters=TOKEN_ID_IN_PATH,
        responses=failure_responses(*MANAGE, TokenNotFound),
    )
    async def delete_token(self, user: CurrentUser, token_id: FromPath[str]) -> None:
        """It is refused from now on."""
        await personal_tokens.delete(user, token_id)
