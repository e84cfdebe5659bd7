"""The figures of a report, as Plotly describes them: plain mappings of traces and layout; nothing is drawn here."""

from collections.abc import Mapping, Sequence
from typing import Any

from onegen.audit.statistics import CAPTION_RANGES, GRID, Distribution

BLUE, OTHERS = "#4c84cf", ("#4c84cf", "#8fb3e0", "#d9a441", "#c8553d")
RING = ("#4c84cf", "#d9a441", "#5a9e6f", "#a06cb8", "#c8553d", "#5f8a94")
Figure = dict[str, Any]


def histogram(name: str, values: Distribution) -> Figure:
    """Return bars over the bins of a distribution; captions show the paper's ranges of words behind them."""
    widths = [right - left or 1 for left, right in zip(values.edges, values.edges[1:], strict=False)]
    # One bin of a single fractional value has no width of its own: its bar stands on the value.
    centres = [(left + right) / 2 for left, right in zip(values.edges, values.edges[1:], strict=False)]
    bars = {"type": "bar", "x": centres, "y": values.bins, "width": widths, "marker": {"color": BLUE}}
    layout: Figure = {"xaxis": {"title": {"text": name}}, "yaxis": {"title": {"text": "count"}}}
    if name.endswith("num_words"):
        layout["shapes"] = [
            {"type": "rect", "xref": "x", "yref": "paper", "x0": low, "x1": high, "y0": 0, "y1": 1}
            | {"fillcolor": "#d9a441", "opacity": 0.18, "line": {"width": 0}}
            for low, high in CAPTION_RANGES
        ]
    return {"data": [bars], "layout": layout}


def ranking(most: Sequence[tuple[str, int]]) -> Figure:
    """Return bars of the most frequent values, the first on top."""
    shown = [(_short(name), count) for name, count in most[:15]][::-1]
    places = list(range(len(shown)))
    bars = {"type": "bar", "orientation": "h", "y": places, "x": [n for _, n in shown], "marker": {"color": BLUE}}
    axis = {"tickvals": places, "ticktext": [_plain(name) for name, _ in shown], "automargin": True}
    return {"data": [bars], "layout": {"yaxis": axis, "xaxis": {"title": {"text": "count"}}}}


def heat(grid: Sequence[Sequence[int]]) -> Figure:
    """Return a map of where centres of boxes lie, the top of the image on top."""
    trace = {"type": "heatmap", "z": [list(row) for row in grid], "colorscale": "Viridis"}
    ticks = {"tickvals": [-0.5, GRID - 0.5]}
    across = ticks | {"ticktext": ["left", "right"]}
    down = ticks | {"ticktext": ["top", "bottom"], "autorange": "reversed"}
    return {"data": [trace], "layout": {"xaxis": across, "yaxis": down}}


def sphere(grid: Sequence[Sequence[int]]) -> Figure:
    """Return a map of how many cameras look from where, azimuth across and elevation up, in degrees."""
    down, across = len(grid), len(grid[0])
    azimuths = [-180 + 360 * (n + 0.5) / across for n in range(across)]
    elevations = [90 - 180 * (n + 0.5) / down for n in range(down)]
    trace = {"type": "heatmap", "x": azimuths, "y": elevations, "z": [list(row) for row in grid]}
    hover = "azimuth %{x}°, elevation %{y}°: %{z}<extra></extra>"
    axes = {
        "xaxis": {"title": {"text": "azimuth"}, "dtick": 90},
        "yaxis": {"title": {"text": "elevation"}, "dtick": 30},
    }
    return {"data": [trace | {"colorscale": "Viridis", "hovertemplate": hover}], "layout": axes}


def coverage(counts: Mapping[str, Mapping[str, int]], items: int) -> Figure:
    """Return bars of the rows of each column by status; what no shard has yet is missing."""
    columns = list(counts)
    series = {status: [counts[c].get(status, 0) for c in columns] for status in ("ok", "skipped", "filtered", "failed")}
    series["missing"] = [max(0, items - counts[c].get("rows", 0)) for c in columns]
    data = [
        {"type": "bar", "name": status, "x": columns, "y": numbers, "marker": {"color": colour}}
        for (status, numbers), colour in zip(series.items(), (*OTHERS, "#9aa0a6"), strict=True)
    ]
    layout = {"barmode": "stack", "showlegend": True, "legend": {"orientation": "h", "y": 1.15}, "bargap": 0.3}
    return {"data": data, "layout": layout | {"yaxis": {"title": {"text": "rows"}}}}


def _short(text: str) -> str:
    return text if len(text) <= 28 else f"{text[:27]}…"


def _plain(text: str) -> str:
    """Return text in which Plotly, which draws a little HTML, sees none."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def ring(shares: Sequence[tuple[str, str, float]]) -> Figure:
    """Return a double ring of (group, dataset, share of training): groups inside, their datasets outside."""
    groups: dict[str, float] = {}
    for group, _, share in shares:
        groups[group] = groups.get(group, 0.0) + share
    ids = [f"group {group}" for group in groups] + [f"dataset {name}" for _, name, _ in shares]
    trace = {
        "type": "sunburst",
        "ids": ids,
        "labels": [_plain(group.replace("_", " ")) for group in groups] + [_plain(name) for _, name, _ in shares],
        "parents": [""] * len(groups) + [f"group {group}" for group, _, _ in shares],
        # Of the whole, so that rounding makes no group smaller than what is in it.
        "values": [0.0] * len(groups) + [share for _, _, share in shares],
        "branchvalues": "remainder",
        "texttemplate": "%{label}<br>%{percentRoot:.1%}",
        "hovertemplate": "%{label}: %{percentRoot:.1%}<extra></extra>",
        "insidetextorientation": "radial",
        "sort": False,
        "leaf": {"opacity": 0.9},
    }
    return {"data": [trace], "layout": {"margin": {"l": 0, "r": 0, "t": 0, "b": 0}, "sunburstcolorway": list(RING)}}
