"""The in-toto Statement v1: a predicate about the package with a given digest.

Source: in-toto attestation framework v1, "Statement".
"""

from collections.abc import Mapping
from dataclasses import dataclass

from base import canonical_json
from base.json_fields import Fields, Source, decode_canonical
from release.limits import LIMITS

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PAYLOAD_TYPE = "application/vnd.in-toto+json"
_SUBJECT_NAME = "package.json"


@dataclass(frozen=True)
class Statement:
    """A statement with one subject.

    Attributes:
        subject_digest: sha256 of the package.json that it is about.
        predicate: the content of the statement, as JSON.
    """

    subject_digest: str
    predicate: Mapping[str, object]

    def encode(self, predicate_type: str) -> bytes:
        """Returns the canonical bytes of the statement."""
        value = {
            "_type": STATEMENT_TYPE,
            "subject": [
                {"name": _SUBJECT_NAME, "digest": {"sha256": self.subject_digest}}
            ],
            "predicateType": predicate_type,
            "predicate": self.predicate,
        }
        return canonical_json.encode(value)


def parse(raw: bytes, predicate_type: str, source: Source) -> Statement:
    """Reads a statement.

    Raises:
        OversizedError: `raw` is longer than a statement may be.
        MalformedError: `raw` is not a statement with one subject, or has another
            predicate type.
    """
    keys = ("_type", "subject", "predicateType", "predicate")
    value = decode_canonical(raw, source, LIMITS.envelope_bytes)
    fields = Fields(value, source, keys)
    fields.one_of("_type", (STATEMENT_TYPE,))
    fields.one_of("predicateType", (predicate_type,))
    subjects = fields.each("subject", ("name", "digest"))
    if len(subjects) != 1:
        raise fields.fail("subject", "to be one package")
    subjects[0].one_of("name", (_SUBJECT_NAME,))
    digest = subjects[0].fields("digest", ("sha256",)).sha256("sha256")
    return Statement(digest, fields.mapping("predicate"))
