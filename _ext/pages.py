"""The pages of the book, in reading order, and whether each of them was built.

`python _ext/pages.py` exits with 1 unless every page of _toc.yml is in _build/html.
"""

import sys
from pathlib import Path

from sphinx_external_toc.parsing import parse_toc_yaml

ROOT = Path(__file__).resolve().parents[1]


def pages(root: Path) -> list[str]:
    """Names of the pages, without suffix, in the order of _toc.yml."""
    return list(parse_toc_yaml(root / "_toc.yml"))


def chapters(root: Path) -> list[str]:
    """The pages that are notebooks."""
    return [page for page in pages(root) if (root / f"{page}.ipynb").exists()]


def missing(root: Path) -> list[str]:
    """The files of the site that should have been built and were not."""
    wanted = ["index.html", *(f"{page}.html" for page in pages(root))]
    return [name for name in wanted if not (root / "_build" / "html" / name).is_file()]


def main(root: Path = ROOT) -> int:
    """Command line; returns the exit status."""
    lost = missing(root)
    if lost:
        print(f"not built, though _toc.yml names it: {', '.join(lost)}", file=sys.stderr)
        return 1
    print(f"The book is ready, {len(pages(root))} pages: open _build/html/index.html")
    return 0


if __name__ == "__main__":
    sys.exit(main())
