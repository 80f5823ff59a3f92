"""A package of a tiny model, exported once for all tests that read or change one.

Bazel exports it as `//cloud/testing:package`; without Bazel, the first test that asks
for it does.
"""

import functools
import shutil
import tempfile
from pathlib import Path

from cloud.package.build import BuiltPackage
from cloud.testing import export_package
from release import verification

_MADE_BY_BAZEL = Path(__file__).with_name("package")


def copy(folder: Path) -> BuiltPackage:
    """Copies the package to the new folder `folder`, as files that may be changed."""
    source, size_bytes = _MADE_BY_BAZEL, 0
    if not source.exists():
        source = _export()
    for path in source.rglob("*"):
        if path.is_file():
            target = folder / path.relative_to(source)
            target.parent.mkdir(parents=True, exist_ok=True)
            # The content alone: what Bazel makes cannot be written to.
            shutil.copyfile(path, target)
            size_bytes += target.stat().st_size
    intact = verification.verify_integrity(folder)
    safety_version = intact.manifest.safety_version
    return BuiltPackage(folder, intact.digest, size_bytes, safety_version)


@functools.cache
def _export() -> Path:
    return export_package.export(Path(tempfile.mkdtemp()) / "pi5-cpu").folder
