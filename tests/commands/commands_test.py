"""What every command of the project has in common, whatever it does."""

import ast
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from base import project_version
from base.testing import command
from cloud.curate import curation  # noqa: F401 - heavy, and each command is a fork
from cloud.job import job  # noqa: F401 - likewise

ROOT = Path(__file__).parents[2]
COMMANDS = (
    "cloud.curate.curate",
    "cloud.demo.build_dataset",
    "cloud.demo.build_expert_baseline",
    "cloud.evaluate.bless",
    "cloud.evaluate.evaluate",
    "cloud.exchange.export_dataset",
    "cloud.exchange.import_dataset",
    "cloud.index.index",
    "cloud.ingest.ingest",
    "cloud.job.train",
    "cloud.package.export",
    "edge.bundle.make_bundle",
    "edge.calibrate",
    "edge.check_robot",
    "edge.episodes.upload",
    "edge.loops.week",
    "edge.processes.consent",
    "edge.processes.control",
    "edge.processes.label",
    "edge.processes.learn",
    "edge.processes.life",
    "edge.processes.page",
    "edge.processes.record",
    "edge.processes.robot",
    "edge.processes.tell",
    "edge.processes.trim",
    "edge.processes.update",
    "edge.record",
    "edge.run",
    "edge.trials",
    "release.commands.generate_key",
    "release.commands.make_channel",
    "release.commands.pack",
    "release.commands.publish",
    "release.commands.sign",
    "release.commands.verify",
    "rlds.show.show",
)


@pytest.mark.parametrize("module", COMMANDS)
def test_every_command_tells_the_version_of_the_project(module: str) -> None:
    done = command.run(module, "--version")
    assert (done.code, done.err) == (0, "")
    name = module.rpartition(".")[2]
    assert done.out.rstrip() == project_version.version_text(name)


@pytest.mark.parametrize(
    "then", [100, *(pytest.param(k, marks=pytest.mark.long) for k in (0, 400))]
)
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


# What a command needs beside the flag that is tested.
NEEDED = {
    "cloud.evaluate.bless": "--package=p --report=r",
    "cloud.evaluate.evaluate": "--package=p",
    "cloud.curate.curate": "--raw=a --index=a --spec=a --output=a",
    "cloud.demo.build_dataset": "--sessions=a --enrolled=a --spec=a --output=a",
    "cloud.demo.build_expert_baseline": "--tasks=reach-v3 --output=a",
    "cloud.exchange.export_dataset": "--dataset=a --format=mcap --output=a",
    "cloud.exchange.import_dataset": "--source=a --output=a",
    "cloud.index.index": "--index=a",
    "cloud.ingest.ingest": "--raw=a --enrolled=a",
    "cloud.package.export": "--run=a --target=pi5-cpu",
    "edge.bundle.make_bundle": "--files=a --output=a",
    "edge.calibrate": "--arm=leader:so101_leader@/dev/x",
    "edge.check_robot": "--robot=metaworld:reach-v3",
    "edge.episodes.upload": "--from=a --to=a",
    "edge.processes.consent": "--from=a",
    "edge.processes.control": "--home=a --keyring=a --robot=metaworld:reach-v3",
    "edge.processes.label": "--from=a",
    "edge.processes.learn": "--home=a",
    "edge.processes.life": "--channel=a",
    "edge.processes.page": "--home=a",
    "edge.processes.record": "--home=a",
    "edge.processes.robot": "--robot=metaworld:reach-v3",
    "edge.processes.tell": "--home=a --mode=idle",
    "edge.processes.trim": "--from=a --episode=a",
    "edge.processes.update": "--home=a --keyring=a --robot=metaworld:reach-v3",
    "edge.record": "--robot=metaworld:reach-v3 --output=a",
    "edge.run": "--robot=metaworld:reach-v3",
    "edge.trials": "--robot=metaworld:reach-v3 --candidate=a --output=a",
    "release.commands.generate_key": "--key_file=a --keyring=a",
    "release.commands.make_channel": "--channel=nightly --release_counter=1 --expires=a"
    " --run_id=a --blessing=a --output=a",
    "release.commands.pack": "--fields=a --family=a --model_version=a --target=pi5-cpu"
    " --folder=a",
    "release.commands.publish": "--store=a --channel=nightly --package=a --keyring=a",
    "rlds.show.show": "--output=a a",
}


