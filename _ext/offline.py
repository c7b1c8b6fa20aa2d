"""Serve MathJax from the site itself, so that formulas need no network.

The package sphinx-mathjax-offline is used as a box of MathJax files, not as an extension: it
would copy all 24 MB of them, where the pages load these 2. They are copied when the build ends
and not kept in _static/, whose every .js file Jupyter Book adds to every page.
"""

import shutil
from importlib.util import find_spec
from pathlib import Path

PARTS = ("tex-chtml.js", "output/chtml/fonts/woff-v2", "input/tex/extensions")


def mathjax_files() -> Path:
    """The installed folder of MathJax.

    Raises FileNotFoundError when a part is missing, with the remedy.
    """
    spec = find_spec("sphinx-mathjax-offline")
    folder = Path(spec.origin).parent / "static" / "mathjax" if spec else Path("missing")
    for part in PARTS:
        if not (folder / part).exists():
            raise FileNotFoundError(f"MathJax: {part} is not installed; run `make install`")
    return folder


def use_local(app, config) -> None:
    """Point the pages at the local copy. MathJax's own menu can load parts that are not shipped,
    so it is off."""
    config.mathjax_path = "mathjax/tex-chtml.js"
    settings = dict(config.mathjax3_config or {})
    settings["options"] = {**settings.get("options", {}), "enableMenu": False}
    config.mathjax3_config = settings


def copy_parts(app, exception) -> None:
    """The build is over: put the files where the pages look for them."""
    if exception or app.builder.format != "html":
        return
    source, target = mathjax_files(), Path(app.outdir) / "_static" / "mathjax"
    for part in PARTS:
        (target / part).parent.mkdir(parents=True, exist_ok=True)
        if (source / part).is_dir():
            shutil.copytree(source / part, target / part, dirs_exist_ok=True)
        else:
            shutil.copy2(source / part, target / part)


def setup(app) -> dict:
    """Sphinx's entry point."""
    app.connect("config-inited", use_local, priority=900)  # after myst-parser has set its options
    app.connect("build-finished", copy_parts)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
