"""Tests of the facts about how a package is made."""

from pathlib import Path

import pytest

from cloud import build_facts


def test_hardware_counts_cores() -> None:
    found = build_facts.hardware()
    assert isinstance(found["cores"], int)
    assert found["cores"] >= 1
    assert found["architecture"]


def test_flags_of_the_compiler_are_named_without_paths_of_this_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("LIBTPU_INIT_ARGS", raising=False)
    monkeypatch.setenv("XLA_FLAGS", " --xla_a=1  --xla_dump_to=/home/ada --xla_b ")
    assert build_facts.device_flags() == {"XLA_FLAGS": "--xla_a=1 --xla_b"}
    monkeypatch.setenv("XLA_FLAGS", "--xla_dump_to=/home/ada")
    assert build_facts.device_flags() == {}


def lay_out(root: Path) -> Path:
    for name in ("rlds/a.py", "cloud/index/b.py"):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return root


def test_equal_sources_have_the_same_digest_in_any_folder(tmp_path: Path) -> None:
    one, other = lay_out(tmp_path / "one"), tmp_path / "other"
    for folder in ("rlds", "cloud/index"):
        (other / folder).mkdir(parents=True)
    (other / "cloud/index/b.py").symlink_to(one / "cloud/index/b.py")
    (other / "rlds/a.py").symlink_to(one / "rlds/a.py")
    found = build_facts.code_version(one)
    assert found == build_facts.code_version(other)
    assert found.startswith("sources-sha256:")
    assert len(found) == len("sources-sha256:") + 64


def test_digest_depends_on_contents_names_and_number_of_sources(tmp_path: Path) -> None:
    root = lay_out(tmp_path)
    seen = {build_facts.code_version(root)}
    (root / "rlds/a.py").write_text("other")
    seen.add(build_facts.code_version(root))
    (root / "rlds/a.py").rename(root / "rlds/c.py")
    seen.add(build_facts.code_version(root))
    (root / "rlds/d.py").write_text("")
    seen.add(build_facts.code_version(root))
    assert len(seen) == 4


def test_digest_ignores_files_that_are_not_sources_of_the_project(
    tmp_path: Path,
) -> None:
    root = lay_out(tmp_path)
    before = build_facts.code_version(root)
    (root / "rlds/notes.txt").write_text("text")
    (root / "external").mkdir()
    (root / "external/e.py").write_text("import os")
    assert build_facts.code_version(root) == before
