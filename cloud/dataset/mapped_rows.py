"""Steps as rows of one mapped file, each row holding all that is known of a step.

A window is one run of neighbouring bytes, so that a disk is asked once per window,
where a file per column would be asked nine times. The system is told which
runs are needed before the first of them is touched: it then reads them side by side
instead of one after the other, page by page.
"""

import mmap
from pathlib import Path

import numpy as np

from cloud.dataset.step_stream import StepStream


def row_type(step: StepStream) -> np.dtype:
    """The type of a row that holds one step of a stream with these columns."""
    return np.dtype(
        [
            (name, column.dtype, column.shape[1:])
            for name, column in zip(StepStream._fields, step, strict=True)
            if column is not None
        ],
        align=True,
    )


def to_rows(stream: StepStream) -> np.ndarray:
    """The steps of a stream as rows [s]."""
    rows = np.zeros(len(stream.starts), row_type(stream))
    for name in rows.dtype.names or ():
        rows[name] = getattr(stream, name)
    return rows


def open_rows(path: Path, row: np.dtype) -> StepStream:
    """Maps a file of rows, to be read only; columns are views of the map.

    Raises:
        OSError: the file cannot be mapped.
    """
    rows = np.memmap(path, row, "r")
    mapped = _map_of(rows)
    assert mapped is not None, "numpy maps a file by mmap"
    mapped.madvise(mmap.MADV_RANDOM)  # `will_need` knows better what comes next
    columns = {name: rows[name] for name in row.names or ()}
    return StepStream(**{name: columns.get(name) for name in StepStream._fields})


def will_need(stream: StepStream, first_steps: np.ndarray, count: int) -> None:
    """Has the system begin to read `count` steps from each first step i64 [p].

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
