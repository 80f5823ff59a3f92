"""An episode's name reveals no more of its time than the redacted episode does."""

from edge.episodes import episode_id

HOUR_NS = 3_600_000_000_000
BEGIN_NS = 490_000 * HOUR_NS


def test_name_holds_the_hour_and_nothing_finer() -> None:
    first = episode_id.derive_id(BEGIN_NS, {"seed": 1})
    last = episode_id.derive_id(BEGIN_NS + HOUR_NS - 1, {"seed": 1})
    assert first == last
    milliseconds = int(first.replace("-", "")[:12], 16)
    assert milliseconds == BEGIN_NS // 1_000_000


def test_different_identities_have_different_names() -> None:
    one = episode_id.derive_id(BEGIN_NS, {"seed": 1})
    assert one != episode_id.derive_id(BEGIN_NS, {"seed": 2})


def test_random_names_of_one_hour_differ() -> None:
    assert episode_id.make_random_id(BEGIN_NS) != episode_id.make_random_id(BEGIN_NS)
