"""Turns a settings record into command line flags, and the flags into the record.

Each setting is defined once: the text of a flag is that of the attribute in the
record's docstring, its default and its limits are those of the field. An optional text
or list is empty in the record and has no default as a flag.
"""

from __future__ import annotations

import dataclasses
import inspect
import math
import re
from collections.abc import Sequence
from typing import Any

from absl import flags

# So that the flags belong to the program that defines its records, for `--help`.
flags.disclaim_key_flags()

_FLAG, _MINIMUM, _CHOICES = "flag", "minimum", "choices"


def setting(
    default: Any,  # noqa: ANN401 - any default, which is what the field has
    *,
    flag: str | None = None,
    minimum: float | None = None,
    choices: Sequence[str] = (),
) -> Any:  # noqa: ANN401 - as `dataclasses.field`
    """Returns a field of a settings record.

    Args:
        default: the default value, defined only here.
        flag: name of the flag if it differs from the field's; "" for no flag.
        minimum: lowest accepted number.
        choices: the accepted texts.
    """
    limits = {_FLAG: flag, _MINIMUM: minimum, _CHOICES: tuple(choices)}
    return dataclasses.field(default=default, metadata=limits)


def require_limits(record: Any) -> None:  # noqa: ANN401 - any settings record
    """Refuses a record with a value outside the limits of its field.

    Raises:
        ValueError: a value is outside its limits; the message names the flag.
    """
    for field in dataclasses.fields(record):
        value, name = getattr(record, field.name), _flag_name(field) or field.name
        minimum, choices = field.metadata.get(_MINIMUM), field.metadata.get(_CHOICES)
        if minimum is not None and not value >= minimum:
            raise ValueError(f"{name}: expected at least {minimum}, got {value}")
        if choices and value not in choices:
            raise ValueError(
                f"{name}: expected one of {', '.join(choices)}, got {value!r}"
            )


def define(*records: type) -> None:
    """Defines a flag for each field of each record.

    Raises:
        KeyError: a field is not in its record's docstring.
    """
    for record in records:
        texts = _attribute_texts(record)
        for field in dataclasses.fields(record):
            name = _flag_name(field)
            if name:
                _define(name, field, texts[field.name])


def names(record: type) -> list[str]:
    """Returns the names of the flags of a record, in the order of its fields."""
    found = [_flag_name(field) for field in dataclasses.fields(record)]
    return [name for name in found if name]


def read[Record](record: type[Record]) -> Record:
    """Returns the record that the parsed flags describe.

    Raises:
        ValueError: a value is out of its range.
    """
    values: dict[str, Any] = {}
    for field in dataclasses.fields(record):  # type: ignore[arg-type]
        name = _flag_name(field)
        value = flags.FLAGS[name].value if name else None
        if value is not None:
            values[field.name] = _value(name, field, value)
    return record(**values)


def _value(name: str, field: dataclasses.Field[Any], value: object) -> object:
    if not isinstance(value, list):
        return value
    if not _holds_numbers(field):
        return tuple(value)
    wrong = ValueError(f"{name}: expected numbers, got {','.join(value)!r}")
    try:
        numbers = tuple(float(one) for one in value)
    except ValueError as e:
        raise wrong from e
    if not all(map(math.isfinite, numbers)):
        raise wrong
    return numbers


def _holds_numbers(field: dataclasses.Field[Any]) -> bool:
    default = field.default
    return isinstance(default, tuple) and any(isinstance(x, float) for x in default)


def _define(name: str, field: dataclasses.Field[Any], text: str) -> None:
    default: Any = field.default
    minimum = field.metadata.get(_MINIMUM)
    choices = field.metadata.get(_CHOICES)
    if choices:
        flags.DEFINE_enum(name, default, list(choices), text)
    elif isinstance(default, bool):
        flags.DEFINE_bool(name, default, text)
    elif isinstance(default, int):
        flags.DEFINE_integer(name, default, text, minimum)
    elif isinstance(default, float):
        flags.DEFINE_float(name, default, text, minimum)
    elif isinstance(default, tuple):
        shown = [f"{one:g}" if isinstance(one, float) else one for one in default]
        flags.DEFINE_list(name, shown or None, text)
    else:
        flags.DEFINE_string(name, default or None, text)


def _flag_name(field: dataclasses.Field[Any]) -> str:
    given = field.metadata.get(_FLAG)
    return field.name if given is None else given


def _attribute_texts(record: type) -> dict[str, str]:
    """Returns the text of each attribute in a record's docstring, as one line."""
    section = inspect.getdoc(record).partition("Attributes:\n")[2]  # type: ignore[union-attr]
    texts: dict[str, str] = {}
    name = ""
    for line in section.splitlines():
        start = re.match(r" {4}(\w+): (.*)", line)
        if start:
            name = start[1]
            texts[name] = start[2]
        elif line.startswith("        ") and name:
            texts[name] += " " + line.strip()
        elif line and not line.startswith(" "):
            break  # the next section
    return {name: text.rstrip(".") for name, text in texts.items()}
