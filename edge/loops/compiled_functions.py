"""What was compiled of a package's functions, kept so that no night compiles it again.

    memories/compiled/<package>-<compiler>/FUNCTION     digest, then the program

A folder belongs to one package and to whatever decides what a compiler makes of it:
jaxlib, its flags, the processor and how many of them it may use. A program that is torn
does not have the digest that stands before it, and counts as not compiled. All programs
of a package together are bounded, since a package says how many there are.

Nothing here needs jax: who starts a learner wants to know what is compiled, too.
"""

import contextlib
import hashlib
import importlib.metadata
import os
import platform
import shutil
from pathlib import Path
from typing import Final

from base import durable_file, plain_file
from base.errors import ContinuonError
from edge.errors import LearningError

LIMIT_BYTES: Final = 64 << 20
"""Size of all compiled functions of a package; those of the seed model take 2 MB."""
_DIGEST_BYTES: Final = hashlib.sha256().digest_size
_PROCESSOR: Final = Path("/proc/cpuinfo")
_FEATURES: Final = ("flags", "Features")  # of x86-64 and of aarch64


def folder_name(package: str, threads: int) -> str:
    """Name of the folder of a package on this machine.

    Args:
        package: digest of the package.
        threads: processors that the learner uses; 0 for all.
    """
    try:
        jaxlib = importlib.metadata.version("jaxlib")
    except importlib.metadata.PackageNotFoundError:
        jaxlib = ""  # then nothing is compiled either
    facts = (
        jaxlib,
        os.environ.get("XLA_FLAGS", ""),
        str(threads or os.cpu_count()),
        platform.machine(),
        _read_features(),
    )
    compiler = hashlib.sha256("\0".join(facts).encode()).hexdigest()
    return f"{package}-{compiler[:12]}"


def read(folder: Path, function: str) -> bytes | None:
    """A compiled function; None if it is missing or damaged."""
    try:
        raw = plain_file.read(folder / function, LIMIT_BYTES)
    except (ContinuonError, OSError):
        return None
    digest, program = raw[:_DIGEST_BYTES], raw[_DIGEST_BYTES:]
    return program if hashlib.sha256(program).digest() == digest else None


def write(folder: Path, function: str, program: bytes) -> None:
    """Keeps a compiled function.

    Raises:
        LearningError: the package's functions are too large.
        DiskError: the disk refused; what was there before is there.
    """
    durable_file.make_own_folder(folder)
    others = sum(
        path.stat().st_size for path in folder.iterdir() if path.name != function
    )
    if others + _DIGEST_BYTES + len(program) > LIMIT_BYTES:
        raise LearningError(
            folder,
            f"functions of at most {LIMIT_BYTES // 10**6} MB when compiled",
            f"{(others + len(program)) // 10**6} MB",
        )
    content = hashlib.sha256(program).digest() + program
    durable_file.write(folder / function, content, durable_file.PRIVATE)


def forget_others(folder: Path) -> None:
    """Removes the folders of other packages and compilers, and what a cut left."""
    with contextlib.suppress(ContinuonError, OSError):
        for path in folder.parent.iterdir():
            if path != folder:
                shutil.rmtree(path, ignore_errors=True)
        durable_file.remove_leftovers(folder)


def _read_features() -> str:
    with contextlib.suppress(OSError):
        for line in _PROCESSOR.read_text().splitlines():
            name, _, value = line.partition(":")
            if name.strip() in _FEATURES:
                return value.strip()
    return ""
