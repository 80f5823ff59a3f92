"""Nights as they might be, to be compared with the one that ships.

A candidate says what stands in the place of the episodes that must not be forgotten,
what pulls the surfaces back, and what is made of the lived ones. Its night is the
package's slow loop of `model.learn.consolidation`; what differs is what it is given:
arrays of memories, the weight of each number in the pull, shares and number of the
steps. Candidates that do not ship are in no package, so their nights run as library
code.

Sources: a pull by the Fisher information of each weight, Kirkpatrick et al. 2017,
arXiv:1612.00796, equation 3; Gauss-Newton in its place, Martens 2020, arXiv:1412.1193,
section 9; its diagonal by random signs, Bekas et al. 2007, An estimator for the
diagonal of a matrix.
"""

import dataclasses
import enum
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import jax
import jax.numpy as jnp
import numpy as np

from edge.loops import calls
from edge.loops.memory_arrays import Arrays
from model import array_types as at
from model import step_function, surfaces
from model.export import functions
from model.learn import consolidation
from model.learn.bounded_descent import join
from model.learn.memories import KNOWN, LIVED
from model.wavecore import WaveCore
from release.learning_plan import Calls
from tests.benchmarks import imagined_episodes

IMPORTANCE: Final = "importance"
"""In the state of a night: weight [u] of each squared distance in the pull."""
DRAWS: Final = 8
"""Random signs for each episode that the importance is measured on."""
REVERSED_STEPS: Final = 8
"""Steps after a command has turned around in which play may be taken up."""
_CLEAR_COMMAND: Final = 0.1


class Known(enum.Enum):
    """What stands in the place of the known episodes."""

    NOTHING = enum.auto()
    OWN = enum.auto()  # what the package drove on this robot
    TAUGHT = enum.auto()  # the same states, with what the package answers there now
    IMAGINED = enum.auto()  # the same, and as many that its world model imagines
    SHIPPED = enum.auto()  # the package's canary episodes
    CHOSEN = enum.auto()  # training demonstrations that stand for all of them


@dataclass(frozen=True)
class Candidate:
    """One way to spend a night; the defaults are what ships.

    Attributes:
        known: see `Known`.
        pull: loss at a distance of one bound, the same for every number of a surface.
        fisher: factor of half the squared distance of each number, times how much the
            action depends on it.
        measured_on: the episodes on which that is measured, `OWN` or `SHIPPED`.
        lived_share: share of the windows that are lived; None for that of the loop.
        steps: gradient steps after those of the calibration.
        after_reversals: whether of the lived steps only those count that follow a
            command that has turned around.
    """

    known: Known = Known.OWN
    pull: float = consolidation.PULL
    fisher: float = 0.0
    measured_on: Known = Known.OWN
    lived_share: float | None = None
    steps: int = functions.SLOW_STEPS
    after_reversals: bool = False


def _pull_by(times: float, measured_on: Known) -> Candidate:
    return Candidate(Known.NOTHING, 0.0, times, measured_on)


CANDIDATES: Final[Mapping[str, Candidate]] = {
    "nothing": Candidate(Known.NOTHING),
    "nothing, Fisher of own, times 0.1": _pull_by(0.1, Known.OWN),
    "nothing, Fisher of own, times 1": _pull_by(1, Known.OWN),
    "nothing, Fisher of own, times 10": _pull_by(10, Known.OWN),
    "nothing, Fisher of own, times 100": _pull_by(100, Known.OWN),
    "nothing, Fisher of shipped, times 1": _pull_by(1, Known.SHIPPED),
    "nothing, Fisher of shipped, times 10": _pull_by(10, Known.SHIPPED),
    "nothing, Fisher of shipped, times 100": _pull_by(100, Known.SHIPPED),
    "shipped": Candidate(Known.SHIPPED),
    "chosen": Candidate(Known.CHOSEN),
    "taught": Candidate(Known.TAUGHT),
    "taught, imagined too": Candidate(Known.IMAGINED),
    "own, no pull": Candidate(pull=0.0),
    "own": Candidate(),
    "own, pull of 1": Candidate(pull=1.0),
    "own, half lived": Candidate(lived_share=0.5),
    "own, 1200 steps": Candidate(steps=1200),
    "own, after reversals": Candidate(after_reversals=True),
}
"""By name; `own` ships, and what stands below `own, pull of 1` is about winning back
more and not about forgetting less."""


