"""Failures of the machine, made by doing; content that is broken is none of them."""

import errno
import json
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from cloud.train import machine_failure


def raised(work):
    """The error that `work` ends in."""
    with pytest.raises(Exception) as caught:
        work()
    return caught.value


def unreadable():
    """Its first page is mapped nowhere, so reading it is an input/output error."""
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
def test_what_the_machine_refuses_is_told_with_what_to_do(work, remedy):
    assert remedy in machine_failure.remedy(raised(work))


def test_cause_is_found_below_what_it_was_wrapped_in():
    inner = raised(unreadable)
    outer = Exception("Encountered error while reading array index: ()")
    outer.__cause__ = ExceptionGroup("several", [ValueError("DATA_LOSS: "), inner])
    assert "check the disk" in machine_failure.remedy(outer)


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        (OSError(errno.EMFILE, "Too many open files"), "ulimit -n"),
        (OSError(errno.EACCES, "Permission denied"), "let this user read"),
        (PermissionError(errno.EPERM, "Operation not permitted"), "let this user read"),
        (OSError(errno.EBUSY, "Device or resource busy"), "what the system says"),
        (ValueError("PERMISSION_DENIED: Error opening"), "let this user read"),
        (
            ValueError("RESOURCE_EXHAUSTED: Error: Too many open files [OS error]"),
            "ulimit -n",
        ),
        (RuntimeError("can't start new thread"), "what the system says"),
    ],
    ids=repr,
)
def test_each_kind_has_its_remedy(error, remedy):
    assert remedy in machine_failure.remedy(error)


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
def test_broken_content_is_no_failure_of_the_machine(error):
    assert machine_failure.remedy(error) is None
