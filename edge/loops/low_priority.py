"""Gives way to everything else on the robot, from the moment this file is imported.

A learner imports it before anything heavy: loading jax alone takes a second of the
processor. It asks for nothing that would need a right of its own.
"""

import contextlib
import os
from pathlib import Path
from typing import Final

NICE: Final = 19  # the lowest: it runs when nothing else wants the processor
OOM_SCORE: Final = 1000  # the first process to be killed when memory is short

with contextlib.suppress(OSError):
    os.nice(NICE)
with contextlib.suppress(OSError):
    Path("/proc/self/oom_score_adj").write_text(f"{OOM_SCORE}\n")


def use_threads(count: int) -> None:
    """Keeps this process to some of the processors that it may use: the last ones.

    jax makes as many threads as there are processors when it first computes.

    Args:
        count: processors; 0 for all.
    """
    if count and hasattr(os, "sched_setaffinity"):
        allowed = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, allowed[-count:])