class Nights:
    """Nights of one robot, each from no delta; what several share is done once."""

    def __init__(
        self,
        model: WaveCore,
        loop: tuple[Calls, ...],
        own: Arrays,
        shipped: Arrays,
        chosen: Arrays,
        batch: consolidation.Batch = functions.BATCH,
    ) -> None:
        """Computes nothing yet.

        Args:
            model: the package's model.
            loop: its slow loop.
            own: memories of the robot, as its learner fills them.
            shipped: the package's canary episodes, of the same shapes, as known.
            chosen: the same of the chosen training demonstrations.
            batch: windows of a gradient step.
        """
        self._model = model
        self._own = own
        self._of_the_forge = {Known.SHIPPED: shipped, Known.CHOSEN: chosen}
        self._weights = jax.device_put(step_function.weights(model))
        prefix = step_function.SURFACE_PREFIX
        self._nothing = {
            name: np.zeros_like(self._weights[prefix + name])
            for name in surfaces.SURFACES
        }
        made = consolidation.make(model, batch, pull_by_importance)
        made["begin"] = _add_importance(made["begin"], len(join(self._nothing)))
        self._functions = {
            f"{functions.CONSOLIDATE}_{name}": (
                _with_numbers(jax.jit(call)),
                list_names(call),
            )
            for name, call in made.items()
        }
        names = [entry.function for entry in loop]
        after = names.index(f"{functions.CONSOLIDATE}_imagine") + 1
        self._first, self._last = loop[:after], loop[after:]
        self._begun: dict[Candidate, dict[str, Any]] = {}
        self._importance: dict[Known, at.Array] = {}

    def spend(self, candidate: Candidate) -> tuple[Arrays, Mapping[str, Any]]:
        """The new deltas, [s] by surface, and what the night found."""
        values = self._begin(candidate)
        state = {**values["state"], IMPORTANCE: self._weigh(candidate)}
        if candidate.lived_share is not None:
            state["shares"] = share_out(state["shares"], candidate.lived_share)
        last = [
            dataclasses.replace(entry, calls=candidate.steps)
            if entry.function.endswith("_step")
            else entry
            for entry in self._last
        ]
        ended = calls.run_calls(last, self._functions, {**values, "state": state})
        assert ended is not None  # nobody stops it
        return {n: np.asarray(x) for n, x in ended["deltas"].items()}, ended["found"]

    def _begin(self, candidate: Candidate) -> dict[str, Any]:
        """All values after the calls that no pull reaches."""
        key = Candidate(candidate.known, after_reversals=candidate.after_reversals)
        if key not in self._begun:
            zero = np.int32(0)
            values = {
                "weights": self._weights,
                "memories": jax.device_put(self._remember(candidate)),
                "deltas": self._nothing,
                "last_good": self._nothing,
                "consolidations": zero,
                "seed": zero,
            }
            begun = calls.run_calls(self._first, self._functions, values)
            assert begun is not None  # nobody stops it
            self._begun = {key: begun}
        return self._begun[key]

    def _remember(self, candidate: Candidate) -> Arrays:
        memories = self._own
        if candidate.known is Known.NOTHING:
            nothing = {n: np.zeros_like(x) for n, x in memories.items()}
            memories = replace_known(memories, nothing)
        elif candidate.known in self._of_the_forge:
            memories = replace_known(memories, self._of_the_forge[candidate.known])
        elif candidate.known is not Known.OWN:
            known = choose_known(memories)
            actions = answer(self._model, self._weights, known)
            episodes = [{**known, "actions": actions}]
            if candidate.known is Known.IMAGINED:
                random = np.random.default_rng(0)
                episodes.append(
                    imagined_episodes.imagine(self._model, self._weights, known, random)
                )
            memories = replace_known(memories, *episodes)
        if candidate.after_reversals:
            lived = (memories["kind"] == LIVED)[:, None]
            turned = find_reversals(memories["executed"])
            kept = np.where(lived & ~turned, np.float32(0), memories["imitate"])
            memories = {**memories, "imitate": kept}
        return memories

    def _weigh(self, candidate: Candidate) -> at.Array:
        """The importance [u] of each number of each surface for the pull."""
        even = {
            name: jnp.full(x.size, candidate.pull / surfaces.BOUNDS[name] ** 2)
            for name, x in self._nothing.items()
        }
        even["calibration"] = jnp.zeros_like(even["calibration"])
        if not candidate.fisher:
            return join(even)
        on = candidate.measured_on
        if on not in self._importance:
            memories = self._of_the_forge.get(on, self._own)
            self._importance[on] = measure_importance(
                self._model, self._weights, memories, DRAWS
            )
        return join(even) + candidate.fisher / 2 * self._importance[on]


def pull_by_importance(
    deltas: Mapping[str, at.Surface], state: Mapping[str, Any]
) -> at.Array:
    """The loss [] of being away from what was good, number by number."""
    away = join(dict(deltas)) - join(state["last_good"])
    return jnp.sum(state[IMPORTANCE] * jnp.square(away))


