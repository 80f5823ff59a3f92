"""The one byte form of a JSON value, so that equal values have equal digests.

`encode` writes RFC 8785 (JSON Canonicalization Scheme): keys sorted by UTF-16 code
units, no spaces, numbers as ECMAScript prints them. `decode` reads any strict JSON,
`decode_canonical` only what `encode` writes.
"""

import json
import json.encoder
import math
import re
from collections.abc import Callable, Mapping
from typing import NoReturn

from base.errors import CanonicalJsonError as CanonicalJsonError

MAX_DEPTH = 64
# The largest integer that every JSON reader keeps exactly (RFC 7493, section 2.2).
MAX_INTEGER = 2**53 - 1
# Values in one document. A value takes some hundred bytes of memory and microseconds,
# but as few as two bytes of text.
MAX_VALUES = 131_072

CANONICAL = "canonical JSON (RFC 8785)"
"""What an error expects if the bytes are strict JSON in another form."""
STRICT = "strict JSON"
"""What an error expects if the bytes are no JSON at all."""

_SOURCE = "JSON"
# What is left when no string has an escape; the last one may have no end.
_STRING = re.compile(rb'"[^"]*"?')
_BRACKET = re.compile(rb"[\[{\]}]")
_SPACE = re.compile(rb"[\t\n\r ]")
# An escape of a character that needs none, or one longer than RFC 8785 section 3.2.2.2
# has for it. Pairs of backslashes are gone.
_NEEDLESS_ESCAPE = re.compile(rb"\\(?![\"bfnrt]|u00(?:0[0-7bef]|1[0-9a-f]))")
_SURROGATE = re.compile("[\ud800-\udfff]")


def encode(value: object) -> bytes:
    """Returns the canonical bytes of `value`.

    Args:
        value: None, bool, int, float, str, list, tuple or mapping of these.

    Raises:
        CanonicalJsonError: there is a NaN, an infinity, an integer beyond 2^53 - 1, a
            key that is not a string, a lone surrogate, a value of another type, or
            nesting deeper than 64.
    """
    parts: list[str] = []
    _encode(value, parts, depth=0)
    return "".join(parts).encode()


def decode(raw: bytes, max_values: int = MAX_VALUES) -> object:
    """Returns the value of strict JSON bytes, in a time linear in their number.

    Args:
        raw: bytes from outside; the caller bounds their number.
        max_values: the most values, keys not counted, that are read.

    Raises:
        CanonicalJsonError: the bytes are not UTF-8 or not JSON, or there is a
            duplicate key, a NaN, an infinity, a number beyond the range of a double, a
            lone surrogate, nesting deeper than 64, or more than `max_values` values.
    """
    text = _text(raw)
    _check_structure(raw, max_values)
    return _load(text, _object, _float, _integer)


def decode_canonical(raw: bytes, max_values: int = MAX_VALUES) -> object:
    """Returns the value of which these bytes are the canonical form.

    The form is checked while the bytes are read. Encoding the value again would take
    several times as long, and as much memory once more.

    Args:
        raw: as for `decode`.
        max_values: as for `decode`.

    Raises:
        CanonicalJsonError: as `decode`, or `encode` writes the value in other bytes.
    """
    text = _text(raw)
    outside = _check_structure(raw, max_values)
    plain = not _SPACE.search(outside)
    del outside
    plain &= not _NEEDLESS_ESCAPE.search(raw.replace(b"\\\\", b""))
    value = _load(text, _sorted_object, _canonical_float, _canonical_integer)
    if not plain:
        raise _not_canonical()
    return value


