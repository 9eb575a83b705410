"""Pictures: bars beside the limit, and lines that should stay level. Plain SVG, for light pages and for dark ones."""

import math
from collections.abc import Mapping, Sequence
from html import escape

STYLE = """
<style>
  .page { fill: #ffffff; }
  text { font: 13px system-ui, sans-serif; fill: #1f2328; }
  .title { font-weight: 600; }
  .faint { fill: #59636e; }
  .axis { stroke: #d1d9e0; }
  .limit { stroke: #59636e; stroke-dasharray: 3 3; }
  .spread { stroke: #1f2328; }
  .ours { fill: #bc4c00; }
  .rival { fill: #8fa3b8; }
  .line { fill: none; stroke-width: 2; }
  .c0 { stroke: #bc4c00; fill: #bc4c00; } .c1 { stroke: #0969da; fill: #0969da; }
  .c2 { stroke: #1a7f37; fill: #1a7f37; } .c3 { stroke: #8250df; fill: #8250df; }
  text.c0, text.c1, text.c2, text.c3 { stroke: none; }
  @media (prefers-color-scheme: dark) {
    .page { fill: #0d1117; }
    text { fill: #f0f6fc; }
    .faint { fill: #9198a1; }
    .axis { stroke: #3d444d; }
    .limit { stroke: #9198a1; }
    .spread { stroke: #f0f6fc; }
    .ours { fill: #f0883e; }
    .rival { fill: #5b7086; }
    .c0 { stroke: #f0883e; fill: #f0883e; } .c1 { stroke: #4493f8; fill: #4493f8; }
    .c2 { stroke: #3fb950; fill: #3fb950; } .c3 { stroke: #ab7df8; fill: #ab7df8; }
  }
</style>
"""

OURS = "ours"
PANEL_WIDTH, NAME_WIDTH, BAR, GAP = 430, 145, 18, 8
Bar = tuple[str, float, float, float]  # a name, its ratio to the limit, and the lowest and the highest of it


def bars(title: str, panels: Mapping[str, Sequence[Bar]]) -> str:
    """Return panels of bars, two in a row. Where the limit is, there is a line."""
    tall = max((len(panel) for panel in panels.values()), default=0) * (BAR + GAP) + 64
    largest = max([1.0, *(highest for panel in panels.values() for _, _, _, highest in panel)])
    parts = [_text(16, 26, title, "title")]
    for number, (name, panel) in enumerate(panels.items()):
        left, top = 16 + number % 2 * PANEL_WIDTH, 44 + number // 2 * tall
        parts += _panel(left, top, name, panel, largest)
    return _page(2 * PANEL_WIDTH + 16, 44 + math.ceil(len(panels) / 2) * tall, title, parts)


def _panel(left: float, top: float, name: str, panel: Sequence[Bar], largest: float) -> list[str]:
    zero = left + NAME_WIDTH
    scale = (PANEL_WIDTH - NAME_WIDTH - 65) / largest
    bottom = top + 26 + len(panel) * (BAR + GAP)
    limit = zero + scale
    parts = [_text(left, top + 14, name, "title"), _line(limit, top + 20, limit, bottom, "limit")]
    parts.append(_text(limit, bottom + 14, "limit", "faint", "middle"))
    for number, (who, ratio, lowest, highest) in enumerate(panel):
        y = top + 26 + number * (BAR + GAP)
        kind = "ours" if who.startswith(OURS) else "rival"
        parts.append(_text(zero - 8, y + 14, who, "title" if who == OURS else "", "end"))
        parts.append(f'<rect class="{kind}" x="{zero}" y="{y}" width="{ratio * scale:.1f}" height="{BAR}" rx="2"/>')
        middle = y + BAR / 2
        parts.append(_line(zero + lowest * scale, middle, zero + highest * scale, middle, "spread"))
        parts.append(_text(zero + max(ratio, highest) * scale + 6, y + 14, f"{ratio:.2f}", "faint"))
    return parts


WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 640, 340, 70, 100, 50, 50
LABEL = 16  # as much room as one line of text needs


def lines(title: str, below: str, places: Sequence[str], series: Mapping[str, Sequence[float]]) -> str:
    """Return one line for each series, over the same places, with zero at the bottom."""
    top_value = _round_up(max((value for values in series.values() for value in values), default=1))
    wide, tall = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM

    def x(place: int) -> float:
        return LEFT + wide * place / max(len(places) - 1, 1)

    def y(value: float) -> float:
        return TOP + tall * (1 - value / top_value)

    parts = [_text(16, 26, title, "title"), _text(LEFT + wide / 2, HEIGHT - 10, below, "faint", "middle")]
    for quarter in range(5):
        value = top_value * quarter / 4
        parts.append(_line(LEFT, y(value), LEFT + wide, y(value), "axis"))
        parts.append(_text(LEFT - 8, y(value) + 4, f"{value:,.0f}", "faint", "end"))
    parts += [_text(x(number), HEIGHT - 30, place, "faint", "middle") for number, place in enumerate(places)]
    labels: list[tuple[float, str, int]] = []
    for number, (name, values) in enumerate(series.items()):
        points = [(x(place), y(value)) for place, value in enumerate(values)]
        path = " ".join(f"{px:.1f},{py:.1f}" for px, py in points)
        parts.append(f'<polyline class="c{number % 4} line" style="fill: none" points="{path}"/>')
        parts += [f'<circle class="c{number % 4}" cx="{px:.1f}" cy="{py:.1f}" r="3"/>' for px, py in points]
        labels.append((points[-1][1], name, number))
    free = math.inf
    for height, name, number in sorted(labels, reverse=True):  # from below, each above the last
        free = min(height + 4, free - LABEL)
        parts.append(_text(LEFT + wide + 10, free, name, f"c{number % 4}"))
    return _page(WIDTH, HEIGHT, title, parts)


def _round_up(value: float) -> float:
    """The next number that divides well by four."""
    magnitude = 10 ** math.floor(math.log10(max(value, 1)))
    return next(step * magnitude for step in (1, 2, 4, 6, 8, 10) if step * magnitude >= value)


def _text(x: float, y: float, text: str, kind: str = "", anchor: str = "start") -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _page(width: float, height: float, title: str, parts: Sequence[str]) -> str:
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" role="img">'
    page = f'<rect class="page" width="{width:g}" height="{height:g}" rx="6"/>'
    return "\n".join([head, f"<title>{escape(title)}</title>{STYLE}{page}", *parts, "</svg>", ""])
