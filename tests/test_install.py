"""Setting up: the environment, the locked packages, and the messages when something is missing."""

import json
import os
import re
import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest
import tomllib
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name as canonical

import install
from conftest import ROOT

# What `make install` calls before there is a Python to call.
TOOLS = ("bash", "make")


def requirements(name: str) -> dict[str, Requirement]:
    """The requirements in a file, by package."""
    lines = (ROOT / name).read_text(encoding="utf8").splitlines()
    found = [Requirement(line) for line in lines if line and line[0] not in "#-"]
    return {canonical(requirement.name): requirement for requirement in found}


def exact(requirement: Requirement) -> str:
    """The only version that a requirement allows."""
    (specifier,) = requirement.specifier
    assert specifier.operator == "=="
    return specifier.version


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    """A repository that needs one package which exists nowhere."""
    (tmp_path / "requirements.txt").write_text("no-such-package-for-this-test\n")
    (tmp_path / "requirements.lock").write_text("")
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "x"\nversion = "1"\n')
    return tmp_path


def finish(repo: Path) -> None:
    """Leave an environment as a whole installation leaves it, without its packages."""
    python = install.venv_python(repo)
    python.parent.mkdir(parents=True)
    python.symlink_to(sys.executable)
    (repo / ".venv/stamp.json").write_text(json.dumps(install.fingerprint(repo)))


def fake_pip(monkeypatch, result: Exception | None = None) -> list:
    """Replace making environments and pip; returns the list of their calls."""
    calls = []

    def pip(venv, *arguments, cwd):
        calls.append("pip")
        if result:
            raise result

    def new(venv):
        calls.append("new")
        shutil.rmtree(venv, ignore_errors=True)
        (venv / "bin").mkdir(parents=True)
        (venv / "bin/python").touch()
        (venv / "unfinished").touch()

    monkeypatch.setattr(install, "pip_install", pip)
    monkeypatch.setattr(install, "new_venv", new)
    return calls


# The environment


def test_a_finished_environment_is_left_alone(repo, monkeypatch):
    calls = fake_pip(monkeypatch)
    install.install(repo)
    assert calls == ["new", "pip"]
    install.install(repo)
    assert calls == ["new", "pip"]


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("requirements.lock", "torch==1\n", ["pip"]),
        ("requirements.txt", "torch\n", ["pip"]),
        ("pyproject.toml", '[project]\nname = "y"\nversion = "1"\n', ["pip"]),
        ("pyproject.toml", '[project]\nname = "x"\nversion = "1"\n[tool.ruff]\n', []),
    ],
)
def test_what_is_to_be_installed_decides_whether_to_install(
    repo, monkeypatch, name, text, expected
):
    finish(repo)
    (repo / name).write_text(text)
    calls = fake_pip(monkeypatch)
    install.install(repo)
    assert calls == expected


def test_a_wreck_is_made_anew(repo, monkeypatch):
    finish(repo)
    (repo / ".venv/unfinished").touch()
    calls = fake_pip(monkeypatch)
    install.install(repo)
    assert calls == ["new", "pip"]
    assert not (repo / ".venv/unfinished").exists()


def test_a_repository_that_was_moved_gets_a_new_environment(repo, tmp_path, monkeypatch):
    finish(repo)
    moved = shutil.move(repo, tmp_path.with_name(tmp_path.name + "-moved"))
    calls = fake_pip(monkeypatch)
    install.install(Path(moved))
    assert calls == ["new", "pip"]


def test_an_environment_made_by_hand_is_kept(repo, monkeypatch):
    finish(repo)
    (repo / ".venv/stamp.json").unlink()
    calls = fake_pip(monkeypatch)
    install.install(repo)
    assert calls == ["pip"]


def test_a_failed_first_installation_leaves_nothing(repo, monkeypatch):
    fake_pip(monkeypatch, install.Trouble("no"))
    with pytest.raises(install.Trouble):
        install.install(repo)
    assert not (repo / ".venv").exists()


