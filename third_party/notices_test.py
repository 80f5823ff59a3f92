"""The licences that the bundle ships are those of all that it is made of."""

import json
import os
import re
from pathlib import Path

import pytest

from third_party import notices


@pytest.fixture(scope="module")
def titles() -> set[str]:
    text = Path(os.environ["NOTICES"]).read_text()
    return set(re.findall(r"^={80}\n([^\n]+)\n={80}\n\n\S", text, re.MULTILINE))


def test_every_distribution_in_the_lock_has_a_licence(titles: set[str]) -> None:
    locked = re.findall(
        r"^([a-z0-9-]+)==(\S+) ", Path(os.environ["LOCK"]).read_text(), re.MULTILINE
    )
    assert len(locked) > 20
    found = {tuple(title.split(" ")[:2]) for title in titles}
    # The form of names in locks: PEP 503.
    named = {(re.sub(r"[-_.]+", "-", name).lower(), v) for name, v in found}
    assert set(locked) <= named


def test_every_debian_package_in_the_bundle_has_a_licence(titles: set[str]) -> None:
    packages = json.loads(Path(os.environ["DEBS"]).read_bytes())["packages"]
    names = {
        one["name"]
        for one in packages
        if (one["architecture"], one["purpose"]) == ("arm64", "python")
    }
    assert len(names) > 20
    assert {f"{name} (Debian package)" for name in names} <= titles


def distribution(folder: Path, **fields: str) -> list[Path]:
    """Writes the metadata of a distribution without a licence text."""
    info = folder / "thing-1.dist-info"
    info.mkdir()
    lines = ["Name: thing", "Version: 1", *(f"{k}: {v}" for k, v in fields.items())]
    (info / "METADATA").write_text("\n".join(lines) + "\n")
    return [info / "METADATA"]


def test_distribution_that_only_names_the_apache_licence_gets_its_text(
    tmp_path: Path,
) -> None:
    files = distribution(tmp_path, License="Apache 2.0")
    (section,) = notices.find_distributions(files, "the text")
    assert "thing 1 (Apache 2.0)" in section
    assert "the text" in section


def test_text_that_lies_beside_is_that_of_the_distribution_of_its_folder(
    tmp_path: Path,
) -> None:
    files = distribution(tmp_path, License="MIT License")
    beside = tmp_path / "licences/thing-1.dist-info/LICENSE"
    beside.parent.mkdir(parents=True)
    beside.write_text("you may")
    (section,) = notices.find_distributions([beside, *files], "the text")
    assert "thing 1 (MIT License)" in section
    assert "you may" in section


@pytest.mark.parametrize("fields", [{}, {"License": "Proprietary"}])
def test_distribution_without_a_known_licence_is_not_shipped(
    tmp_path: Path, fields: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    (metadata,) = distribution(tmp_path, **fields)
    (tmp_path / "LICENSE").write_text("text")
    output = tmp_path / "notices.txt"
    flags = [f"--output={output}", f"--licence={tmp_path / 'LICENSE'}", str(metadata)]
    assert notices.main(flags) == 1
    assert "thing-1.dist-info: expected a licence text" in capsys.readouterr().err
    assert not output.exists()
