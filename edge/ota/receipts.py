"""The receipts of one robot on its disk: what it installed, fell back from, learned.

    home/receipts/keys/<key id>.json                                 who signed them
    home/receipts/receipts_v0/robot_hash=<64 hex>/<receipt>.json     see rlds/receipt.py

The updater and the learner write here at the same time. No two write one file, since
the outcome is in its name and each outcome has one writer (`rlds/receipt.py`); a file
appears whole or not at all.

The paths are those of the store, so that an upload is a copy. Of each outcome the
newest `MOST` are kept: a robot without a network fills no disk, and refusals, of which
a bad channel brings many, push out no other outcome.
"""

import contextlib
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Final

from base import durable_file, text_forms
from base.errors import one_line
from edge.episodes import robot_key
from edge.episodes.robot_key import RobotKey
from edge.ota.decide import Origin
from edge.runtime_version import RUNTIME_VERSION
from rlds import receipt
from rlds.receipt import Receipt

MOST: Final = 64
"""Receipts of each outcome; 64 of 1 KB each are a release a day for two months."""


class Receipts:
    """Writes and finds the receipts of one robot; several processes may."""

    def __init__(self, root: Path, key: RobotKey, robot_id: str) -> None:
        """Reads and writes nothing yet.

        Args:
            root: folder of the receipts, made when absent.
            key: the robot's key.
            robot_id: its name, which leaves it as a keyed hash only.
        """
        self._root = root
        self._key = key
        self._robot_id = robot_id
        self._robot_hash = key.robot_hash(robot_id)

    @property
    def folder(self) -> Path:
        """Where the receipts lie."""
        return self._root / receipt.folder(self._robot_hash)

    def write(
        self,
        time: datetime,
        outcome: str,
        package_digest: str,
        *,
        package_before: str | None = None,
        delta_digest: str = "",
        release_counter: int = 0,
        channel: str = "",
        origin: Origin | None = None,
        reason: str = "",
        counts: Mapping[str, int | float] | None = None,
    ) -> Path:
        """Signs and keeps a receipt; one that is there already stays as it is.

        The arguments are those of `Receipt`. Paths in the reason are shortened to their
        last part: a receipt leaves the robot.

        Raises:
            DiskError: the disk refused; nothing is left of it.
        """
        made = Receipt(
            robot_hash=self._robot_hash,
            time=text_forms.format_time(time),
            outcome=outcome,
            package_digest=package_digest,
            package_before=package_before or "",
            delta_digest=delta_digest,
            release_counter=release_counter,
            channel=channel,
            origin="" if origin is None else origin.value,
            reason=one_line(" ".join(map(_shorten, reason.split()))),
            counts=counts or {},
            software=RUNTIME_VERSION,
        )
        path = self.folder / made.name
        durable_file.make_own_folder(self._root)
        durable_file.make_own_folder(self.folder)
        robot_key.write_public(self._root, self._key, self._robot_id)
        with contextlib.suppress(FileExistsError):
            durable_file.create(path, receipt.sign(made, self._key.signing))
        self._remove_oldest(outcome)
        return path

    def has(self, outcome: str, release_counter: int | None, subject: str) -> bool:
        """Whether there is a receipt of this outcome.

        Args:
            outcome: one of `receipt.OUTCOMES`.
            release_counter: the counter that it names; None for any.
            subject: digest of its package or delta; "" for none.
        """
        counter = "*" if release_counter is None else release_counter
        name = f"*-{outcome}-{counter}-{subject[:12] or 'none'}.json"
        return any(self.folder.glob(name))

    def remove_leftovers(self) -> None:
        """Removes what a cut left of receipts that were being written.

        Raises:
            DiskError: the disk refused.
        """
        for folder in (self.folder, self._root / robot_key.PUBLIC_FOLDER):
            durable_file.remove_leftovers(folder)

    def list_paths(self) -> list[Path]:
        """Returns the receipts, the oldest first."""
        return sorted(self.folder.glob("*.json"))

    def _remove_oldest(self, outcome: str) -> None:
        with contextlib.suppress(OSError):
            for path in sorted(self.folder.glob(f"*-{outcome}-*.json"))[:-MOST]:
                path.unlink(missing_ok=True)


def _shorten(word: str) -> str:
    """Returns the last part of a path, and any other word as it is."""
    if "/" not in word.strip("/"):
        return word
    if not word.lstrip("'\"([").startswith(("/", "file:", "~")):
        return word
    return word.rstrip("/").rpartition("/")[2]