def _text(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError as e:
        raise CanonicalJsonError(_SOURCE, "UTF-8", f"a bad byte at {e.start}") from e


def _load(
    text: str,
    make_object: Callable[[list[tuple[str, object]]], dict[str, object]],
    make_float: Callable[[str], float],
    make_integer: Callable[[str], int | float],
) -> object:
    try:
        value: object = json.loads(
            text,
            object_pairs_hook=make_object,
            parse_constant=_refuse_constant,
            parse_float=make_float,
            parse_int=make_integer,
        )
    except ValueError as e:
        raise CanonicalJsonError(_SOURCE, STRICT, e) from e
    if "\\u" in text:
        _check_strings(value)
    return value


def _encode(value: object, parts: list[str], depth: int) -> None:
    if depth > MAX_DEPTH:
        raise CanonicalJsonError(_SOURCE, f"at most {MAX_DEPTH} levels", "more")
    match value:
        case None:
            parts.append("null")
        case bool():
            parts.append("true" if value else "false")
        case str():
            parts.append(_string(value))
        case int():
            parts.append(str(_in_range(int(value))))
        case float():
            parts.append(_number(float(value)))
        case list() | tuple():
            _encode_array(value, parts, depth)
        case Mapping():
            _encode_object(value, parts, depth)
        case _:
            raise CanonicalJsonError(
                _SOURCE, "a JSON value", f"a value of type {type(value).__name__}"
            )


def _encode_array(
    value: list[object] | tuple[object, ...], parts: list[str], depth: int
) -> None:
    separator = "["
    for item in value:
        parts.append(separator)
        _encode(item, parts, depth + 1)
        separator = ","
    parts.append("]" if value else "[]")


def _encode_object(
    value: Mapping[object, object], parts: list[str], depth: int
) -> None:
    keys: list[tuple[bytes, str]] = []
    for key in value:
        if not isinstance(key, str):
            raise CanonicalJsonError(_SOURCE, "keys that are strings", repr(key))
        _string(key)
        keys.append((key.encode("utf-16-be"), key))
    separator = "{"
    for _, key in sorted(keys):
        parts.append(f"{separator}{_string(key)}:")
        _encode(value[key], parts, depth + 1)
        separator = ","
    parts.append("}" if keys else "{}")


def _string(value: str) -> str:
    if _SURROGATE.search(value):
        raise CanonicalJsonError(_SOURCE, "Unicode text", "a lone surrogate")
    # It escapes exactly what RFC 8785 section 3.2.2.2 escapes. `json.dumps` calls it
    # too, and takes four times as long.
    return json.encoder.encode_basestring(str(value))


def _number(value: float) -> str:
    """Prints as ECMAScript's Number::toString does (ECMA-262, section 6.1.6.1.20)."""
    if not math.isfinite(value):
        raise CanonicalJsonError(_SOURCE, "a finite number", value)
    if value == 0:
        return "0"
    sign = "-" if value < 0 else ""
    mantissa, _, exponent = float.__repr__(abs(value)).partition("e")
    whole, _, fraction = mantissa.partition(".")
    digits = whole + ("" if fraction == "0" else fraction)
    # The value is 0.digits * 10^point.
    point = len(whole) + int(exponent or 0)
    stripped = digits.lstrip("0")
    point -= len(digits) - len(stripped)
    digits = stripped.rstrip("0")
    if len(digits) <= point <= 21:
        return sign + digits.ljust(point, "0")
    if 0 < point <= 21:
        return f"{sign}{digits[:point]}.{digits[point:]}"
    if -6 < point <= 0:
        return f"{sign}0.{'0' * -point}{digits}"
    tail = f".{digits[1:]}" if len(digits) > 1 else ""
    return f"{sign}{digits[0]}{tail}e{point - 1:+d}"


def _in_range(value: int) -> int:
    if abs(value) > MAX_INTEGER:
        raise CanonicalJsonError(
            _SOURCE, "an integer within 2^53 - 1", f"{value.bit_length()} bits"
        )
    return value


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise CanonicalJsonError(_SOURCE, "each key once", f"{key!r} twice")
            seen.add(key)
    return found


def _refuse_constant(name: str) -> NoReturn:
    raise CanonicalJsonError(_SOURCE, "a finite number", name)


def _float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise CanonicalJsonError(_SOURCE, "a number in the range of a double", text)
    return value


def _integer(text: str) -> int | float:
    # ECMAScript prints doubles below 1e21 without an exponent, so a long run of
    # digits may be a double's canonical form.
    if len(text.lstrip("-")) < 17 and abs(int(text)) <= MAX_INTEGER:
        return int(text)
    value = _float(text)
    if _number(value) != text:
        raise CanonicalJsonError(
            _SOURCE, "an integer that a double represents exactly", text
        )
    return value


def _sorted_object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = _object(pairs)
    keys = list(found)
    in_order = sorted(keys)
    if not "".join(keys).isascii():
        in_order.sort(key=lambda key: key.encode("utf-16-be", "surrogatepass"))
    if keys != in_order:
        raise _not_canonical()
    return found


def _canonical_float(text: str) -> float:
    value = _float(text)
    if _number(value) != text:
        raise _not_canonical()
    return value


def _canonical_integer(text: str) -> int | float:
    if text == "-0":
        raise _not_canonical()
    return _integer(text)


def _not_canonical() -> CanonicalJsonError:
    return CanonicalJsonError(_SOURCE, CANONICAL, "the same value in other bytes")


def _check_structure(raw: bytes, max_values: int) -> bytes:
    """Bounds depth and number of values before anything is built from the bytes.

    Returns what is outside strings.

    Each pass goes over the bytes once, whatever they are: no string, with an end or
    without one, is looked at again.
    """
    # Pairs of backslashes first: what then escapes a quote is a single one.
    unescaped = raw.replace(b"\\\\", b"").replace(b'\\"', b"")
    # A value has at most two strings, its key and itself.
    values = unescaped.count(b'"') // 4
    if values <= max_values:
        outside = _STRING.sub(b"", unescaped)
        values = 1 + sum(outside.count(mark) for mark in (b",", b"[", b"{"))
    if values > max_values:
        raise CanonicalJsonError(_SOURCE, f"at most {max_values} values", "more")
    depth = 0
    for bracket in _BRACKET.findall(outside):
        depth += 1 if bracket in b"[{" else -1
        if depth > MAX_DEPTH:
            raise CanonicalJsonError(_SOURCE, f"at most {MAX_DEPTH} levels", "more")
    return outside


def _check_strings(value: object) -> None:
    if isinstance(value, str):
        _string(value)
    elif isinstance(value, dict):
        for key, item in value.items():
            _string(key)
            _check_strings(item)
    elif isinstance(value, list):
        for item in value:
            _check_strings(item)
