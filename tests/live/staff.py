"""Staff in front of a running service: made by the command, logged in through the page's own way."""

import os
from contextlib import closing

import httpx

from tests import forkserver

PASSWORD = "correct horse battery"


def make_staff(name: str, database_url: str, **more: str) -> None:
    """Make a login, as `just admin-user` does."""
    env = {**os.environ, "DATABASE_URL": database_url, **more}
    code, _, told = forkserver.run(["app", "admin-user", name], env, f"{PASSWORD}\n")
    assert code == 0, told


def desk(url: str, address: str = "127.0.0.1") -> httpx.Client:
    """A browser with the login page open; for an address of its own, behind a proxy of ours."""
    client = httpx.Client(base_url=url, headers={"x-forwarded-for": address}, timeout=20)
    client.get("/admin/")
    client.headers["x-csrftoken"] = client.cookies["csrftoken"]
    return client


def log_in(client: httpx.Client, name: str, password: str = PASSWORD) -> httpx.Response:
    return client.post("/admin/public/login/", json={"username": name, "password": password})


def staff_session(url: str, name: str) -> list[tuple[bytes, bytes]]:
    """The headers of somebody who has logged in."""
    with closing(desk(url)) as client:
        assert log_in(client, name).status_code == 200
        cookies = "; ".join(f"{name}={value}" for name, value in client.cookies.items())
        return [(b"Cookie", cookies.encode()), (b"X-CSRFToken", client.cookies["csrftoken"].encode())]
