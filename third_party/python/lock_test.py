"""Each lock matches its requirements, and a package has one version in all locks."""

import re
from pathlib import Path

import pytest

from third_party.python import lock

LOCKS = Path(__file__).parent / "locks"


def pins(tree: str) -> dict[str, str]:
    """Maps each package of a lock to its version."""
    found = {}
    for line in (LOCKS / f"{tree}.txt").read_text().splitlines():
        match = re.match(r"([a-z0-9._-]+)(?:\[[^]]*\])?==([^ ;\\]+)", line)
        if match:
            found[match[1]] = match[2]
    return found


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.mark.parametrize("tree", lock.TREES)
def test_lock_is_up_to_date_with_its_requirements(tree: str) -> None:
    name, platform = lock.TREES[tree]
    first, _, body = (LOCKS / f"{tree}.txt").read_text().partition("\n")
    assert first == lock.header(LOCKS / name, platform, body), (
        f"{name} or the lock changed after {tree}.txt was made; "
        "run `./bazelw run //third_party:lock`"
    )


@pytest.mark.parametrize("tree", lock.TREES)
def test_lock_pins_each_requirement_with_a_hash(tree: str) -> None:
    name, _ = lock.TREES[tree]
    pinned = pins(tree)
    for requirement in lock.requirement_lines(LOCKS / name):
        wanted, _, version = requirement.partition("==")
        assert canonical(wanted) in pinned
        if version:
            assert pinned[canonical(wanted)] == version
    text = (LOCKS / f"{tree}.txt").read_text()
    for entry in re.split(r"\n(?=[a-z0-9])", text)[1:]:
        assert "--hash=sha256:" in entry, entry


def test_a_package_has_one_version_in_all_trees() -> None:
    versions: dict[str, set[str]] = {}
    for tree in lock.TREES:
        for name, version in pins(tree).items():
            versions.setdefault(name, set()).add(version)
    assert {n: v for n, v in versions.items() if len(v) > 1} == {}


@pytest.mark.parametrize("path", sorted(LOCKS.iterdir()), ids=lambda p: p.name)
def test_lock_names_no_host(path: Path) -> None:
    assert "://" not in path.read_text()


def test_changed_requirements_change_the_header(tmp_path: Path) -> None:
    source = tmp_path / "a.in"
    source.write_text("numpy==2.4.6\n")
    before = lock.header(source, lock.X86_64, "numpy==2.4.6")
    source.write_text("numpy==2.4.7\n")
    assert lock.header(source, lock.X86_64, "numpy==2.4.6") != before


def test_a_lock_without_one_of_its_packages_has_another_header(tmp_path: Path) -> None:
    source = tmp_path / "a.in"
    source.write_text("jax\n")
    whole = lock.header(source, lock.X86_64, "jax==1\nnumpy==2\n")
    assert lock.header(source, lock.X86_64, "jax==1\n") != whole