def test_a_failed_update_keeps_the_environment_and_is_tried_again(repo, monkeypatch):
    finish(repo)
    (repo / "requirements.lock").write_text("torch==1\n")
    calls = fake_pip(monkeypatch, install.Trouble("no"))
    for _ in range(2):
        with pytest.raises(install.Trouble):
            install.install(repo)
    assert calls == ["pip", "pip"]
    assert install.venv_python(repo).exists()


@pytest.mark.parametrize("changing", [False, True])
def test_from_when_pip_changes_something_the_environment_is_marked(tmp_path, capsys, changing):
    said = ["Downloading a", *(["Installing collected packages: a"] if changing else []), "no disk"]
    python = install.venv_python(tmp_path)
    python.parent.mkdir(parents=True)
    python.write_text("#!/bin/sh\n" + "".join(f"echo '{line}'\n" for line in said) + "exit 1\n")
    python.chmod(0o755)
    with pytest.raises(install.Trouble, match=r"could not install the packages:\n(.|\n)*no disk$"):
        install.pip_install(tmp_path / ".venv", "a", cwd=tmp_path)
    assert (tmp_path / ".venv/unfinished").exists() == changing
    assert capsys.readouterr().out.splitlines() == [f"  {line}" for line in said[:-1]]


def test_the_lock_holds_what_pip_chose_without_local_builds(repo, monkeypatch):
    calls, listed = fake_pip(monkeypatch), "torch==2.13.0+cpu\nzipp==1.0\n"
    done = subprocess.CompletedProcess([], 0, stdout=listed)
    monkeypatch.setattr(install.subprocess, "run", lambda *command, **options: done)
    assert install.main(["--root", str(repo), "--lock"]) == 0
    assert calls == ["new", "pip"]
    locked = (repo / "requirements.lock").read_text().splitlines()
    assert locked == [install.LOCK_HEADER, "torch==2.13.0", "zipp==1.0"]


def test_ctrl_c_gets_a_line(repo, monkeypatch, capsys):
    fake_pip(monkeypatch, KeyboardInterrupt())
    assert install.main(["--root", str(repo)]) == 130
    assert capsys.readouterr().err.startswith("\nstopped")
    assert not (repo / ".venv").exists()


# One line for each thing that can be missing


def run(repo: Path, **environment: str) -> subprocess.CompletedProcess:
    """Run the real command on a repository."""
    command = [sys.executable, ROOT / "_ext/install.py", "--root", repo]
    environment = os.environ | {"PIP_CONFIG_FILE": os.devnull, "PIP_FIND_LINKS": ""} | environment
    return subprocess.run(command, capture_output=True, text=True, env=environment)


def test_without_a_network_one_line_says_so_and_nothing_is_left(repo):
    done = run(repo, PIP_INDEX_URL="http://127.0.0.1:9/simple", PIP_EXTRA_INDEX_URL="")
    assert done.returncode == 1
    assert done.stderr.splitlines() == [install.OFFLINE]
    assert not (repo / ".venv").exists()


def test_an_old_python_is_named(monkeypatch):
    monkeypatch.setattr(sys, "version_info", (3, 10, 4))
    with pytest.raises(install.Trouble, match=r"needs Python 3\.11 or newer"):
        install.require_python()


