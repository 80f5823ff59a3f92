import pytest

from edge.errors import RedactionError
from edge.redact import transforms


@pytest.mark.parametrize(
    ("raw", "coarse"),
    [
        ("2026-01-01T08:59:59Z", "2026-01-01T08:00:00Z"),
        ("2026-01-01T08:00:00Z", "2026-01-01T08:00:00Z"),
        ("2026-01-01T00:30:00.5+01:00", "2025-12-31T23:00:00Z"),
    ],
)
def test_time_is_cut_down_to_its_hour_in_utc(raw: str, coarse: str) -> None:
    assert transforms.coarsen_time(raw) == coarse


@pytest.mark.parametrize("raw", ["", "noon", "2026-01-01T08:00:00"])
def test_time_that_cannot_be_read_is_refused(raw: str) -> None:
    with pytest.raises(RedactionError, match="start_time: expected"):
        transforms.coarsen_time(raw)


@pytest.mark.parametrize(
    ("raw", "coarse"),
    [
        ("52.516275,13.377704", "52.5,13.4"),
        ("-0.04, -179.96", "0.0,-180.0"),
        ("", ""),
    ],
)
def test_location_is_rounded_to_a_tenth_of_a_degree(raw: str, coarse: str) -> None:
    assert transforms.coarsen_location(raw) == coarse


@pytest.mark.parametrize(
    "raw", ["1 Main Street", "48.1", "91,0", "0,181", "nan,0", "1,2,3", "inf,1"]
)
def test_location_that_is_no_pair_of_degrees_is_refused_without_repeating_it(
    raw: str,
) -> None:
    with pytest.raises(RedactionError) as caught:
        transforms.coarsen_location(raw)
    assert raw not in str(caught.value)


def test_location_out_of_range_is_told_apart_from_other_text() -> None:
    with pytest.raises(RedactionError, match=r"--location: .* got a number outside"):
        transforms.coarsen_location("152.5,13.4")
    with pytest.raises(RedactionError, match=r"--location: .* got other text"):
        transforms.coarsen_location("here")


def test_tags_outside_the_allow_list_are_dropped() -> None:
    tags = ("simulated", "operator: Ada Lovelace", "recovered")
    assert transforms.allow_tags(tags) == ("simulated", "recovered")
