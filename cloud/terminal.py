"""How the forge's commands print: for a person's terminal, or whole lines for a log."""

import sys

import rich.console

_LOG_WIDTH = 4096  # a log wraps no lines and cuts no digests


def console() -> rich.console.Console:
    """Returns a console for stdout that leaves text in brackets as it is."""
    width = None if sys.stdout.isatty() else _LOG_WIDTH
    return rich.console.Console(
        width=width, soft_wrap=True, markup=False, highlight=False
    )
