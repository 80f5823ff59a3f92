"""Memories fill the arrays that a package's functions take."""

import dataclasses

import numpy as np
import pytest

from edge.errors import LearningError
from edge.loops import memory_arrays
from edge.loops.memory_choice import KNOWN, LIVED
from edge.testing import tiny_learning
from edge.testing.tiny_learning import TASKS
from release import package as packages
from release.package import FunctionSpec, PackageManifest, TensorSpec
from release.testing import tiny_release
from rlds import blank_picture
from rlds.coarse_sound import coarsen
from rlds.episode import Episode
from rlds.spec import EpisodeSpec
from rlds.testing import episodes

R, T, N, A, K = 4, 6, 3, 2, 2
INPUTS = {
    "states": ((R, T + 1, N), "float32"),
    "actions": ((R, T, A), "float32"),
    "executed": ((R, T, A), "float32"),
    "task": ((R, K), "float32"),
    "length": ((R,), "int32"),
    "kind": ((R,), "int32"),
}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> PackageManifest:
    folder = tmp_path_factory.mktemp("package")
    tiny_release.write_package(folder)
    return packages.parse((folder / packages.MANIFEST).read_bytes())


def with_inputs(base: PackageManifest, **changes: object) -> PackageManifest:
    """The package with a function `learn` that takes memories of these shapes."""
    inputs = {**INPUTS, **changes}
    specs = [
        TensorSpec(f"memories/{name}", *one)  # type: ignore[misc]
        for name, one in inputs.items()
        if one is not None
    ]
    specs.append(TensorSpec("weights/carry", (3,), "float32"))
    functions = {**base.functions, "learn": FunctionSpec("f", tuple(specs), ())}
    return dataclasses.replace(base, functions=functions)


def shapes(package: PackageManifest) -> dict[str, TensorSpec]:
    return memory_arrays.find_shapes(package, ["learn"], memory_arrays.MEMORIES)


def test_shapes_come_from_the_functions_that_take_memories(
    base: PackageManifest,
) -> None:
    found = shapes(with_inputs(base))
    assert {n: s.shape for n, s in found.items()} == {
        n: s for n, (s, _) in INPUTS.items()
    }
    assert memory_arrays.count_room(found) == R
    assert memory_arrays.find_shapes(base, ["step"], memory_arrays.MEMORIES) == {}
    assert memory_arrays.count_room({}) == 0


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"smell": ((R, T, 8), "float32")}, "got memories/smell"),
        ({"future": ((R,), "float32")}, "got memories/future"),
        ({"actions": None}, "expected memories/actions beside the others"),
        ({"states": ((R, T, N), "float32")}, r"of the axes \[4, 7\]"),
        ({"executed": ((R, T + 1, A), "float32")}, r"of the axes \[4, 6\]"),
        ({"kind": ((R + 1,), "int32")}, r"of the axes \[4\]"),
        ({"imitate": ((R,), "float32")}, r"of the axes \[4, 6\]"),
        ({"actions": ((R,), "float32")}, "of the axes"),
        ({"length": ((), "int32")}, r"of the axes \[4\]"),
    ],
)
def test_package_that_asks_for_what_a_robot_does_not_keep_is_refused(
    base: PackageManifest, changes: dict[str, object], told: str
) -> None:
    with pytest.raises(LearningError, match=told):
        shapes(with_inputs(base, **changes))


def test_episodes_lie_in_the_arrays_as_the_functions_read_them(
    base: PackageManifest,
) -> None:
    first = tiny_learning.demonstrate(1, TASKS[1], steps=4)
    second = tiny_learning.demonstrate(2, TASKS[0], steps=20)
    arrays = memory_arrays.fill(
        shapes(with_inputs(base)), [(first, KNOWN), (second, LIVED)], TASKS
    )
    assert arrays["length"].tolist() == [3, T, 0, 0]
    assert arrays["kind"].tolist() == [KNOWN, LIVED, 0, 0]
    assert arrays["task"].tolist() == [[0, 1], [1, 0], [0, 0], [0, 0]]
    state = first.steps["observation/state"]
    np.testing.assert_array_equal(arrays["states"][0, :4], state)
    assert not arrays["states"][0, 4:].any()
    np.testing.assert_array_equal(
        arrays["actions"][0, :3], first.steps["proposed_action"][:3]
    )
    assert not arrays["actions"][0, 3:].any()
    np.testing.assert_array_equal(
        arrays["states"][1], second.steps["observation/state"][: T + 1]
    )
    np.testing.assert_array_equal(arrays["executed"][1], second.steps["action"][:T])
    for name, (shape, dtype) in INPUTS.items():
        assert (arrays[name].shape, arrays[name].dtype) == (shape, np.dtype(dtype))


