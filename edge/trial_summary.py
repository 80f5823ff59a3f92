"""What trials have shown so far, for the person who made them."""

import math

from release import paired_trials, trials
from release.paired_trials import Pairs
from release.trials import TrialsRecord


def fewest_pairs() -> int:
    """Returns how many pairs packages that never differ need to show it."""
    needed = paired_trials.pairs_needed(Pairs(0, 0, 0, 0), trials.MARGIN)
    assert needed is not None, "the margin is above zero"
    return needed


def count_text(record: TrialsRecord) -> str:
    """Says how many of the planned trials were made, and how many do not count."""
    total = record.planned_pairs * len(record.arms)
    counted = sum(one.counts for one in record.trials)
    others = len(record.trials) - counted
    text = f"{counted} of {total} trials are made"
    return f"{text}, {others} more do not count" if others else text


def format_table(record: TrialsRecord) -> str:
    """Returns the lines shown at the end of a session."""
    lines = [count_text(record)]
    for arm in record.arms:
        succeeded = record.succeeded(arm)
        won, count = sum(succeeded.values()), len(succeeded)
        low, high = paired_trials.proportion_interval(won, count)
        others = [
            f"{found} {outcome}"
            for outcome in trials.OUTCOMES[2:]
            if (found := record.count(arm, outcome))
        ]
        lines.append(
            f"{arm:<9} {won} of {count} succeeded, {low:.0%} to {high:.0%}"
            + (f" ({', '.join(others)})" if others else "")
        )
    if record.baseline_digest:
        lines += _compare(record.pairs)
    return "\n".join(lines)


def _compare(pairs: Pairs) -> list[str]:
    if math.isnan(pairs.difference):
        return ["no pair is whole yet"]
    low, high = pairs.interval()
    lines = [
        f"{pairs.count} pairs: only the candidate {pairs.candidate}, only the baseline "
        f"{pairs.baseline}, both {pairs.both}, neither {pairs.neither}",
        f"difference {pairs.difference:+.0%}, {low:+.0%} to {high:+.0%} with at least "
        f"95 % confidence; exact McNemar test p = {pairs.p_value():.3g}",
    ]
    if low >= -trials.MARGIN:
        lines.append(
            f"it is shown that the candidate loses at most {trials.MARGIN:.0%}"
        )
        return lines
    needed = paired_trials.pairs_needed(pairs, trials.MARGIN)
    if needed is None:
        lines.append(
            f"it is not shown that the candidate loses at most {trials.MARGIN:.0%}, "
            "and more trials like these would not show it"
        )
    else:
        lines.append(
            f"to show that the candidate loses at most {trials.MARGIN:.0%}, "
            f"{needed} pairs like these would be needed"
        )
    return lines
