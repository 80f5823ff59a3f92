"""Turns an episode into one `tf.train.Example` and back, without TensorFlow.

Feature names are those that TFDS uses for an RLDS dataset: `steps/<field>` holds the
values of all steps one after another; other names are fields of the episode. Names are
written in sorted order, so equal episodes have equal bytes.
Source of the message: tensorflow/core/example/{example,feature}.proto.
"""

import dataclasses
import itertools
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from base.errors import OversizedError
from rlds import protobuf
from rlds.episode import Array, Episode, EpisodeMetadata, StepValues
from rlds.errors import RAISE_LIMIT, MalformedEpisodeError
from rlds.spec import MAX_STEPS, PICTURE_PREFIX, EpisodeSpec, Field

LIMIT_BYTES = 256 * 1024 * 1024

_PREFIX = "steps/"
_FEATURES = 1  # Example.features and Features.feature
_KEY, _VALUE = 1, 2  # of a map's entry
_BYTES_LIST, _FLOAT_LIST, _INT64_LIST = 1, 2, 3  # Feature.kind
_LIST_VALUE = 1
# Bounds on the parts of one message, so that bytes made of many tiny ones cost no more
# time and memory than an episode of that size.
_MAX_FEATURES = 256
_MAX_PIECES = 16_384  # of one list of numbers; a writer that packs makes one
_MAX_TEXTS = 1024
_SUCCESS = {True: 1, False: 0, None: -1}
_SOURCE = "tf.train.Example"

type _Features = dict[str, tuple[int, memoryview]]


def encode(episode: Episode) -> bytes:
    """Returns the episode as the bytes of one `tf.train.Example`."""
    return encode_parts(episode.spec, episode.metadata, episode.steps)


def encode_parts(
    spec: EpisodeSpec, metadata: EpisodeMetadata, steps: Mapping[str, StepValues]
) -> bytes:
    """Returns the bytes of the episode with these parts, which are not checked."""
    features = {
        _PREFIX + field.name: _encode_values(field, steps[field.name])
        for field in spec.step_fields()
    }
    for field in spec.episode_fields():
        features[field.name] = _encode_own(getattr(metadata, field.name))
    entries = b"".join(
        protobuf.encode_bytes_field(
            _FEATURES,
            protobuf.encode_bytes_field(_KEY, name.encode())
            + protobuf.encode_bytes_field(_VALUE, features[name]),
        )
        for name in sorted(features)
    )
    return protobuf.encode_bytes_field(_FEATURES, entries)


def decode(
    raw: bytes, spec: EpisodeSpec | None = None, limit_bytes: int = LIMIT_BYTES
) -> Episode:
    """Turns the bytes of one `tf.train.Example` into an episode.

    Args:
        raw: bytes from outside.
        spec: the expected sizes; None to take them from the bytes.
        limit_bytes: largest size that is decoded.

    Raises:
        OversizedError: there are more than `limit_bytes`.
        MalformedEpisodeError: the bytes are not an episode, or have another spec.
    """
    if len(raw) > limit_bytes:
        raise OversizedError(
            _SOURCE, f"at most {limit_bytes} bytes", len(raw), RAISE_LIMIT
        )
    features = _read_features(memoryview(raw))
    found = _infer_spec(features)
    if spec is not None and found != spec:
        raise MalformedEpisodeError(_SOURCE, str(spec), str(found))
    names = {_PREFIX + field.name for field in found.step_fields()}
    names |= {field.name for field in found.episode_fields()}
    if names != set(features):
        difference = sorted(names ^ set(features))
        raise MalformedEpisodeError(
            _SOURCE, "exactly the features of the schema", f"a difference: {difference}"
        )
    steps = {
        field.name: _decode_values(field, features[_PREFIX + field.name])
        for field in found.step_fields()
    }
    own: dict[str, Any] = {
        field.name: _decode_own(field, features[field.name])
        for field in found.episode_fields()
    }
    return Episode(found, EpisodeMetadata(**own), steps)


