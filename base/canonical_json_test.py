import json
import math
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from base import canonical_json, json_fields
from base.canonical_json import CanonicalJsonError
from base.errors import MalformedError

_BOUNDED = settings(max_examples=300, derandomize=True, deadline=None)

_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-canonical_json.MAX_INTEGER, canonical_json.MAX_INTEGER)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


# Bit patterns and texts of RFC 8785, appendix B.
@pytest.mark.parametrize(
    ("bits", "text"),
    [
        ("0000000000000000", "0"),
        ("8000000000000000", "0"),
        ("0000000000000001", "5e-324"),
        ("8000000000000001", "-5e-324"),
        ("7fefffffffffffff", "1.7976931348623157e+308"),
        ("ffefffffffffffff", "-1.7976931348623157e+308"),
        ("4340000000000000", "9007199254740992"),
        ("c340000000000000", "-9007199254740992"),
        ("4430000000000000", "295147905179352830000"),
        ("44b52d02c7e14af5", "9.999999999999997e+22"),
        ("44b52d02c7e14af6", "1e+23"),
        ("44b52d02c7e14af7", "1.0000000000000001e+23"),
        ("444b1ae4d6e2ef4e", "999999999999999700000"),
        ("444b1ae4d6e2ef4f", "999999999999999900000"),
        ("444b1ae4d6e2ef50", "1e+21"),
        ("3eb0c6f7a0b5ed8c", "9.999999999999997e-7"),
        ("3eb0c6f7a0b5ed8d", "0.000001"),
        ("41b3de4355555553", "333333333.3333332"),
        ("41b3de4355555554", "333333333.33333325"),
        ("becbf647612f3696", "-0.0000033333333333333333"),
        ("43143ff3c1cb0959", "1424953923781206.2"),
    ],
)
def test_numbers_are_printed_as_ecmascript_prints_them(bits: str, text: str) -> None:
    (value,) = struct.unpack(">d", bytes.fromhex(bits))
    assert canonical_json.encode(value) == text.encode()
    assert canonical_json.decode(text.encode()) == value


def test_keys_are_sorted_by_utf16_code_units() -> None:
    value = {"\ufb33": 1, "\U0001f600": 2, "\u20ac": 3, "1": 4, "\r": 5, "ö": 6}
    encoded = canonical_json.encode(value)
    assert list(json.loads(encoded)) == [
        "\r",
        "1",
        "ö",
        "\u20ac",
        "\U0001f600",
        "\ufb33",
    ]
    assert b" " not in encoded


def test_strings_escape_only_what_must_be_escaped() -> None:
    assert canonical_json.encode('\u20ac$\x0f\nA"\\/\x7f') == (
        b'"\xe2\x82\xac$\\u000f\\nA\\"\\\\/\x7f"'
    )


@pytest.mark.parametrize(
    "value",
    [math.nan, math.inf, -math.inf, 2**53, {1: 2}, "\ud800", {"\udfff": 1}, b"x", {1}],
)
def test_value_without_a_canonical_form_is_refused(value: object) -> None:
    with pytest.raises(CanonicalJsonError):
        canonical_json.encode(value)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b'{"a":1,"a":2}',
        b"NaN",
        b"Infinity",
        b"1e999",
        b"9007199254740993",
        b"1" * 5000,
        b'"\\ud800"',
        b'{"\\udc00":1}',
        b"\xff",
        b"\xef\xbb\xbf1",
        b"[" * 100_000,
        b"[" * 65 + b"]" * 65,
        b'{"a":' * 70 + b"1" + b"}" * 70,
        b"1 2",
        b"'a'",
        b'"\n"',
        b'"' + b'\\"' * 1000,
        b'"' + b"\\" * 1001,
        b"[" + b"0," * canonical_json.MAX_VALUES + b"0]",
        b"[" + b"[]," * canonical_json.MAX_VALUES + b"0]",
        b'{"a":' + b'"b",' * canonical_json.MAX_VALUES,
    ],
)
def test_bytes_that_are_not_strict_json_are_refused(raw: bytes) -> None:
    with pytest.raises(CanonicalJsonError):
        canonical_json.decode(raw)


