"""The episode that is being recorded, written down for the recorder after this one.

private/open_episode.json   the episode that is being recorded, and its last part
"""

import dataclasses
from pathlib import Path
from typing import Final

from base import canonical_json, plain_file
from base.errors import ContinuonError
from base.json_fields import Fields, decode
from edge.episodes import step_account
from edge.episodes.step_account import Missing
from edge.episodes.step_ring import Begin, decode_begin

OPEN: Final = "open_episode.json"
SCHEMA_VERSION: Final = 1
_LIMIT_BYTES: Final = 1 << 20
_OPEN_KEYS: Final = ("schema_version", "begin", "part", "first", "missing")


@dataclasses.dataclass(frozen=True)
class OpenEpisode:
    """The episode that is being recorded.

    Attributes:
        begin: what control said of it.
        part: name of its newest part, whose journal need not exist yet.
        first: number of the first step of that part.
        missing: steps before that part that are missing.
    """

    begin: Begin
    part: str
    first: int
    missing: Missing = dataclasses.field(default_factory=Missing)

    def encode(self) -> bytes:
        """The bytes of the file."""
        value = {"schema_version": SCHEMA_VERSION, **dataclasses.asdict(self)}
        return canonical_json.encode(value)


def read_open(private: Path) -> OpenEpisode | None:
    """Reads which episode was open; None if none was, or nobody can say any more."""
    path = private / OPEN
    try:
        raw = plain_file.read(path, _LIMIT_BYTES)
        fields = Fields(decode(raw, path, _LIMIT_BYTES), path, _OPEN_KEYS)
        fields.version(SCHEMA_VERSION)
        begin = decode_begin(canonical_json.encode(fields.raw("begin")))
        return OpenEpisode(
            begin,
            fields.text("part"),
            fields.count("first"),
            step_account.read_missing(fields),
        )
    except (ContinuonError, OSError, TypeError, ValueError):
        return None
