"""Installs the locked packages that a hosted notebook lacks.

A hosted machine has a JAX that was built for its accelerator. Installed packages are
kept, whatever their version. Missing ones are installed at the locked version, with
the locked hashes, and without dependencies, which the locks list too. This file imports
only the standard library, because it runs before anything is installed.
"""

from __future__ import annotations

import dataclasses
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path

LOCKS = ("edge", "model", "cloud", "sim")
LOWEST_PYTHON = (3, 12)
"""The sources use `type` statements."""

_REQUIREMENT = re.compile(r"^([A-Za-z0-9._-]+)==([^\s\\;]+)")


@dataclasses.dataclass(frozen=True)
class Plan:
    """The packages to install, and installed ones that differ from the locks.

    Attributes:
        missing: the lock's whole entry, hashes included, by package name.
        kept: locked and installed version by package name, if they differ.
    """

    missing: dict[str, str]
    kept: dict[str, tuple[str, str]]

    def __str__(self) -> str:
        """Describes both kinds, one line each."""
        lines = [f"to install: {', '.join(sorted(self.missing)) or 'nothing'}"]
        if self.kept:
            listed = [
                f"{name} {installed} (locked {locked})"
                for name, (locked, installed) in sorted(self.kept.items())
            ]
            lines.append(f"kept as installed: {', '.join(listed)}")
        return "\n".join(lines)


def installed_version(name: str) -> str | None:
    """Returns the installed version of a package, None if it is not installed."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def plan(
    locks: Sequence[str], installed: Callable[[str], str | None] = installed_version
) -> Plan:
    """Compares the text of locks with the installed packages.

    Args:
        locks: the content of each lock file.
        installed: returns the installed version of a package, or None.

    Raises:
        ValueError: a lock contains no requirement.
    """
    missing: dict[str, str] = {}
    kept: dict[str, tuple[str, str]] = {}
    for text in locks:
        entries = re.split(r"\n(?=[A-Za-z0-9])", text)
        found = [(m, e) for e in entries if (m := _REQUIREMENT.match(e))]
        if not found:
            raise ValueError("lock: expected lines NAME==VERSION, got none")
        for match, entry in found:
            name, locked = match[1], match[2]
            here = installed(name)
            if here is None:
                missing[name] = entry.strip()
            elif here != locked:
                kept[name] = (locked, here)
    return Plan(missing, kept)


def run(checkout: Path) -> Plan:
    """Installs the missing packages into this Python, from the locks of a checkout.

    Raises:
        RuntimeError: this Python is older than the sources require.
        FileNotFoundError: the checkout contains no locks.
        subprocess.CalledProcessError: pip failed; its output states the reason.
    """
    if sys.version_info[:2] < LOWEST_PYTHON:
        raise RuntimeError(
            f"python: expected at least {LOWEST_PYTHON}, got {sys.version_info[:2]};"
            " choose a newer runtime"
        )
    folder = checkout / "third_party" / "python" / "locks"
    found = plan([(folder / f"{name}.txt").read_text("utf-8") for name in LOCKS])
    if found.missing:
        with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
            file.write("\n".join(found.missing.values()) + "\n")
            file.flush()
            pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
            subprocess.run([*pip, "--require-hashes", "-r", file.name], check=True)
    return found
