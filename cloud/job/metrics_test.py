"""TensorBoard reads what was written, also after a run was resumed."""

import subprocess
import sys

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from cloud.job import figures


def read(folder):
    accumulator = EventAccumulator(str(folder))
    accumulator.Reload()
    return {
        tag: [(e.step, e.value) for e in accumulator.Scalars(tag)]
        for tag in accumulator.Tags()["scalars"]
    }


def test_figures_come_back_by_tag_and_step_while_the_file_is_open(tmp_path):
    with figures.EventFile(tmp_path / "run") as events:
        events.add(50, {"loss/total": 0.5, "gradient_norm": 2.0})
        events.add(100, {"loss/total": 0.25})
        assert read(tmp_path / "run") == {
            "loss/total": [(50, 0.5), (100, 0.25)],
            "gradient_norm": [(50, 2.0)],
        }


def test_resumed_run_replaces_the_steps_it_repeats(tmp_path):
    with figures.EventFile(tmp_path) as events:
        for step in (1, 2, 3):
            events.add(step, {"loss/total": 1.0})
    with figures.EventFile(tmp_path, resumes=True) as events:
        events.add(2, {"loss/total": 0.5})
        events.add(3, {"loss/total": 0.25})
    assert read(tmp_path) == {"loss/total": [(1, 1.0), (2, 0.5), (3, 0.25)]}


def test_writing_does_not_import_tensorflow(tmp_path):
    script = (
        "import sys; from pathlib import Path; from cloud.job import figures;"
        "figures.EventFile(Path(sys.argv[1])).add(1, {'loss': 1.0});"
        "sys.exit('tensorflow' in sys.modules)"
    )
    code = [sys.executable, "-c", f"import sys; sys.path[:0] = {sys.path!r}; {script}"]
    subprocess.run([*code, str(tmp_path)], check=True, timeout=60)
