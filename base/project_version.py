"""Which version of the project runs, from which commit and repository.

The version is that of every program. A robot states it to channels, which can require a
minimum.
"""

import os
import re
import subprocess
from pathlib import Path
from typing import Final

VERSION: Final = "0.1.0"

UNVERSIONED: Final = "unversioned"
"""The commit of code that is not under version control."""

UNNAMED_CODE: Final = "urn:continuon:code"
"""The URI of code whose repository is unknown; only its commit can be stated."""

_GIT_TIMEOUT_S: Final = 10


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


def workspace() -> Path | None:
    """Returns the checkout that `bazel run` was started in, None without one."""
    folder = os.environ.get("BUILD_WORKSPACE_DIRECTORY")
    return Path(folder) if folder else None


def version_text(program: str) -> str:
    """Returns the line that `--version` prints, with the commit if it is known."""
    commit = code_commit(workspace())
    known = "" if commit == UNVERSIONED else f", commit {commit}"
    return f"{program} (ContinuonBrain) {VERSION}{known}"


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
