"""Tests of what an error says where another text says what follows from it."""

import errno
from pathlib import Path

from base.errors import DiskError, reason

FILE = Path("/home/robot/deltas/current")


def test_reason_leaves_out_the_remedy_and_what_is_named_already() -> None:
    error = DiskError(FILE, "to write 3 bytes", "No space left on device")
    found = "expected to write 3 bytes, got No space left on device"
    assert reason(error) == f"{FILE}: {found}"
    assert reason(error, FILE) == found
    assert reason(error, FILE.parent) == f"current: {found}"
    assert reason(error, "/home/robot/delta") == f"{FILE}: {found}"


def test_reason_of_the_system_has_no_number_and_no_quotes() -> None:
    error = FileExistsError(errno.EEXIST, "File exists", str(FILE))
    assert reason(error) == f"{FILE}: File exists"
    assert reason(error, FILE) == "File exists"
    assert reason(OSError(errno.EIO, "Input/output error")) == "Input/output error"


def test_reason_of_any_other_error_is_its_text_or_else_its_name() -> None:
    assert reason(ValueError("one\n  two")) == "one two"
    assert reason(ValueError()) == "ValueError"
