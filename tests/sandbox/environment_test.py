"""A program of this project is started by someone with a Python of their own.

What their settings name must not be imported, and must not keep the program from
starting. The program is the one that Bazel makes, with its launcher.
"""

import os
import subprocess
from pathlib import Path

import pytest

PROGRAM = Path(os.environ["TEST_SRCDIR"], os.environ["TEST_WORKSPACE"]) / (
    "release/commands/verify"
)
RAISES = "raise SystemExit('imported from the caller')\n"


def run(**environment: str) -> subprocess.CompletedProcess[str]:
    """Runs the program's `--help`."""
    return subprocess.run(
        [str(PROGRAM), "--help"],
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def modules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of modules that hide the program's own, each of which ends it."""
    folder = tmp_path_factory.mktemp("modules")
    names = ("absl", "base", "sitecustomize", "usercustomize", "cryptography", "typing")
    for name in names:
        (folder / f"{name}.py").write_text(RAISES)
    return folder


@pytest.mark.parametrize("home", ["/usr", "/absent"])
def test_pythonhome_of_the_caller_is_ignored(home: str) -> None:
    assert run(PYTHONHOME=home).stdout == run().stdout != ""


def test_pythonpath_of_the_caller_is_not_imported(modules: Path) -> None:
    assert run(PYTHONPATH=str(modules)).stdout == run().stdout != ""


def test_users_site_packages_are_not_imported(tmp_path: Path, modules: Path) -> None:
    for version in ("3.11", "3.12", "3.13", "3.14"):
        site = tmp_path / f"lib/python{version}/site-packages"
        site.parent.mkdir(parents=True)
        site.symlink_to(modules)
    clean = run().stdout
    assert run(PYTHONUSERBASE=str(tmp_path)).stdout == clean != ""
    local = tmp_path / ".local"
    local.symlink_to(tmp_path)
    assert run(HOME=str(tmp_path)).stdout == clean


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PYTHONPLATLIBDIR", "absent"),
        ("PYTHONOPTIMIZE", "2"),  # would leave out asserts and every --help text
        ("PYTHONWARNINGS", "error"),
        ("PYTHONINSPECT", "1"),
    ],
)
def test_other_setting_of_the_caller_is_ignored(name: str, value: str) -> None:
    assert run(**{name: value}).stdout == run().stdout != ""
