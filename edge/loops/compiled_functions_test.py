"""Compiled functions are whole or none, of one package and compiler, and bounded."""

from pathlib import Path

import pytest

from edge.errors import LearningError
from edge.loops import compiled_functions

PACKAGE = "ab" * 32


def test_function_cut_at_any_byte_is_compiled_again(tmp_path: Path) -> None:
    folder = tmp_path / "compiled" / "x"
    assert compiled_functions.read(folder, "step") is None
    compiled_functions.write(folder, "step", b"a program")
    assert compiled_functions.read(folder, "step") == b"a program"
    whole = (folder / "step").read_bytes()
    for size in range(len(whole)):
        (folder / "step").write_bytes(whole[:size])
        assert compiled_functions.read(folder, "step") is None
    compiled_functions.write(folder, "step", b"another")
    assert compiled_functions.read(folder, "step") == b"another"


def test_functions_beyond_the_bound_are_refused_and_the_others_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiled_functions, "LIMIT_BYTES", 200)
    compiled_functions.write(tmp_path, "one", bytes(100))
    with pytest.raises(LearningError, match="functions of at most"):
        compiled_functions.write(tmp_path, "two", bytes(100))
    compiled_functions.write(tmp_path, "one", bytes(150))  # in place of the first
    assert [path.name for path in tmp_path.iterdir()] == ["one"]
    assert compiled_functions.read(tmp_path, "one") == bytes(150)


def test_another_package_or_compiler_has_another_folder(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("XLA_FLAGS", "")
    name = compiled_functions.folder_name(PACKAGE, 1)
    assert name == compiled_functions.folder_name(PACKAGE, 1)
    others = [compiled_functions.folder_name(*a) for a in ((PACKAGE, 2), ("c", 1))]
    monkeypatch.setenv("XLA_FLAGS", "--xla_backend_optimization_level=0")
    others.append(compiled_functions.folder_name(PACKAGE, 1))
    monkeypatch.setattr("importlib.metadata.version", lambda name: "0.0.1")
    others.append(compiled_functions.folder_name(PACKAGE, 1))
    assert len({name, *others}) == 5
    assert [one.startswith(PACKAGE) for one in others] == [True, False, True, True]
