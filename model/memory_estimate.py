"""How much memory training needs, from the configuration alone.

`cloud.train.feasible` uses it to refuse what does not fit, before data are read and
programs compiled. The estimate counts arrays: what is kept for every parameter, and
what the forward pass keeps for the backward pass. Compilers fuse operations and reuse
memory, so the estimate is not exact: for the presets `tiny`, `pi5` and `seed`, with and
without remat, the memory that XLA plans for on a CPU is between `LOWEST_RATIO` and
`HIGHEST_RATIO` times the estimate, which a test checks (measured: 0.76 to 0.96, f32).
Mixed precision and senses are counted by the same rules but were not measured. What the
compiler and the framework need besides arrays is not included.

Sources: copies of every parameter, Rajbhandari et al. 2020, arXiv:1910.02054, section
3.1; activations of a block, kept and recomputed, Chen et al. 2016, arXiv:1604.06174,
section 3.
"""

import dataclasses
import math

from model import senses
from model.config import RESPONSE_STEPS, PresetTraining, WaveCoreConfig

LOWEST_RATIO = 0.7
HIGHEST_RATIO = 1.1

_F32 = 4


@dataclasses.dataclass(frozen=True)
class MemoryEstimate:
    """Bytes that one device needs during training, by what they hold.

    Attributes:
        parameters_bytes: trained and untrained parameters, f32, and in mixed
            precision their bfloat16 copy.
        gradients_bytes: one gradient, or two if the parts of a batch are added up.
        optimizer_bytes: the two moments of AdamW.
        average_bytes: the running average of the parameters.
        activations_bytes: activations of the part of a batch that is computed at once.
    """

    parameters_bytes: int
    gradients_bytes: int
    optimizer_bytes: int
    average_bytes: int
    activations_bytes: int

    @property
    def total_bytes(self) -> int:
        """Sum of all of them."""
        return sum(dataclasses.astuple(self))


def trained_count(config: WaveCoreConfig) -> int:
    """Numbers that training changes: backbone without normalisation, and head."""
    n, a, k, d = config.state_size, config.action_size, config.task_count, config.width
    e, f, g = config.recurrence_size, config.hidden_size, config.gate_count
    turns = e // 2 if config.oscillating else 0
    block = (d + 1) * g + 3 * d * e + turns + 3 * d * f
    heads = 2 * a * (d + 1) + d * n + (d + 1)
    return config.block_count * block + heads + (n + k) * d + _encoded_count(config) * d


def untrained_count(config: WaveCoreConfig) -> int:
    """Numbers that training leaves alone: normalisation, and what a robot writes."""
    d = config.width
    adapters = 2 * config.block_count * d * config.adapter_rank
    skills = 2 * config.skill_levels * config.skill_slots * d
    scales = 6 * config.state_size + 2 * config.action_size
    scales += 2 * _encoded_count(config)
    rest = (config.task_count + 1) * config.state_size
    n, a = config.state_size, config.action_size
    arm = (RESPONSE_STEPS * a + 1) * n + a + 1
    return adapters + skills + scales + rest + arm


def estimate(config: WaveCoreConfig, training: PresetTraining) -> MemoryEstimate:
    """What one device needs to train on the whole batch, one part after the other."""
    trained, untrained = trained_count(config), untrained_count(config)
    mixed = training.compute_dtype == "bfloat16"
    windows = training.batch_size // training.accumulation_steps
    rows = windows * training.sequence_length
    return MemoryEstimate(
        parameters_bytes=trained * (_F32 + 2 * mixed) + untrained * _F32,
        gradients_bytes=trained * _F32 * (2 if training.accumulation_steps > 1 else 1),
        optimizer_bytes=2 * trained * _F32,
        average_bytes=trained * _F32,
        activations_bytes=rows * _row_bytes(config, training),
    )


def _row_bytes(config: WaveCoreConfig, training: PresetTraining) -> int:
    """Activations of one control step."""
    size = 2 if training.compute_dtype == "bfloat16" else _F32
    d, e, f, g = (
        config.width,
        config.recurrence_size,
        config.hidden_size,
        config.gate_count,
    )
    # Inputs of both mixers and of their norms; gate, values and output of the wave
    # mixer; gate, value and output of the particle mixer. Recurrence: values, states.
    block = size * (4 * d + 2 * e + 3 * f) + _F32 * (2 * e + 2 * g)
    entered = size * d
    outside = size * 4 * d + _F32 * (4 * config.state_size + 4 * config.action_size)
    # During the backward pass of a block, about half of it is held a second time.
    inside = block * (1 if training.remat else config.block_count) + block // 2
    kept = entered * config.block_count if training.remat else 0
    return inside + kept + outside + 2 * _F32 * _encoded_count(config)


def _encoded_count(config: WaveCoreConfig) -> int:
    """Numbers of one step that the senses encode."""
    return sum(math.prod(x) for x in senses.encoded_shapes(config).values())
