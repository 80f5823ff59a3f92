"""What the processor of this machine computes well, as its kernel says."""

from pathlib import Path

_BFLOAT16_PRODUCTS = ("avx512_bf16", "amx_bf16")
"""Instructions that multiply pairs of bfloat16 and add in f32. With them a product of
two matrices is 1.8 to 2 times as fast as in f32 (docs/benchmarks.md); without, bfloat16
is widened first and slower than f32."""


def multiplies_bfloat16(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether products of bfloat16 are faster here than those of f32.

    Args:
        cpuinfo: the kernel's list of features; where there is none, the answer is no.
    """
    try:
        lines = cpuinfo.read_text(errors="replace").splitlines()
    except OSError:
        return False
    flags = next((line for line in lines if line.startswith("flags")), "")
    return any(name in flags.split() for name in _BFLOAT16_PRODUCTS)
