"""Errors of the robot's runtime: one root, one subclass per cause."""

from base.errors import ContinuonError


class EdgeError(ContinuonError):
    """Root of the errors that only `edge/` raises."""


class BadTimeError(EdgeError):
    """A time given as text is not RFC 3339 in UTC."""

    default_remedy = "correct the time"


class ClockError(EdgeError):
    """This machine's clock is behind a time that is known to have passed."""

    default_remedy = "set the clock, or wait until the network sets it, and run again"


class UnknownRobotError(EdgeError):
    """A robot string does not name a robot that this program can open."""

    longest_remedy = 2000  # it may list every task: 50 of them take 800 characters

    def __init__(self, name: str, remedy: str) -> None:
        """Lists the forms that are accepted.

        Args:
            name: the string that was given.
            remedy: what to write instead.
        """
        self.name = name
        super().__init__(
            "--robot",
            "metaworld:TASK, metaworld-camera:TASK, metaworld-poor:TASK,"
            " metaworld-changed:TASK, so101-sim:TASK, so101-camera:TASK, gym:ENV_ID,"
            " replay:PATH, serial-car:PORT, lerobot:TYPE@PORT, FILE.py:CLASS or"
            " MODULE:CLASS",
            repr(name),
            remedy,
        )


class RobotUnavailableError(EdgeError):
    """A known robot cannot be opened on this machine."""

    longest_remedy = 1000  # it may be a command with paths


class OutsideRobotError(EdgeError):
    """A class of somebody else's code is not there, does not load, or is no robot."""


class GymRobotError(EdgeError):
    """A Gymnasium environment is not there, or has spaces that are not a robot's."""


class RobotFaultError(EdgeError):
    """Somebody else's robot raised, or returned what no robot returns."""

    default_remedy = "correct its class, then check it: //edge:check_robot"


class RobotPortError(EdgeError):
    """What a robot hangs on does not answer any more."""

    default_remedy = "look at its cable and its power, then start again"


class CameraError(EdgeError):
    """A camera is named wrongly, lacks what it needs, or takes no pictures."""

    default_remedy = "see docs/your-robot.md"


class MicrophoneError(EdgeError):
    """A microphone is named wrongly, lacks what it needs, or gives no sound."""

    default_remedy = "see docs/your-robot.md"


class NoExpertError(EdgeError):
    """A robot has no scripted expert."""


class RobotChangeError(EdgeError):
    """A robot's change does not fit it, or its observation was read before a reset."""


class SafetyConfigError(EdgeError):
    """A safety config is malformed or does not fit the robot."""

    default_remedy = "correct the safety config, or use the package's own"


class PaceError(EdgeError):
    """A robot that is not simulated was about to be driven without real time."""

    default_remedy = "leave out --pace: such a robot is always driven in real time"


class WatchdogError(EdgeError):
    """A robot's watchdog cannot be started, has ended, or does not let the robot go."""

    default_remedy = (
        "check the robot, then run again; it is never driven without a watchdog"
    )


class ActionShapeError(EdgeError):
    """A policy proposed an action of the wrong shape."""

    default_remedy = "use a policy that was made for this robot"


class ActionAfterEndError(EdgeError):
    """A robot was asked to act after its episode had ended, or before a reset."""

    default_remedy = "reset the robot first"


class RobotNameError(EdgeError):
    """A robot was given no name, and this machine has none to derive it from."""


class KeyFileError(EdgeError):
    """A robot key file is missing, malformed or readable by others."""


class EpisodeTermsError(EdgeError):
    """The file of an episode's terms (robot, key and consent) is malformed."""


class OtherRobotError(EdgeError):
    """A private folder holds an episode that another robot recorded."""


class AmendError(EdgeError):
    """An episode cannot be labelled or trimmed; nothing of it was changed."""

    default_remedy = "nothing was changed: correct the command and run it again"


class ConsentError(EdgeError):
    """Nothing can be decided about an episode, or what was decided cannot be read."""

    default_remedy = "decide again with //edge:consent; until then it is not sent"


class RedactionError(EdgeError):
    """A value cannot be redacted, so its episode stays private."""

    default_remedy = "correct the value; the episode stays private until then"


class DetectorError(EdgeError):
    """A detector is missing, has other weights, or fails: its pictures do not leave."""


class UncoveredFieldError(EdgeError):
    """A sensitive field has no transform that removes its sensitivity."""

    def __init__(self, episode_id: str, fields: tuple[str, ...]) -> None:
        """Names the fields that would have left the robot unredacted.

        Args:
            episode_id: the episode that was refused.
            fields: names of the uncovered sensitive fields.
        """
        self.episode_id = episode_id
        self.fields = fields
        super().__init__(
            f"episode {episode_id}",
            "a redaction transform for every sensitive field",
            f"none for {', '.join(fields)}",
            "the episode stays private: add the transform to edge/redact or record "
            "without these fields",
        )


class MailboxError(EdgeError):
    """The folder of a robot's processes, or a mailbox in it, cannot be used."""

    default_remedy = "name a folder in --home that this user may write to"


class PageError(EdgeError):
    """The operator's page cannot be shown there."""

    default_remedy = "name another port, or end the program that listens there"


class RunFolderError(EdgeError):
    """What a running process needs in its robot's run folder was taken from it."""

    default_remedy = "leave that folder alone; a robot that is started again makes it"


class AlreadyRunningError(EdgeError):
    """A process of this name runs for this robot already."""

    default_remedy = "end that one first, or name another --home"


class RingError(EdgeError):
    """The ring of steps between control and record cannot be used."""

    default_remedy = "start control again, which makes a new one"


class OutputFolderError(EdgeError):
    """A recording folder is in use by another process or open to other users."""


class UploadError(EdgeError):
    """An episode could not be sent, or the store holds other bytes under its name."""


class StepFunctionError(EdgeError):
    """A package's step does not load, or does not fit its tensors or this runtime."""


class DeltaError(EdgeError):
    """A local delta is torn, of another package or beyond its bounds."""


class LearningError(EdgeError):
    """A package cannot be learned with on this robot, or its functions failed."""

    default_remedy = "the robot drives on as before; nothing was learned"


class LifeError(EdgeError):
    """A life that is shown cannot begin, or one of its programs failed."""

    default_remedy = "choose another --home, or remove it"


class UnknownTaskError(EdgeError):
    """A package was not trained for the task of the robot."""


class RobotMismatchError(EdgeError):
    """A package was made for another robot than the one that is open."""


class SimulatedOnlyError(EdgeError):
    """A scripted expert, or a package that nobody signed, was to drive a real robot."""


class UnknownActorError(EdgeError):
    """The name is not a known actor."""


class ActorUnavailableError(EdgeError):
    """A known actor cannot act here: no terminal, no device, or a broken package."""

    longest_remedy = 1000  # it may be a command with paths


class ActorAbsentError(ActorUnavailableError):
    """The device of an actor is not there now; it may be connected later."""


class ActorLostError(EdgeError):
    """The device of an actor went away while it was in use."""

    default_remedy = "connect it and run again; the robot was held still"


class TrialsError(EdgeError):
    """A folder of trials holds another session, or something else."""


class ReplayError(EdgeError):
    """An episode cannot be replayed."""


class BundleError(EdgeError):
    """Root of what making a bundle raises."""


class WrongProcessorError(BundleError):
    """A native file of a bundle is for another processor."""


class BundleListError(BundleError):
    """The list of a bundle's files is malformed or names one path twice."""
