"""What a Pi with a camera unpacks over its bundle masks pictures, on an emulated Pi."""

import os
import subprocess
from pathlib import Path

import numpy as np

from edge.redact import picture
from edge.redact.masker import Masker
from edge.testing import bundles, photographs

_MASK = """
import sys
from pathlib import Path

import numpy as np

from edge.redact.masker import Masker

work = Path(sys.argv[1])
found = Masker(limit_s=300).mask([(work / "seen.jpg").read_bytes()], np.zeros(1, int))
print(found.frames_masked, found.masks.frames_dropped, found.reasons)
(work / "left.jpg").write_bytes(found.images[0])
"""


def test_emulated_pi_masks_a_picture_to_the_same_bytes(tmp_path: Path) -> None:
    root = bundles.unpack(tmp_path)
    bundles.unpack_over(root, Path(os.environ["MASKS"]))
    image = picture.mask(photographs.show_head(5), [])
    (tmp_path / "seen.jpg").write_bytes(image)
    (tmp_path / "mask.py").write_text(_MASK)
    qemu = Path(os.environ["QEMU"]).absolute()
    done = subprocess.run(
        [root / "python/bin/continuon-python", tmp_path / "mask.py", tmp_path],
        env={
            "CONTINUON_EMULATOR": f"{qemu} -cpu cortex-a76",
            "PATH": "/usr/bin:/bin",
            "PYTHONPATH": f"{root / 'code'}:{root / 'site-packages'}",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "1 0 ()\n", done.stderr
    here = Masker().mask([image], np.zeros(1, np.int64))
    assert (tmp_path / "left.jpg").read_bytes() == here.images[0]
