"""The chain from edge map to thin sketch in plain loops over pixels, written from the description only.

It shares no code and no tables with `dpsdata.sketch.simplify`. Orientations are computed with Python's whole numbers.
"""

from __future__ import annotations

import math


def reflect(index: int, length: int) -> int:
    """Border with the edge pixel repeated: ... 1 0 | 0 1 ... n-1 | n-1 n-2 ..."""
    while not 0 <= index < length:
        index = -1 - index if index < 0 else 2 * length - 1 - index
    return index


def triangle(rows: list[list[int]], radius: int) -> list[list[int]]:
    height, width = len(rows), len(rows[0])
    weights = [radius + 1 - abs(k) for k in range(-radius, radius + 1)]
    reach = range(-radius, radius + 1)
    across = [
        [sum(w * rows[y][reflect(x + k, width)] for k, w in zip(reach, weights, strict=True)) for x in range(width)]
        for y in range(height)
    ]
    return [
        [sum(w * across[reflect(y + k, height)][x] for k, w in zip(reach, weights, strict=True)) for x in range(width)]
        for y in range(height)
    ]


def twice_slope(line: list[int]) -> list[int]:
    last = len(line) - 1
    inner = [line[i + 1] - line[i - 1] for i in range(1, last)]
    return [2 * (line[1] - line[0]), *inner, 2 * (line[last] - line[last - 1])]


def slope_x(rows: list[list[int]]) -> list[list[int]]:
    return [twice_slope(row) for row in rows]


def slope_y(rows: list[list[int]]) -> list[list[int]]:
    return [list(row) for row in zip(*[twice_slope(list(column)) for column in zip(*rows, strict=True)], strict=True)]


def interpolate(rows: list[list[float]], y: float, x: float) -> float:
    height, width = len(rows), len(rows[0])
    y = min(max(y, 0.0), height - 1.001)
    x = min(max(x, 0.0), width - 1.001)
    top, left = int(y), int(x)
    fy, fx = y - top, x - left
    upper = rows[top][left] * (1 - fx) + rows[top][left + 1] * fx
    lower = rows[top + 1][left] * (1 - fx) + rows[top + 1][left + 1] * fx
    return upper * (1 - fy) + lower * fy


def suppress(rows: list[list[float]], config) -> list[list[int]]:
    height, width = len(rows), len(rows[0])
    radius = config.triangle_radius
    unit = 2 ** (50 - math.ceil(4 * math.log2(radius + 1)))
    smooth = triangle([[round(value * unit) for value in row] for row in rows], radius)
    dx, dy = slope_x(smooth), slope_y(smooth)
    oxx, oxy, oyy = slope_x(dx), slope_x(dy), slope_y(dy)
    flatness = 4 * ((radius + 1) ** 4 * unit) * 1e-5
    out = [[0] * width for _ in range(height)]
    for y in range(height):
        for x in range(width):
            value = rows[y][x]
            if value == 0:
                continue
            sign = (oxy[y][x] < 0) - (oxy[y][x] > 0)
            across, along = float(oxx[y][x]) + flatness, float(oyy[y][x] * sign)
            length = math.sqrt(across * across + along * along)
            cosine, sine = (across / length, along / length) if length else (1.0, 0.0)
            kept = value
            for distance in range(-config.nms_radius, config.nms_radius + 1):
                if distance == 0:
                    continue
                beside = interpolate(rows, y + distance * sine, x + distance * cosine)
                if value * config.nms_multiplier < beside:
                    kept = 0.0
            if config.border_px:
                kept *= min(x, width - 1 - x, config.border_px) / config.border_px
                kept *= min(y, height - 1 - y, config.border_px) / config.border_px
            out[y][x] = int(kept >= config.threshold)
    return out


def ring(rows: list[list[int]], y: int, x: int) -> list[int]:
    """The 8 neighbours from the east counter-clockwise; 0 outside of the image."""
    steps = [(0, 1), (-1, 1), (-1, 0), (-1, -1), (0, -1), (1, -1), (1, 0), (1, 1)]
    inside = [(y + dy, x + dx) for dy, dx in steps]
    return [rows[b][a] if 0 <= b < len(rows) and 0 <= a < len(rows[0]) else 0 for b, a in inside]


def removable(x1: int, x2: int, x3: int, x4: int, x5: int, x6: int, x7: int, x8: int, second: bool) -> bool:
    branches = (not x1 and (x2 or x3)) + (not x3 and (x4 or x5)) + (not x5 and (x6 or x7)) + (not x7 and (x8 or x1))
    first_pairs = (x1 or x2) + (x3 or x4) + (x5 or x6) + (x7 or x8)
    other_pairs = (x2 or x3) + (x4 or x5) + (x6 or x7) + (x8 or x1)
    side = (x6 or x7 or not x4) and x5 if second else (x2 or x3 or not x8) and x1
    return branches == 1 and 2 <= min(first_pairs, other_pairs) <= 3 and not side


def thin(rows: list[list[int]]) -> list[list[int]]:
    rows = [list(row) for row in rows]
    changed = True
    while changed:
        changed = False
        for second in (False, True):
            gone = [
                (y, x)
                for y, row in enumerate(rows)
                for x, value in enumerate(row)
                if value and removable(*ring(rows, y, x), second=second)
            ]
            for y, x in gone:
                rows[y][x] = 0
            changed = changed or bool(gone)
    return rows


def drop_small(rows: list[list[int]], min_component_px: int) -> list[list[int]]:
    height, width = len(rows), len(rows[0])
    out = [[0] * width for _ in range(height)]
    seen: set[tuple[int, int]] = set()
    for start in ((y, x) for y in range(height) for x in range(width)):
        if not rows[start[0]][start[1]] or start in seen:
            continue
        seen.add(start)
        component = [start]
        for y, x in component:
            for b in range(max(0, y - 1), min(height, y + 2)):
                for a in range(max(0, x - 1), min(width, x + 2)):
                    if rows[b][a] and (b, a) not in seen:
                        seen.add((b, a))
                        component.append((b, a))
        if len(component) >= min_component_px:
            for y, x in component:
                out[y][x] = 1
    return out


def simplify(rows: list[list[float]], config) -> list[list[int]]:
    """Thin sketch (line = 1) of an edge map given as nested lists of floats in [0, 1]."""
    return drop_small(thin(suppress(rows, config)), config.min_component_px)
