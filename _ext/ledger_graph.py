"""The dependency graph of a chapter's claims, as an SVG of links.

Layers from left to right by topological generation, what is used on the left; within a layer the
order that barycentre sweeps find; heights by isotonic regression.  Long arrows pass through slots
of their own, so that none runs across a box.
"""

import html
import re
import textwrap
import unicodedata
from dataclasses import dataclass, field
from itertools import pairwise

import networkx as nx

WIDTH, HEIGHT = 164, 54  # of a box
GAP, SLACK = 32, 12  # between layers, between boxes
SLOT = 8  # height that an arrow takes in a layer it only passes
LINE, LEADING = 18, 15  # characters that fit beside the mark, and the distance of two lines


@dataclass(frozen=True)
class Claim:
    """What a box shows: its words, its link, its look, and what it uses."""

    id: str
    title: str
    status: str
    mark: str
    kind: str
    href: str
    foreign: bool = False
    uses: tuple[str, ...] = field(default=())


def svg(claims: list[Claim], name: str, title: str) -> str:
    """Draw the claims and who uses whom; ``name`` makes the ids unique on the page."""
    layers, paths = _layout(claims)
    spots, loose = _place(layers, paths), _loose(claims)
    width, height = _grid_loose(spots, loose, max(len(layers), 1))
    by_id = {claim.id: claim for claim in claims}
    arrows = [_arrow(spots, path, name) for path in paths]
    boxes = [_box(by_id[key], spots[key], by_id) for key in by_id if key in spots]
    return (
        f'<svg class="graph" xmlns="http://www.w3.org/2000/svg" role="group" width="{width:.0f}" '
        f'height="{height:.0f}" viewBox="0 0 {width:.0f} {height:.0f}" '
        f'aria-labelledby="{name}-title {name}-desc">'
        f'<title id="{name}-title">{html.escape(title)}</title>'
        f'<desc id="{name}-desc">{len(claims)} statements; each links to its row in the ledger. '
        f"An arrow leads from a statement to one that it uses.</desc>"
        f'<defs><marker id="{name}-tip" viewBox="0 0 8 8" refX="7.5" refY="4" markerWidth="7" '
        f'markerHeight="7" orient="auto"><path class="tip" d="M0 0.5 8 4 0 7.5z"/></marker></defs>'
        f"{''.join(arrows)}{''.join(boxes)}</svg>"
    )


# --- layout


def _layout(claims: list[Claim]) -> tuple[list[list], list[list]]:
    """Return the ordered layers and, for every drawn arrow, the nodes that it passes."""
    graph = nx.DiGraph([(used, claim.id) for claim in claims for used in claim.uses])
    graph = nx.transitive_reduction(graph)  # an arrow that two others imply says nothing new
    level = _levels(graph)
    paths = []
    for used, user in sorted(graph.edges):
        between = [(used, user, k) for k in range(level[used] + 1, level[user])]
        level |= {slot: slot[2] for slot in between}
        paths.append([used, *between, user])
    layers = [[] for _ in range(max(level.values(), default=-1) + 1)]
    rank = {claim.id: k for k, claim in enumerate(claims)}
    for node in sorted(level, key=lambda n: (isinstance(n, tuple), rank.get(n, 0), str(n))):
        layers[level[node]].append(node)
    return _untangle(layers, paths), paths


def _levels(graph: nx.DiGraph) -> dict:
    level = {n: k for k, layer in enumerate(nx.topological_generations(graph)) for n in layer}
    for node in reversed(list(nx.topological_sort(graph))):  # as near to its users as possible
        level[node] = min((level[user] for user in graph[node]), default=level[node] + 1) - 1
    return level


