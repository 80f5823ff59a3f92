import socket
from pathlib import Path

import pytest

from edge.errors import RobotNameError
from edge.robots import machine_name

ID = "00112233445566778899aabbccddeeff"


def test_name_is_the_hash_that_systemd_computes_and_not_the_id(tmp_path: Path) -> None:
    """As `systemd-id128 machine-id --app-specific=5d4c1f0e…` on a machine of it."""
    path = tmp_path / "machine-id"
    path.write_text(f"{ID}\n")
    assert machine_name.derive_name(path) == "robot-26fd11fef7ba405fa634a38bf12ed4e4"
    path.write_text("f" * 32 + "\n")
    assert machine_name.derive_name(path) != "robot-26fd11fef7ba405fa634a38bf12ed4e4"


@pytest.mark.parametrize(
    "content",
    [None, b"", b"uninitialized\n", b"0" * 32, ID.encode() + b"00\n", b"\xff" * 32],
)
def test_machine_without_an_id_is_named_after_its_host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes | None
) -> None:
    path = tmp_path / "machine-id"
    if content is not None:
        path.write_bytes(content)
    monkeypatch.setattr(socket, "gethostname", lambda: "arm-of-the-kitchen")
    name = machine_name.derive_name(path)
    assert name == machine_name.derive_name(path)
    assert "kitchen" not in name
    monkeypatch.setattr(socket, "gethostname", lambda: "arm-of-the-hall")
    assert machine_name.derive_name(path) != name


@pytest.mark.parametrize("host", ["", "localhost"])
def test_machine_with_neither_id_nor_host_name_needs_a_given_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: host)
    with pytest.raises(RobotNameError, match="--robot_id: expected a name"):
        machine_name.derive_name(tmp_path / "absent")
