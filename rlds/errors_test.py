"""An error's text is one line that still names the file."""

from rlds.errors import RldsError


def test_a_long_path_keeps_the_file_it_names() -> None:
    path = "/home/" + "very-long-folder/" * 40 + "canary.json"
    text = str(RldsError(path, "these bytes", "others", "copy it anew"))
    assert text.startswith("/home/very-long-folder/")
    assert "canary.json: expected these bytes, got others; copy it anew" in text
    assert len(text) < 400


def test_a_hostile_value_stays_one_printable_line() -> None:
    error = RldsError("a", "text", "\x1b[2J\n" * 1000)
    assert "\n" not in str(error)
    assert str(error).isprintable()
    assert len(error.got) <= 303