def _encode_values(field: Field, values: StepValues) -> bytes:
    if not isinstance(values, np.ndarray):
        return _bytes_list(values)
    if field.dtype == "float32":
        packed = np.ascontiguousarray(values, "<f4").tobytes()
        return _encode_list(_FLOAT_LIST, packed)
    return _encode_list(_INT64_LIST, protobuf.encode_int64s(values.ravel()))


def _encode_own(value: str | tuple[str, ...] | bool | None) -> bytes:
    if isinstance(value, bool | None):
        only = np.array([_SUCCESS[value]], np.int64)
        return _encode_list(_INT64_LIST, protobuf.encode_int64s(only))
    texts = (value,) if isinstance(value, str) else value
    return _bytes_list(text.encode() for text in texts)


def _encode_list(kind: int, payload: bytes) -> bytes:
    return protobuf.encode_bytes_field(
        kind, protobuf.encode_bytes_field(_LIST_VALUE, payload)
    )


def _bytes_list(values: Iterable[bytes]) -> bytes:
    return protobuf.encode_bytes_field(
        _BYTES_LIST,
        b"".join(protobuf.encode_bytes_field(_LIST_VALUE, value) for value in values),
    )


def _read_features(raw: memoryview) -> _Features:
    found: _Features = {}
    for features in _only(raw, _FEATURES, _SOURCE, _MAX_FEATURES):
        for entry in _only(features, _FEATURES, "Features"):
            name, value = _read_entry(entry)
            if name in found:
                raise MalformedEpisodeError(_SOURCE, "each feature once", name)
            if len(found) == _MAX_FEATURES:
                raise MalformedEpisodeError(
                    _SOURCE, f"at most {_MAX_FEATURES} features", "more"
                )
            found[name] = _read_kind(name, value)
    return found


def _only(
    data: memoryview, number: int, where: str, most: int = protobuf.MAX_FIELDS
) -> Iterator[memoryview]:
    """Yields the payloads of field `number` and refuses every other field."""
    for got, wire, payload in protobuf.read_fields(data, most):
        if (got, wire) != (number, protobuf.WIRE_BYTES):
            raise MalformedEpisodeError(where, f"only field {number}", f"field {got}")
        yield payload


def _read_entry(entry: memoryview) -> tuple[str, memoryview]:
    parts: dict[int, memoryview] = {}
    for number, wire, payload in protobuf.read_fields(entry):
        if wire != protobuf.WIRE_BYTES or number in parts:
            raise MalformedEpisodeError(_SOURCE, "a key and a value", "other fields")
        parts[number] = payload
    if set(parts) != {_KEY, _VALUE}:
        raise MalformedEpisodeError(_SOURCE, "a key and a value", "other fields")
    try:
        return bytes(parts[_KEY]).decode(), parts[_VALUE]
    except UnicodeDecodeError as e:
        raise MalformedEpisodeError(_SOURCE, "names in UTF-8", "other bytes") from e


def _read_kind(name: str, value: memoryview) -> tuple[int, memoryview]:
    found = list(itertools.islice(protobuf.read_fields(value), 2))
    if len(found) != 1 or found[0][1] != protobuf.WIRE_BYTES:
        got = "more" if len(found) > 1 else "another field or none"
        raise MalformedEpisodeError(name, "one list of values", got)
    kind, _, payload = found[0]
    return kind, payload


def _infer_spec(features: _Features) -> EpisodeSpec:
    def size(name: str) -> int:
        values = _numbers(name, "float32", features.get(_PREFIX + name))
        if count == 0 or len(values) % count:
            raise MalformedEpisodeError(
                name, f"the same number of values in each of {count} steps", len(values)
            )
        return len(values) // count

    count = len(_numbers("is_first", "bool", features.get("steps/is_first")))
    audio = "steps/observation/audio_mel" in features
    try:
        return EpisodeSpec(
            state_size=size("observation/state"),
            action_size=size("action"),
            image="steps/observation/image" in features,
            audio_size=size("observation/audio_mel") if audio else 0,
            interventions="steps/intervention" in features,
            cameras=_find_cameras(features),
        )
    except ValueError as e:
        raise MalformedEpisodeError(_SOURCE, "sizes within the limits", e) from e


