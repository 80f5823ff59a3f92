"""The shuffled order of windows, computed for each position without a shuffled list.

An epoch cuts the ring of all steps into windows of equal length, starting at its own
offset, and visits them in its own order. Both depend only on the seed and the epoch's
number. Each position is computed independently, so the millionth costs as much as the
first and nothing has to be stored.

The ring closes at the border between the last episode and the first, so a window that
crosses its end is as good as any other. An epoch leaves out only the remainder of one
division, which is at other steps each time.

Source of the order: a Feistel network (Luby and Rackoff 1988) over the smallest even
number of bits, applied again until the result is in range (Black and Rogaway 2002,
section 3). Its round function is the finaliser of SplitMix64 (Steele, Lea and
Flood 2014).
"""

import dataclasses
import hashlib
import struct

import numpy as np

_ROUNDS = 7
_KEYS = struct.Struct(f"<{_ROUNDS + 1}Q")  # one BLAKE2b digest: rounds and offset


@dataclasses.dataclass(frozen=True)
class WindowOrder:
    """The order of all windows of all epochs.

    Attributes:
        step_count: steps of all episodes, which form the ring.
        sequence_length: steps of a window.
        seed: decides the order.

    Raises:
        ValueError: there are fewer steps than one window has.
    """

    step_count: int
    sequence_length: int
    seed: int

    def __post_init__(self) -> None:
        if not 1 <= self.sequence_length <= self.step_count:
            raise ValueError(
                f"sequence_length: expected 1 to {self.step_count}, got"
                f" {self.sequence_length}"
            )

    @property
    def windows_per_epoch(self) -> int:
        """Windows that an epoch visits, each once."""
        return self.step_count // self.sequence_length

    def first_steps(self, positions: np.ndarray) -> np.ndarray:
        """Returns the first step i64 [...] of the window at each position i64 [...].

        Positions number the windows of all epochs, from 0.
        """
        epochs, positions_in_epoch = np.divmod(positions, self.windows_per_epoch)
        first = np.empty_like(positions)
        for epoch in np.unique(epochs):
            here = epochs == epoch
            first[here] = self._first_steps(int(epoch), positions_in_epoch[here])
        return first

    def _first_steps(self, epoch: int, positions: np.ndarray) -> np.ndarray:
        seed = f"windows/{self.seed}/{epoch}".encode()
        *keys, offset = _KEYS.unpack(hashlib.blake2b(seed).digest())
        window = permute(positions, self.windows_per_epoch, tuple(keys))
        offset %= self.step_count
        first: np.ndarray = (offset + window * self.sequence_length) % self.step_count
        return first


def permute(positions: np.ndarray, count: int, keys: tuple[int, ...]) -> np.ndarray:
    """Maps positions i64 [p] to i64 [p] by a bijection of 0 to `count` - 1.

    The round keys, 64 bits each, choose the bijection.
    """
    half_bits = max(1, ((count - 1).bit_length() + 1) // 2)
    found = _feistel(positions.astype(np.uint64), half_bits, keys)
    # At most three quarters of the network's range are beyond `count`, so a few repeats
    # are enough; the network is a bijection, so its cycle returns into the range.
    while (beyond := found >= count).any():
        found[beyond] = _feistel(found[beyond], half_bits, keys)
    return found.astype(np.int64)


def _feistel(x: np.ndarray, half_bits: int, keys: tuple[int, ...]) -> np.ndarray:
    shift, mask = np.uint64(half_bits), np.uint64((1 << half_bits) - 1)
    left, right = x >> shift, x & mask
    for key in keys:
        left, right = right, left ^ (_mix(right ^ np.uint64(key)) & mask)
    return left << shift | right


def _mix(x: np.ndarray) -> np.ndarray:
    x = (x ^ x >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ x >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
    mixed: np.ndarray = x ^ x >> np.uint64(31)
    return mixed
