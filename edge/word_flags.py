"""The flag by which an operator lets words of theirs leave in what is recorded.

What leaves a robot is said in words of `rlds/known_words.py`. The make, the task or the
place of somebody else's robot may lack a word there: it would leave as a hash, and a
package that is trained on that would fit no robot. Words that are named here leave as
they are, and stand in the robot's public record (`docs/privacy.md`).
"""

from absl import app, flags

from base.errors import MalformedError
from rlds import known_words

NAME = "share_words"
SHARE_WORDS = flags.DEFINE_list(
    NAME,
    [],
    "words of your own that may leave in the names of robot, environment and task,"
    f" beside those of rlds/known_words.py: at most {known_words.MAX_OWN}, of letters"
    " from a to z; none may name a person, a place, a time or an illness",
)


def read() -> frozenset[str]:
    """Returns the words that the flag names.

    Raises:
        app.UsageError: one has another form, or there are too many.
    """
    try:
        return known_words.parse_own(list(SHARE_WORDS.value or ()), f"--{NAME}")
    except MalformedError as e:
        raise app.UsageError(f"--{NAME}: expected {e.expected}, got {e.got}") from e


def hand_on() -> list[str]:
    """Returns the flag for another program, if it was given.

    Raises:
        app.UsageError: as `read`.
    """
    words = sorted(read())
    return [f"--{NAME}={','.join(words)}"] if words else []
