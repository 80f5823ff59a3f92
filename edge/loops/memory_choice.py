"""Which memories a robot keeps, learns from and judges by: decisions without a disk.

A memory is one episode that this robot recorded. Who drove decides what it is good for:

| who drove | how it ended | kind |
|---|---|---|
| the package without a delta | success | known: most likely the robot that it knows |
| a person or the scripted expert | not in failure | lived: what to do now |
| a package, and a person who took over from it | not in failure | lived |
| the package with a delta | success | lived |
| anybody | otherwise | seen: nothing to imitate, but it shows what the body does now |

The robot may have changed before anybody noticed. Whether an episode that counts as
known shows the robot that the package knows, the package's own functions tell, by what
sensors and commands did in it.
"""

import enum
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from base.digest import sha256_bytes
from rlds.episode import EpisodeMetadata

KNOWN, LIVED, SEEN = 0, 1, 2
"""Kinds of memories, as packages read them in the array `kind`."""

MOST_SEEN: Final = 16
"""Seen memories that are learned from: they only show the body, as it is now."""

MOST_RECENT: Final = 16
"""Lived and seen memories of a medium loop: as many as show which robot it is now
(`model/learn/body.py`), and each of its 100 steps sees what was just lived often."""

JUDGE_PERIOD: Final = 4
"""One memory in four judges: fewer judges could not tell a small harm from chance, and
each one is missing from what is learned from."""

DEMONSTRATION_WORTH: Final = 4.0
"""Somebody gave their time to show it, and nothing else says what to do where the
package fails."""
SUCCESS_WORTH: Final = 2.0
"""The package drove it well: it says what must not be forgotten, and the robot can
record more of them by itself."""
FAILURE_WORTH: Final = 0.25
"""It shows what this robot's body did, and any other episode does so too."""
LEAST_SURPRISE, MOST_SURPRISE = 0.5, 2.0
"""Bounds on the factor of how badly the package foresaw the episode, relative to the
median: a broken sensor surprises most, and must not push out everything else."""


class Driver(enum.StrEnum):
    """Who drove an episode; a person too if they took over from a package."""

    EXPERT = "expert"
    PERSON = "person"
    PACKAGE = "package"
    PACKAGE_WITH_DELTA = "package with delta"


class Use(enum.StrEnum):
    """What a memory is for. It never changes, so no judge has been learned from."""

    LEARN = "learn"
    JUDGE = "judge"


@dataclass(frozen=True)
class Memory:
    """What is known of one memory.

    Attributes:
        number: order in which this robot took it in, from 0; a clock that jumps does
            not change it.
        digest: sha256 of its file.
        size_bytes: size of its file.
        use: whether it is learned from or judges.
        task: name of the task.
        environment_id: what the robot acted in.
        driver: who drove.
        success: how it ended; None if that is not known.
        steps: control steps.
        package_digest: the package that drove; "" for none.
        delta_digest: the delta that it was driven with; "" for none.
        stop_rules: steps at which a stop rule fired, without a person's stop key.
        cut_short: whether a person's stop key or a power cut ended it.
        surprise: how badly the package foresaw it, in its own measure; None if that
            was not measured.
    """

    number: int
    digest: str
    size_bytes: int
    use: Use
    task: str
    environment_id: str
    driver: Driver
    success: bool | None
    steps: int
    package_digest: str = ""
    delta_digest: str = ""
    stop_rules: int = 0
    cut_short: bool = False
    surprise: float | None = None

    @property
    def kind(self) -> int:
        """`KNOWN`, `LIVED` or `SEEN`."""
        return tell_kind(self.driver, self.success)


def tell_driver(metadata: EpisodeMetadata, corrected: bool = False) -> Driver:
    """Who drove an episode, by its own fields.

    Args:
        metadata: fields of the episode as a whole.
        corrected: whether a person took over in some step (`rlds.imitation`).
    """
    if metadata.operator == "expert":
        return Driver.EXPERT
    if corrected or not metadata.operator.startswith("policy:"):
        return Driver.PERSON
    return Driver.PACKAGE_WITH_DELTA if metadata.delta_digest else Driver.PACKAGE