def _untangle(layers: list[list], paths: list[list], sweeps: int = 12) -> list[list]:
    """Order each layer by the barycentres of its neighbours; keep the order that crosses least."""
    links = [pair for path in paths for pair in pairwise(path)]
    best, fewest = [list(layer) for layer in layers], _crossings(layers, links)
    for sweep in range(sweeps):
        down = sweep % 2 == 0
        order = range(1, len(layers)) if down else range(len(layers) - 2, -1, -1)
        side = _neighbours(links, down)
        for k in order:
            at = {node: i for i, node in enumerate(layers[k - 1 if down else k + 1])}
            layers[k] = _sorted(layers[k], {n: [at[m] for m in side.get(n, [])] for n in layers[k]})
        crossings = _crossings(layers, links)
        if crossings < fewest:
            best, fewest = [list(layer) for layer in layers], crossings
    return _swap(best, links)


def _sorted(layer: list, around: dict) -> list:
    centre = {node: _mean(around[node], i) for i, node in enumerate(layer)}
    return sorted(layer, key=centre.get)


def _swap(layers: list[list], links: list[tuple]) -> list[list]:
    """Exchange neighbours as long as that removes crossings."""
    fewest, better = _crossings(layers, links), True
    while better and fewest:
        better = False
        for layer in layers:
            for i in range(len(layer) - 1):
                layer[i], layer[i + 1] = layer[i + 1], layer[i]
                crossings = _crossings(layers, links)
                if crossings < fewest:
                    fewest, better = crossings, True
                else:
                    layer[i], layer[i + 1] = layer[i + 1], layer[i]
    return layers


def _neighbours(links: list, left: bool) -> dict:
    side = {}
    for a, b in links:
        side.setdefault(b if left else a, []).append(a if left else b)
    return side


def _mean(values: list[float], otherwise: float) -> float:
    return sum(values) / len(values) if values else otherwise


def _crossings(layers: list[list], links: list) -> int:
    at = {node: i for layer in layers for i, node in enumerate(layer)}
    where = {node: k for k, layer in enumerate(layers) for node in layer}
    ends = [(where[a], at[a], at[b]) for a, b in links]
    pairs = ((p, q) for i, p in enumerate(ends) for q in ends[:i] if p[0] == q[0])
    return sum((p[1] - q[1]) * (p[2] - q[2]) < 0 for p, q in pairs)


def _place(layers: list[list], paths: list[list]) -> dict:
    """Return the centre of every node: x by layer, y near its neighbours, nothing overlapping."""
    links = [pair for path in paths for pair in pairwise(path)]
    near = _neighbours(links, True)
    for node, others in _neighbours(links, False).items():
        near.setdefault(node, []).extend(others)
    y = {node: k * (HEIGHT + SLACK) for layer in layers for k, node in enumerate(layer)}
    for _ in range(30):
        for layer in layers:
            wish = [_mean([y[other] for other in near.get(node, [])], y[node]) for node in layer]
            y |= dict(zip(layer, _apart(wish, [_size(node) for node in layer]), strict=True))
    top = min((y[node] - _size(node) / 2 for node in y), default=0) - 2
    column = {node: k for k, layer in enumerate(layers) for node in layer}
    return {n: (column[n] * (WIDTH + GAP) + WIDTH / 2 + 2, y[n] - top) for n in y}


def _size(node) -> float:
    return SLOT if isinstance(node, tuple) else HEIGHT


def _apart(wish: list[float], sizes: list[float]) -> list[float]:
    """The nearest heights, in squared distance, in the same order and without overlap."""
    steps = [(a + b) / 2 + SLACK for a, b in pairwise(sizes)]
    offset = [sum(steps[:k]) for k in range(len(sizes))]
    blocks = []  # pool neighbours that are too close: (sum, count)
    for value in (w - o for w, o in zip(wish, offset, strict=True)):
        block = (value, 1)
        while blocks and blocks[-1][0] / blocks[-1][1] > block[0] / block[1]:
            total, count = blocks.pop()
            block = (total + block[0], count + block[1])
        blocks.append(block)
    pooled = [total / count for total, count in blocks for _ in range(count)]
    return [p + o for p, o in zip(pooled, offset, strict=True)]


