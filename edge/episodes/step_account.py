"""What became of the steps that a robot drove: recorded, or missing and why.

    private/account.json        steps driven, recorded and missing since the first one

The recorder writes it at the end of each episode (`ring_recording.py`).
"""

import contextlib
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Final

from base import canonical_json, durable_file, plain_file
from base.errors import ContinuonError, DiskError, reason
from base.json_fields import Fields, decode

ACCOUNT: Final = "account.json"
SCHEMA_VERSION: Final = 1
_LIMIT_BYTES: Final = 1 << 20
_MISSING_KEYS: Final = ("no_room", "refused", "unfit")
_ACCOUNT_KEYS: Final = ("schema_version", "driven", "missing", "last_episode")


@dataclasses.dataclass(frozen=True)
class Missing:
    """Steps that are in no episode, by the reason.

    Attributes:
        no_room: they found no room in the ring, or died with control.
        refused: the disk did not take them, or the clock was wrong.
        unfit: no episode takes them, such as a state that is not a number.
    """

    no_room: int = 0
    refused: int = 0
    unfit: int = 0

    @property
    def total(self) -> int:
        """All of them."""
        return self.no_room + self.refused + self.unfit

    def __add__(self, other: "Missing") -> "Missing":
        """Adds up the steps of two episodes."""
        return Missing(
            self.no_room + other.no_room,
            self.refused + other.refused,
            self.unfit + other.unfit,
        )


@dataclasses.dataclass(frozen=True)
class Account:
    """What became of the steps that control drove; the others were recorded.

    Attributes:
        driven: steps that control drove, as far as the recorder knows of them.
        missing: steps of those that are in no episode.
        last_episode: name of the last episode that is counted; "" for none.
    """

    driven: int = 0
    missing: Missing = Missing()
    last_episode: str = ""

    @property
    def recorded(self) -> int:
        """Steps that are in an episode or in its journal."""
        return self.driven - self.missing.total

    def encode(self) -> bytes:
        """The bytes of the file."""
        value = {"schema_version": SCHEMA_VERSION, **dataclasses.asdict(self)}
        return canonical_json.encode(value)


def read_account(private: Path) -> Account:
    """Reads the counts; there are none where the file is lost or damaged."""
    try:
        return _read(private / ACCOUNT)
    except (ContinuonError, OSError):
        return Account()


def open_account(private: Path, tell: Callable[[str], None]) -> Account:
    """Reads the counts for whoever goes on with them.

    A damaged file is set aside, which `tell` gets a line about: they begin again.
    """
    path = private / ACCOUNT
    try:
        return _read(path)
    except (FileNotFoundError, NotADirectoryError):
        return Account()  # whoever opens the folder says what is in its place
    except (ContinuonError, OSError) as e:
        with contextlib.suppress(DiskError):
            durable_file.set_aside(path)
        tell(f"steps are counted anew, {ACCOUNT} is set aside: {reason(e, path)}")
        return Account()


def _read(path: Path) -> Account:
    raw = plain_file.read(path, _LIMIT_BYTES)
    fields = Fields(decode(raw, path, _LIMIT_BYTES), path, _ACCOUNT_KEYS)
    fields.version(SCHEMA_VERSION)
    return Account(
        fields.count("driven"),
        read_missing(fields),
        str(fields.raw("last_episode")),
    )


def read_missing(fields: Fields) -> Missing:
    """Reads the counts of missing steps in the field `missing`.

    Raises:
        MalformedError: they are none.
    """
    missing = fields.fields("missing", _MISSING_KEYS)
    return Missing(*(missing.count(key) for key in _MISSING_KEYS))
