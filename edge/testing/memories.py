"""Memories without their episodes, for tests of what is decided over them."""

import dataclasses
from typing import Any

from edge.loops.memory_choice import Driver, Memory, Use


def make_memory(number: int, **changes: Any) -> Memory:
    """Makes a success of the package alone, to learn from, with `changes` of fields.

    Its digest is its number, so that memories of different numbers differ.
    """
    made = Memory(
        number=number,
        digest=f"{number:064x}",
        size_bytes=100,
        use=Use.LEARN,
        task="reach",
        environment_id="bench",
        driver=Driver.PACKAGE,
        success=True,
        steps=50,
    )
    return dataclasses.replace(made, **changes)
