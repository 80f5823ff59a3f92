"""Tells the local memories of an episode how it went, as its operator said later.

The recorder leaves what was said in `memories/labels`, when it has noted it in the copy
that may be shared. The learner alone writes among the memories, and calls this while no
round runs: a memory that it changes has another name and is read again.
"""

from collections.abc import Callable
from pathlib import Path

from base.errors import ContinuonError, one_line
from edge.episodes import amend, labels
from edge.loops import memory_copies


def apply_all(root: Path, tell: Callable[[str], None]) -> int:
    """Tells every memory what was said of its episode; returns how many were told.

    Memories of an episode that is left out are forgotten. What cannot be done is told
    of, and done by the next call.

    Args:
        root: folder of the memories.
        tell: gets a line about what cannot be done.
    """
    folder = root / labels.FOLDER
    said: dict[str, str] = {}
    for name in labels.list_names(folder):
        try:
            said[name] = labels.read(folder, name) or ""
        except ContinuonError as e:
            tell(str(e))
            labels.remove(folder, name)
    if not said:
        return 0
    told = 0
    failed = set()
    for path, episode in memory_copies.list_copies(root, tell):
        name = episode.metadata.episode_id
        if not (says := said.get(name)):
            continue
        try:
            if says == amend.LEAVE_OUT:
                memory_copies.forget(path)
            else:
                memory_copies.rewrite(path, amend.apply_said(episode, says))
        except ContinuonError as e:
            tell(f"{one_line(name)} is not noted as {says}: {e}")
            failed.add(name)
            continue
        told += 1
    for name in said.keys() - failed:
        labels.remove(folder, name)
    return told
