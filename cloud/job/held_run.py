"""The run that this command trains: found or started, and held for it alone.

A run lies in the store's own folder, or in a bucket with a copy on this machine; then a
lease in the bucket holds it too.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from cloud.console import WorkProgress
from cloud.job import run_backup, run_folder, run_lease
from cloud.job.data import Data
from cloud.job.destination import Destination
from cloud.job.run_folder import RunFolder
from cloud.job.run_lease import Lease
from cloud.job.settings import TARGET, JobSettings


@dataclasses.dataclass(frozen=True)
class HeldRun:
    """One run with everything that it is made of and made for.

    Attributes:
        settings: settings of the job.
        destination: where its results are stored, and who signs them.
        data: what it learns from.
        folder: its folder on this machine.
        lease: holds it in a bucket; None if the store is on this machine.
    """

    settings: JobSettings
    destination: Destination
    data: Data
    folder: RunFolder
    lease: Lease | None

    @property
    def text(self) -> str:
        """Where the run lies, and from where it goes on, for people."""
        if not self.folder.continued:
            return f"{self.folder.path} starts"
        done = self.folder.updates_done
        return f"{self.folder.path} continues from update {done:,}"

    def require_held(self) -> None:
        """Checks that no other machine has taken the run over.

        Raises:
            RunFolderError: one has.
        """
        if self.lease is not None:
            self.lease.require_held()

    def back_up_checkpoint(self, checkpoint: Path) -> None:
        """Uploads a checkpoint, unless the run lies in the store itself.

        Raises:
            RunFolderError: another machine has taken the run over.
            StoreError: the bucket refuses it.
        """
        if not self.destination.local:
            self.require_held()
            run_backup.upload_checkpoint(
                self.destination.store, self._copy_prefix, checkpoint
            )

    def end(self, outcome: dict[str, object], console: Console) -> None:
        """Uploads what is not in the store yet, and marks the run as ended.

        Raises:
            StoreError: the bucket refuses a file.
        """
        store, path = self.destination.store, self.folder.path
        if not self.destination.local:
            with WorkProgress(console, "upload"):
                run_backup.upload_results(store, self._copy_prefix, path)
        self.folder.finish(outcome)
        if not self.destination.local:
            run_backup.upload_end(store, self._copy_prefix, path)

    @property
    def _copy_prefix(self) -> str:
        """Prefix of the run's copy in a store that is not on this machine."""
        return f"{self.settings.publish.family}/{self.folder.run_id}"


@contextlib.contextmanager
def hold(
    settings: JobSettings,
    destination: Destination,
    data: Data,
    started: datetime,
    console: Console,
    note: Callable[[str], None],
) -> Iterator[HeldRun]:
    """Holds a run for this process alone while the block runs, wherever it is kept.

    Args:
        settings: settings of the job.
        destination: where its results are stored.
        data: what it learns from.
        started: the time, with a time zone, after which a new run is named.
        console: where progress is shown.
        note: is told why it takes longer.

    Raises:
        RunFolderError: another process trains it, or --resume does not fit.
        StoreError: the bucket cannot be read.
    """
    deciding = _collect_deciding(settings, data)
    identity, family = run_folder.compute_identity(deciding), settings.publish.family
    resume = settings.run.resume or None
    with contextlib.ExitStack() as held:
        lease = None
        if not destination.local:
            lease = held.enter_context(
                run_lease.hold(destination.store.uri, family, identity, note)
            )
            with WorkProgress(console, "fetch"):
                run_backup.fetch(
                    destination.store,
                    family,
                    destination.family_folder,
                    identity,
                    note,
                    resume,
                )
        folder = run_folder.open_run(
            destination.family_folder,
            deciding,
            started.astimezone(UTC).strftime(run_folder.STARTED_FORMAT),
            resume,
        )
        held.callback(folder.close)
        yield HeldRun(settings, destination, data, folder, lease)


def _collect_deciding(settings: JobSettings, data: Data) -> dict[str, object]:
    """Returns everything that decides what the run computes."""
    training = dataclasses.asdict(settings.train)
    del training["accumulation_steps"]  # the parts of a batch only round
    return {
        "family": settings.publish.family,
        "target": TARGET,
        "dataset_manifest": data.manifest_digest,
        "tasks": list(data.tasks),
        "training_config": training,
        "action_minimum": list(settings.publish.action_minimum),
        "action_maximum": list(settings.publish.action_maximum),
        "code_commit": settings.run.code_commit,
    }
