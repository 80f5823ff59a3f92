"""What is to be said of the upload of each episode of a shared folder, in words."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from base import plain_file, text_forms
from base.errors import ContinuonError, one_line
from edge.episodes import consents
from edge.episodes.consents import (
    CONSENT_SUFFIX,
    RECEIPT_SUFFIX,
    STORES_SUFFIX,
    Reached,
    Standing,
    Wish,
)
from rlds import reader, sidecar, sidecar_statements
from rlds.consent_record import Decision
from rlds.episode import Episode
from rlds.sidecar import Sidecar
from rlds.spec import FIELDS, Field
from rlds.tfds_directory import EPISODE_SUFFIX, SIDECAR_SUFFIX

_SUFFIXES: Final = (SIDECAR_SUFFIX, CONSENT_SUFFIX, STORES_SUFFIX, RECEIPT_SUFFIX)
_WAITING: Final = {
    Decision.GRANTED: "to allow it",
    Decision.REFUSED: "to refuse it",
    Decision.TAKEN_BACK: "to take it back",
}


@dataclasses.dataclass(frozen=True)
class Shared:
    """What a shared folder holds of an episode, besides its bytes.

    Attributes:
        name: the episode.
        date: its day, `YYYY-MM-DD`.
        stated: its sidecar; None if the episode is not here any more.
        standing: whether it may be sent, and the newest record.
        reached: stores that it may have reached; None for none.
        wish: what was said and is not signed yet; None for nothing.
        fault: why nothing is known of it; it is not sent then.
    """

    name: str
    date: str = ""
    stated: Sidecar | None = None
    standing: Standing = consents.FORBIDDEN
    reached: Reached | None = None
    wish: Wish | None = None
    fault: str = ""

    @property
    def may_leave(self) -> bool:
        """Whether the next upload sends it."""
        stated = self.stated
        return (
            not self.fault
            and stated is not None
            and self.standing.allowed
            and sidecar_statements.may_leave(stated, stated.safety.violations)
        )

    @property
    def owed(self) -> tuple[str, ...]:
        """Stores that do not know yet what was decided last."""
        record, reached = self.standing.record, self.reached
        if record is None or reached is None:
            return ()
        held = sorted(reached.stores.items())
        return tuple(uri for uri, counter in held if counter < record.counter)

    def tell(self) -> str:
        """Says in one line what becomes of it."""
        if self.fault:
            return f"held back: {self.fault}"
        parts = [self._tell_decision(), self._tell_stores()]
        if self.wish is not None:
            parts.append(f"asked {_WAITING[self.wish.decision]}, not signed yet")
        return ", ".join(part for part in parts if part)

    def _tell_decision(self) -> str:
        record = self.standing.record
        if record is not None:
            at = f" ({record.at[:13]}h)"
            if record.decision is Decision.TAKEN_BACK:
                kept = "" if self.stated is None else ", its copy is being deleted"
                return f"taken back{at}{kept}"
            if record.decision is Decision.REFUSED:
                return f"refused{at}"
            if self.stated is not None and record.sha256 != self.stated.sha256:
                return "not allowed: it was changed after it was allowed"
            return f"allowed{at}"
        if self.stated is None:
            return "not here any more"
        if self.stated.consent.granted:
            return "allowed when it was recorded"
        if self.may_leave:
            return "allowed since a stop rule fired in it"
        return "not allowed"

    def _tell_stores(self) -> str:
        if self.reached is None:
            return "waits for an upload" if self.may_leave else ""
        count = len(self.reached.stores)
        told = f"sent to {text_forms.count(count, 'store')}"
        record = self.standing.record
        if record is None or record.is_granted:
            return told
        asked = count - len(self.owed)
        verb = "is" if asked == 1 else "are"
        return f"{told}, of which {asked} {verb} asked to erase it"


def list_shared(folder: Path) -> list[str]:
    """Returns the names of the episodes of which a folder knows something, sorted."""
    if not folder.is_dir():
        return []
    names = set(consents.list_wishes(folder))
    for path in (*folder.iterdir(), *(folder / consents.SENT).glob("*.json")):
        for suffix in _SUFFIXES:
            if path.name.endswith(suffix):
                names.add(path.name.removesuffix(suffix))
    return sorted(names)


def look(folder: Path, name: str) -> Shared:
    """Looks what a shared folder holds of an episode; it never raises."""
    stated = reached = wish = None
    try:
        stated = _read_sidecar(folder, name)
        wish = consents.read_wish(folder, name)
        reached = consents.read_reached(folder, name)
        record, raw = consents.read_record(folder, name)
        standing = Standing(False, record, raw)
        if stated is not None:
            standing = consents.find_standing(folder, stated)
    except (ContinuonError, OSError) as e:
        date = "" if stated is None else stated.date
        return Shared(name, date, stated, fault=one_line(e), reached=reached, wish=wish)
    date = next(
        (one.date for one in (stated, record) if one is not None),
        "" if reached is None else reached.folder.date,
    )
    return Shared(name, date, stated, standing, reached, wish)


def tell_content(
    folder: Path, shared: Shared, episode: Episode | None = None
) -> Iterator[str]:
    """Says line by line what would leave of an episode, and what was done to it.

    Args:
        folder: the shared folder.
        shared: what it holds of the episode.
        episode: the episode, where somebody has read it; None to read it.
    """
    stated = shared.stated
    if stated is None:
        yield "its copy is not here: nothing of it would leave"
        return
    path = folder / f"{shared.name}{EPISODE_SUFFIX}"
    yield f"would leave: {path.name}, {_tell_size(stated)}"
    try:
        episode = episode or reader.read_episode(path)
    except (ContinuonError, OSError) as e:
        yield f"  it cannot be read, and is not sent: {one_line(e)}"
        return
    steps = episode.spec.step_fields()
    plain = [_shorten(field) for field in steps if not field.sensitive]
    yield f"  of each step, as they are: {', '.join(plain)}"
    drawn = stated.privacy.drawn
    for field in steps:
        if field.sensitive and drawn and field.name in episode.spec.picture_fields:
            yield (
                f"  of each step, drawn by the simulator {drawn.simulator}, not masked:"
                f" {_shorten(field)}"
            )
        elif field.sensitive:
            yield f"  of each step, {field.transform}: {_shorten(field)}"
    if (cameras := len(episode.spec.picture_fields)) and not drawn:
        masked = stated.privacy.frames_masked
        yield f"  masked in {masked:,} of {cameras * stated.num_steps:,} pictures"
    for field in FIELDS:
        if field.scope == "episode":
            value = one_line(getattr(episode.metadata, field.name))
            how = f" ({field.transform})" if field.sensitive else ""
            yield f"  {field.name}{how}: {value or '-'}"


def _shorten(field: Field) -> str:
    return field.name.removeprefix("observation/")


def _tell_size(stated: Sidecar) -> str:
    return f"{stated.size_bytes:,} bytes, {stated.num_steps:,} steps"


def _read_sidecar(folder: Path, name: str) -> Sidecar | None:
    path = folder / f"{name}{SIDECAR_SUFFIX}"
    try:
        return sidecar.parse(plain_file.read(path, sidecar.LIMIT_BYTES))
    except FileNotFoundError:
        return None
