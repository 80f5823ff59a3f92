"""Tests of what is installed in a hosted notebook."""

from pathlib import Path

import pytest

from cloud.colab import install

LOCK = """# made by hand
jax==0.12.0.1 \\
    --hash=sha256:aa \\
    --hash=sha256:bb
metaworld==3.1.1 \\
    --hash=sha256:cc
"""


def test_installed_jax_is_kept_and_missing_packages_are_installed() -> None:
    here = {"jax": "0.11.0"}
    plan = install.plan([LOCK], here.get)
    assert plan.kept == {"jax": ("0.12.0.1", "0.11.0")}
    assert plan.missing == {"metaworld": "metaworld==3.1.1 \\\n    --hash=sha256:cc"}
    assert "jax 0.11.0 (locked 0.12.0.1)" in str(plan)


def test_without_packages_the_whole_lock_is_installed() -> None:
    text = Path("third_party/python/locks/cloud.txt").read_text()
    plan = install.plan([text], lambda name: None)
    assert {"jax", "jaxlib", "tensorflow", "matplotlib"} <= set(plan.missing)
    assert all("--hash=sha256:" in entry for entry in plan.missing.values())


def test_lock_without_requirements_is_an_error() -> None:
    with pytest.raises(ValueError, match="NAME==VERSION"):
        install.plan(["<html>not a lock</html>"], lambda name: None)


def test_checkout_without_locks_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        install.run(tmp_path)
