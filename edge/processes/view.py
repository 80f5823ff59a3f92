"""What a person at the terminal sees of a robot: a few lines, drawn again and again.

`describe` makes the lines out of the last status of each process, and decides nothing
else. On a terminal they stay at the bottom and change in place, and what the processes
say scrolls above them; elsewhere one line is written per interval.
"""

import shutil
import sys
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, TextIO

from base import text_forms
from base.errors import one_line, printable

STALE_S: Final = 2.0  # four statuses
_DIGITS: Final = 12  # of a digest, as everywhere
_LABEL: Final = 10
_US_PER_MS: Final = 1000
_ROWS: Final = (
    ("failed", "failure"),
    ("left", "left"),
    ("learned", "receipt"),
    ("machine", "machine"),
)
"""Rows of their own, by label: texts that are long and stay as they are for hours."""

Status = Mapping[str, object]


@dataclass
class Seen:
    """What the supervisor knows of one process.

    Attributes:
        status: its last status; empty before the first.
        at_s: when that came, in monotonic seconds.
        trouble: why it does not run; "" while it does.
    """

    status: Status = field(default_factory=dict)
    at_s: float = 0.0
    trouble: str = ""

    def doing(self, now_s: float) -> str:
        """Says in a few words what the process does."""
        if self.trouble:
            return self.trouble
        if not self.status:
            return "starts"
        text = one_line(self.status.get("doing", "runs"))
        silent_s = now_s - self.at_s
        return f"{text}; silent for {silent_s:.0f} s" if silent_s > STALE_S else text


def describe(seen: Mapping[str, Seen], now_s: float) -> list[str]:
    """Returns the lines of the view; the arguments are those of `describe_rows`."""
    return [_line(label, text) for label, text in describe_rows(seen, now_s)]


def describe_rows(seen: Mapping[str, Seen], now_s: float) -> list[tuple[str, str]]:
    """Returns the lines of the view, each as a label and a text.

    Args:
        seen: the processes by name; `control` first.
        now_s: monotonic time.
    """
    control = seen.get("control", Seen())
    record = seen.get("record", Seen())
    one, two = control.status, record.status
    rows = [
        (
            "robot",
            _join(
                control.doing(now_s),
                one.get("acting"),
                one.get("why"),
                one.get("frozen"),
                one.get("senses"),
                one.get("robot"),
            ),
        ),
        (
            "step",
            f"p50 {_time(one, 'p50_us')}, p99 {_time(one, 'p99_us')}; "
            f"jitter p99 {_time(one, 'jitter_p99_us')}; "
            f"{_count(one, 'missed')} of {_count(one, 'steps')} steps late; "
            f"{_join(_stop_rules(one), one.get('granted'))}",
        ),
        (
            "episodes",
            f"{_count(one, 'episodes')}, {_succeeded(one)}",
        ),
        ("package", _package(one)),
        ("delta", _digest(one, "delta")),
        *([("loop", one_line(loop))] if (loop := one.get("fast")) else []),
        (
            "record",
            f"{_without_ring(one)}{record.doing(now_s)}; {_count(two, 'recorded')} of "
            f"{_count(two, 'driven')} steps in {_many(two, 'episodes', 'episode')} "
            f"of this run; {_count(one, 'dropped')} dropped"
            f"{_masks(two)}{_removed(two)}",
        ),
    ]
    for name, process in seen.items():
        if name not in ("control", "record"):
            rows.append((name, _other(process, now_s)))
            for label, key in _ROWS:
                if told := process.status.get(key):
                    rows.append((label, one_line(told)))
    return rows


def summarize(seen: Mapping[str, Seen], now_s: float) -> str:
    """Returns the same on one line, for a log."""
    control = seen.get("control", Seen())
    status = control.status
    parts = [
        _join(
            control.doing(now_s),
            f"mode {_text(status, 'mode', '-')}",
            status.get("acting"),
            status.get("why"),
            status.get("frozen"),
            status.get("senses"),
        ),
        _many(status, "episodes", "episode"),
        _succeeded(status),
        f"{_count(status, 'missed')} of {_count(status, 'steps')} steps late",
        _stop_rules(status),
        f"p99 {_time(status, 'p99_us')}",
        f"{_count(status, 'dropped')} dropped",
        f"package {_digest(status, 'package')}",
        f"delta {_digest(status, 'delta')}",
    ]
    for name, process in seen.items():
        if name != "control":
            parts.append(f"{name}: {process.doing(now_s)}")
            if reason := process.status.get("reason"):
                parts.append(one_line(reason))
            if failure := process.status.get("failure"):
                parts.append(f"failed {one_line(failure)}")
    return "; ".join(parts)


