"""Episodes as a package's world model imagines them, answered by the package.

Each imagined episode follows a recorded one up to a random step. From there the world
model says what is sensed next. It is not told commands, since it knows the package's
own; so what is sensed is pushed about at random, and states are met that no recording
holds. What is to be imitated is what the package answers there.

Sources: branches from recorded states, short because a model's errors add up, Janner et
al. 2019, arXiv:1906.08253, section 4; a teacher asked where a learner might stray,
Laskey et al. 2017, arXiv:1703.09327.
"""

from collections.abc import Mapping
from typing import Final

import jax
import jax.numpy as jnp
import numpy as np

from edge.loops.memory_arrays import Arrays
from model import array_types as at
from model import step_function
from model.wavecore import WaveCore

IMAGINED_STEPS: Final = 16
"""Steps after the recorded ones."""
PUSH: Final = 0.5
"""Deviation of each push, in what a channel typically changes by within a step. In 16
steps pushes add up to two such changes."""


def imagine(
    model: WaveCore,
    weights: Mapping[str, at.Array],
    recorded: Arrays,
    random: np.random.Generator,
) -> Arrays:
    """An imagined episode for each recorded one, as arrays of the same shapes.

    Args:
        model: a model without senses beside its state.
        weights: its weights, by name.
        recorded: memories, as `edge.loops.memory_arrays` fills them.
        random: where each episode leaves the recording, and the pushes.
    """
    core = step_function.with_weights(model, weights)
    length = recorded["length"]
    leaves = (random.random(len(length)) * np.maximum(length, 1)).astype(np.int32)
    pushes = PUSH * random.standard_normal(recorded["states"][:, 1:].shape, np.float32)
    episodes = (recorded["states"], recorded["task"], leaves, pushes)
    one_by_one = jax.jit(
        lambda given: jax.lax.map(lambda one: _imagine_one(core, *one), given)
    )
    states, answers = map(np.asarray, one_by_one(episodes))
    ended = np.minimum(leaves + IMAGINED_STEPS, length).astype(length.dtype)
    whole = np.arange(answers.shape[1]) < ended[:, None]
    commands = answers * np.asarray(core.action_reach[...])
    return {
        **recorded,
        "states": states,
        "actions": commands,
        "executed": commands,
        "imitate": whole.astype(np.float32),
        "length": ended,
    }


def _imagine_one(
    core: WaveCore,
    recorded: at.States,
    task: at.TaskOneHot,
    leaves: at.Array,
    pushes: at.States,
) -> tuple[at.States, at.Actions]:
    """States [t+1 n], recorded up to `leaves`, and answers [t a] in reaches."""

    def step(
        before: tuple[at.Carry, at.States], now: tuple[at.Array, at.States, at.States]
    ) -> tuple[tuple[at.Carry, at.States], tuple[at.States, at.Actions]]:
        carry, expected = before
        index, known, push = now
        state = jnp.where(index <= leaves, known, expected)
        answer = core.step(state, task, carry)
        following = answer.next_observation + push * core.change[...]
        return (answer.carry, following), (state, answer.action)

    begin = (jnp.zeros(core.config.carry_size), recorded[0])
    numbered = (jnp.arange(len(pushes)), recorded[:-1], pushes)
    (_, last), (states, answers) = jax.lax.scan(step, begin, numbered)
    return jnp.concatenate([states, last[None]]), answers
