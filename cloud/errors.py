"""Errors of the forge: one root, one subclass per cause."""

from base.errors import ContinuonError


class CloudError(ContinuonError):
    """Root of the errors that only `cloud/` raises."""


class RawRootError(CloudError):
    """A location is not a raw root: it holds no uploaded episodes."""


class EnrolmentError(CloudError):
    """A file of enrolled robot keys does not parse."""


class IngestKeyError(CloudError):
    """The key that signs verdicts, or the keyring that checks them, is missing."""


class IngestRaceError(CloudError):
    """Other runs kept changing a verdict while this one wrote it."""


class VerdictError(CloudError):
    """A verdict does not count: it is not ingest's, or not on what lies there now."""

    default_remedy = "run //cloud:ingest again"


class QuarantineError(CloudError):
    """A run with --fail_on_quarantine found quarantined episodes."""


class SnapshotError(CloudError):
    """An index snapshot is missing or is not what `//cloud:index` writes."""


class QueryError(CloudError):
    """A query or predicate over the index is refused or does not run."""


class CurationSpecError(CloudError):
    """A curation spec does not parse or cannot be met by the index."""


class CurationPipelineError(CloudError):
    """The Beam pipeline failed; nothing was written at the output."""


class DatasetExistsError(CloudError):
    """The name and version already belong to another dataset."""


class DatasetError(CloudError):
    """A curated dataset is missing, or disagrees with its own manifest."""


class SourceError(CloudError):
    """A folder of other people's data lacks what all of its episodes need."""


class BadEpisodeError(CloudError):
    """An episode of other people's data cannot be carried over; the others can."""

    default_remedy = "it is left out"


class BlindRobotError(CloudError):
    """A model reads a sense that the robot it is to be evaluated on lacks."""


class UnsuitableRobotError(CloudError):
    """The robot that a model is to be evaluated on is not the dataset's."""


class ActionLimitsError(CloudError):
    """The limits of actions are not those of the dataset's actions."""


class ProgramMissingError(CloudError):
    """Another program or build product is not beside this program."""


class ProgramFailedError(CloudError):
    """Another program of the project exited with an error."""

    default_remedy = "read its log, fix the cause and run the command again"


class RolloutSummaryError(CloudError):
    """A summary of closed-loop episodes is missing or is of other episodes."""


class EvaluationReportError(CloudError):
    """An evaluation report does not parse."""


class RunFolderError(CloudError):
    """A training run cannot be started or continued in this folder."""


class DiskSpaceError(CloudError):
    """A file system has less free space than the work needs."""


class ExportSourceError(CloudError):
    """A model cannot be exported from the given run or to the given folder."""


class CheckpointError(CloudError):
    """A training checkpoint cannot be written or read, or belongs to another run."""


class DivergenceError(CloudError):
    """The training loss is no longer a finite number."""


class MeshError(CloudError):
    """The devices or processes cannot be arranged as requested."""

    default_remedy = "correct the flag"


class MemoryShortError(CloudError):
    """Training needs more memory than a device has."""
