"""A figure whose lines move with a slider, as one piece of HTML: it needs no network, no kernel.

The figure is drawn once, as SVG.  The curves of all frames travel as path data beside it, and a
few lines of script put the chosen ones in place.
"""

import html
import json
import re
from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import ArrayLike

from lib.figures import svg
from lib.glue import emit

PAGE = """\
<div class="frames" id="{name}">
<style>html[data-theme="dark"] #{name} svg {{ filter: invert(.93) hue-rotate(180deg); }}
#{name} svg {{ max-width: 100%; height: auto; }}
#{name} input {{ width: min(100%, 26rem); display: block; }}</style>
{svg}
<label>{label}
<input type="range" min="0" max="{last}" value="{start}" step="1"></label>
<output aria-live="polite">{words}</output>
<script>(function () {{
  const root = document.getElementById("{name}"), frames = {frames}, words = {all_words};
  const input = root.querySelector("input"), output = root.querySelector("output");
  function show() {{
    frames.forEach((paths, k) => root.querySelector("#{name}-line-" + k + " path")
      .setAttribute("d", paths[input.value]));
    output.textContent = words[input.value];
    input.setAttribute("aria-valuetext", words[input.value]);
  }}
  input.addEventListener("input", show);
  show();
}})();</script>
</div>"""


def slider(
    name: str,
    fig: Figure,
    lines: Sequence[tuple[Line2D, ArrayLike]],
    words: Sequence[str],
    *,
    label: str,
    alt: str,
) -> None:
    """Hand ``fig`` to the page as a figure with a slider, and close it.

    Each of ``lines`` is a line of the figure with its heights (frames, points) in all frames;
    ``words`` says for each frame what it is.  The page shows the middle frame first.

    Raises ValueError when the numbers of frames differ.
    """
    counts = {len(words), *(len(heights) for _, heights in lines)}
    if len(counts) != 1:
        raise ValueError(
            f"{name}: lines and words have {sorted(counts)} frames; give each the same"
        )
    middle = len(words) // 2
    for k, (line, heights) in enumerate(lines):
        line.set_gid(f"{name}-line-{k}")
        line.set_ydata(np.asarray(heights)[middle])
    fig.draw_without_rendering()  # the layout decides where the axes are,
    fig.set_layout_engine("none")  # and another one, when saved, would move them beside the paths
    frames = [[path(line, row) for row in np.asarray(heights)] for line, heights in lines]
    page = PAGE.format(
        name=name,
        svg=_image(svg(fig), alt),
        label=html.escape(label),
        last=len(words) - 1,
        start=middle,
        words=html.escape(words[middle]),
        frames=json.dumps(frames).replace("</", "<\\/"),
        all_words=json.dumps(list(words)).replace("</", "<\\/"),
    )
    emit(name, {"text/html": page, "text/plain": f"{alt} ({label}: {words[middle]})"})
    plt.close(fig)


def path(line: Line2D, heights: ArrayLike) -> str:
    """SVG path data of a line with other heights (points,); gaps where they are not finite."""
    points = np.column_stack([line.get_xdata(), heights]).astype(float)
    pixels = line.axes.transData.transform(points) * 72 / line.figure.dpi
    height = line.figure.get_figheight() * 72
    parts, pen = [], "M"
    for x, y in pixels:
        if np.isfinite(x) and np.isfinite(y):
            parts.append(f"{pen}{x:.1f} {height - y:.1f}")
            pen = "L"
        else:
            pen = "M"
    return "".join(parts)


def _image(text: str, alt: str) -> str:
    """The <svg> element alone, with a text that stands for it."""
    start = text.index("<svg")
    said = f'<svg role="img" aria-label="{html.escape(alt, quote=True)}" '
    return re.sub(r"^<svg ", lambda _: said, text[start:], count=1)