def measure_importance(
    model: WaveCore, weights: Mapping[str, at.Array], memories: Arrays, draws: int
) -> at.Array:
    """Mean square [u] of the slope of an action by each number of the surfaces.

    The mean is over the steps and action components of the known episodes. It is the
    Fisher information of an action whose error is of a Laplace distribution of scale 1,
    as the absolute error of the loss has it. Nothing pulls the calibration, which a
    night measures.

    Raises:
        FloatingPointError: a slope is not finite; a pull by it would hold everything.
    """
    zero = {
        name: jnp.zeros_like(weights[step_function.SURFACE_PREFIX + name])
        for name in surfaces.SURFACES
    }

    @jax.jit
    def square(episode: Mapping[str, at.Array], signs: at.Array) -> at.Array:
        def act(deltas: Mapping[str, at.Surface], signs: at.Array) -> at.Array:
            core = step_function.with_deltas(model, weights, deltas)
            return jnp.sum(signs * drive(core, episode))

        def slope(signs: at.Array) -> at.Array:
            slopes = jax.grad(act)(zero, signs)
            slopes["calibration"] = jnp.zeros_like(slopes["calibration"])
            return join(slopes)

        # One by one: as a batch of 6 to 8 draws over 256 steps this gradient was read
        # from memory that nothing had written (jaxlib 0.12.0.1 on a CPU), and was inf.
        return jnp.mean(jnp.square(jax.lax.map(slope, signs)), axis=0)

    random = np.random.default_rng(0)
    total, count = jnp.zeros(len(join(zero))), 0
    of_kind = (memories["kind"] == KNOWN) & (memories["length"] > 0)
    for row in np.flatnonzero(of_kind):
        length, shape = memories["length"][row], memories["actions"][row].shape
        signs = random.choice(np.array([-1, 1], np.float32), (draws, *shape))
        signs[:, length:] = 0
        total = total + square({n: x[row] for n, x in memories.items()}, signs)
        count += int(length) * shape[1]
    importance = total / max(count, 1)
    if not np.isfinite(importance).all():
        raise FloatingPointError("importance of the surfaces: expected finite numbers")
    return importance


def answer(
    model: WaveCore, weights: Mapping[str, at.Array], memories: Arrays
) -> np.ndarray:
    """What the package would do [r t a] in each recorded step, without a delta.

    In the robot's units, as commands are recorded.
    """
    core = step_function.with_weights(model, weights)
    act = jax.jit(lambda all_: jax.lax.map(lambda one: drive(core, one), all_))
    return np.asarray(act(memories) * core.action_reach[...])


def drive(core: WaveCore, episode: Mapping[str, at.Array]) -> at.Array:
    """Actions [t a] of a model without senses over a recorded episode, in reaches."""
    steps = len(episode["actions"])
    task = jnp.broadcast_to(episode["task"], (steps, *episode["task"].shape))
    begin = jnp.zeros(core.config.carry_size)
    starts = jnp.arange(steps) == 0
    return core.sequence(episode["states"][:-1], task, starts, begin).action


def list_names(call: Callable[..., Any]) -> tuple[str, ...]:
    """The values that a call takes."""
    return tuple(inspect.signature(call).parameters)


def choose_known(memories: Arrays) -> Arrays:
    """The known episodes alone."""
    known = (memories["length"] > 0) & (memories["kind"] == KNOWN)
    return {name: x[known] for name, x in memories.items()}


def replace_known(memories: Arrays, *others: Arrays) -> Arrays:
    """The memories with the episodes of others in the place of the known ones."""
    kept = (memories["length"] > 0) & (memories["kind"] != KNOWN)
    replaced = {}
    for name, before in memories.items():
        given = [other[name][other["length"] > 0] for other in others]
        rows = np.concatenate([*given, before[kept]])[: len(before)]
        replaced[name] = np.zeros_like(before)
        replaced[name][: len(rows)] = rows
    return replaced


def find_reversals(commands: np.ndarray) -> np.ndarray:
    """Which steps [r t] follow a command [r t a] that has turned around."""
    way = np.sign(commands) * (np.abs(commands) > _CLEAR_COMMAND)
    last = np.zeros_like(way[:, 0])
    left = np.zeros(len(way), int)
    found = np.zeros(way.shape[:2], bool)
    for step in range(way.shape[1]):
        turned = np.any(way[:, step] * last < 0, axis=1)
        left = np.where(turned, REVERSED_STEPS, np.maximum(left - 1, 0))
        found[:, step] = left > 0
        last = np.where(way[:, step] != 0, way[:, step], last)
    return found


def share_out(shares: at.Array, lived: float) -> at.Array:
    """Shares of the views in which the first one, of lived episodes, has this share.

    The others keep their proportions; a night that draws nothing goes on doing so.
    """
    rest = shares.at[0].set(0.0)
    others = rest * (1 - lived) / jnp.maximum(jnp.sum(rest), 1e-9)
    return jnp.where(jnp.sum(shares) > 0, others.at[0].set(lived), shares)


def _add_importance(
    begin: Callable[..., dict[str, Any]], size: int
) -> Callable[..., dict[str, Any]]:
    """The call that begins a night, whose steps read an importance from the state."""

    def begun(
        deltas: at.Array,
        last_good: at.Array,
        memories: at.Array,
        consolidations: at.Array,
        seed: at.Array,
    ) -> dict[str, Any]:
        state = begin(deltas, last_good, memories, consolidations, seed)["state"]
        return {"state": {**state, IMPORTANCE: jnp.zeros(size)}}

    return begun


def _with_numbers(call: Callable[..., Any]) -> Callable[..., Any]:
    """The call, which is given whole numbers as a robot gives them."""

    def with_numbers(**given: Any) -> Any:  # noqa: ANN401 - a tree of arrays
        return call(
            **{n: np.int32(x) if isinstance(x, int) else x for n, x in given.items()}
        )

    return with_numbers
