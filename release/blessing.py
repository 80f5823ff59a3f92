"""The verdict on a package, bound to its digest, as an in-toto statement."""

from dataclasses import dataclass
from datetime import datetime

from base import text_forms
from base.digest import is_sha256
from base.json_fields import Fields, Source
from release import evidence as evidence_kinds
from release import statement
from release.statement import Statement

PREDICATE_TYPE = "urn:continuon:blessing:v1"
BLESSED = "blessed"
REFUSED = "refused"
UNDECIDED = "undecided"
VERDICTS = (BLESSED, REFUSED, UNDECIDED)


@dataclass(frozen=True)
class Blessing:
    """One verdict.

    Attributes:
        package_digest: digest of the package that it is about.
        verdict: `blessed`, `refused` or `undecided`.
        reasons: one sentence for each gate that decided.
        report_digest: sha256 of the evaluation report.
        issued: time of the verdict.
        expires: time after which it no longer admits the package; None for never. A
            robot that has the package by then keeps it.
        evidence: what the report holds, of `release.evidence.KINDS` and in that order.
    """

    package_digest: str
    verdict: str
    reasons: tuple[str, ...]
    report_digest: str
    issued: datetime
    expires: datetime | None = None
    evidence: tuple[str, ...] = (evidence_kinds.SIMULATED,)

    def __post_init__(self) -> None:
        evidence_kinds.require(self.evidence)
        if self.verdict not in VERDICTS:
            raise ValueError(f"expected a verdict of {VERDICTS}, got {self.verdict!r}")
        if not self.reasons:
            raise ValueError("expected at least one reason, got none")
        for digest in (self.package_digest, self.report_digest):
            if not is_sha256(digest):
                raise ValueError(f"expected a sha256 in hex, got {digest!r}")

    def statement(self) -> bytes:
        """Returns the canonical bytes of the in-toto statement."""
        predicate = {
            "verdict": self.verdict,
            "reasons": list(self.reasons),
            "report": {"sha256": self.report_digest},
            "issued": text_forms.format_time(self.issued),
            "expires": text_forms.format_time(self.expires) if self.expires else None,
            **evidence_kinds.to_fields(self.evidence),
        }
        return Statement(self.package_digest, predicate).encode(PREDICATE_TYPE)


def parse(raw: bytes, source: Source = "blessing") -> Blessing:
    """Reads a blessing statement without checking who wrote it.

    Raises:
        OversizedError: `raw` is longer than a statement may be.
        MalformedError: `raw` does not have the form that `Blessing.statement` writes.
    """
    read = statement.parse(raw, PREDICATE_TYPE, source)
    keys = ("verdict", "reasons", "report", "issued", "expires")
    fields = Fields(read.predicate, source, keys, "predicate", (evidence_kinds.KEY,))
    reasons = fields.texts("reasons")
    if not reasons:
        raise fields.fail("reasons", "to state at least one reason")
    issued = text_forms.parse_time(fields.text("issued"), source)
    expires = None
    if fields.has("expires"):
        expires = text_forms.parse_time(fields.text("expires"), source)
        if expires <= issued:
            raise fields.fail("expires", "to be after issued")
    return Blessing(
        package_digest=read.subject_digest,
        verdict=fields.one_of("verdict", VERDICTS),
        reasons=reasons,
        report_digest=fields.fields("report", ("sha256",)).sha256("sha256"),
        issued=issued,
        expires=expires,
        evidence=evidence_kinds.read(fields),
    )
