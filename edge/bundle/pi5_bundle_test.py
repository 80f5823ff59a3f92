"""The Pi bundle, under an emulator, computes the same actions as this machine."""

import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge.bundle import archive, elf
from edge.processes.mailbox import Mailbox
from edge.runtime_version import EXPORT_TARGET, RUNTIME_VERSION
from edge.testing import bundles, processes, simulated_episodes, tiny_package
from rlds import example_codec, reader, tfrecord

STEPS = 10
TOLERANCE = 1e-5
PROGRAMS = (
    *("consent", "control", "label", "page", "record", "tell", "trim", "update"),
)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle, unpacked in a folder other than the one where it was built."""
    return bundles.unpack(tmp_path_factory.mktemp("any where"))


@pytest.fixture(scope="module")
def listing(root: Path) -> dict[str, Any]:
    value = json.loads((root / archive.LISTING).read_bytes())
    assert isinstance(value, dict)
    return value


def run_here(*arguments: str) -> None:
    """Runs the same program with this machine's interpreter."""
    subprocess.run(
        [sys.executable, "-m", "edge.run", *arguments],
        env={**os.environ, "PYTHONPATH": ":".join(sys.path)},
        check=True,
    )


def test_every_native_file_is_for_the_pi_and_has_no_symbols(root: Path) -> None:
    machines = []
    for path in root.rglob("*"):
        content = path.read_bytes() if path.is_file() else b""
        if (machine := elf.read_machine(content)) is not None:
            machines.append(machine)
            assert elf.cut_symbols(content) == content
    assert set(machines) == {"aarch64"}
    assert len(machines) > 50


def test_listing_describes_every_file(root: Path, listing: dict[str, Any]) -> None:
    assert (listing["target"], listing["version"]) == (EXPORT_TARGET, RUNTIME_VERSION)
    listed = {one["path"]: one for one in listing["files"]}
    present = {
        str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()
    }
    assert present == {*listed, archive.LISTING}
    for path, one in listed.items():
        raw = (root / path).read_bytes()
        assert (len(raw), hashlib.sha256(raw).hexdigest()) == (
            one["size_bytes"],
            one["sha256"],
        )


def test_bundle_holds_no_cache_no_build_path_and_no_signing_code(
    listing: dict[str, Any],
) -> None:
    paths = [one["path"] for one in listing["files"]]
    assert not [path for path in paths if path.endswith((".pyc", "/RECORD"))]
    assert not [path for path in paths if "/bin/" in path and "python/" not in path]
    code = {path.removeprefix("code/") for path in paths if path.startswith("code/")}
    assert "edge/run.py" in code
    assert {f"edge/processes/{name}.py" for name in PROGRAMS} <= code
    assert {path.split("/")[0] for path in code} == {"base", "edge", "release", "rlds"}
    assert code.isdisjoint(
        {"release/signing/private_keys.py", "release/signing/publish.py"}
    )
    assert not [path for path in code if "test" in path]


def test_unit_file_starts_the_launcher_and_is_hardened(root: Path) -> None:
    unit = (root / "systemd" / "continuon.service").read_text()
    assert re.search(r"^ExecStart=/opt/continuon/bin/continuon-run ", unit, re.M)
    assert " --offline_if_update_fails " in unit
    for line in (
        *("NoNewPrivileges=yes", "ProtectSystem=strict", "DynamicUser=yes"),
        *("Wants=network-online.target time-sync.target",),
        *("After=network-online.target time-sync.target",),
    ):
        assert f"\n{line}\n" in unit


def test_pi_uploads_with_the_program_of_its_bundle(root: Path, tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    done = processes.run_on_pi(
        root,
        f"--from={tmp_path / 'shared'}",
        f"--to=file://{tmp_path / 'raw'}",
        environment={"CONTINUON_PROGRAM": "edge.episodes.upload"},
    )
    assert done.returncode == 0, done.stderr
    assert "0 sent, 0 already in the store" in done.stdout


def test_operator_labels_and_trims_an_episode_with_the_programs_of_the_bundle(
    root: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "out"
    (name,) = simulated_episodes.make(folder, 1)
    for program, flag in (("label", "--says=failure"), ("trim", "--last=3")):
        done = processes.run_on_pi(
            root,
            f"--from={folder}",
            f"--robot_id={simulated_episodes.ROBOT_ID}",
            f"--episode={name}",
            flag,
            environment={"CONTINUON_PROGRAM": f"edge.processes.{program}"},
        )
        assert (done.returncode, done.stderr) == (0, "")
    changed = reader.read_episode(folder / f"{name}.tfrecord")
    assert changed.metadata.success is False
    assert changed.num_steps == 3


def test_services_are_told_something_with_the_program_of_the_bundle(
    root: Path, tmp_path: Path
) -> None:
    with Mailbox(tmp_path, "control") as control:
        done = processes.run_on_pi(
            root,
            f"--home={tmp_path}",
            "--mode=asleep",
            environment={"CONTINUON_PROGRAM": "edge.processes.tell"},
        )
        (heard,) = control.receive()
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "told the robot to sleep after its episode\n"
    assert (heard.sender, heard.fields["mode"]) == ("tell", "asleep")


@pytest.mark.long  # bundle_channel_test compares those of a released package
def test_ten_steps_of_a_candidate_agree_with_this_machine(
    root: Path, tmp_path: Path
) -> None:
    tiny_package.write_package(tmp_path / "package")
    episode = tmp_path / "episode.tfrecord"
    recorded = tiny_package.episode(seed=5, steps=STEPS, noise=0.1)
    episode.write_bytes(tfrecord.frame(example_codec.encode(recorded)))
    flags = (
        f"--candidate={tmp_path / 'package'}",
        f"--robot=replay:{episode}",
        "--pace=simulated",
    )
    pi = processes.run_on_pi(root, *flags, f"--actions_json={tmp_path / 'pi.json'}")
    assert pi.returncode == 0, pi.stderr
    run_here(*flags, f"--actions_json={tmp_path / 'here.json'}")
    expected = processes.read_actions(tmp_path / "here.json")
    assert expected.shape == (STEPS, tiny_package.ACTION_SIZE)
    assert np.abs(expected).max() > 0.1
    np.testing.assert_allclose(
        processes.read_actions(tmp_path / "pi.json"), expected, atol=TOLERANCE, rtol=0
    )
