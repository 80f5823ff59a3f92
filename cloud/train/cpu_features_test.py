from pathlib import Path

import pytest

from cloud.train import config


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
