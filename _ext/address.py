"""The public address of the book, read from the one place where it is written: _config.yml.

    python _ext/address.py            write the address into the files that repeat it
    python _ext/address.py --check    only say which of them disagree, and exit with 1

Search engines, citations and clone commands need the address in plain files. CITATION.cff holds
the address as it was last written; when _config.yml says another, every repetition follows.
"""

import argparse
import re
import sys
from pathlib import Path

import yaml

REPEATED_IN = ("CITATION.cff", "README.md", "chapters/*.py", "chapters/*.md", "chapters/*.yml")
BEGIN = (
    "# This cell is written by `make pairs`. On a hosted notebook it fetches the book's library."
)
END = "# End of the written cell."
BOOTSTRAP = f"""\
{BEGIN}
import importlib.util
import subprocess
import sys

if importlib.util.find_spec("lib") is None:
    book = ["{{repository}}", "--branch", "{{branch}}", "book"]
    subprocess.check_call(["git", "clone", "-q", "--depth", "1", *book])
    pip = [sys.executable, "-m", "pip", "install", "-q", "./book"]
    subprocess.check_call(pip)  # what the library needs
    sys.path.insert(0, "book")  # and the library itself, beside its recorded results
{END}"""


def config(root: Path) -> dict:
    """The book's configuration, _config.yml."""
    return yaml.safe_load((root / "_config.yml").read_text(encoding="utf8"))


def repository(root: Path) -> str:
    """Address of the repository, without a slash at the end.

    Raises ValueError when _config.yml has none on GitHub.
    """
    address = str(config(root).get("repository", {}).get("url", "")).rstrip("/")
    if not re.fullmatch(r"https://github\.com/[\w.-]+/[\w.-]+", address):
        raise ValueError(
            f"_config.yml: repository.url is {address!r}; "
            "write an address like https://github.com/OWNER/NAME"
        )
    return address


def site(address: str) -> str:
    """Where GitHub Pages serves the repository `address`, with a slash at the end."""
    owner, name = address.split("/")[-2:]
    return f"https://{owner}.github.io/{name}/"


def bootstrap(root: Path) -> str:
    """Source of the cell that makes a chapter run where only the notebook is."""
    branch = config(root)["repository"]["branch"]
    return BOOTSTRAP.format(repository=repository(root), branch=branch)


def with_bootstrap(script: str, cell: str) -> str:
    """The chapter `script` (py:percent) with its bootstrap cell brought up to date, or put before
    the first code cell where there is none."""
    if BEGIN in script:
        written = re.compile(re.escape(BEGIN) + r".*?" + re.escape(END), re.DOTALL)
        return written.sub(lambda _: cell, script, count=1)
    first = re.search(r"^# %%(?! \[markdown\]).*$", script, re.MULTILINE)
    if first is None:
        return script
    at = first.start()
    return f'{script[:at]}# %% tags=["remove-cell"]\n{cell}\n\n{script[at:]}'


def moved(text: str, old: str, new: str) -> str:
    """`text` with the repository `old` and its site replaced by those of `new`."""
    slugs = ("/".join(address.split("/")[-2:]) for address in (old, new))
    return text.replace(site(old), site(new)).replace(*slugs)


def outdated(root: Path) -> dict[Path, str]:
    """The files that repeat another address than _config.yml's, with the text they should have."""
    new = repository(root)
    citation = root / "CITATION.cff"
    old = yaml.safe_load(citation.read_text(encoding="utf8"))["repository-code"]
    changed = {}
    for path in sorted({path for pattern in REPEATED_IN for path in root.glob(pattern)}):
        text = path.read_text(encoding="utf8")
        right = moved(text, old, new)
        if path.suffix == ".py":
            right = with_bootstrap(right, bootstrap(root))
        if right != text:
            changed[path] = right
    # Last, so that a run cut short still finds the old address there and can be repeated.
    if citation in changed:
        changed[citation] = changed.pop(citation)
    return changed


def on_config(app, settings) -> None:
    """Sphinx has read the configuration: canonical links, sitemap, Open Graph get the address."""
    settings.html_baseurl = settings.ogp_site_url = site(repository(Path(app.srcdir)))


def setup(app) -> dict:
    """Sphinx's entry point."""
    app.connect("config-inited", on_config)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, default=Path(__file__).resolve().parents[1])
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args(arguments)
    changed = outdated(options.root)
    for path, text in changed.items():
        name = path.relative_to(options.root).as_posix()
        if options.check:
            print(f"{name} does not repeat the address in _config.yml; run `make pairs`")
        else:
            path.write_text(text, encoding="utf8")
            print(f"wrote the address into {name}")
    return int(options.check and bool(changed))


if __name__ == "__main__":
    sys.exit(main())
