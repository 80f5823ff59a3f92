"""What every command of the project has in common, whatever it does."""

import ast
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from base import project_version
from base.testing import command

ROOT = Path(__file__).parents[2]
COMMANDS = (
    "cloud.curate.curate",
    "cloud.demo.build_dataset",
    "cloud.demo.build_expert_baseline",
    "cloud.index.index",
    "cloud.ingest.ingest",
    "cloud.job.train",
    "cloud.package.export",
    "edge.bundle.make_bundle",
    "edge.episodes.upload",
    "edge.record",
    "edge.run",
    "release.commands.generate_key",
    "release.commands.make_channel",
    "release.commands.pack",
    "release.commands.publish",
    "release.commands.sign",
    "release.commands.verify",
)


@pytest.mark.parametrize("module", COMMANDS)
def test_every_command_tells_the_version_of_the_project(module: str) -> None:
    done = command.run(module, "--version")
    assert (done.code, done.err) == (0, "")
    name = module.rpartition(".")[2]
    assert done.out.rstrip() == project_version.version_text(name)


@pytest.mark.parametrize("then", [0, 100, 400])
@pytest.mark.parametrize("module", COMMANDS)
def test_ctrl_c_while_a_command_is_imported_is_one_line_and_no_traceback(
    module: str, then: int
) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        # Python writes a line for each module that it has imported.
        [sys.executable, "-P", "-X", "importtime", "-m", module, "--help"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    ) as child:
        assert child.stderr is not None
        lines = iter(child.stderr.readline, "")
        assert any(line.endswith("base.interrupt\n") for line in lines)
        for _ in range(then):
            next(lines, None)
        child.send_signal(signal.SIGINT)
        rest = [line for line in lines if not line.startswith("import time:")]
        code = child.wait(timeout=60)
    name = module.rpartition(".")[2]
    # A command that imports little may have shown its help already.
    assert (code, rest) in [(130, [f"{name}: interrupted\n"]), (0, [])]
    assert code == 130 or then > 0


@pytest.mark.parametrize("flag", ["--dataset", "--tasks", "--store", "--resume"])
def test_training_with_an_empty_flag_is_refused_before_anything(flag: str) -> None:
    done = command.run("cloud.job.train", f"{flag}=")
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith(f"train: {flag}: expected a value, got none;")


@pytest.mark.parametrize(
    ("module", "flags"),
    [
        ("cloud.job.train", ("--dataset={absent}", "--store={file}")),
        ("edge.record", ("--robot=metaworld:reach-v3", "--output={file}")),
        ("edge.run", ("--robot=metaworld:reach-v3", "--record_dir={file}")),
    ],
)
def test_a_file_where_results_should_go_is_named(
    module: str, flags: tuple[str, ...], tmp_path: Path
) -> None:
    file = tmp_path / "file"
    file.write_text("kept")
    given = [flag.format(file=file, absent=tmp_path / "absent") for flag in flags]
    more = ["--policy=expert"] if module == "edge.run" else []
    done = command.run(module, *given, *more)
    name = module.rpartition(".")[2]
    assert done.code == 1
    assert done.err == f"{name}: {file}: expected a folder, got a file; name a folder\n"
    assert file.read_text() == "kept"


def test_every_program_that_has_flags_is_in_this_list() -> None:
    found = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for folder in ("cloud", "edge", "release")
        for path in (ROOT / folder).rglob("*.py")
        if any(_runs_a_command(node) for node in ast.parse(path.read_bytes()).body)
    }
    assert found == set(COMMANDS)


def _runs_a_command(node: ast.stmt) -> bool:
    """Tells whether a statement is `if __name__ …: command_line.run(main)`."""
    return isinstance(node, ast.If) and "command_line.run(" in ast.unparse(node)
