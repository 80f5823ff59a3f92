"""Keeps the actions of a run, so that two machines can be compared."""

from edge.control import ControlStep, StepRecorder


class ActionLog:
    """Implements `StepRecorder` by keeping proposed actions, then passing steps on."""

    def __init__(self) -> None:
        self._episodes: list[dict[str, object]] = []
        self._actions: list[list[float]] = []
        self._next: StepRecorder | None = None

    def begin(self, task: str, seed: int, next_recorder: StepRecorder | None) -> None:
        """Starts an episode whose steps also go to `next_recorder`."""
        self._actions = []
        self._next = next_recorder
        self._episodes.append({"task": task, "seed": seed, "actions": self._actions})

    def append(self, step: ControlStep) -> None:
        """See `StepRecorder.append`."""
        self._actions.append([float(value) for value in step.proposed_action])
        if self._next is not None:
            self._next.append(step)

    def as_json(self) -> dict[str, object]:
        """Returns the content of `--actions_json`."""
        return {"schema_version": 1, "episodes": self._episodes}
