from base.errors import MalformedError
from release.errors import ReleaseError


def test_text_holds_source_expected_got_and_remedy() -> None:
    error = MalformedError("a.json", "an object", "a list", "write an object")
    assert str(error) == "a.json: expected an object, got a list; write an object"


def test_text_of_hostile_values_stays_one_short_printable_line() -> None:
    text = str(ReleaseError("file", "text", "a\nb\x1b[2J\u202e" + "x" * 10_000))
    assert "\n" not in text
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert len(text) < 500


def test_every_error_names_a_remedy() -> None:
    pending = [ReleaseError]
    while pending:
        kind = pending.pop()
        assert kind.default_remedy
        assert "\n" not in kind.default_remedy
        pending.extend(kind.__subclasses__())
