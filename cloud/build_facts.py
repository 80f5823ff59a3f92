"""What was built from which code, on which machine, with which tools.

A build action sees its input files but no version control, so that equal inputs give
equal bytes. It cannot name a commit; it can state the digest of those files instead.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import subprocess
from importlib import metadata
from pathlib import Path

from base import canonical_json

UNVERSIONED = "unversioned"
"""The commit of code that is not under version control."""

UNNAMED_CODE = "urn:continuon:code"
"""The URI of code whose repository is unknown; only its commit can be stated."""

SOURCES_PREFIX = "sources-sha256:"
"""Prefix that tells this digest from a commit."""

_SOURCE_FOLDERS = ("base", "cloud", "edge", "model", "release", "rlds")

_GIT_TIMEOUT_S = 10
_DISTRIBUTIONS = ("jax", "flax", "optax", "orbax-checkpoint", "ai-edge-litert")


def code_commit(workspace: Path | None) -> str:
    """Returns the code's commit, with `-modified` when tracked files differ from it.

    Args:
        workspace: the checkout; None when the code does not run from one.

    Returns:
        40 hex digits, the same with `-modified`, or `unversioned`.
    """
    if workspace is None:
        return UNVERSIONED
    commit = _git(workspace, "rev-parse", "--verify", "HEAD")
    if commit is None or not re.fullmatch(r"[0-9a-f]{40,64}", commit):
        return UNVERSIONED
    changes = _git(workspace, "status", "--porcelain", "--untracked-files=no")
    return commit if changes == "" else f"{commit}-modified"


def code_uri(workspace: Path | None) -> str:
    """Returns where the code comes from: the remote `origin`, without secrets.

    User names, passwords, queries and fragments are removed. A remote that is a local
    folder, or a missing one, gives `urn:continuon:code`, because a local path means
    nothing on other machines.

    Args:
        workspace: the checkout; None when the code does not run from one.
    """
    if workspace is None:
        return UNNAMED_CODE
    remote = _git(workspace, "config", "--get", "remote.origin.url") or ""
    short = re.fullmatch(r"(?:[^@/:\s]+@)?([\w.-]{2,}):([^/:@\s][^\s?#@]*)", remote)
    if short:
        return f"ssh://{short[1]}/{short[2]}"
    long = re.fullmatch(
        r"(https?|ssh|git)://(?:[^/?#\s]*@)?([\w.-]+(?::\d+)?)(/[^\s?#@]*)?(?:[?#]\S*)?",
        remote,
    )
    return f"{long[1]}://{long[2]}{long[3] or ''}" if long else UNNAMED_CODE


def code_version(root: Path) -> str:
    """Returns a digest of the Python sources below `root`: `sources-sha256:<64 hex>`.

    Two folders with the same files give the same text, whatever the machine, the time,
    the order of the files or the symbolic links to them. Third-party code is not
    included; the repository's lock files fix its versions.

    Args:
        root: folder that contains the project's top folders, as in runfiles.
    """
    files = {
        path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for folder in _SOURCE_FOLDERS
        for path in (root / folder).rglob("*.py")
    }
    return SOURCES_PREFIX + hashlib.sha256(canonical_json.encode(files)).hexdigest()


def workspace() -> Path | None:
    """Returns the checkout that `bazel run` was started in, None without one."""
    folder = os.environ.get("BUILD_WORKSPACE_DIRECTORY")
    return Path(folder) if folder else None


def hardware() -> dict[str, object]:
    """Describes the machine: architecture, processor, cores this process may use."""
    return {
        "architecture": platform.machine(),
        "processor": _processor(Path("/proc/cpuinfo")),
        "cores": len(os.sched_getaffinity(0)),
    }


def hardware_text() -> str:
    """Describes the machine in one line, as a package states it."""
    found = hardware()
    return f"{found['architecture']}, {found['processor']}, {found['cores']} cores"


def tool_versions() -> dict[str, str]:
    """Returns versions of Python and of the libraries that affect training."""
    versions = {"python": platform.python_version()}
    for name in _DISTRIBUTIONS:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def _processor(cpuinfo: Path) -> str:
    try:
        text = cpuinfo.read_text("utf-8", errors="replace")
    except OSError:
        return "unknown"
    for line in text.splitlines():
        key, _, value = line.partition(":")
        if key.strip() in ("model name", "Model") and value.strip():
            return value.strip()
    return "unknown"


def _git(folder: Path, *arguments: str) -> str | None:
    """Returns the output of a git command, None when git is missing or fails."""
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True,
            text=True,
            check=False,
            timeout=_GIT_TIMEOUT_S,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