def test_what_a_person_did_who_took_over_is_imitated(base: PackageManifest) -> None:
    spec = EpisodeSpec(N, A, interventions=True)
    corrected = episodes.episode(spec, 5, task=TASKS[0])
    marks = corrected.steps["intervention"][:4]
    assert marks.any() and not marks.all()
    arrays = memory_arrays.fill(shapes(with_inputs(base)), [(corrected, LIVED)], TASKS)
    imitated, steps = arrays["actions"][0, :4], corrected.steps
    np.testing.assert_array_equal(imitated[marks], steps["action"][:4][marks])
    np.testing.assert_array_equal(
        imitated[~marks], steps["proposed_action"][:4][~marks]
    )
    assert "imitate" not in arrays  # a package that does not ask for it learns as ever


def test_package_that_asks_is_told_which_steps_to_imitate(
    base: PackageManifest,
) -> None:
    corrected = episodes.episode(
        EpisodeSpec(N, A, interventions=True), 20, task=TASKS[0]
    )
    marks = corrected.steps["intervention"]
    assert marks[:T].any() and not marks[:T].all()
    alone = tiny_learning.demonstrate(1, TASKS[0], steps=4)
    asking = shapes(with_inputs(base, imitate=((R, T), "float32")))
    arrays = memory_arrays.fill(asking, [(corrected, LIVED), (alone, LIVED)], TASKS)
    np.testing.assert_array_equal(arrays["imitate"][0], marks[:T])
    assert arrays["imitate"][1].tolist() == [1, 1, 1, 0, 0, 0]
    assert not arrays["imitate"][2:].any()
    assert arrays["imitate"].dtype == np.float32


def test_what_was_heard_is_filled_in_where_a_package_hears(
    base: PackageManifest,
) -> None:
    heard = with_inputs(base, audio_mel=((R, T, 4), "float32"))
    episode = episodes.episode(EpisodeSpec(N, A, audio_size=4), 5, task=TASKS[0])
    arrays = memory_arrays.fill(shapes(heard), [(episode, LIVED)], TASKS)
    # Own memories are finer than what a package was trained on, and hears.
    coarse = coarsen(
        episode.steps["observation/audio_mel"], episode.steps["t_monotonic_ns"]
    )
    np.testing.assert_array_equal(arrays["audio_mel"][0, :4], coarse[:4])


def fill_one(package: PackageManifest, episode: Episode) -> None:
    memory_arrays.fill(shapes(package), [(episode, LIVED)], TASKS)


def test_episode_with_other_channels_or_another_task_is_one_error(
    base: PackageManifest,
) -> None:
    plain = tiny_learning.demonstrate(1)
    with pytest.raises(LearningError, match="observation/audio_mel of shape"):
        fill_one(with_inputs(base, audio_mel=((R, T, 4), "float32")), plain)
    other = tiny_learning.demonstrate(1, task="dance")
    with pytest.raises(LearningError, match="got dance"):
        fill_one(with_inputs(base), other)
    wide = episodes.episode(EpisodeSpec(N + 1, A), 5, task=TASKS[0])
    with pytest.raises(LearningError, match="observation/state of shape"):
        fill_one(with_inputs(base), wide)


def test_frames_of_all_cameras_stand_beside_each_other(base: PackageManifest) -> None:
    seen = ((R, T, 4, 2 * 4, 3), "uint8")
    found = shapes(with_inputs(base, image=seen))
    spec = EpisodeSpec(N, A, cameras=("front", "wrist"))
    episode = episodes.episode(spec, count=5, task=TASKS[0])
    black = blank_picture.make(8, 8)
    damaged = b"\xff\xd8 damaged"
    steps = {
        **episode.steps,
        "observation/image_front": (black, *(episodes.JPEG,) * 3, damaged),
        "observation/image_wrist": (black,) * 5,
    }
    episode = dataclasses.replace(episode, steps=steps)
    images = memory_arrays.fill(found, [(episode, KNOWN)], TASKS)["image"]
    assert images.shape == (R, T, 4, 8, 3)
    assert images[0, 1:4, :, :4].any()
    assert not images[0, 0].any()
    assert not images[0, :, :, 4:].any()
    assert not images[1:].any()
    one = shapes(with_inputs(base, image=((R, T, 4, 4, 3), "uint8")))
    alone = memory_arrays.fill(one, [(episode, KNOWN)], TASKS, ["front"])["image"]
    np.testing.assert_array_equal(alone[0], images[0, :, :, :4])
    blind = episodes.episode(EpisodeSpec(N, A), count=5, task=TASKS[0])
    with pytest.raises(LearningError, match="8 columns"):
        memory_arrays.fill(found, [(blind, KNOWN)], TASKS)
