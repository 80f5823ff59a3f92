"""Writes signed statements into a package folder."""

from collections.abc import Sequence
from pathlib import Path

from base import durable_file, plain_file
from base.errors import ContinuonError
from release import dsse, package, statement
from release.blessing import Blessing
from release.dsse import Envelope, Signer
from release.limits import LIMITS
from release.provenance import Provenance


def sign_provenance(folder: Path, stated: Provenance, keys: Sequence[Signer]) -> Path:
    """Writes `provenance.intoto.jsonl` into `folder` and returns its path.

    Raises:
        OSError: it cannot be written.
    """
    path = folder / package.PROVENANCE
    write_envelope(path, stated.statement(), statement.PAYLOAD_TYPE, keys)
    return path


def sign_blessing(folder: Path, verdict: Blessing, keys: Sequence[Signer]) -> Path:
    """Writes `blessing.intoto.jsonl` into `folder` and returns its path.

    A refusal is signed just like a blessing; `verify_package` reads the verdict.

    Raises:
        OSError: it cannot be written.
    """
    path = folder / package.BLESSING
    write_envelope(path, verdict.statement(), statement.PAYLOAD_TYPE, keys)
    return path


def write_envelope(
    path: Path, payload: bytes, payload_type: str, keys: Sequence[Signer]
) -> None:
    """Writes a signed envelope, keeping earlier signatures of the same payload.

    Raises:
        OSError: it cannot be written.
    """
    old = read_envelope(path)
    if old and (old.payload, old.payload_type) == (payload, payload_type):
        durable_file.write(path, dsse.add_signatures(old.encode(), keys))
    else:
        durable_file.write(path, dsse.sign(payload, payload_type, keys))


def read_envelope(path: Path) -> Envelope | None:
    """Returns the envelope at `path`, or None if the file is missing or is not one."""
    try:
        return Envelope.parse(plain_file.read(path, LIMITS.envelope_bytes), path)
    except (FileNotFoundError, ContinuonError):
        return None
