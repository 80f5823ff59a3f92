"""What the page and the supervisor that starts it both say about where it listens."""

from typing import Final

from absl import flags

# So that the flags belong to the program that defines them, for `--help`.
flags.disclaim_key_flags()

LISTEN: Final = ("local", "network")
DEFAULT_PORT: Final = 8480


def define_port(name: str) -> "flags.FlagHolder[int]":
    """Defines the flag for the port of the page."""
    return flags.DEFINE_integer(
        name,
        DEFAULT_PORT,
        "port of the page; 0 for any that is free",
        lower_bound=0,
        upper_bound=65535,
    )
