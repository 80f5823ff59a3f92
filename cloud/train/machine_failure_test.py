"""Real failures of the machine have a remedy; broken content has none."""

import errno
import json
from collections.abc import Callable
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from cloud.train import machine_failure


def raised(work: Callable[[], object]) -> Exception:
    """Returns the error that `work` raises."""
    with pytest.raises(Exception) as caught:
        work()
    return caught.value


def unreadable() -> None:
    """The first page of a process is not mapped, so reading it gives EIO."""
    with Path("/proc/self/mem").open("rb") as stream:
        stream.read(1)


@pytest.mark.parametrize(
    ("work", "remedy"),
    [
        (lambda: np.ones(1 << 58), "free memory"),
        (lambda: jnp.ones(1 << 48).block_until_ready(), "free memory"),
        (unreadable, "check the disk"),
    ],
    ids=["NumPy", "XLA", "disk"],
)
def test_failure_of_the_machine_has_a_remedy(
    work: Callable[[], object], remedy: str
) -> None:
    assert remedy in (machine_failure.remedy(raised(work)) or "")


def test_wrapped_cause_is_found() -> None:
    inner = raised(unreadable)
    outer = Exception("Encountered error while reading array index: ()")
    outer.__cause__ = ExceptionGroup("several", [ValueError("DATA_LOSS: "), inner])
    assert "check the disk" in (machine_failure.remedy(outer) or "")


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        (OSError(errno.EMFILE, "Too many open files"), "ulimit -n"),
        (OSError(errno.EACCES, "Permission denied"), "let this user read"),
        (PermissionError(errno.EPERM, "Operation not permitted"), "let this user read"),
        (OSError(errno.EBUSY, "Device or resource busy"), "read the system's message"),
        (ValueError("PERMISSION_DENIED: Error opening"), "let this user read"),
        (
            ValueError("RESOURCE_EXHAUSTED: Error: Too many open files [OS error]"),
            "ulimit -n",
        ),
        (RuntimeError("can't start new thread"), "read the system's message"),
    ],
    ids=repr,
)
def test_each_kind_of_failure_has_its_own_remedy(error: Exception, remedy: str) -> None:
    assert remedy in (machine_failure.remedy(error) or "")


@pytest.mark.parametrize(
    "error",
    [
        FileNotFoundError(errno.ENOENT, "No such file or directory"),
        IsADirectoryError(errno.EISDIR, "Is a directory"),
        ValueError("NOT_FOUND: Error opening driver"),
        ValueError("DATA_LOSS: Error decoding manifest"),
        ValueError("OUT_OF_RANGE: Requested byte range"),
        json.JSONDecodeError("Expecting value", "", 0),
        KeyError("parameters"),
        EOFError(),
    ],
    ids=repr,
)
def test_broken_content_is_not_a_failure_of_the_machine(error: Exception) -> None:
    assert machine_failure.remedy(error) is None
