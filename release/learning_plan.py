"""What a package says about learning: which of its functions a robot calls, and when.

    "learning": {"loops": {"slow": [{"calls": 1, "function": "consolidate_begin"},
                                    {"calls": 600, "function": "consolidate_step"}, …]},
                 "memory_bytes": 90000000}

A loop is a list of calls. A function takes its inputs by name from what the robot has
(`GIVEN`) and from what the functions before it returned, and what it returns is kept
under its name. So a package may learn in a new way under an old runtime, and a package
that would ask for something that nobody has is refused before it is activated.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from base.json_fields import Fields

LOOPS = ("fast", "medium", "slow")
"""Between two control steps; while the robot is idle; while it sleeps."""
GIVEN = frozenset(
    {
        "weights",
        "deltas",
        "last_good",
        "window",
        "memories",
        "consolidations",
        "seed",
        "calls",
        "index",
    }
)
"""What a robot hands over by itself; the package's functions say in which shapes."""
LEARNED = "deltas"
"""What every loop ends with."""
MOST_ENTRIES, MOST_CALLS = 64, 100_000


@dataclass(frozen=True)
class Calls:
    """One entry of a loop: a function, and how many calls of it follow each other."""

    function: str
    calls: int


@dataclass(frozen=True)
class LearningPlan:
    """What a package says about learning.

    Attributes:
        loops: the calls of each loop, of those in `LOOPS` that the package has.
        memory_bytes: what a process that makes these calls needs, without its program.
    """

    loops: Mapping[str, tuple[Calls, ...]]
    memory_bytes: int


def parse(
    fields: Fields,
    inputs: Mapping[str, Collection[str]],
    outputs: Mapping[str, Collection[str]],
) -> LearningPlan:
    """Reads the field `learning`.

    Args:
        fields: the field.
        inputs: what each function of the package takes, by name.
        outputs: what each returns.

    Raises:
        MalformedError: a loop has an unknown name, calls what the package does not
            have, takes what nothing gives, or does not end with new deltas.
    """
    named = fields.fields("loops", (), optional=LOOPS)
    loops = {
        name: _parse_loop(named, name, inputs, outputs)
        for name in LOOPS
        if named.has(name)
    }
    return LearningPlan(loops, fields.integer("memory_bytes", 1))


def _parse_loop(
    named: Fields,
    name: str,
    inputs: Mapping[str, Collection[str]],
    outputs: Mapping[str, Collection[str]],
) -> tuple[Calls, ...]:
    entries = named.each(name, ("calls", "function"))
    if not 1 <= len(entries) <= MOST_ENTRIES:
        raise named.fail(name, f"to have 1 to {MOST_ENTRIES} entries")
    known, learned = set(GIVEN), False
    loop = []
    for entry in entries:
        function, calls = entry.text("function"), entry.integer("calls", 1)
        if function not in inputs:
            raise entry.fail("function", "to be a function of the package")
        if calls > MOST_CALLS:
            raise entry.fail("calls", f"to be at most {MOST_CALLS}")
        missing = sorted(set(inputs[function]) - known)
        if missing:
            raise entry.fail(
                "function", f"to take what is known by then, not {missing[0]}"
            )
        known |= set(outputs[function])
        learned |= LEARNED in outputs[function]
        loop.append(Calls(function, calls))
    if not learned:
        raise named.fail(name, f"to return {LEARNED}")
    return tuple(loop)


def top_names(paths: Iterable[str]) -> frozenset[str]:
    """The keywords of arrays that are named by path: `state` of `state/steps`."""
    return frozenset(path.split("/")[0] for path in paths)
