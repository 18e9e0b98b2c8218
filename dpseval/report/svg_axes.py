"""Axes and marks as inline SVG: the same bytes every time, and colours that follow the page's theme."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from dpsdata.contracts import UsageError

# Colour, dash and shape change together, so that no reading hangs on colour alone.
STYLE_COUNT = 8
_DASHES = ("", "7 3", "2 3", "9 3 2 3", "4 2", "12 4", "2 2 6 2", "1 4")
_SHAPES = (
    "M-4 0A4 4 0 1 0 4 0A4 4 0 1 0-4 0Z",
    "M-3.6-3.6H3.6V3.6H-3.6Z",
    "M0-4.8L4.6 3.4H-4.6Z",
    "M0-5L4.4 0L0 5L-4.4 0Z",
    "M0 4.8L4.6-3.4H-4.6Z",
    "M-1.4-4.4H1.4V-1.4H4.4V1.4H1.4V4.4H-1.4V1.4H-4.4V-1.4H-1.4Z",
    "M-4.6-4L0 0.6L4.6-4V0L0 4.6L-4.6 0Z",
    "M-4.8-2.4H4.8V2.4H-4.8Z",
)


def escape(text: object) -> str:
    """Text made safe for SVG and HTML; characters that cannot be printed are replaced."""
    return html.escape("".join(char if char.isprintable() else "\ufffd" for char in str(text)))


def clip_text(text: str, length: int) -> str:
    """The text, cut with an ellipsis where it is longer."""
    return text if len(text) <= length else text[: length - 1] + "…"


def nice_ticks(low: float, high: float, count: int = 4) -> list[float]:
    """Round numbers inside [low, high], about `count` of them."""
    if not (math.isfinite(low) and math.isfinite(high)) or high <= low:
        raise UsageError(f"ticks: expected finite low < high, got {low!r} and {high!r}")
    raw = (high - low) / max(1, count)
    power = 10.0 ** math.floor(math.log10(raw))
    step = next((factor * power for factor in (1, 2, 2.5, 5) if factor * power >= raw * 0.999), 10 * power)
    first = math.ceil(low / step - 1e-9)
    return [round(index * step, 12) for index in range(first, math.floor(high / step + 1e-9) + 1)]


def spread(values: Sequence[float], margin: float = 0.07) -> tuple[float, float]:
    """Limits of an axis around the finite values; never empty."""
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return 0.0, 1.0
    low, high = min(finite), max(finite)
    pad = (high - low) * margin or abs(high) * 0.05 or 0.5
    return low - pad, high + pad


@dataclass
class Axes:
    """A drawing with two linear axes; marks are added, then `render` gives the SVG.

    Args:
        x_limits: values at the left and right end.
        y_limits: values at the bottom and top; a larger value first turns the axis over.
    """

    x_limits: tuple[float, float]
    y_limits: tuple[float, float]
    width: int = 372
    height: int = 240
    left: int = 52
    right: int = 12
    top: int = 10
    bottom: int = 40
    parts: list[str] = field(default_factory=list)

    def x(self, value: float) -> float:
        """Place of a value from the left, in px of the drawing."""
        low, high = self.x_limits
        return self.left + (value - low) / (high - low) * (self.width - self.left - self.right)

    def y(self, value: float) -> float:
        """Place of a value from the top, in px of the drawing."""
        low, high = self.y_limits
        return self.height - self.bottom - (value - low) / (high - low) * (self.height - self.top - self.bottom)

    def draw_y_axis(self, label: str = "", count: int = 4) -> None:
        """Grid lines with numbers, and a label along the side."""
        ticks = nice_ticks(min(self.y_limits), max(self.y_limits), count)
        for tick in ticks:
            self.parts.append(
                f'<path class="grid" d="M{self.left} {self.y(tick):.1f}H{self.width - self.right}"/>'
                f'<text x="{self.left - 5}" y="{self.y(tick) + 3.5:.1f}" text-anchor="end">{tick:.6g}</text>'
            )
        if label:
            middle = (self.top + self.height - self.bottom) / 2
            self.parts.append(
                f'<text class="name" transform="translate(11 {middle:.1f}) rotate(-90)" text-anchor="middle">'
                f"{escape(label)}</text>"
            )

    def draw_x_axis(self, ticks: Sequence[tuple[float, str]], label: str, grid: bool = False) -> None:
        """The base line with tick labels below it, and the label of the axis."""
        base = self.height - self.bottom
        self.parts.append(f'<path class="axis" d="M{self.left} {base}H{self.width - self.right}"/>')
        for value, text in ticks:
            place = self.x(value)
            line = f'<path class="grid" d="M{place:.1f} {self.top}V{base}"/>' if grid else ""
            self.parts.append(
                f'{line}<path class="axis" d="M{place:.1f} {base}v4"/>'
                f'<text x="{place:.1f}" y="{base + 16}" text-anchor="middle">{escape(text)}</text>'
            )
        centre = (self.left + self.width - self.right) / 2
        self.parts.append(
            f'<text class="name" x="{centre:.1f}" y="{self.height - 6}" text-anchor="middle">{escape(label)}</text>'
        )

    def add_band(self, style: int, points: Sequence[tuple[float, float, float]]) -> None:
        """Shade between low and high; points are (x, low, high)."""
        if len(points) < 2:
            return
        upper = [f"{self.x(x):.1f} {self.y(high):.1f}" for x, _, high in points]
        lower = [f"{self.x(x):.1f} {self.y(low):.1f}" for x, low, _ in reversed(points)]
        self.parts.append(f'<path class="s{style % STYLE_COUNT} band" d="M{"L".join([*upper, *lower])}Z"/>')

    def add_line(self, style: int, points: Sequence[tuple[float, float]]) -> None:
        """A line in the dashes of its style."""
        if len(points) > 1:
            path = "L".join(f"{self.x(x):.1f} {self.y(y):.1f}" for x, y in points)
            self.parts.append(f'<path class="s{style % STYLE_COUNT} line"{_dash(style)} d="M{path}"/>')

    def add_mark(self, style: int, x: float, y: float, hollow: bool = False, tip: str = "") -> None:
        """The mark of a style; hollow where a value stands on few images; `tip` shows under the pointer."""
        inside = f"<title>{escape(tip)}</title>" if tip else ""
        self.parts.append(
            f'<path class="s{style % STYLE_COUNT} mark{" hollow" if hollow else ""}" '
            f'transform="translate({self.x(x):.1f} {self.y(y):.1f})" d="{_SHAPES[style % STYLE_COUNT]}">{inside}</path>'
        )

    def add_whisker(self, style: int, start: tuple[float, float], end: tuple[float, float]) -> None:
        """A thin straight line, for an interval."""
        self.parts.append(
            f'<path class="s{style % STYLE_COUNT} whisker" d="M{self.x(start[0]):.1f} {self.y(start[1]):.1f}'
            f'L{self.x(end[0]):.1f} {self.y(end[1]):.1f}"/>'
        )

    def add_text(self, x: float, y: float, text: str, dx: float = 0, dy: float = 0, anchor: str = "start") -> None:
        """A short text at a value, moved by px."""
        self.parts.append(
            f'<text class="tag" x="{self.x(x) + dx:.1f}" y="{self.y(y) + dy:.1f}" text-anchor="{anchor}">'
            f"{escape(text)}</text>"
        )

    def render(self, title: str, description: str) -> str:
        """The SVG; title and description are what a screen reader says."""
        return (
            f'<svg class="chart" viewBox="0 0 {self.width} {self.height}" role="img" '
            f'aria-label="{escape(f"{title}. {description}")}">{"".join(self.parts)}</svg>'
        )


def draw_key(style: int, flat: bool = False) -> str:
    """The line and mark of a style for a legend; `flat` leaves out the line."""
    line = f'<path class="s{style % STYLE_COUNT} line"{_dash(style)} d="M1 8H41"/>' if not flat else ""
    return (
        f'<svg class="key" viewBox="0 0 42 16" aria-hidden="true">{line}<path class="s{style % STYLE_COUNT} mark" '
        f'transform="translate(21 8)" d="{_SHAPES[style % STYLE_COUNT]}"/></svg>'
    )


def _dash(style: int) -> str:
    # Past the eighth method the colours and marks come again with the dashes moved on, so that no pair is met twice.
    dash = _DASHES[(style + style // STYLE_COUNT) % len(_DASHES)]
    return f' stroke-dasharray="{dash}"' if dash else ""