def _find_cameras(features: _Features) -> tuple[str, ...]:
    """Names of the cameras whose pictures are there, sorted; any may be wrong."""
    begin = _PREFIX + PICTURE_PREFIX
    return tuple(
        sorted(name.removeprefix(begin) for name in features if name.startswith(begin))
    )


def _decode_values(field: Field, feature: tuple[int, memoryview]) -> StepValues:
    if field.dtype == "jpeg":
        return _strings(field.name, feature)
    values = _numbers(field.name, field.dtype, feature)
    shape = tuple(int(size) for size in field.shape)
    per_step = int(np.prod(shape, dtype=np.int64))
    if len(values) % per_step:
        raise MalformedEpisodeError(
            field.name, f"a multiple of {per_step} values", len(values)
        )
    return values.reshape(-1, *shape)


def _decode_own(
    field: Field, feature: tuple[int, memoryview]
) -> str | tuple[str, ...] | bool | None:
    if field.dtype == "int64":
        return _success(field.name, _numbers(field.name, field.dtype, feature))
    texts = tuple(
        _text(field.name, value)
        for value in _strings(field.name, feature, most=_MAX_TEXTS)
    )
    if field.shape:
        return texts
    if len(texts) != 1:
        raise MalformedEpisodeError(field.name, "one value", len(texts))
    return texts[0]


def _success(name: str, values: Array) -> bool | None:
    for success, code in _SUCCESS.items():
        if values.tolist() == [code]:
            return success
    raise MalformedEpisodeError(name, "one of -1, 0 and 1", values[:2].tolist())


def _text(name: str, value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError as e:
        raise MalformedEpisodeError(name, "UTF-8", f"a bad byte at {e.start}") from e


def _strings(
    name: str, feature: tuple[int, memoryview], most: int = protobuf.MAX_FIELDS
) -> list[bytes]:
    kind, payload = feature
    if kind != _BYTES_LIST:
        raise MalformedEpisodeError(name, "a list of bytes", f"kind {kind}")
    return [bytes(value) for value in _only(payload, _LIST_VALUE, name, most)]


def _numbers(name: str, dtype: str, feature: tuple[int, memoryview] | None) -> Array:
    if feature is None:
        raise MalformedEpisodeError(name, "the feature", "none")
    kind, payload = feature
    if kind != (_FLOAT_LIST if dtype == "float32" else _INT64_LIST):
        raise MalformedEpisodeError(name, f"values of {dtype}", f"kind {kind}")
    packed = _join(name, kind, payload)
    if kind == _INT64_LIST:
        return _narrow(name, dtype, protobuf.decode_int64s(packed, MAX_STEPS))
    if len(packed) % 4:
        raise MalformedEpisodeError(name, "floats of 4 bytes", f"{len(packed)} bytes")
    return np.frombuffer(packed, "<f4").astype(np.float32, copy=False)


def _join(name: str, kind: int, payload: memoryview) -> memoryview:
    """Joins the pieces of a list; the format allows packed runs and single values."""
    single = protobuf.WIRE_VARINT if kind == _INT64_LIST else protobuf.WIRE_FIXED32
    pieces = []
    for number, wire, piece in protobuf.read_fields(payload, _MAX_PIECES):
        if number != _LIST_VALUE or wire not in (protobuf.WIRE_BYTES, single):
            raise MalformedEpisodeError(name, "a list of numbers", f"field {number}")
        pieces.append(piece)
    return pieces[0] if len(pieces) == 1 else memoryview(b"".join(pieces))


def _narrow(name: str, dtype: str, values: Array) -> Array:
    if dtype != "bool":
        return values
    if ((values != 0) & (values != 1)).any():
        raise MalformedEpisodeError(name, "0 or 1", "another number")
    return values.astype(np.bool_)


assert {field.name for field in dataclasses.fields(EpisodeMetadata)} == {
    field.name for field in EpisodeSpec(1, 1).episode_fields()
}, "EpisodeMetadata and the table must name the same fields"
