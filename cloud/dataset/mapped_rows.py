"""Steps as rows of one memory-mapped file; a row holds every column of a step.

A window is one contiguous range of bytes, so reading it takes one disk access, where
one file per column would take nine. The operating system is told which ranges are
needed before the first is touched, so it reads them in parallel instead of page by
page.
"""

import mmap
from pathlib import Path

import numpy as np

from cloud.dataset.step_stream import StepStream


def row_type(step: StepStream) -> np.dtype:
    """Returns the type of a row that holds one step of a stream with these columns."""
    return np.dtype(
        [
            (name, column.dtype, column.shape[1:])
            for name, column in zip(StepStream._fields, step, strict=True)
            if column is not None
        ],
        align=True,
    )


def to_rows(stream: StepStream) -> np.ndarray:
    """Returns the steps of a stream as rows [s]."""
    rows = np.zeros(len(stream.starts), row_type(stream))
    for name in rows.dtype.names or ():
        rows[name] = getattr(stream, name)
    return rows


def open_rows(path: Path, row: np.dtype) -> StepStream:
    """Maps a file of rows read-only; the columns are views of the map.

    Raises:
        OSError: the file cannot be mapped.
    """
    rows = np.memmap(path, row, "r")
    mapped = _map_of(rows)
    assert mapped is not None, "numpy maps a file by mmap"
    mapped.madvise(mmap.MADV_RANDOM)  # `will_need` announces what comes next
    columns = {name: rows[name] for name in row.names or ()}
    return StepStream._make(columns.get(name) for name in StepStream._fields)


def will_need(stream: StepStream, first_steps: np.ndarray, count: int) -> None:
    """Asks the system to start reading `count` steps from each first step i64 [p].

    Returns at once. Does nothing for a stream in memory.
    """
    mapped = _map_of(stream.starts)
    if mapped is None:
        return
    row_bytes = stream.starts.strides[0]
    for first in first_steps.tolist():
        begin = first * row_bytes // mmap.PAGESIZE * mmap.PAGESIZE
        end = min((first + count) * row_bytes, len(mapped))
        mapped.madvise(mmap.MADV_WILLNEED, begin, end - begin)


def _map_of(column: np.ndarray) -> mmap.mmap | None:
    base = column.base
    while isinstance(base, np.ndarray):
        base = base.base
    return base if isinstance(base, mmap.mmap) else None
