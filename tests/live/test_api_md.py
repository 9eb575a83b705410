"""The commands in docs/api.md can be run one after the other, and are answered as it says."""

import json
import re
import subprocess
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

from app.settings import ROOT
from tests.conftest import token

STAMP = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z")


def examples() -> Iterator[tuple[str, str]]:
    """Each command of the page, with the answer that is shown below it."""
    for block in re.findall(r"^```sh\n(.*?)^```", (ROOT / "docs/api.md").read_text(), re.MULTILINE | re.DOTALL):
        command, answer = "", ""
        for line in block.splitlines():
            if line.startswith("# "):
                answer += line.removeprefix("# ")
                continue
            if answer:
                yield command, answer
                command, answer = "", ""
            command += f"{line}\n"
        yield command, answer


def shape(answer: str) -> str:
    """An answer without what is another's each time, and without white space."""
    return re.sub(r"\s+", "", STAMP.sub("…", answer))


def test_every_command_is_answered_as_the_page_says(service: Any) -> None:
    who = f"ada-{uuid4().hex}"
    place = {"TOKEN": token(who), "PATH": "/usr/bin:/bin"}
    functions, task, asked = "", "", 0
    for command, answer in examples():
        if command.startswith("TOKEN="):
            functions = command.partition("\n")[2].replace("localhost:8000", service.url)
            continue
        if command.startswith("ID="):
            continue
        lines = f"ID={task}\n{functions}{command}".replace("ID=2  # the one that you were given\n", "")
        done = subprocess.run(["bash", "-c", lines], env=place, capture_output=True, text=True, check=True)
        said = done.stdout.replace(who, "ada")
        pattern = ".*".join(map(re.escape, shape(answer).split("…")))
        assert re.fullmatch(pattern, shape(said)), f"{command}{said}"
        asked += 1
        task = task or str(json.loads(said.splitlines()[-1])["data"]["id"])
    assert asked > 10
