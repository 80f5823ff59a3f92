"""A robot learns from what it recorded, through restarts, updates and failures."""

import shutil
from pathlib import Path

import pytest

from edge.control import local_delta
from edge.errors import LearningError
from edge.loops import compiled_functions, history
from edge.loops.delta_store import CURRENT, LAST_GOOD
from edge.loops.local_learning import AGAIN, OWN_FOLDERS, LocalLearning
from edge.loops.night import Receipt
from edge.loops.trial import ENOUGH
from edge.ota.decide import Origin
from edge.testing import tiny_learning
from edge.testing.learning_home import NOW, LearningHome
from edge.testing.tiny_learning import Plan
from release.testing.tiny_release import PrivateKey
from release.trusted_keys import TrustedKeys


@pytest.fixture
def home(tmp_path: Path) -> LearningHome:
    return LearningHome(tmp_path)


def run(learning: LocalLearning, loop: str = "slow") -> Receipt:
    learning.begin(loop)
    receipt = learning.poll(NOW)
    assert receipt is not None
    assert learning.loop is None
    return receipt


def learn(
    home: LearningHome, origin: Origin = Origin.CHANNEL
) -> tuple[LocalLearning, str, str]:
    """A robot that learned; also the digests of its package and its delta."""
    package = home.install(origin=origin)
    home.show(16)
    learning = home.open()
    learning.look()
    receipt = run(learning)
    assert receipt.delta is not None
    return learning, package, receipt.delta


def test_robot_without_a_package_waits_and_leaves_episodes_alone(
    home: LearningHome,
) -> None:
    home.show(1)
    learning = home.open()
    learning.look()
    assert learning.loops == frozenset()
    assert len(list((home.root / "memories/new").iterdir())) == 1
    with pytest.raises(LearningError, match="an active package, got none"):
        learning.begin("slow")
    home.install(origin=Origin.SEED)
    learning.look()
    assert learning.loops == {"medium", "slow"}
    assert learning.count_memories() == 1
    assert learning.origin is Origin.SEED


@pytest.mark.parametrize("name", OWN_FOLDERS)
def test_file_in_the_place_of_a_folder_is_set_aside_and_the_robot_learns(
    home: LearningHome, name: str
) -> None:
    path = home.root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"\n")
    home.open().look()
    assert home.told == [f"{path} was no folder: now {path.name}.damaged"]
    learning, _, delta = learn(home)
    assert learning.store.named(CURRENT) == delta
    assert len(home.told) == 1
    assert path.with_name(f"{path.name}.damaged").read_bytes() == b"\n"


def test_memories_are_new_to_a_loop_until_it_has_learned_from_them(
    home: LearningHome,
) -> None:
    learning, _, _ = learn(home, Origin.SEED)
    assert learning.count_new("slow") == 0
    assert learning.count_new("medium") == 0
    home.show(4)
    learning.look()
    assert learning.count_new("medium") == learning.count_new("slow") == 4
    run(learning, "medium")
    assert learning.count_new("medium") == 0
    assert learning.count_new("slow") == 4  # the night learns from all that there is


def test_everything_that_counts_is_there_after_a_restart(home: LearningHome) -> None:
    learning, package, delta = learn(home)
    home.drive(package, delta, "+" * (ENOUGH - 1))
    learning.look()
    again = home.open()
    again.look()
    assert again.store.named(CURRENT) == delta
    assert again.store.named(LAST_GOOD) is None
    assert again.count_new("slow") == learning.count_new("slow")
    measured = {m.digest: m.surprise for m in again.memories.read()}
    assert measured == {m.digest: m.surprise for m in learning.memories.read()}
    assert any(measured.values())
    home.drive(package, delta, "+")
    again.look()
    assert again.store.named(LAST_GOOD) == delta


def test_delta_that_was_driven_well_is_the_last_good_one(home: LearningHome) -> None:
    learning, package, delta = learn(home)
    home.drive(package, "", "+++-")
    learning.look()
    home.drive(package, delta, "+" * ENOUGH)
    learning.look()
    assert learning.store.named(LAST_GOOD) == delta
    assert home.told[-1].startswith(f"delta {delta[:12]} is the last good one")
    learning.look()
    assert len(home.told) == 1


def test_delta_that_fails_in_use_goes_back_by_itself(home: LearningHome) -> None:
    learning, package, delta = learn(home)
    home.drive(package, "", "+" * 10)
    home.drive(package, delta, "-" * 6)
    learning.look()
    assert learning.store.named(CURRENT) is None
    assert (home.root / "deltas/quarantine" / delta).is_dir()
    assert "fewer than before" in home.told[-1]
    good = run(learning).delta
    home.drive(package, good, "+" * ENOUGH)
    learning.look()
    assert learning.store.named(LAST_GOOD) == good
    home.show(4)
    learning.look()
    bad = run(learning).delta
    assert bad not in (None, good)
    home.drive(package, bad, "-" * 6)
    learning.look()
    assert learning.store.named(CURRENT) == learning.store.named(LAST_GOOD) == good


