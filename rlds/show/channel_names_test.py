"""Tests of the file that names channels."""

from pathlib import Path

import pytest

from base.errors import MalformedError
from rlds.errors import ShowError
from rlds.show import channel_names
from rlds.show.channel_names import Channel, ChannelNames

ARM = b"""{"schema_version": 1,
 "state": [{"name": "pan", "unit": "deg"}, {"name": "grip"}]}"""


def read(folder: Path, raw: bytes) -> ChannelNames:
    path = folder / "names.json"
    path.write_bytes(raw)
    return channel_names.read(path)


def test_what_nobody_named_is_numbered(tmp_path: Path) -> None:
    names = read(tmp_path, ARM)
    assert names.name("state", 2, "e") == (Channel("pan", "deg"), Channel("grip"))
    assert names.name("action", 2, "e") == (Channel("0"), Channel("1"))
    assert ChannelNames().name("state", 1, "e") == (Channel("0"),)


def test_names_of_another_robot_are_refused_with_both_sizes(tmp_path: Path) -> None:
    with pytest.raises(ShowError, match=r"names\.json: expected state with the 39 ch"):
        read(tmp_path, ARM).name("state", 39, "e.tfrecord")


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"", "strict JSON"),
        (b"[]", "an object at top"),
        (b'{"schema_version": 2}', "schema_version to be 1"),
        (b'{"schema_version": 1, "states": []}', "fields of the format, got states"),
        (b'{"schema_version": 1, "state": {}}', "state to be an array"),
        (b'{"schema_version": 1, "state": [{"unit": "m"}]}', r"state\[0\]\.name"),
        (b'{"schema_version": 1, "state": [{"name": ""}]}', "non-empty string"),
        (
            b'{"schema_version": 1, "state": [{"name": "' + b"a" * 101 + b'"}]}',
            "at most 100 characters",
        ),
        (b'{"schema_version": 1, "state": [{"name": "\xff"}]}', "strict JSON"),
    ],
)
def test_file_that_names_no_channels_is_refused(
    tmp_path: Path, raw: bytes, text: str
) -> None:
    with pytest.raises(MalformedError, match=text):
        read(tmp_path, raw)
