"""What was built from which code, on which machine, with which tools.

A build action sees its input files but no version control, so that equal inputs give
equal bytes. It cannot name a commit; it can state the digest of those files instead.
"""

from __future__ import annotations

import hashlib
import os
import platform
from importlib import metadata
from pathlib import Path

from base import canonical_json

SOURCES_PREFIX = "sources-sha256:"
"""Prefix that tells this digest from a commit."""

_SOURCE_FOLDERS = ("base", "cloud", "edge", "model", "release", "rlds")

_DEVICE_FLAGS = ("LIBTPU_INIT_ARGS", "XLA_FLAGS")

_DISTRIBUTIONS = ("jax", "flax", "optax", "orbax-checkpoint", "ai-edge-litert")


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


def device_flags() -> dict[str, str]:
    """Returns the compiler's flags that the caller set, by variable, in order.

    A program takes few variables from its caller (third_party/README.md); these decide
    how results are rounded. A flag with a path, which says where something is written,
    is left out: what is signed names no folder of a machine.
    """
    found = {
        name: " ".join(
            flag for flag in os.environ.get(name, "").split() if "/" not in flag
        )
        for name in _DEVICE_FLAGS
    }
    return {name: value for name, value in found.items() if value}


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