def test_nesting_is_decoded_up_to_the_limit_and_ignores_brackets_in_strings() -> None:
    raw = b"[" * 64 + b'"' + b"[" * 100 + b'\\""' + b"]" * 64
    assert canonical_json.encode(canonical_json.decode(raw)) == raw


def test_as_many_values_as_the_limit_are_decoded_and_marks_in_strings_are_none() -> (
    None
):
    raw = b'[{"a,[{":"b\\",\\\\"},' + b"0," * 6 + b'",,,[[["]'
    assert canonical_json.decode(raw, max_values=10)
    with pytest.raises(CanonicalJsonError, match="at most 9 values"):
        canonical_json.decode(raw, max_values=9)


@_BOUNDED
@given(_VALUES)
def test_every_value_survives_a_round_trip_and_has_one_encoding(value: object) -> None:
    encoded = canonical_json.encode(value)
    assert canonical_json.decode(encoded) == value
    assert canonical_json.decode_canonical(encoded) == value
    assert canonical_json.encode(canonical_json.decode(encoded)) == encoded


_SPELLINGS = st.one_of(
    st.text('{}[]",:0123456789.eE+-\\/untrfalsb \n', max_size=30),
    st.lists(
        st.sampled_from(
            [
                *("{", "}", "[", "]", ",", ":", " ", "\n", '"', '"a":', '"b":', "0"),
                *("-0", "1", "1.0", "1.5", "1e2", "1E2", "1e+21", "1e21", "0.000001"),
                *("1e-7", "1e-07", "100000000000000000000", "9007199254740993"),
                *('"\\u0007"', '"\\u0008"', '"\\b"', '"\\u001f"', '"\\u001F"'),
                *('"\\/"', '"\\\\/"', '"\\u0041"', '"\\\\u0041"', '"\\ud83d\\ude00"'),
                *('"\u20ac":1', '"\ufb33":1', '"\U0001f600":1', '"\\ud800"', "true"),
            ]
        ),
        max_size=9,
    ).map("".join),
    st.lists(
        st.sampled_from(["\\r", "1", "a", "\xf6", "\u20ac", "\ufb33", "\U0001f600"]),
        max_size=4,
    ).map(lambda keys: "{" + ",".join(f'"{key}":[]' for key in keys) + "}"),
)


@settings(_BOUNDED, max_examples=800)
@given(_SPELLINGS.map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_exactly_what_encode_writes_is_canonical(raw: bytes) -> None:
    try:
        value = canonical_json.decode(raw)
    except CanonicalJsonError:
        with pytest.raises(CanonicalJsonError):
            canonical_json.decode_canonical(raw)
        return
    if canonical_json.encode(value) == raw:
        assert canonical_json.decode_canonical(raw) == value
    else:
        with pytest.raises(CanonicalJsonError, match="the same value in other bytes"):
            canonical_json.decode_canonical(raw)


@_BOUNDED
@given(
    st.binary(max_size=60)
    | st.text('{}[]",:0123456789.eE+-\\untrfals ').map(str.encode)
)
def test_random_bytes_decode_or_are_refused(raw: bytes) -> None:
    try:
        value = canonical_json.decode(raw)
    except CanonicalJsonError:
        return
    assert canonical_json.decode(canonical_json.encode(value)) == value


def test_reader_of_fields_says_once_what_is_wrong_and_in_which_file() -> None:
    for raw, text in (
        (b"\n", "expected strict JSON, got Expecting value: line 2 column 1 (char 1)"),
        (b'{"a":1,"a":2}', "expected strict JSON with each key once, got 'a' twice"),
        (b"\xff", "expected strict JSON with UTF-8, got a bad byte at 0"),
    ):
        with pytest.raises(MalformedError) as caught:
            json_fields.decode(raw, "current", 100)
        assert str(caught.value) == f"current: {text}; replace it by a well-formed one"
