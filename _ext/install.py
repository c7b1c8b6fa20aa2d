"""Make .venv: the book's packages at the versions of requirements.lock. Standard library only.

    python3 _ext/install.py              the packages
    python3 _ext/install.py --browser    the packages and a browser, for the tests of the site
    python3 _ext/install.py --lock       rewrite requirements.lock with the newest allowed packages

Repeating it costs nothing: a stamp in .venv says from what it was made. While .venv is changed it
holds a file `unfinished`; one that still has it was cut short, and is made anew.
"""

import argparse
import hashlib
import importlib.util
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
REQUIREMENTS, LOCK = "requirements.txt", "requirements.lock"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
UNREACHABLE = (
    "Failed to establish a new connection",
    "Temporary failure in name resolution",
    "Name or service not known",
    "Network is unreachable",
    "Connection refused",
    "ProxyError",
    "ConnectTimeoutError",
    "Max retries exceeded",
)
OFFLINE = (
    "The packages cannot be downloaded: there is no way to the package index. "
    "The first installation needs the network (or a proxy, in HTTPS_PROXY); then run make again."
)
LOCK_HEADER = "# Every package of the book's environment; `make lock` rewrites it."


class Trouble(Exception):
    """Something is missing. The message is the one line that the reader needs."""


def venv_python(root: Path) -> Path:
    """The Python of the book's environment."""
    return root / ".venv" / "bin" / "python"


def inputs(root: Path) -> str:
    """Everything that decides what is installed, as one short name. Of pyproject.toml the tables
    that pip reads: a new setting of a tool is no reason to install again."""
    import tomllib  # not in Python 3.10, which must live to be told so

    tables = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf8"))
    tables["tool"] = tables.get("tool", {}).get("setuptools", {})
    texts = [(root / name).read_text(encoding="utf8") for name in (REQUIREMENTS, LOCK)]
    return hashlib.sha256("\0".join([json.dumps(tables), *texts]).encode()).hexdigest()


def fingerprint(root: Path) -> dict:
    """What the environment must have been made from. Its place counts, because the commands in a
    .venv hold its path; the Python counts, because its packages are for that version."""
    return {"place": str(root), "python": list(sys.version_info[:2]), "inputs": inputs(root)}


def stamped(root: Path) -> dict:
    """What the present environment says it was made from; empty if it does not say."""
    try:
        return json.loads((root / ".venv" / "stamp.json").read_text(encoding="utf8"))
    except (OSError, ValueError):
        return {}


def must_be_new(root: Path, want: dict) -> bool:
    """Whether the environment is missing, a wreck, moved, or another Python's."""
    have = stamped(root)
    other = have and (have["place"], have["python"]) != (want["place"], want["python"])
    wreck = (root / ".venv" / "unfinished").exists()
    return bool(other or wreck or not venv_python(root).exists())


def require_python() -> None:
    """Raise Trouble unless this Python can run the book."""
    if sys.version_info < (3, 11):
        raise Trouble(f"The book needs Python 3.11 or newer; this is {platform.python_version()}.")


def require_venv() -> None:
    """Raise Trouble unless this Python can make an environment; Debian ships the module apart."""
    if not (importlib.util.find_spec("venv") and importlib.util.find_spec("ensurepip")):
        name = "python{}.{}".format(*sys.version_info)
        raise Trouble(
            f"{name} lacks its venv module. On Debian and Ubuntu: apt install {name}-venv"
        )


def pip_install(venv: Path, *arguments: str, cwd: Path) -> None:
    """Install packages, telling what is fetched; raise Trouble if that fails."""
    command = [venv / "bin" / "python", "-m", "pip", "install", "--progress-bar", "off"]
    command += ["--disable-pip-version-check", "--retries", "2", *arguments]
    pipe, merge = subprocess.PIPE, subprocess.STDOUT
    said = []
    with subprocess.Popen(command, cwd=cwd, text=True, stdout=pipe, stderr=merge) as pip:
        for line in pip.stdout:
            said.append(line.rstrip())
            if line.startswith("Installing collected"):  # until here pip has changed nothing
                (venv / "unfinished").touch()
            if line.strip().startswith(("Downloading", "Installing collected")):
                print(f"  {line.strip()[:90]}", flush=True)
    if pip.returncode != 0:
        if any(sign in line for line in said for sign in UNREACHABLE):
            raise Trouble(OFFLINE)
        raise Trouble("pip could not install the packages:\n" + "\n".join(said[-15:]))


