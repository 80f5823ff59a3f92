"""Any package is evaluated and judged by the two commands, as the main job does it."""

import json
from pathlib import Path

import pytest

from cloud.evaluate import report
from edge.testing import tiny_package
from tests.loop import binaries

EVALUATE, BLESS = "cloud/evaluate/evaluate", "cloud/evaluate/bless"
FEW = ("--evaluation_episodes=2", "--evaluation_max_steps=20")


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("package") / "p"
    tiny_package.write_package(folder)
    return folder


def test_package_is_driven_on_each_of_its_tasks_and_judged_by_its_report(
    package: Path, tmp_path: Path
) -> None:
    output = tmp_path / "evaluation.json"
    said = binaries.run(EVALUATE, f"--package={package}", f"--output={output}", *FEW)
    found = report.parse(output.read_bytes(), output)
    assert {task: one.success.episodes for task, one in found.tasks.items()} == (
        dict.fromkeys(tiny_package.TASKS, 2)
    )
    assert found.steps == 2 * 20 * len(tiny_package.TASKS)
    assert found.environment == "metaworld"
    for words in ("Success in closed loop on metaworld", *found.tasks, "not stated"):
        assert words in said
    done = binaries.attempt(
        BLESS, f"--package={package}", f"--report={output}", "--first"
    )
    assert done.returncode in (1, 3), done.stderr  # four episodes bless nothing
    assert "undecided held-out loss before export" in done.stdout
    assert done.stdout.splitlines()[-1].endswith(", not signed")


def test_one_task_alone_is_driven_and_an_unknown_one_is_named(package: Path) -> None:
    task = tiny_package.TASKS[0]
    said = binaries.run(EVALUATE, f"--package={package}", f"--task={task}", *FEW)
    assert tiny_package.TASKS[1] not in said
    line = binaries.refuse(EVALUATE, f"--package={package}", "--task=fly", *FEW)
    assert "--task=fly" in line and task in line


def test_environment_that_does_not_exist_is_one_line_and_writes_nothing(
    package: Path, tmp_path: Path
) -> None:
    output = tmp_path / "evaluation.json"
    line = binaries.refuse(
        EVALUATE, f"--package={package}", "--environment=moon", f"--output={output}"
    )
    assert "moon" in line
    assert not output.exists()


def test_damaged_package_is_refused_before_anything_drives(
    package: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "damaged"
    tiny_package.write_package(folder)
    manifest = json.loads((folder / "package.json").read_bytes())
    path = folder / manifest["functions"]["step"]["path"]
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    assert "step" in binaries.refuse(EVALUATE, f"--package={folder}", *FEW)