def tell_kind(driver: Driver, success: bool | None) -> int:
    """What an episode is good for; see the table at the top of this file.

    Args:
        driver: who drove.
        success: how it ended; None if that is not known.
    """
    if driver in (Driver.EXPERT, Driver.PERSON):
        return SEEN if success is False else LIVED
    if not success:
        return SEEN
    return KNOWN if driver is Driver.PACKAGE else LIVED


def choose_use(earlier: Iterable[Memory], task: str, kind: int) -> Use:
    """Whether the next memory of a task and kind is learned from or judges.

    One memory in four of each task and kind is a judge, chosen by digest. It is never
    the first, since a single demonstration is of more use to learn from. A task of four
    memories has both, of whatever kinds they are. What was only seen has no right
    actions to judge by.

    Args:
        earlier: the memories that the robot has.
        task: task of the new one.
        kind: its kind.
    """
    if kind == SEEN:
        return Use.LEARN
    of_task = [m for m in earlier if m.task == task and m.kind != SEEN]
    count = sum(memory.kind == kind for memory in of_task)
    block, position = divmod(count, JUDGE_PERIOD)
    named = sha256_bytes(f"{task}/{kind}/{block}".encode())
    judges = position == 1 + int(named, 16) % (JUDGE_PERIOD - 1)
    if len(of_task) + 1 >= JUDGE_PERIOD and not any(
        memory.use is Use.JUDGE for memory in of_task
    ):
        judges = True
    return Use.JUDGE if judges else Use.LEARN


def choose_to_keep(memories: Sequence[Memory], quota_bytes: int) -> frozenset[str]:
    """Digests of the memories to keep within a quota, the most useful first.

    What a memory is worth is divided by its rank among those of the same task,
    environment, kind and use, so that the tenth of a kind gives way to the first of
    another. Judges are worth what `JUDGE_PERIOD` leaves them, so that the shares stay.
    Among equals the newest stays: it shows the robot as it is.
    """
    groups: dict[tuple[object, ...], list[Memory]] = defaultdict(list)
    for memory in memories:
        key = (memory.task, memory.environment_id, memory.kind, memory.use)
        groups[key].append(memory)
    typical = _typical_surprise(memories)
    valued: list[tuple[float, int, Memory]] = []
    for group in groups.values():
        own = [(_worth(memory, typical), memory.number, memory) for memory in group]
        own.sort(key=lambda one: one[:2], reverse=True)
        valued += [
            (worth / rank, number, memory)
            for rank, (worth, number, memory) in enumerate(own, start=1)
        ]
    valued.sort(key=lambda one: one[:2], reverse=True)
    kept, used_bytes = set(), 0
    for _, _, memory in valued:
        if used_bytes + memory.size_bytes <= quota_bytes:
            used_bytes += memory.size_bytes
            kept.add(memory.digest)
    return frozenset(kept)


