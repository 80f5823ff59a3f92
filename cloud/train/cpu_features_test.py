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
def test_instructions_decide(tmp_path: Path, flags: str, answer: bool) -> None:
    path = tmp_path / "cpuinfo"
    path.write_text(f"processor\t: 0\nmodel name\t: avx512_bf16\nflags\t\t: {flags}\n")
    assert config.multiplies_bfloat16(path) is answer


def test_machine_that_tells_nothing_is_taken_for_one_without(tmp_path: Path) -> None:
    assert not config.multiplies_bfloat16(tmp_path / "absent")