def new_venv(venv: Path) -> None:
    """An empty environment, in place of whatever stood there."""
    require_venv()
    shutil.rmtree(venv, ignore_errors=True)
    venv.mkdir(parents=True)
    (venv / "unfinished").touch()
    subprocess.run([sys.executable, "-m", "venv", venv], check=True)


def install(root: Path) -> None:
    """Make .venv what it should be. If that fails, a new one is removed and an old one kept."""
    venv, want = root / ".venv", fingerprint(root)
    anew = must_be_new(root, want)
    if not anew and stamped(root) == want:
        return
    print(f"{'Making' if anew else 'Updating'} .venv; PyTorch alone may take minutes", flush=True)
    try:
        if anew:
            new_venv(venv)
        pip_install(venv, "-r", REQUIREMENTS, "-c", LOCK, cwd=root)
    except BaseException:
        if anew:
            shutil.rmtree(venv, ignore_errors=True)
        raise
    (venv / "stamp.json").write_text(json.dumps(want), encoding="utf8")
    (venv / "unfinished").unlink(missing_ok=True)


def lock(root: Path) -> None:
    """Rewrite requirements.lock from a fresh environment without constraints."""
    with tempfile.TemporaryDirectory() as folder:
        venv = Path(folder) / "venv"
        new_venv(venv)
        pip_install(venv, "-r", REQUIREMENTS, cwd=root)
        freeze = [venv / "bin" / "python", "-m", "pip", "freeze", "--exclude-editable"]
        listed = subprocess.run(freeze, check=True, capture_output=True, text=True).stdout
    # "2.13.0+cpu" is one build of 2.13.0; the lock is for every machine.
    packages = [line.split("+")[0] for line in listed.splitlines()]
    (root / LOCK).write_text("\n".join([LOCK_HEADER, *packages, ""]), encoding="utf8")
    print(f"{LOCK}: {len(packages)} packages")


def playwright_browser(root: Path) -> bool:
    """Whether Playwright has a browser of its own."""
    ask = (
        "from playwright.sync_api import sync_playwright as s\n"
        "with s() as p: print(p.chromium.executable_path)"
    )
    answer = subprocess.run([venv_python(root), "-c", ask], capture_output=True, text=True)
    return Path(answer.stdout.strip() or "missing").is_file()


def quiet(*command: str | Path) -> bool:
    """Whether a command succeeds; its output is dropped."""
    try:
        done = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL)
    except FileNotFoundError:
        return False
    return done.returncode == 0


def apt_browser() -> bool:
    """Try to install Chromium with apt; whether it worked."""
    sudo = [] if os.geteuid() == 0 else ["sudo", "-n"]
    if not shutil.which("apt-get") or (sudo and not quiet(*sudo, "true")):
        return False
    print("Installing Chromium, for the tests of the site", flush=True)
    fetch = [*sudo, "apt-get", "install", "-y", "--no-install-recommends", "chromium"]
    done = quiet(*fetch) or (quiet(*sudo, "apt-get", "update") and quiet(*fetch))
    return done and any(map(shutil.which, BROWSERS))


def browser(root: Path) -> None:
    """See to it that there is a browser; raise Trouble if there is none to be had."""
    named = os.environ.get("CHROMIUM")
    if named and not shutil.which(named):
        raise Trouble(f"CHROMIUM is {named}, which is not a program.")
    if named or any(map(shutil.which, BROWSERS)) or playwright_browser(root) or apt_browser():
        return
    print("Fetching Chromium with Playwright, for the tests of the site", flush=True)
    if not quiet(venv_python(root), "-m", "playwright", "install", "chromium"):
        raise Trouble(
            "The tests of the site need a browser: install Chromium (Debian: apt install "
            "chromium), or give the path of one in CHROMIUM."
        )


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--browser", action="store_true")
    parser.add_argument("--lock", action="store_true")
    parser.add_argument("--root", type=Path, default=ROOT)
    options = parser.parse_args(arguments)
    root = options.root.resolve()
    try:
        require_python()
        if options.lock:
            lock(root)
        else:
            install(root)
        if options.browser:
            browser(root)
    except Trouble as trouble:
        print(trouble, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nstopped; nothing half-made was left", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
