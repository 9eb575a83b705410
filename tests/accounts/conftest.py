"""People with accounts."""

from collections.abc import AsyncIterator

import httpx
import msgspec
import pytest
from litestar import Litestar

from app.accounts import controller
from app.config import settings
from app.main import create_app
from tests.accounts.people import BOB, Person, signed_up


@pytest.fixture(autouse=True)
def nobody_else_has_to_hear(monkeypatch: pytest.MonkeyPatch) -> None:
    """That somebody has left: there is no other worker."""
    monkeypatch.setattr(controller, "SECONDS_TO_BE_HEARD", 0)


@pytest.fixture
async def lovelace(running: Litestar, stranger: httpx.AsyncClient) -> AsyncIterator[Person]:
    """Ada Lovelace, who has signed up."""
    async with Person(running, await signed_up(stranger)) as person:
        yield person


@pytest.fixture
async def boole(running: Litestar, stranger: httpx.AsyncClient) -> AsyncIterator[Person]:
    """Bob, who has signed up too."""
    async with Person(running, await signed_up(stranger, **BOB)) as person:
        yield person


@pytest.fixture(scope="session")
def without_accounts(database_url: str) -> Litestar:
    """The application under ACCOUNTS=off."""
    return create_app(msgspec.structs.replace(settings.current(), accounts=False))


@pytest.fixture(scope="session")
def without_provisioning(database_url: str) -> Litestar:
    """The application under PROVISION_USERS=off."""
    return create_app(msgspec.structs.replace(settings.current(), provision_users=False))
