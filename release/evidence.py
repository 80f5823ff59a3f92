"""What a verdict rests on: named in the report, the blessing and the provenance.

A report names its own evidence, in a field `evidence`; one without it is of simulated
episodes, as all were before there was another kind. A verdict on several reports has
them in one file, `{"schema_version": 1, "reports": [...]}`. `verification.py` compares
what a blessing names with what its report holds, so that a verdict on recorded episodes
is never taken for one on episodes that the package drove.
"""

from collections.abc import Sequence
from typing import Final

from base import canonical_json
from base.errors import ContinuonError, MalformedError
from base.json_fields import Fields, Source, decode
from release.limits import LIMITS

SIMULATED: Final = "simulated"
HELD_OUT: Final = "held-out"
TRIALS: Final = "trials"
KINDS: Final = (SIMULATED, HELD_OUT, TRIALS)
"""Episodes that the package drove in a simulator, recorded episodes that it never saw,
trials on the robot itself; in the order in which they are named."""
KEY: Final = "evidence"
REPORTS: Final = "reports"
SCHEMA_VERSION: Final = 1


def require(kinds: tuple[str, ...]) -> None:
    """Checks that evidence is some of `KINDS`, in that order.

    Raises:
        ValueError: it is not.
    """
    if not kinds or kinds != tuple(kind for kind in KINDS if kind in kinds):
        raise ValueError(f"expected some of {KINDS} in that order, got {kinds!r}")


def to_fields(kinds: tuple[str, ...]) -> dict[str, object]:
    """Returns the field that names evidence; none for simulated episodes alone."""
    return {} if kinds == (SIMULATED,) else {KEY: list(kinds)}


def read(fields: Fields) -> tuple[str, ...]:
    """Reads the field that `to_fields` writes.

    Raises:
        MalformedError: it names something else.
    """
    if not fields.has(KEY):
        return (SIMULATED,)
    found = fields.texts(KEY)
    try:
        require(found)
    except ValueError as e:
        raise fields.fail(KEY, f"to be some of {', '.join(KINDS)}, in order") from e
    return found


def split(raw: bytes, source: Source) -> dict[str, bytes]:
    """Takes a report, or a file of several, apart: canonical bytes by kind of evidence.

    Raises:
        OversizedError: there are more bytes than a report may have.
        MalformedError: it is no JSON object, or a kind is unknown or occurs twice.
    """
    whole = decode(raw, source, LIMITS.evaluation_bytes)
    if not isinstance(whole, dict):
        raise MalformedError(source, "a JSON object", type(whole).__name__)
    reports: list[object] = [whole]
    if REPORTS in whole:
        fields = Fields(whole, source, ("schema_version", REPORTS))
        fields.version(SCHEMA_VERSION)
        reports = fields.items(REPORTS)
    found: dict[str, bytes] = {}
    for one in reports:
        kind = one.get(KEY, SIMULATED) if isinstance(one, dict) else None
        if not isinstance(kind, str) or kind not in KINDS or kind in found:
            expected = f"each of the reports {', '.join(KINDS)} at most once"
            raise MalformedError(source, expected, f"{kind!r}"[:60])
        found[kind] = raw if one is whole else canonical_json.encode(one)
    if not found:
        raise MalformedError(source, "at least one report", "none")
    return {kind: found[kind] for kind in KINDS if kind in found}


def join(reports: Sequence[bytes], source: Source) -> bytes:
    """Puts reports of different kinds into one file; the only one stays as it is.

    Raises:
        OversizedError, MalformedError: as `split`.
    """
    if len(reports) == 1:
        return reports[0]
    parts = [
        decode(raw, source, LIMITS.evaluation_bytes)
        for report in reports
        for raw in split(report, source).values()
    ]
    joined = canonical_json.encode({"schema_version": SCHEMA_VERSION, REPORTS: parts})
    split(joined, source)
    return joined


def find(raw: bytes, source: Source) -> tuple[str, ...]:
    """Returns the kinds of evidence that a report holds.

    Bytes that are no report of ours were not judged by our gates either: whoever signed
    them vouches for a simulated evaluation, as before there was another kind.
    """
    try:
        return tuple(split(raw, source))
    except ContinuonError:
        return (SIMULATED,)
