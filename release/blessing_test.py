import json
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from base import canonical_json
from base.errors import MalformedError
from release import blessing
from release.blessing import Blessing
from release.testing import tiny_release

VERDICT = Blessing(
    package_digest="a" * 64,
    verdict="blessed",
    reasons=("mean success 0.98 reaches 0.95",),
    report_digest="b" * 64,
    issued=tiny_release.NOW,
)


def changed(change: Callable[[dict[str, Any]], object]) -> bytes:
    value = json.loads(VERDICT.statement())
    change(value)
    return canonical_json.encode(value)


@pytest.mark.parametrize("verdict", ["blessed", "refused", "undecided"])
@pytest.mark.parametrize("expires", [None, tiny_release.EXPIRES])
def test_a_verdict_survives_a_round_trip_through_its_statement(
    verdict: str, expires: datetime | None
) -> None:
    ruling = replace(VERDICT, verdict=verdict, expires=expires)
    assert blessing.parse(ruling.statement()) == ruling


@pytest.mark.parametrize(
    "changes",
    [
        {"verdict": "fine"},
        {"reasons": ()},
        {"package_digest": "a"},
        {"report_digest": "B" * 64},
    ],
)
def test_an_incomplete_or_malformed_verdict_cannot_be_made(
    changes: dict[str, Any],
) -> None:
    with pytest.raises(ValueError, match="expected"):
        replace(VERDICT, **changes)


@pytest.mark.parametrize(
    "change",
    [
        lambda v: v.update(predicateType="https://slsa.dev/provenance/v1"),
        lambda v: v["predicate"].update(verdict="BLESSED"),
        lambda v: v["predicate"].update(verdict=True),
        lambda v: v["predicate"].update(reasons=[]),
        lambda v: v["predicate"].update(reasons=[1]),
        lambda v: v["predicate"].update(report={"sha256": "0"}),
        lambda v: v["predicate"].update(issued="today"),
        lambda v: v["predicate"].update(expires=0),
        lambda v: v["predicate"].pop("expires"),
        lambda v: v["predicate"].update(more=1),
    ],
)
def test_a_statement_of_another_form_is_malformed(
    change: Callable[[dict[str, Any]], object],
) -> None:
    with pytest.raises(MalformedError):
        blessing.parse(changed(change))