def test_a_python_without_venv_names_the_debian_package(monkeypatch):
    monkeypatch.setattr(install.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(install.Trouble, match=r"apt install python3\.\d+-venv"):
        install.require_venv()


def make(tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess:
    """Call make where nothing but bash and make is installed."""
    for name in TOOLS:
        (tmp_path / name).symlink_to(shutil.which(name))
    command = [tmp_path / "make", "-C", ROOT, "--no-print-directory", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env={"PATH": str(tmp_path)})


@pytest.mark.parametrize("target", ["book", "test", "install"])
def test_without_python_make_says_what_to_install(tmp_path, target):
    done = make(tmp_path, target)
    assert done.returncode != 0
    message, makes_own = done.stderr.splitlines()
    assert message.startswith("No Python 3.11 or newer was found. Install one")
    assert makes_own.startswith("make: ***")


def test_a_python_named_wrongly_is_reported(tmp_path):
    done = make(tmp_path, "install", "PYTHON=/nowhere/python")
    assert done.returncode != 0
    assert "/nowhere/python" in done.stderr


def test_a_browser_named_wrongly_is_reported(repo, monkeypatch):
    monkeypatch.setenv("CHROMIUM", "/nowhere/chromium")
    with pytest.raises(install.Trouble, match="/nowhere/chromium"):
        install.browser(repo)


def test_without_any_browser_one_line_says_what_to_do(repo, monkeypatch):
    monkeypatch.delenv("CHROMIUM", raising=False)
    monkeypatch.setattr(install.shutil, "which", lambda name: None)
    monkeypatch.setattr(install, "playwright_browser", lambda root: False)
    monkeypatch.setattr(install, "quiet", lambda *command: False)
    with pytest.raises(install.Trouble, match="apt install chromium"):
        install.browser(repo)


def test_a_browser_is_installed_with_apt_where_that_needs_no_password(repo, monkeypatch):
    commands, found = [], iter([False] * (len(install.BROWSERS)))
    monkeypatch.delenv("CHROMIUM", raising=False)
    monkeypatch.setattr(install.os, "geteuid", lambda: 1000)
    monkeypatch.setattr(install.shutil, "which", lambda name: next(found, "/usr/bin/" + name))
    monkeypatch.setattr(install, "playwright_browser", lambda root: False)
    monkeypatch.setattr(install, "quiet", lambda *command: commands.append(command) or True)
    install.browser(repo)
    assert commands[0] == ("sudo", "-n", "true")
    assert commands[1][:4] == ("sudo", "-n", "apt-get", "install")
    assert len(commands) == 2


# The packages


def test_the_lock_has_one_exact_version_of_every_package_and_no_local_builds():
    assert "+" not in (ROOT / "requirements.lock").read_text().split("\n", 1)[1]
    assert all(exact(requirement) for requirement in requirements("requirements.lock").values())


def test_the_lock_is_within_what_readers_are_told():
    locked = requirements("requirements.lock")
    for name, requirement in requirements("requirements.txt").items():
        assert requirement.specifier.contains(exact(locked[name])), name


def test_torch_is_exactly_the_one_the_results_were_made_with():
    assert exact(requirements("requirements.txt")["torch"]) == "2.13.0"


def test_what_is_installed_is_what_is_locked():
    for name, requirement in requirements("requirements.lock").items():
        try:
            installed = version(name)
        except PackageNotFoundError:
            continue  # a package that only another platform needs
        assert installed.split("+")[0] == exact(requirement), name


def test_the_library_needs_nothing_that_the_book_does_not_install():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    readers = requirements("requirements.txt")
    locked = requirements("requirements.lock")
    for line in project["dependencies"]:
        needed = Requirement(line)
        assert canonical(needed.name) in readers
        assert needed.specifier.contains(exact(locked[canonical(needed.name)]))


def test_every_folder_of_the_library_is_a_package_and_so_is_installed():
    folders = {path.parent for path in (ROOT / "lib").rglob("*.py")}
    assert [folder for folder in folders if not (folder / "__init__.py").exists()] == []


def test_ci_runs_what_the_readme_tells_readers_to_run():
    script = ROOT / ".ci/run"
    assert os.access(script, os.X_OK)
    assert script.read_text().rstrip().endswith("exec make test")
    assert "make test" in (ROOT / "README.md").read_text()
    assert ".ci/run" in (ROOT / ".github/workflows/book.yml").read_text()


def test_help_lists_every_command_of_the_makefile():
    makefile = (ROOT / "Makefile").read_text()
    said = subprocess.run(["make", "-C", ROOT, "help"], capture_output=True, text=True).stdout
    phony = re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE).group(1).split()
    assert {f"make {name}" for name in phony if name != "install-browser"} == {
        match.group(0).rstrip() for match in re.finditer(r"^make [a-z]+", said, re.MULTILINE)
    }