class Screen:
    """Draws lines at the bottom of a terminal, or one line per interval elsewhere."""

    def __init__(self, output: TextIO | None = None) -> None:
        """Draws on `output`; on stderr if None."""
        self._output = output or sys.stderr
        self._drawn = 0
        self.is_live = self._output.isatty()

    def say(self, lines: Sequence[str]) -> None:
        """Writes lines that stay, above those that change."""
        if not lines:
            return
        self.clear()
        self._write("".join(f"{_safe(line)}\n" for line in lines))

    def draw(self, lines: Sequence[str]) -> None:
        """Replaces the lines that change."""
        self.clear()
        rows = fit(lines, *shutil.get_terminal_size())
        self._write("".join(f"{row}\n" for row in rows))
        self._drawn = len(rows)

    def leave(self, lines: Sequence[str]) -> None:
        """Draws lines a last time; from now on they stay as what was said."""
        self.draw(lines)
        self._drawn = 0

    def clear(self) -> None:
        """Removes the lines that change."""
        if self._drawn:
            self._write(f"\x1b[{self._drawn}A\x1b[J")
            self._drawn = 0

    def _write(self, text: str) -> None:
        self._output.write(text)
        self._output.flush()


def fit(lines: Sequence[str], columns: int, rows: int) -> list[str]:
    """Breaks lines into those that a terminal has room for.

    A line that continues stands below the text, not below the label. Where the
    terminal is too low, the last line, which names the keys, stays, and what is above
    it goes: lines that scroll away could not be drawn over.
    """
    width = max(_LABEL + 10, columns - 1)
    broken = [
        row
        for line in lines
        for row in textwrap.wrap(
            _safe(line), width, subsequent_indent=" " * _LABEL, break_on_hyphens=False
        )
    ]
    room = max(1, rows - 1)
    return broken if len(broken) <= room else [*broken[: room - 1], broken[-1]]


def _safe(line: str) -> str:
    return printable(line.replace("\n", " "))


def _line(label: str, text: str) -> str:
    return f"{label:<{_LABEL}}{text}"


def _other(process: Seen, now_s: float) -> str:
    """What a learner or updater does, and whatever else it reports."""
    parts = [process.doing(now_s)]
    if reason := process.status.get("reason"):
        parts.append(one_line(reason))
    for key in ("progress", "memories", "last_delta", "release"):
        value = process.status.get(key)
        if value not in (None, ""):
            shown = _digest(process.status, key) if key == "last_delta" else value
            parts.append(f"{key.replace('_', ' ')} {one_line(shown)}")
    return "; ".join(parts)


def _join(*parts: object) -> str:
    return "; ".join(one_line(part) for part in parts if part)


def _package(status: Status) -> str:
    found = _digest(status, "package")
    if found == "none":
        return found
    channel = one_line(status.get("channel") or "no channel")
    return f"{found}, release {_count(status, 'release')} of {channel}"


def _masks(status: Status) -> str:
    """Says how many episodes wait until their pictures are masked."""
    if not status.get("waiting_for_masks"):
        return ""
    return f"; {_many(status, 'waiting_for_masks', 'episode')} to be masked"


def _removed(status: Status) -> str:
    """What the recorder removed unsent, to keep the quota of shared episodes."""
    if not (status.get("removed_private") or status.get("removed_waiting")):
        return ""
    return (
        f"; removed {_count(status, 'removed_private')} without consent, "
        f"{_count(status, 'removed_waiting')} unsent"
    )


def _without_ring(status: Status) -> str:
    """That nothing is recorded, if control has no way to hand its steps over."""
    if not (why := status.get("no_ring")):
        return ""
    steps = _count(status, "unrecorded")
    return f"nothing is recorded, {steps} steps so far: {one_line(why)}; "


def _stop_rules(status: Status) -> str:
    last = one_line(status.get("last_rule") or "")
    fired = _many(status, "violations", "stop rule")
    return f"{fired}, last {last}" if last else fired


def _digest(status: Status, key: str) -> str:
    value = status.get(key)
    return value[:_DIGITS] if isinstance(value, str) and value else "none"


def _succeeded(status: Status) -> str:
    """How many episodes succeeded, of those of which somebody can say it."""
    told = f"{_count(status, 'successes')} succeeded"
    unknown = status.get("unknown", 0)
    if not isinstance(unknown, int) or not unknown:
        return told
    if unknown == status.get("episodes"):
        return "success not known"
    return f"{told}, {unknown:,} not known"


def _count(status: Status, key: str) -> str:
    value = status.get(key, 0)
    return f"{value:,}" if isinstance(value, int) else "-"


def _many(status: Status, key: str, one: str) -> str:
    value = status.get(key, 0)
    return text_forms.count(value, one) if isinstance(value, int) else f"- {one}s"


def _time(status: Status, key: str) -> str:
    """A time of steps; "-" before the first one, in milliseconds from one on."""
    value = status.get(key)
    if not isinstance(value, int | float) or not status.get("steps"):
        return "-"
    return f"{value:.1f} us" if value < _US_PER_MS else f"{value / _US_PER_MS:.1f} ms"


def _text(status: Status, key: str, absent: str = "") -> str:
    return one_line(status.get(key, absent))
