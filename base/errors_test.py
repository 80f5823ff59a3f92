"""An error's text is one printable line: source, expected, got, remedy."""

from base.errors import ContinuonError, MalformedError


def test_text_holds_source_expected_got_and_remedy() -> None:
    error = MalformedError("a.json", "an object", "a list", "write an object")
    assert str(error) == "a.json: expected an object, got a list; write an object"


def test_a_long_path_keeps_its_file_name() -> None:
    path = "/home/" + "very-long-folder/" * 40 + "canary.json"
    text = str(ContinuonError(path, "these bytes", "others", "copy it again"))
    assert text.startswith("/home/very-long-folder/")
    assert "canary.json: expected these bytes, got others; copy it again" in text
    assert len(text) < 400


def test_text_of_hostile_values_stays_one_short_printable_line() -> None:
    text = str(ContinuonError("file", "text", "a\nb\x1b[2J\u202e" + "x" * 10_000))
    assert "\n" not in text
    assert text.isprintable()
    assert len(text) < 500


def test_a_hostile_value_is_cut_to_a_fixed_length() -> None:
    error = ContinuonError("a", "text", "\x1b[2J\n" * 1000)
    assert str(error).isprintable()
    assert len(error.got) <= 303
