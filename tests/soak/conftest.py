"""The promises of docs/reliability.md at full length, which takes minutes: `just soak` runs it, `just test` does not.

A soak measures, writes its figure down, and only then asserts that the promise is kept.
"""

from collections.abc import Callable

import pytest

from tests.live.conftest import serve as serve
from tests.live.conftest import unused_port as unused_port

Figure = Callable[[str, str], None]
FIGURES = pytest.StashKey[list[tuple[str, str, str]]]()


@pytest.fixture
def figure(request: pytest.FixtureRequest) -> Figure:
    """A function that writes down what was measured: `figure("nothing acknowledged is lost", "0 of 20,000")`.

    The first is the promise as docs/reliability.md names it, the second the figure with its unit. Call it before
    the assert, so that a figure that misses its target is told too, and as often as there are figures. The command
    that measures it again is this test's, and goes along by itself.
    """
    figures = request.config.stash.setdefault(FIGURES, [])

    def write_down(promise: str, value: str) -> None:
        figures.append((promise, value, f"just soak {request.node.nodeid}"))
        print(f"\nreliability: {promise}: {value}", flush=True)

    return write_down


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print all figures, as the table of docs/reliability.md has them."""
    if figures := config.stash.get(FIGURES, None):
        terminalreporter.write_line("\n| promise | figure | measured by |\n|---|---|---|")
        for promise, value, command in figures:
            terminalreporter.write_line(f"| {promise} | {value} | `{command}` |")
