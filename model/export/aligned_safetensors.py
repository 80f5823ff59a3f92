"""safetensors files whose arrays can be used directly from a memory-mapped file.

The format allows any order of arrays and any amount of blanks after the header.
Here the data begins at a multiple of 64 bytes and arrays whose size is a multiple
of 64 bytes come first, so that each of those is aligned for vector instructions.

Source: the format as the safetensors library, version 0.4, describes it.
"""

import json
from collections.abc import Mapping

import numpy as np

from model import errors

ALIGNMENT_BYTES = 64


def encode(arrays: Mapping[str, np.ndarray]) -> bytes:
    """The bytes of the file; the same arrays give the same bytes.

    Raises:
        ShapeMismatchError: an array is not f32, the only type a package holds.
    """
    for name, array in arrays.items():
        if array.dtype != np.float32:
            raise errors.ShapeMismatchError(
                name, "of float32", array.dtype, "convert the array before export"
            )
    order = sorted(arrays, key=lambda n: (arrays[n].nbytes % ALIGNMENT_BYTES != 0, n))
    header, offset = {}, 0
    for name in order:
        stop = offset + arrays[name].nbytes
        header[name] = {
            "dtype": "F32",
            "shape": list(arrays[name].shape),
            "data_offsets": [offset, stop],
        }
        offset = stop
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-(8 + len(text)) % ALIGNMENT_BYTES)
    data = (np.ascontiguousarray(arrays[n], "<f4").tobytes() for n in order)
    return len(text).to_bytes(8, "little") + text + b"".join(data)
