"""Tests of the facts about how a package is made."""

from pathlib import Path

import pytest

from cloud import build_facts

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def put_git_on_path(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    changes: str,
    code: int = 0,
    remote: str = "",
) -> None:
    """Puts a fake git that knows one commit on the PATH; no real git is needed."""
    program = folder / "bin" / "git"
    program.parent.mkdir()
    program.write_text(
        f'#!/bin/sh\ncase "$*" in\n*rev-parse*) echo {COMMIT};;\n'
        f"*status*) printf '%s' '{changes}';;\n"
        f"*remote.origin.url*) printf '%s' '{remote}';;\nesac\nexit {code}\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")


def test_clean_checkout_gives_its_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_git_on_path(tmp_path, monkeypatch, changes="")
    assert build_facts.code_commit(tmp_path) == COMMIT


def test_changed_checkout_is_marked_as_modified(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_git_on_path(tmp_path, monkeypatch, changes=" M file")
    assert build_facts.code_commit(tmp_path) == f"{COMMIT}-modified"


def test_folder_without_version_control_is_unversioned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_git_on_path(tmp_path, monkeypatch, changes="", code=128)
    assert build_facts.code_commit(tmp_path) == build_facts.UNVERSIONED


def test_machine_without_git_is_unversioned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert build_facts.code_commit(tmp_path) == build_facts.UNVERSIONED
    assert build_facts.code_commit(None) == build_facts.UNVERSIONED


@pytest.mark.parametrize(
    ("remote", "uri"),
    [
        ("https://example.org/a/b.git", "https://example.org/a/b.git"),
        ("https://me:secret@example.org:8443/a", "https://example.org:8443/a"),
        ("https://secret@example.org/a?key=secret", "https://example.org/a"),
        ("ssh://git@example.org:22/a.git", "ssh://example.org:22/a.git"),
        ("git@example.org:a/b.git", "ssh://example.org/a/b.git"),
        ("https://me:sec@ret@example.org/a", "https://example.org/a"),
        ("https://me:sec/ret@example.org/a", build_facts.UNNAMED_CODE),
        ("/srv/code.git", build_facts.UNNAMED_CODE),
        ("file:///srv/code.git", build_facts.UNNAMED_CODE),
        ("ext::sh -c secret", build_facts.UNNAMED_CODE),
        ("", build_facts.UNNAMED_CODE),
    ],
)
def test_remote_is_named_without_secrets(
    remote: str, uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_git_on_path(tmp_path, monkeypatch, changes="", remote=remote)
    assert build_facts.code_uri(tmp_path) == uri
    assert "secret" not in build_facts.code_uri(tmp_path)


def test_code_without_a_checkout_has_the_unnamed_uri() -> None:
    assert build_facts.code_uri(None) == build_facts.UNNAMED_CODE


def test_hardware_counts_cores() -> None:
    found = build_facts.hardware()
    assert isinstance(found["cores"], int)
    assert found["cores"] >= 1
    assert found["architecture"]


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