def choose_to_learn(memories: Iterable[Memory], room: int) -> list[Memory]:
    """The memories that a consolidation learns from: known ones first, then the others.

    If there are more than room for, lived ones have precedence, but known ones keep
    half of the room, or all that they were would be forgotten. Of each kind the newest
    of each task are taken in turn; of known ones every age, because the robot may have
    changed since. What was seen fills what is left.

    Args:
        memories: of any use and kind.
        room: episodes that the package's arrays hold.
    """
    learned = [m for m in memories if m.use is Use.LEARN and m.steps > 1]
    lived = [m for m in learned if m.kind == LIVED]
    known = [m for m in learned if m.kind == KNOWN]
    seen = [m for m in learned if m.kind == SEEN]
    for_known = min(len(known), max(room // 2, room - len(lived)))
    chosen = _every_age(known, for_known)
    now = _newest(lived, room - for_known)
    now += _newest(seen, min(MOST_SEEN, room - len(chosen) - len(now)))
    return chosen + sorted(now, key=lambda m: m.number)


def choose_recent(memories: Iterable[Memory], room: int) -> list[Memory]:
    """The memories that a medium loop learns from, in the order of `choose_to_learn`.

    They are the newest ones, whatever their tasks: lived ones, and seen ones as far as
    there are fewer than `MOST_RECENT`. Known ones of every task and age fill the rest,
    at least half of the room, since what happened lately must not make up for them.
    """
    learned = [m for m in memories if m.use is Use.LEARN and m.steps > 1]
    known = [m for m in learned if m.kind == KNOWN]
    count = min(MOST_RECENT, max(room // 2, room - len(known)))
    recent: list[Memory] = []
    for kind in (LIVED, SEEN):
        left = count - len(recent)
        of_kind = sorted((m for m in learned if m.kind == kind), key=_number)
        recent += of_kind[max(0, len(of_kind) - left) :]
    chosen = _every_age(known, room - len(recent))
    return chosen + sorted(recent, key=_number)


def choose_judges(memories: Iterable[Memory], room: int) -> list[Memory]:
    """The memories that judge, chosen as those that are learned from."""
    judges = [m for m in memories if m.use is Use.JUDGE and m.steps > 1]
    lived = [m for m in judges if m.kind == LIVED]
    known = [m for m in judges if m.kind == KNOWN]
    for_known = min(len(known), max(room // 2, room - len(lived)))
    return _newest(known, for_known) + _newest(lived, room - for_known)


def _newest(memories: Sequence[Memory], room: int) -> list[Memory]:
    """The newest of each task in turn, as many as there is room for, oldest first."""
    turns: Counter[str] = Counter()
    ranked = []
    for memory in sorted(memories, key=lambda m: m.number, reverse=True):
        ranked.append((turns[memory.task], -memory.number, memory))
        turns[memory.task] += 1
    ranked.sort(key=lambda one: one[:2])
    return sorted((one[2] for one in ranked[:room]), key=lambda m: m.number)


def _every_age(memories: Sequence[Memory], room: int) -> list[Memory]:
    """As many of each task in turn as there is room for, spread over their ages."""
    by_task: dict[str, list[Memory]] = defaultdict(list)
    for memory in sorted(memories, key=lambda m: m.number):
        by_task[memory.task].append(memory)
    chosen: list[Memory] = []
    for turn, (_, group) in enumerate(sorted(by_task.items(), key=_size)):
        share = min(len(group), (room - len(chosen)) // (len(by_task) - turn))
        chosen += [group[i * len(group) // share] for i in range(share)]
    return sorted(chosen, key=lambda m: m.number)


def _number(memory: Memory) -> int:
    return memory.number


def _size(of_task: tuple[str, Sequence[Memory]]) -> int:
    """The smallest group is first, so that others take what it leaves."""
    return len(of_task[1])


def _worth(memory: Memory, typical: float | None) -> float:
    if memory.kind == SEEN:
        worth = FAILURE_WORTH
    elif memory.driver in (Driver.EXPERT, Driver.PERSON):
        worth = DEMONSTRATION_WORTH
    else:
        worth = SUCCESS_WORTH
    if memory.surprise is not None and typical:
        share = memory.surprise / typical
        worth *= min(max(share, LEAST_SURPRISE), MOST_SURPRISE)
    return worth / (JUDGE_PERIOD - 1) if memory.use is Use.JUDGE else worth


def _typical_surprise(memories: Iterable[Memory]) -> float | None:
    known = [m.surprise for m in memories if m.surprise is not None]
    return statistics.median(known) if known else None


def count_kinds(memories: Iterable[Memory]) -> Mapping[str, int]:
    """How many memories there are by what they are for, for people."""
    counts = Counter(
        "judging"
        if m.use is Use.JUDGE
        else {KNOWN: "known", LIVED: "lived", SEEN: "seen"}[m.kind]
        for m in memories
    )
    return dict(sorted(counts.items()))
