"""Tests of the version, the commit and the repository of the code."""

from pathlib import Path

import pytest

from base import project_version

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
    assert project_version.code_commit(tmp_path) == COMMIT


def test_changed_checkout_is_marked_as_modified(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_git_on_path(tmp_path, monkeypatch, changes=" M file")
    assert project_version.code_commit(tmp_path) == f"{COMMIT}-modified"


def test_folder_without_version_control_is_unversioned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_git_on_path(tmp_path, monkeypatch, changes="", code=128)
    assert project_version.code_commit(tmp_path) == project_version.UNVERSIONED


def test_machine_without_git_is_unversioned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert project_version.code_commit(tmp_path) == project_version.UNVERSIONED
    assert project_version.code_commit(None) == project_version.UNVERSIONED


@pytest.mark.parametrize(
    ("remote", "uri"),
    [
        ("https://example.org/a/b.git", "https://example.org/a/b.git"),
        ("https://me:secret@example.org:8443/a", "https://example.org:8443/a"),
        ("https://secret@example.org/a?key=secret", "https://example.org/a"),
        ("ssh://git@example.org:22/a.git", "ssh://example.org:22/a.git"),
        ("git@example.org:a/b.git", "ssh://example.org/a/b.git"),
        ("https://me:sec@ret@example.org/a", "https://example.org/a"),
        ("https://me:sec/ret@example.org/a", project_version.UNNAMED_CODE),
        ("/srv/code.git", project_version.UNNAMED_CODE),
        ("file:///srv/code.git", project_version.UNNAMED_CODE),
        ("ext::sh -c secret", project_version.UNNAMED_CODE),
        ("", project_version.UNNAMED_CODE),
    ],
)
def test_remote_is_named_without_secrets(
    remote: str, uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_git_on_path(tmp_path, monkeypatch, changes="", remote=remote)
    assert project_version.code_uri(tmp_path) == uri
    assert "secret" not in project_version.code_uri(tmp_path)


def test_code_without_a_checkout_has_the_unnamed_uri() -> None:
    assert project_version.code_uri(None) == project_version.UNNAMED_CODE


def test_version_text_has_the_commit_only_if_it_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_git_on_path(tmp_path, monkeypatch, changes="")
    monkeypatch.delenv("BUILD_WORKSPACE_DIRECTORY", raising=False)
    assert (
        project_version.version_text("run")
        == f"run (ContinuonBrain) {project_version.VERSION}"
    )
    monkeypatch.setenv("BUILD_WORKSPACE_DIRECTORY", str(tmp_path))
    assert project_version.version_text("run").endswith(
        f"{project_version.VERSION}, commit {COMMIT}"
    )
