"""What the operator says of how an episode went, on its way to every copy of it.

    shared/decisions/NAME.label     said on the page           -> the recorder
    memories/labels/NAME.label      noted in the shared copy   -> the learner

Both are small files that stay until what they say is done, so neither process has to
run when it is said, and a cut between two of them repeats what is the same when it is
done twice.
"""

from pathlib import Path
from typing import Final

from base import canonical_json, durable_file, plain_file
from base.errors import ContinuonError, reason
from base.json_fields import Fields, decode
from edge.errors import AmendError

FOLDER: Final = "labels"
"""Of the memories."""
SHARED_FOLDER: Final = "decisions"
"""Of the shared folder; the page writes here."""
SAID: Final = ("success", "failure", "unknown", "leave_out")
_SUFFIX: Final = ".label"
_SCHEMA_VERSION: Final = 1
_LIMIT_BYTES: Final = 4096


def say(shared: Path, name: str, says: str) -> None:
    """Writes down on the page's side what was said, durably.

    Raises:
        DiskError: the disk refused.
    """
    write(shared / SHARED_FOLDER, name, says)


def write(folder: Path, name: str, says: str) -> None:
    """Leaves one of `SAID` for whoever reads a folder, durably.

    Raises:
        DiskError: the disk refused.
    """
    durable_file.make_own_folder(folder, 0o770)
    raw = canonical_json.encode({"schema_version": _SCHEMA_VERSION, "says": says})
    durable_file.write_record(folder / f"{name}{_SUFFIX}", raw, mode=0o660)


def list_names(folder: Path) -> list[str]:
    """Returns the names of the episodes of which something was said, sorted."""
    return sorted(
        path.name.removesuffix(_SUFFIX) for path in folder.glob(f"*{_SUFFIX}")
    )


def read(folder: Path, name: str) -> str | None:
    """Reads what was said; None for nothing.

    Raises:
        AmendError: the file holds something else.
    """
    path = folder / f"{name}{_SUFFIX}"
    try:
        # The page could leave a link to what only the recorder may read.
        raw = plain_file.read(path, _LIMIT_BYTES, follow_links=False)
        fields = Fields(
            decode(raw, path, _LIMIT_BYTES), path, ("schema_version", "says")
        )
        fields.version(_SCHEMA_VERSION)
        return fields.one_of("says", SAID)
    except FileNotFoundError:
        return None
    except (ContinuonError, OSError) as e:
        raise AmendError(path, "how an episode went", reason(e, path)) from e


def remove(folder: Path, name: str) -> None:
    """Removes what was done.

    Raises:
        DiskError: the disk refused.
    """
    path = folder / f"{name}{_SUFFIX}"
    try:
        path.unlink(missing_ok=True)
    except OSError as e:
        raise durable_file.disk_error(path, "to remove it", e) from e
