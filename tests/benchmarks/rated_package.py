"""A published package, restated for another control rate and published anew.

A package is refused by a robot of another rate. What it does in a step does not depend
on the rate, so its time can be measured at any: the manifest says another one, and a
key that was made for this signs it.
"""

import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from base import canonical_json, durable_file
from base.errors import ContinuonError
from edge.ota.state_folder import StateFolder
from edge.processes.home import Home
from edge.testing.tiny_package import Publisher, sign_package
from release import package


def fetch(home: Path, channel: str, robot: str, keys: list[str]) -> Path:
    """Installs the package of a channel as a robot does; returns its folder.

    Args:
        home: new folder of a robot.
        channel: STORE/channels/NAME.json.
        robot: robot string that the package must fit.
        keys: flags of the keys that sign it.

    Raises:
        ContinuonError: the updater refused it; the text says why.
    """
    done = subprocess.run(
        [
            *(sys.executable, "-m", "edge.processes.update", "--once"),
            *(f"--home={home}", f"--channel={channel}", f"--robot={robot}", *keys),
        ],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    state = StateFolder(Home(home).packages)
    installed = state.read_installed()
    if done.returncode or installed is None:
        raise ContinuonError(channel, "a package", done.stderr.strip(), "see its line")
    return state.package_folder(installed.digest)


class RatedPackage:
    """The same package, release after release, at a control rate of its own.

    Attributes:
        publisher: its store, its key and its channel.
    """

    def __init__(self, folder: Path, source: Path, control_hz: float) -> None:
        """Publishes nothing yet.

        Args:
            folder: new folder of the store.
            source: folder of the package.
            control_hz: rate that it shall state, in Hz.
        """
        self.publisher = Publisher(folder)
        self._source = source
        self._control_hz = control_hz
        self._releases = 0

    def release(self) -> Path:
        """Publishes the next release; returns the folder that it was packed from."""
        folder = self.publisher.folder / f"package-{self._releases}"
        shutil.copytree(self._source, folder)
        path = folder / package.MANIFEST
        value: Any = canonical_json.decode(path.read_bytes())
        value["robot"]["control_hz"] = self._control_hz
        value["release_counter"] = self._releases + 1
        path.unlink()
        durable_file.write(path, canonical_json.encode(value))
        digest = package.parse(path.read_bytes()).digest
        sign_package(folder, digest, self.publisher.key)
        self.publisher.release(self._releases, now=datetime.now(UTC))
        self._releases += 1
        return folder
