"""Writes what is stated about a package into its folder."""

from collections.abc import Sequence
from pathlib import Path

from base import durable_file, plain_file
from base.digest import sha256_bytes
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


def sign_blessing(
    folder: Path, verdict: Blessing, report: bytes, keys: Sequence[Signer]
) -> Path:
    """Writes the report and `blessing.intoto.jsonl` into `folder`.

    A refusal is signed just like a blessing; `verify_package` reads the verdict.

    Args:
        folder: the package.
        verdict: the verdict on it.
        report: the evaluation report that the verdict rests on; a robot can weigh it
            offline.
        keys: the keys that sign.

    Returns:
        The path of the blessing.

    Raises:
        OSError: they cannot be written.
        ValueError: the verdict names another report.
    """
    if (found := sha256_bytes(report)) != verdict.report_digest:
        raise ValueError(f"expected report {verdict.report_digest}, got {found}")
    durable_file.write(folder / package.EVALUATION, report)
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
