"""Learning functions with little to replay, for tests that export or run them."""

from contextlib import AbstractContextManager
from unittest import mock

from model.export import functions


def shortened() -> AbstractContextManager[object]:
    """Inside, functions are made with two gradient steps on windows of nine steps."""
    return mock.patch.multiple(functions, REPLAY_UPDATES=2, REPLAY_STEPS=9)
