"""A preset that does not fit into memory is refused with the numbers."""

from pathlib import Path

import jax
import pytest

from cloud.errors import MemoryShortError
from cloud.train import feasible
from cloud.train.config import TrainConfig
from cloud.train.mesh import MeshShape
from model import config

VERTEX = TrainConfig(preset="vertex", compute_dtype="float32").for_platform("gpu")
MODEL = config.vertex(39, 4, 10)


def machine(root: Path, available_kb: int) -> Path:
    (root / "proc").mkdir()
    (root / "proc/meminfo").write_text(
        f"MemTotal: 1 kB\nMemAvailable: {available_kb} kB\n"
    )
    return root


def write(root: Path, name: str, text: str) -> None:
    path = root / "sys/fs/cgroup" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_machine_without_limits_has_the_memory_that_meminfo_states(
    tmp_path: Path,
) -> None:
    machine(tmp_path, 2_000_000)
    write(tmp_path, "memory.max", "max\n")
    write(tmp_path, "memory.current", "5\n")
    found, where = feasible.available_bytes(jax.devices()[0], tmp_path)
    assert found == 2_000_000 * 1024 and "machine" in where


@pytest.mark.parametrize(
    ("limit", "used", "stat"),
    [
        ("memory.max", "memory.current", "memory.stat"),
        (
            "memory/memory.limit_in_bytes",
            "memory/memory.usage_in_bytes",
            "memory/memory.stat",
        ),
    ],
)
def test_container_has_the_rest_of_its_limit_and_its_file_cache(
    tmp_path: Path, limit: str, used: str, stat: str
) -> None:
    machine(tmp_path, 2_000_000)
    write(tmp_path, limit, "1000\n")
    write(tmp_path, used, "700\n")
    write(tmp_path, stat, "anon 400\nactive_file 100\ninactive_file 50\n")
    found, where = feasible.available_bytes(jax.devices()[0], tmp_path)
    assert found == 450 and "limit" in where


def test_large_preset_on_a_small_machine_is_refused_with_the_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = machine(tmp_path, 1_000_000)
    real = feasible.available_bytes
    monkeypatch.setattr(feasible, "available_bytes", lambda device: real(device, small))
    with pytest.raises(MemoryShortError, match=r"expected \d+\.\d\d GB.*got 1\.02 GB"):
        feasible.require_memory(VERTEX, MODEL, MeshShape(1), jax.devices())


def test_fsdp_keeps_less_on_each_device() -> None:
    alone = feasible.needed_bytes(VERTEX, MODEL, MeshShape(8, 1))
    shared = feasible.needed_bytes(VERTEX, MODEL, MeshShape(1, 8))
    assert shared < 0.75 * alone