def declared_kinds(module: str) -> dict[str, str]:
    """The flags that a command declares as files or folders, from its sources."""
    path = (ROOT / module.replace(".", "/")).with_suffix(".py")
    # Flags of a command, or of several, may have a file of their own, and that one too.
    trees = {path: ast.parse(path.read_bytes())}
    for _ in range(2):
        for found in [f for tree in trees.values() for f in _flag_files(tree)]:
            trees.setdefault(found, ast.parse(found.read_bytes()))
    used = {
        node.func.attr
        for tree in trees.values()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
    }
    kinds: dict[str, str] = {}
    for tree in trees.values():
        # What a function declares that defines one flag holds for those who call it.
        spared = {
            inner
            for node in ast.walk(tree)
            if isinstance(node, ast.FunctionDef)
            and node.name.startswith("define_")
            and node.name not in used
            for inner in ast.walk(node)
        }
        for node in ast.walk(tree):
            if node not in spared and isinstance(node, ast.Call):
                kinds |= _declared(node)
    return kinds


def _flag_files(tree: ast.Module) -> set[Path]:
    return {
        ROOT / str(node.module).replace(".", "/") / f"{alias.name}.py"
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.name.endswith("_flags") and node.module != "base"
    }


def _declared(call: ast.Call) -> dict[str, str]:
    called = ast.unparse(call.func)
    if called not in ("path_flags.files", "path_flags.folders", "path_flags.places"):
        return {}
    return {
        argument.value: called
        for argument in call.args
        if isinstance(argument, ast.Constant) and isinstance(argument.value, str)
    }


@pytest.mark.parametrize(
    ("module", "flag", "kind"),
    [
        (m, flag, kind)
        for m in COMMANDS
        for flag, kind in declared_kinds(m).items()
        # What lies at a place is known when it is asked. A seed is a folder or a tar.
        if kind != "path_flags.places"
    ],
)
def test_a_file_for_a_folder_or_a_folder_for_a_file_is_one_line_about_the_flag(
    module: str, flag: str, kind: str, tmp_path: Path
) -> None:
    file, folder = tmp_path / "file", tmp_path / "folder"
    file.write_text("kept")
    folder.mkdir()
    wrong, told = {
        "path_flags.files": (folder, f"a file, got the folder {folder}; name a file"),
        "path_flags.folders": (file, f"a folder, got the file {file}; name a folder"),
    }[kind]
    done = command.run(module, *NEEDED.get(module, "").split(), f"--{flag}={wrong}")
    name = module.rpartition(".")[2]
    assert (done.code, done.out) == (2, "")
    assert done.err == f"{name}: --{flag}: expected {told}\n"
    assert file.read_text() == "kept"
    assert sorted(tmp_path.rglob("*")) == [file, folder]


# Flags whose texts speak of files or folders and that do not name one themselves.
NO_PATHS = {
    "cloud.job.train": {"profile"},
    "edge.bundle.make_bundle": {"machine", "root"},
    "release.commands.pack": {"file"},  # SOURCE:PATH
}


@pytest.mark.parametrize("module", COMMANDS)
def test_every_flag_of_a_path_declares_what_it_names(module: str) -> None:
    done = command.run(module, "--help")
    texts = re.findall(r"^  --(\w+): (.*(?:\n   .*)*)", done.out, re.M)
    speak = re.compile(r"\b(files?|folders?|store|archive|tar|envelope|keyring)\b")
    named = {name for name, text in texts if speak.search(text)}
    assert named - set(declared_kinds(module)) == NO_PATHS.get(module, set())


def test_every_program_that_has_flags_is_in_this_list() -> None:
    found = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for folder in ("cloud", "edge", "release", "rlds")
        for path in (ROOT / folder).rglob("*.py")
        if any(_runs_a_command(node) for node in ast.parse(path.read_bytes()).body)
    }
    assert found == set(COMMANDS)


def _runs_a_command(node: ast.stmt) -> bool:
    """Tells whether a statement is `if __name__ …: command_line.run(main)`."""
    return isinstance(node, ast.If) and "command_line.run(" in ast.unparse(node)
