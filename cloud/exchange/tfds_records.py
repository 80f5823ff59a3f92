"""Reads the values of features out of the records of TFDS.

What a feature is, TFDS says: shape, type, encoding. The record itself is a
`tf.train.Example`, of which only what is asked for is turned into arrays, without
TensorFlow: loading that takes longer than most imports.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

import numpy as np

from cloud.errors import BadEpisodeError
from cloud.exchange import quiet_tensorflow
from cloud.exchange.recorded import bad
from cloud.exchange.tfds_schema import STEPS, Leaf

_AS_DESCRIBED: Final = "values as features.json says"
_BYTES, _FLOATS, _INTEGERS = "bytes_list", "float_list", "int64_list"


class RecordParser:
    """Reads some features of each record."""

    def __init__(self, leaves: Iterable[Leaf]) -> None:
        """Takes the features that are read."""
        quiet_tensorflow.load_tfds()
        from tensorflow_datasets.proto import tf_example_pb2

        self._leaves = tuple(leaves)
        self._example: Any = tf_example_pb2.Example

    def parse(self, name: str, raw: bytes) -> dict[str, Any]:
        """Returns the values by the path of their feature.

        Args:
            name: of the episode, for errors.
            raw: the record.

        Returns:
            An array [T, ...] for a feature of steps, which has no rows where the record
            lacks it; of the episode one value, or all of a sequence.

        Raises:
            BadEpisodeError: it is no record, lacks a value of the episode, or has
                values of another type or number.
        """
        try:
            example = self._example.FromString(raw)
        except Exception as e:  # whatever protobuf raises
            raise bad(name, "record", _AS_DESCRIBED, e) from e
        found = example.features.feature
        return {leaf.path: _read(leaf, name, found) for leaf in self._leaves}


def _read(leaf: Leaf, name: str, found: Mapping[str, Any]) -> Any:  # noqa: ANN401
    reading = _Reading(leaf, name, found)
    return reading.of_steps() if leaf.is_of_steps else reading.of_episode()


class _Reading:
    """One feature in one record."""

    def __init__(self, leaf: Leaf, name: str, found: Mapping[str, Any]) -> None:
        self._connector = leaf.connector
        self._path = leaf.path
        self._name = name
        self._found = found

    def of_episode(self) -> Any:  # noqa: ANN401 - a number, a text, or an array
        """Returns the one value, or all of a sequence."""
        one = self._connector
        is_many = tuple(one.shape) == (None,)
        if isinstance(one, quiet_tensorflow.load_tfds().features.Sequence):
            one = one.feature
        flat = self._take(self._path, one.get_serialized_info().np_dtype)
        if is_many:
            return flat
        if not len(flat):
            raise self._bad("a value", "none")
        return flat if one.shape else flat[0]

    def of_steps(self) -> np.ndarray:
        """Returns the value of each step [T, ...]."""
        info = self._connector.get_serialized_info()
        if isinstance(info, dict):
            return self._of_any_shape(info)
        flat = self._take(self._path, info.np_dtype)
        if flat.dtype == object:
            is_number = np.dtype(self._connector.np_dtype).kind not in "OSU"
            if not is_number or self._is_picture():
                return flat
            return self._decode(flat)
        size = int(np.prod(info.shape, dtype=np.int64))
        if len(flat) % max(1, size):
            raise self._bad(f"{size} numbers in each step", f"{len(flat)} in all")
        return flat.reshape(-1, *info.shape)

    def _is_picture(self) -> bool:
        image = quiet_tensorflow.load_tfds().features.Image
        return isinstance(self._connector, image)

    def _of_any_shape(self, info: Mapping[str, Any]) -> np.ndarray:
        """Returns tensors that are stored with their shape, if that is one shape."""
        values = self._take(f"{self._path}/value", info["value"].np_dtype)
        shapes = self._take(f"{self._path}/shape", np.int64)
        shapes = shapes.reshape(len(values), -1) if len(values) else shapes
        return self._decode(
            [
                {"value": value, "shape": shape}
                for value, shape in zip(values, shapes, strict=True)
            ]
        )

    def _decode(self, encoded: Iterable[Any]) -> np.ndarray:
        """Lets TFDS decode the tensor of each step, which is compressed or raw."""
        try:
            found = [self._connector.decode_example_np(one) for one in encoded]
        except Exception as e:  # whatever zlib, NumPy and TFDS raise
            raise self._bad(_AS_DESCRIBED, e) from e
        shapes = sorted({one.shape for one in found})
        if len(shapes) > 1:
            raise self._bad("as many numbers in each step", shapes)
        return np.array(found)

    def _take(self, path: str, dtype: Any) -> np.ndarray:  # noqa: ANN401 - numpy
        """Returns all values of a feature one after the other; none if it is absent."""
        dtype = np.dtype(dtype)
        wanted = _find_list(dtype)
        feature = self._found.get(path)
        kind = None if feature is None else feature.WhichOneof("kind")
        if kind is None:
            return np.zeros(0, dtype)
        if kind != wanted:
            raise self._bad(_AS_DESCRIBED, f"a {kind}, no {wanted}")
        values = getattr(feature, kind).value
        if kind == _BYTES:
            flat = np.empty(len(values), object)
            flat[:] = list(values)
            return flat
        if kind == _FLOATS:
            return np.array(values, np.float32).astype(dtype)
        # An unsigned number of 64 bits is stored as the signed one of the same bits.
        return np.array(values, np.int64).astype(dtype)

    def _bad(self, expected: str, got: object) -> BadEpisodeError:
        return bad(self._name, self._path.removeprefix(STEPS), expected, got)


def _find_list(dtype: np.dtype[Any]) -> str:
    """Returns where a record keeps values of a type."""
    if dtype.kind in "OSU":
        return _BYTES
    return _INTEGERS if dtype.kind in "biu" else _FLOATS
