"""Email addresses in the one spelling under which an account is found."""

from typing import Any

import httpx
import pytest

from app.accounts import emails
from app.web.failures import Invalid
from tests.accounts.people import ADA, PASSWORD, attempt, signed_up

# How they are written, and the one spelling.
SPELLINGS = [
    ("ada@example.com", "ada@example.com"),
    ("Ada@Example.COM", "ada@example.com"),
    ("  ada@example.com\r\n", "ada@example.com"),
    ("ada+tasks@example.com", "ada+tasks@example.com"),
    ("a.d.a@example.com", "a.d.a@example.com"),
    ("o'hara@example.com", "o'hara@example.com"),
    ("\u00c4DA@example.com", "\u00e4da@example.com"),
    ("A\u0308da@example.com", "\u00e4da@example.com"),
    ("ada@B\u00dcCHER.example", "ada@b\u00fccher.example"),
    ("ada@xn--bcher-kva.example", "ada@b\u00fccher.example"),
    ("ada@mail.home.local", "ada@mail.home.local"),
    ("ada@tasks.test", "ada@tasks.test"),
]
NONE = [
    "",
    " ",
    "@",
    "ada",
    "ada@",
    "@example.com",
    "ada@example",
    "ada@localhost",
    "ada@@example.com",
    "ada@example..com",
    ".ada@example.com",
    "ada lovelace@example.com",
    '"ada lovelace"@example.com',
    "Ada <ada@example.com>",
    "ada@[127.0.0.1]",
    "ada@exam ple.com",
    "ada@user.invalid",
    "a\0da@example.com",
    "ada@example.com\nbcc: eve@example.com",
    "ada@-example.com",
    f"ada@{'x' * 64}.com",
    f"{'x' * 300}@example.com",
    "ip:127.0.0.1",
]


@pytest.mark.parametrize(("written", "spelling"), SPELLINGS)
def test_an_address_has_one_spelling_which_has_itself(written: str, spelling: str) -> None:
    assert emails.normal(written) == spelling
    assert emails.normal(spelling) == spelling


@pytest.mark.parametrize("text", NONE)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(Invalid) as refusal:
        emails.normal(text)
    assert (refusal.value.field, refusal.value.message) == ("email", "Email is not an email address")


@pytest.mark.parametrize(("written", "spelling"), SPELLINGS)
async def test_an_account_is_found_under_all_of_its_spellings(
    stranger: httpx.AsyncClient, written: str, spelling: str
) -> None:
    assert (await signed_up(stranger, email=written))["user"]["email"] == spelling

    for email in (written, spelling, spelling.upper()):
        assert (await attempt(stranger, email)).status_code == 200
        again = await stranger.post("/api/auth/signup", json={**ADA, "email": email})
        assert (again.status_code, again.json()["error"]["code"]) == (409, "EMAIL_ALREADY_EXISTS")


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("ada@example.com", "a.da@example.com"),
        ("ada@example.com", "ada+1@example.com"),
        ("ada@example.com", "ada@example.org"),
        ("ada@example.com", "\u00e4da@example.com"),
        ("ada@example.com", "\u0430da@example.com"),
    ],
)
async def test_addresses_that_only_look_alike_are_two(stranger: httpx.AsyncClient, first: str, second: str) -> None:
    one, other = await signed_up(stranger, email=first), await signed_up(stranger, email=second)
    assert one["user"]["id"] != other["user"]["id"]


@pytest.mark.parametrize("brought", ["Ada@Example.com", "\u00c4DA@example.com", "ADA@B\u00dcCHER.example"])
async def test_the_email_of_a_user_whom_another_has_added_is_taken_in_any_case(
    stranger: httpx.AsyncClient, sql: Any, brought: str
) -> None:
    await sql.execute("""INSERT INTO "user" (id, name, email) VALUES ('u1', 'Ada', $1)""", brought)

    answer = await stranger.post("/api/auth/signup", json={**ADA, "email": brought})

    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "EMAIL_ALREADY_EXISTS")
    assert (await attempt(stranger, brought, PASSWORD)).status_code == 401
