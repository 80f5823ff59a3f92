"""Reads the fields of a decoded JSON object, one typed call each, or raises.

A record's parser names every key it knows. Unknown keys are errors, so that nothing
signed is ever silently ignored.
"""

from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from base import canonical_json
from base.canonical_json import CanonicalJsonError
from base.digest import is_sha256
from base.errors import MalformedError, OversizedError

type Source = str | Path

# A document of the largest size may hold a value per this many bytes, any document
# this many values. Our records have a tenth of that; see `canonical_json.MAX_VALUES`.
_BYTES_PER_VALUE = 64
_FEW_VALUES = 1024
MOST_COUNTED = canonical_json.MAX_INTEGER // 2


def decode(raw: bytes, source: Source, limit_bytes: int) -> object:
    """Decodes strict JSON: no duplicate keys, no NaN, UTF-8, bounded depth and count.

    Raises:
        OversizedError: `raw` is longer than `limit_bytes`.
        MalformedError: the bytes are not such JSON.
    """
    return _decode(raw, source, limit_bytes, canonical_json.decode)


def limit_values(limit_bytes: int) -> int:
    """Returns how many values a document of at most `limit_bytes` may hold."""
    return max(_FEW_VALUES, limit_bytes // _BYTES_PER_VALUE)


def decode_canonical(raw: bytes, source: Source, limit_bytes: int) -> object:
    """Decodes JSON that must be in its canonical form (RFC 8785).

    Raises:
        OversizedError: `raw` is longer than `limit_bytes`.
        MalformedError: the bytes are not JSON, or not the canonical form of the value.
    """
    return _decode(raw, source, limit_bytes, canonical_json.decode_canonical)


def _decode(
    raw: bytes,
    source: Source,
    limit_bytes: int,
    decode: Callable[[bytes, int], object],
) -> object:
    if len(raw) > limit_bytes:
        raise OversizedError(source, f"at most {limit_bytes} bytes", f"{len(raw)}")
    try:
        return decode(raw, limit_values(limit_bytes))
    except CanonicalJsonError as e:
        if e.expected == canonical_json.CANONICAL:
            raise MalformedError(source, e.expected, e.got) from e
        # Whose text it is, is named by `source`.
        also = "" if e.expected == canonical_json.STRICT else f" with {e.expected}"
        raise MalformedError(source, f"{canonical_json.STRICT}{also}", e.got) from e


class Fields:
    """A JSON object whose keys were checked, read field by field.

    Every getter raises a MalformedError that names the field if it is malformed.
    """

    def __init__(
        self,
        value: object,
        source: Source,
        keys: Collection[str],
        where: str = "",
        optional: Collection[str] = (),
    ) -> None:
        self._source = source
        self._where = where
        if not isinstance(value, Mapping):
            raise MalformedError(source, f"an object at {where or 'top'}", _kind(value))
        missing = sorted(set(keys) - set(value))
        unknown = sorted(set(value) - set(keys) - set(optional))
        if missing:
            raise MalformedError(source, f"field {self._name(missing[0])}", "none")
        if unknown:
            raise MalformedError(
                source, "only fields of the format", self._name(unknown[0])
            )
        self._value: Mapping[str, object] = value

    def _name(self, key: str) -> str:
        return f"{self._where}.{key}" if self._where else key

    def fail(self, key: str, expected: str) -> MalformedError:
        """Returns the error that says field `key` should have been `expected`."""
        got = self._value.get(key)
        shown = repr(got) if isinstance(got, str | int | float) else _kind(got)
        return MalformedError(self._source, f"{self._name(key)} {expected}", shown)

    def has(self, key: str) -> bool:
        """Returns whether an optional field is present and not null."""
        return self._value.get(key) is not None

    def raw(self, key: str) -> object:
        """Returns the field as decoded."""
        return self._value[key]

    def text(self, key: str) -> str:
        """Returns a non-empty string."""
        value = self._value[key]
        if not isinstance(value, str) or not value:
            raise self.fail(key, "to be a non-empty string")
        return value

    def one_of(self, key: str, choices: Collection[str]) -> str:
        """Returns a string that is one of `choices`."""
        value = self.text(key)
        if value not in choices:
            raise self.fail(key, "to be one of " + ", ".join(sorted(choices)))
        return value

    def sha256(self, key: str) -> str:
        """Returns a digest of 64 lower-case hex characters."""
        value = self.text(key)
        if not is_sha256(value):
            raise self.fail(key, "to be 64 lower-case hex characters")
        return value

    def integer(self, key: str, minimum: int = 0) -> int:
        """Returns an integer of at least `minimum`."""
        value = self._value[key]
        if isinstance(value, bool) or not isinstance(value, int) or value < minimum:
            raise self.fail(key, f"to be an integer of at least {minimum}")
        return value

    def count(self, key: str) -> int:
        """Returns a count that has room for as many more.

        Every record is written by `canonical_json`, which refuses what is beyond
        2^53 - 1: a count at its end could be read and never be written again.
        """
        value = self.integer(key)
        if value > MOST_COUNTED:
            raise self.fail(key, f"to be at most {MOST_COUNTED}")
        return value

    def number(self, key: str) -> float:
        """Returns a finite number as a float."""
        value = self._value[key]
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.fail(key, "to be a number")
        return float(value)

    def boolean(self, key: str) -> bool:
        """Returns true or false."""
        value = self._value[key]
        if not isinstance(value, bool):
            raise self.fail(key, "to be true or false")
        return value

    def version(self, expected: int) -> None:
        """Checks `schema_version`."""
        if self.integer("schema_version") != expected:
            raise self.fail("schema_version", f"to be {expected}")

    def items(self, key: str) -> list[object]:
        """Returns an array."""
        value = self._value[key]
        if not isinstance(value, list):
            raise self.fail(key, "to be an array")
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        """Returns an array of strings."""
        value = self.items(key)
        texts = tuple(item for item in value if isinstance(item, str))
        if len(texts) != len(value):
            raise self.fail(key, "to be an array of strings")
        return texts

    def numbers(self, key: str) -> tuple[float, ...]:
        """Returns an array of numbers."""
        value = self.items(key)
        numbers = tuple(
            float(item)
            for item in value
            if isinstance(item, int | float) and not isinstance(item, bool)
        )
        if len(numbers) != len(value):
            raise self.fail(key, "to be an array of numbers")
        return numbers

    def mapping(self, key: str) -> Mapping[str, object]:
        """Returns an object whose keys are names chosen by its author."""
        value = self._value[key]
        if not isinstance(value, Mapping):
            raise self.fail(key, "to be an object")
        return value

    def numbers_by_name(self, key: str) -> dict[str, float]:
        """Returns an object of numbers by the names that its author chose."""
        named = self.mapping(key)
        one = Fields(named, self._source, named.keys(), self._name(key))
        return {name: one.number(name) for name in named}

    def fields(
        self, key: str, keys: Collection[str], optional: Collection[str] = ()
    ) -> "Fields":
        """Returns an object with known keys."""
        return Fields(self._value[key], self._source, keys, self._name(key), optional)

    def named(self, key: str, keys: Collection[str]) -> "dict[str, Fields]":
        """Returns an object of objects by the names that its author chose.

        Each inner object has exactly `keys`.
        """
        return {
            name: Fields(value, self._source, keys, f"{self._name(key)}.{name}")
            for name, value in self.mapping(key).items()
        }

    def each(
        self, key: str, keys: Collection[str], optional: Collection[str] = ()
    ) -> "list[Fields]":
        """Returns an array of objects with known keys."""
        return [
            Fields(value, self._source, keys, f"{self._name(key)}[{index}]", optional)
            for index, value in enumerate(self.items(key))
        ]


def _kind(value: object) -> str:
    kinds = {dict: "an object", list: "an array", str: "a string", type(None): "null"}
    return kinds.get(type(value), type(value).__name__)
