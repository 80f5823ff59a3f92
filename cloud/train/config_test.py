"""Settings that a preset leaves open are decided by the devices."""

from pathlib import Path

import pytest

from cloud.train import config
from cloud.train import config as train_config
from cloud.train.config import TrainConfig


@pytest.mark.parametrize("has", [True, False])
def test_dtype_on_a_cpu_depends_on_preset_and_instructions(
    monkeypatch: pytest.MonkeyPatch, has: bool
) -> None:
    monkeypatch.setattr(config, "multiplies_bfloat16", lambda: has)
    seed = TrainConfig(preset="seed")
    expected = "bfloat16" if has else "float32"
    assert seed.for_platform("cpu").compute_dtype == expected
    assert seed.for_platform("gpu").compute_dtype == "bfloat16"
    assert TrainConfig().for_platform("cpu").compute_dtype == "float32"
    asked = TrainConfig(preset="seed", compute_dtype="float32")
    assert asked.for_platform("gpu").compute_dtype == "float32"


@pytest.mark.parametrize(
    ("windows", "length", "parts"),
    [
        (16, 128, 1),
        (16, 256, 2),
        (16, 2048, 16),
        (16, 5000, 16),
        (12, 1024, 6),
        (7, 700, 1),
    ],
)
def test_parts_divide_the_windows_and_fit_the_caches(
    windows: int, length: int, parts: int
) -> None:
    assert train_config.parts_on_cpu(windows, length) == parts


def test_long_batch_is_split_into_parts_on_a_cpu_only() -> None:
    long = TrainConfig(preset="seed", batch_size=16, sequence_length=2048)
    assert long.for_platform("cpu").accumulation_steps == 16
    assert long.for_platform("gpu").accumulation_steps == 1
    assert long.for_platform("cpu", devices=8).accumulation_steps == 2
    assert TrainConfig(preset="rtx3050").for_platform("gpu").accumulation_steps == 4


def test_requested_number_of_parts_is_kept() -> None:
    asked = TrainConfig(batch_size=16, sequence_length=2048, accumulation_steps=2)
    assert asked.for_platform("cpu").accumulation_steps == 2
    with pytest.raises(ValueError, match="multiple of accumulation_steps 3, got 16"):
        TrainConfig(batch_size=16, accumulation_steps=3)


@pytest.mark.parametrize(
    ("flags", "answer"),
    [
        ("fpu avx2 avx512_bf16 avx512f", True),
        ("fpu amx_bf16 amx_tile", True),
        ("fpu avx2 avx512f", False),
        ("fpu not_avx512_bf16", False),
    ],
)
def test_bfloat16_is_fast_only_with_its_instructions(
    tmp_path: Path, flags: str, answer: bool
) -> None:
    path = tmp_path / "cpuinfo"
    path.write_text(f"processor\t: 0\nmodel name\t: avx512_bf16\nflags\t\t: {flags}\n")
    assert config.multiplies_bfloat16(path) is answer


def test_machine_without_cpuinfo_has_no_bfloat16_instructions(tmp_path: Path) -> None:
    assert not config.multiplies_bfloat16(tmp_path / "absent")