def test_after_an_update_the_old_delta_is_judged_again_and_never_applied(
    home: LearningHome,
) -> None:
    learning, _, old = learn(home)
    new = home.install(Plan(calls=30))
    learning.look()
    assert learning.package is not None
    assert learning.package.digest == new
    assert learning.origin is Origin.CHANNEL
    assert learning.needs_judging()
    assert home.told == []
    receipt = run(learning, AGAIN)
    assert receipt.accepted
    assert not learning.needs_judging()
    found = learning.store.read(CURRENT, learning.package.manifest)
    assert found is not None
    assert (found.record.base_package, found.record.parent) == (new, old)
    assert (home.root / "deltas/quarantine" / old).is_dir()


def test_what_another_package_drove_says_nothing_of_this_one(
    home: LearningHome,
) -> None:
    learning, package, delta = learn(home)
    home.install(Plan(calls=30))
    learning.look()
    run(learning, AGAIN)
    home.drive(package, delta, "-" * 10)
    learning.look()
    assert learning.store.named(CURRENT) is not None
    assert history.read(home.root / "memories").outcomes == ()


def test_torn_delta_goes_back_at_once_with_one_line(home: LearningHome) -> None:
    learning, _, delta = learn(home)
    (home.root / "deltas" / delta / local_delta.TENSORS).write_bytes(b"torn")
    learning.look()
    learning.look()
    assert learning.store.named(CURRENT) is None
    assert len(home.told) == 1
    assert "expected the files that its name says, got others" in home.told[0]


def test_damaged_pointer_goes_back_to_the_last_good_delta(home: LearningHome) -> None:
    learning, package, delta = learn(home)
    home.drive(package, delta, "+" * ENOUGH)
    learning.look()
    (home.root / "deltas" / CURRENT).write_bytes(b"{")
    learning.look()
    assert learning.store.named(CURRENT) == delta


def test_damaged_history_begins_anew(home: LearningHome) -> None:
    learning, _, delta = learn(home)
    (home.root / "memories" / history.FILE).write_bytes(b"{")
    again = home.open()
    again.look()
    assert again.store.named(CURRENT) == delta
    assert again.count_new("slow") == 12
    assert run(again).loop == "slow"
    assert learning.count_memories() == again.count_memories()


def test_package_that_is_not_whole_is_not_learned_with(home: LearningHome) -> None:
    package = home.install()
    folder = home.root / "packages/packages" / package
    (folder / "functions/evaluate.stablehlo").write_bytes(b"other")
    learning = home.open()
    learning.look()
    learning.look()
    assert learning.package is None
    assert len(home.told) == 1
    assert "evaluate.stablehlo" in home.told[0]


def test_package_that_no_trusted_key_signed_is_not_learned_with(
    home: LearningHome,
) -> None:
    key = PrivateKey.generate()
    home.install(key=key)
    own = TrustedKeys.from_keys(key.trusted, allow_development=True)
    learning = home.open(keys=own)
    learning.look()
    assert learning.loops == {"medium", "slow"}
    other = PrivateKey.generate()
    others = TrustedKeys.from_keys(other.trusted, allow_development=True)
    stranger = home.open(keys=others)
    stranger.look()
    assert stranger.package is None
    assert len(home.told) == 1


def test_function_that_is_no_program_is_one_line_and_the_next_package_works(
    home: LearningHome,
) -> None:
    signature = tiny_learning._export(tiny_learning.NORMAL)
    broken = {
        **signature,
        "consolidate_end": (b"junk", signature["consolidate_end"][1]),
    }
    home.install(learning_functions=broken)
    home.show(8)
    learning = home.open()
    learning.look()
    learning.begin("slow")
    with pytest.raises(LearningError, match="a StableHLO function") as caught:
        learning.poll(NOW)
    assert "\n" not in str(caught.value)
    assert learning.loop is None
    assert learning.store.named(CURRENT) is None
    home.install(Plan(calls=30))
    learning.look()
    assert run(learning).accepted


def test_memory_that_vanished_meanwhile_fails_the_round_alone(
    home: LearningHome,
) -> None:
    learning, _, delta = learn(home)
    home.show(4)
    learning.look()
    learning.begin("slow")
    for path in (home.root / "memories").glob("*-learn-*"):
        path.unlink()
    with pytest.raises(LearningError, match="the slow loop: expected new vectors"):
        learning.poll(NOW)
    assert learning.store.named(CURRENT) == delta


def test_stopped_round_leaves_what_counted(home: LearningHome) -> None:
    learning, _, delta = learn(home)
    home.show(4)
    learning.look()
    learning.begin("slow")
    learning.stop()
    assert learning.loop is None
    assert learning.poll(NOW) is None
    assert learning.store.named(CURRENT) == delta
    assert learning.count_new("slow") == 4


def test_home_that_is_gone_is_a_robot_without_a_package(home: LearningHome) -> None:
    learning, _, _ = learn(home)
    shutil.rmtree(home.root / "packages")
    learning.look()
    assert learning.package is None
    assert learning.loops == frozenset()


def test_what_was_compiled_of_an_earlier_package_is_removed(home: LearningHome) -> None:
    learning, package, _ = learn(home)
    compiled = home.root / "memories/compiled"
    mine = compiled_functions.folder_name(package, 0)
    for name in (mine, package, f"{'ab' * 32}-0123456789ab"):
        (compiled / name).mkdir(parents=True)
    home.show(4)
    learning.look()
    learning.begin("slow")
    assert [path.name for path in compiled.iterdir()] == [mine]
