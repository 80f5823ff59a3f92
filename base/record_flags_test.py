"""A record becomes flags with its texts, defaults and limits, and is read back."""

import dataclasses

import pytest
from absl import flags

from base import record_flags
from base.record_flags import setting


@dataclasses.dataclass(frozen=True)
class Oven:
    """How one oven bakes.

    Attributes:
        program: what is baked; default:
            bread.
        heat: heat from below: a share of 0 to 1,
            of the highest: it takes a minute.
        minutes: time in the oven, in minutes.
        fan: whether the air is moved.
        shelf: the shelf.
        guests: who eats; default: nobody.
        serial: number of the oven.

    Raises:
        ValueError: a value is out of its range.
    """

    program: str = ""
    heat: float = setting(0.5, minimum=0.0)
    minutes: int = setting(30, flag="oven_minutes", minimum=1)
    fan: bool = True
    shelf: str = setting("low", choices=["low", "high"])
    guests: tuple[str, ...] = ()
    serial: str = setting("7", flag="")

    def __post_init__(self) -> None:
        record_flags.require_limits(self)


record_flags.define(Oven)


def parse(*arguments: str) -> Oven:
    flags.FLAGS.unparse_flags()
    for name in flags.FLAGS:
        flags.FLAGS[name].unparse()
    flags.FLAGS(["oven", *arguments])
    return record_flags.read(Oven)


def test_without_flags_the_record_has_its_defaults() -> None:
    assert parse() == Oven()


def test_names_are_those_of_the_fields_that_have_a_flag() -> None:
    names = ["program", "heat", "oven_minutes", "fan", "shelf", "guests"]
    assert record_flags.names(Oven) == names


def test_every_kind_of_flag_sets_its_field() -> None:
    assert parse(
        "--program=cake",
        "--heat=1",
        "--oven_minutes=3",
        "--nofan",
        "--shelf=high",
        "--guests=ann,bob",
    ) == Oven("cake", 1.0, 3, False, "high", ("ann", "bob"))


def test_text_of_a_flag_is_that_of_its_attribute_on_one_line() -> None:
    assert flags.FLAGS["program"].help == "what is baked; default: bread"
    assert flags.FLAGS["heat"].help == (
        "heat from below: a share of 0 to 1, of the highest: it takes a minute"
    )
    assert flags.FLAGS["oven_minutes"].help == "time in the oven, in minutes"


def test_flags_belong_to_the_program_that_defines_its_records() -> None:
    own = flags.FLAGS.get_key_flags_for_module(__name__)
    names = {"program", "heat", "oven_minutes", "fan", "shelf", "guests"}
    assert {flag.name for flag in own} == names


def test_optional_fields_have_no_default_as_flags() -> None:
    assert flags.FLAGS["program"].default is None
    assert flags.FLAGS["guests"].default is None


@pytest.mark.parametrize(
    "argument", ["--heat=-1", "--oven_minutes=0", "--shelf=middle", "--serial=8"]
)
def test_value_out_of_range_is_refused_as_a_flag(argument: str) -> None:
    with pytest.raises(flags.Error, match=argument[2:].partition("=")[0]):
        parse(argument)


def test_value_out_of_range_is_refused_in_a_record() -> None:
    with pytest.raises(ValueError, match="oven_minutes: expected at least 1, got 0"):
        Oven(minutes=0)
    with pytest.raises(ValueError, match=r"heat: expected at least 0\.0, got nan"):
        Oven(heat=float("nan"))
    with pytest.raises(ValueError, match="expected one of low, high, got 'middle'"):
        Oven(shelf="middle")


def test_field_without_a_text_is_an_error_when_flags_are_defined() -> None:
    @dataclasses.dataclass(frozen=True)
    class Silent:
        """Does not describe its only field."""

        unsaid: int = 0

    with pytest.raises(KeyError, match="unsaid"):
        record_flags.define(Silent)