def _loose(claims: list[Claim]) -> list[str]:
    used = {use for claim in claims for use in claim.uses}
    return [claim.id for claim in claims if not claim.uses and claim.id not in used]


def _grid_loose(spots: dict, loose: list[str], columns: int) -> tuple[float, float]:
    """Put the claims without arrows in rows below the others; return the size of the drawing."""
    columns = max(columns, 4) if loose else columns
    bottom = max((y + HEIGHT / 2 for _, y in spots.values()), default=-2 * SLACK)
    for k, key in enumerate(loose):
        row, column = divmod(k, columns)
        x = column * (WIDTH + GAP) + WIDTH / 2 + 2
        spots[key] = (x, bottom + 2 * SLACK + HEIGHT / 2 + row * (HEIGHT + SLACK) + 2)
    right = max((x for x, _ in spots.values()), default=0) + WIDTH / 2 + 2
    return right, max((y for _, y in spots.values()), default=0) + HEIGHT / 2 + 2


# --- drawing


def _arrow(spots: dict, path: list, name: str) -> str:
    """One curve from the left side of the claim to the right side of what it uses."""
    points = [spots[node] for node in reversed(path)]
    (x, y), half = points[0], WIDTH / 2
    d = [f"M{x - half:.1f} {y:.1f}"]
    for k, (to_x, to_y) in enumerate(points[1:], start=1):
        start, end = x - half, to_x + half
        bend = (start + end) / 2
        d.append(f"C{bend:.1f} {y:.1f} {bend:.1f} {to_y:.1f} {end:.1f} {to_y:.1f}")
        if k < len(points) - 1:  # straight on through its slot
            d.append(f"H{to_x - half:.1f}")
        x, y = to_x, to_y
    return f'<path class="arrow" d="{"".join(d)}" marker-end="url(#{name}-tip)"/>'


def _box(claim: Claim, spot: tuple[float, float], by_id: dict[str, Claim]) -> str:
    x, y = spot[0] - WIDTH / 2, spot[1] - HEIGHT / 2
    title = plain(claim.title)
    lines = textwrap.wrap(title, LINE, max_lines=3, placeholder=" …")
    first = spot[1] + 4 - LEADING / 2 * (len(lines) - 1)
    text = "".join(
        f'<tspan x="{x + 26:.1f}" y="{first + LEADING * k:.1f}">{html.escape(line)}</tspan>'
        for k, line in enumerate(lines)
    )
    uses = ", ".join(plain(by_id[use].title) for use in claim.uses if use in by_id)
    spoken = f"{title}: {claim.status}" + (f"; uses {uses}" if uses else "")
    look = f"claim status-{claim.kind}" + (" foreign" if claim.foreign else "")
    return (
        f'<a class="{look}" href="{html.escape(claim.href)}" aria-label="{html.escape(spoken)}">'
        f"<title>{html.escape(spoken)}</title>"
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{WIDTH}" height="{HEIGHT}" rx="6"/>'
        f'<text class="mark" x="{x + 14:.1f}" y="{spot[1] + 5:.1f}">{claim.mark}</text>'
        f"<text>{text}</text></a>"
    )


SIGNS = {"ell": "SCRIPT SMALL L", "le": "LESS-THAN OR EQUAL TO", "times": "MULTIPLICATION SIGN"}


def plain(text: str) -> str:
    """Words for places that hold no mathematics: Greek letters spelled, TeX signs dropped."""
    return re.sub(r"[${}\\]", "", re.sub(r"\\([a-zA-Z]+) ?", _spell, text))


def _spell(match: re.Match) -> str:
    name = match.group(1)
    size = "CAPITAL" if name[0].isupper() else "SMALL"
    letter = f"GREEK {size} LETTER {name.upper().replace('LAMBDA', 'LAMDA')}"
    try:
        return unicodedata.lookup(SIGNS.get(name, letter))
    except KeyError:
        return name
