"""Tests of the launchers that replace the programs in Bazel's runfiles."""

from pathlib import Path

import pytest

from cloud import programs
from cloud.colab import machine


def test_launchers_are_found_and_run_the_module(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(programs, "root", lambda: tmp_path / programs.WORKSPACE)
    monkeypatch.setenv("RUNFILES_DIR", "")
    monkeypatch.setattr(machine, "PROGRAMS", {"edge/run": "this"})
    assert machine.ensure_launchers(tmp_path)
    log = tmp_path / "log"
    programs.run("edge/run", [], log)
    assert "The Zen of Python" in log.read_text()
    assert not machine.ensure_launchers(tmp_path)
