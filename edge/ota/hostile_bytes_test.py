"""Whatever bytes a trusted key has signed, an update raises known errors only.

A publisher's program can be broken, and a key can be stolen. A robot that meets an
unknown error would not say what to do.
"""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from base import canonical_json
from base.digest import sha256_bytes
from base.errors import ContinuonError
from edge.ota.decide import Move
from edge.testing import tampering
from edge.testing.tiny_package import sign_package, write_package
from edge.testing.updated_robot import UpdatedRobot
from release import channel, package, package_folder

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.text(st.characters(exclude_categories=["Cs"]), max_size=9),
            inner,
            max_size=3,
        )
    ),
    max_leaves=8,
)
FILES = ("weights.safetensors", "canary.tfrecord", "canary.json", "safety.json")


@pytest.fixture(scope="module")
def robot(tmp_path_factory: pytest.TempPathFactory) -> Iterator[UpdatedRobot]:
    robot = UpdatedRobot(tmp_path_factory.mktemp("robot"))
    robot.publisher.release(1)
    yield robot
    robot.install_next()


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("template") / "package"
    write_package(folder, 7)
    return folder


def replace_somewhere(data: st.DataObject, value: object) -> Any:  # noqa: ANN401
    """Returns JSON in which one value, at any depth, is another one or is gone."""
    if isinstance(value, dict | list) and value and data.draw(st.integers(0, 4)):
        keys = sorted(value) if isinstance(value, dict) else range(len(value))
        key = data.draw(st.sampled_from(list(keys)))
        changed = dict(value) if isinstance(value, dict) else list(value)
        if data.draw(st.integers(0, 9)):
            changed[key] = replace_somewhere(data, value[key])
        else:
            del changed[key]
        return changed
    return data.draw(JSON)


def check_update(robot: UpdatedRobot) -> None:
    """The update ends well, or with a known error and the old package."""
    before = robot.read_installed()
    try:
        active = robot.update()
    except ContinuonError:
        assert robot.read_installed() == before
    else:
        assert active.move in (Move.KEEP, Move.INSTALL, Move.ADOPT_COUNTER)
        assert robot.open().package.digest == active.package.digest
    assert not list((robot.state.root / "packages").glob(".tmp-*"))


def test_counter_as_far_ahead_as_it_may_be_is_taken(robot: UpdatedRobot) -> None:
    # The fixture takes the next release when all else is done.
    far = channel.LARGEST_COUNTER_STEP
    robot.replace_record(release_counter=far)
    check_update(robot)
    assert robot.read_installed().release_counter == far


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_signed_channel_gives_a_release_or_a_known_error(
    robot: UpdatedRobot, data: st.DataObject
) -> None:
    record = json.loads(tampering.record(robot.publisher).encode())
    changed = replace_somewhere(data, record)
    tampering.sign_payload(robot.publisher, canonical_json.encode(changed))
    check_update(robot)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_signed_manifest_gives_a_release_or_a_known_error(
    robot: UpdatedRobot, template: Path, data: st.DataObject
) -> None:
    folder = copy(template)
    manifest = json.loads((folder / package.MANIFEST).read_bytes())
    raw = canonical_json.encode(replace_somewhere(data, manifest))
    sign_package(folder, sha256_bytes(raw), robot.publisher.key)
    (folder / package.MANIFEST).write_bytes(raw)
    offer(robot, folder, sha256_bytes(raw))
    check_update(robot)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_signed_content_gives_a_release_or_a_known_error(
    robot: UpdatedRobot, template: Path, data: st.DataObject
) -> None:
    folder = copy(template)
    path = folder / data.draw(st.sampled_from(FILES))
    raw = path.read_bytes()
    at = data.draw(st.integers(0, len(raw)))
    if path.suffix == ".json" and data.draw(st.booleans()):
        raw = json.dumps(replace_somewhere(data, json.loads(raw))).encode()
    else:
        gone = data.draw(st.integers(0, 40))
        raw = raw[:at] + data.draw(st.binary(max_size=40)) + raw[at + gone :]
    path.write_bytes(raw)
    digest = list_again(folder)
    sign_package(folder, digest, robot.publisher.key)
    offer(robot, folder, digest)
    check_update(robot)


def copy(template: Path) -> Path:
    folder = template.with_name("changed")
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(template, folder)
    return folder


def list_again(folder: Path) -> str:
    """Lists the changed files in package.json; returns the package's digest."""
    described = json.loads((folder / package.MANIFEST).read_bytes())
    for field in ("schema_version", "files"):
        del described[field]
    return package_folder.build(folder, **described)


def offer(robot: UpdatedRobot, folder: Path, digest: str) -> None:
    """Releases the package under a counter above the robot's."""
    robot.envelope().write_bytes(robot.good)
    robot.replace_record(
        release_counter=robot.read_installed().release_counter + 1,
        minimum_runtime="0.0.1",
    )
    robot.replace_tar(package.pack_tar(folder), digest)
