"""An actor is found by its name, here or in another package that is installed."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest

from edge.actors import registry
from edge.actors.actor import Stage
from edge.errors import (
    ActorUnavailableError,
    SimulatedOnlyError,
    UnknownActorError,
    UnknownRobotError,
)
from edge.robots import registry as robots
from edge.robots.robot import RobotSpec
from edge.robots.simulated_point import SPEC
from edge.testing import real_arm

REACH = "metaworld:reach-v3"


def make_stage(
    robot: str = REACH, spec: RobotSpec = SPEC, speed: float | None = None
) -> Stage:
    return Stage(robot, spec, speed, None, lambda text: None)


def install(folder: Path, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    """Installs a package with an actor, as pip would: a module and its metadata."""
    info = folder / "nudge-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: nudge\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        f"[{registry.GROUP}]\nnudge = {value}\nexpert = {value}\n"
    )
    (folder / "nudge_actor.py").write_text(
        "from edge.actors.expert import Expert\n"
        "class Nudge(Expert):\n"
        "    name = 'human'\n"
    )
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delitem(sys.modules, "nudge_actor", raising=False)


def test_expert_acts_as_the_expert_of_the_robot_at_the_speed_asked_for() -> None:
    robot = robots.open_robot(REACH)
    seen = robot.reset(3)
    whole = robots.open_expert(REACH).propose(seen)
    actor = registry.open_actor("expert", make_stage())
    assert actor.name == "expert"
    np.testing.assert_array_equal(actor.propose(seen), whole)
    slow = registry.open_actor("expert", make_stage(speed=0.5)).propose(seen)
    np.testing.assert_array_equal(slow[:3], whole[:3] * np.float32(0.5))
    assert slow[3] == whole[3], "a gripper needs its whole force"
    robot.close()


def test_expert_acts_on_no_robot_that_exists() -> None:
    with pytest.raises(SimulatedOnlyError, match="scripted expert"):
        registry.open_actor("expert", make_stage("real-arm:desk", real_arm.SPEC))
    with pytest.raises(UnknownRobotError):
        registry.open_actor("expert", make_stage("metaworld:fly"))


def test_document_for_users_names_every_actor_there_is_and_no_other() -> None:
    page = Path("docs/your-robot.md").read_text()
    table = page.partition("| `--actor=` |")[2]
    named = re.findall(r"^\| `([^`]+)` \|", table, re.M)
    assert named == [*registry.FORMS, "ENTRY_POINT"]


def test_unknown_actor_is_refused_with_those_there_are() -> None:
    with pytest.raises(UnknownActorError, match="expert, keyboard, gamepad") as caught:
        registry.require_known("leader")
    assert str(caught.value).startswith("--actor: ")
    assert "continuon.actors" in str(caught.value)


def test_package_adds_an_actor_by_an_entry_point_and_replaces_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, monkeypatch, "nudge_actor:Nudge")
    registry.require_known("nudge")
    assert registry.open_actor("nudge", make_stage()).name == "human"
    assert registry.open_actor("expert", make_stage()).name == "expert"
    known = "gamepad, page, leader:TYPE@PORT, nudge"
    with pytest.raises(UnknownActorError, match=known):
        registry.require_known("nudgee")


def test_actor_of_a_broken_package_is_refused_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, monkeypatch, "nudge_actor:Absent")
    with pytest.raises(
        ActorUnavailableError, match="nudge_actor:Absent to load"
    ) as got:
        registry.open_actor("nudge", make_stage())
    assert "\n" not in str(got.value)
