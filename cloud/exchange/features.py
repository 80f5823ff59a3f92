"""Which features of other people's data become state, action and picture.

Pure: names, types and sizes in, a choice out. What a person names is taken as it is.
Without a name there is a default, and whatever is not taken is listed with the reason.
"""

import dataclasses
from collections.abc import Mapping, Sequence

from cloud.errors import SourceError
from cloud.exchange.recorded import Choice

_LONGEST = 256
"""Numbers of a feature that is taken for a state unasked: more are an embedding."""


@dataclasses.dataclass(frozen=True)
class Feature:
    """One feature of a source, in each step.

    Attributes:
        kind: `number`, `picture`, `text`, or another word, such as `depth`.
        size: numbers in each step; None if it varies or is unknown.
        doc: type and shape, for people.
    """

    kind: str
    size: int | None
    doc: str


@dataclasses.dataclass(frozen=True)
class Names:
    """How a format names things.

    Attributes:
        states: names of the state, the first that is there is taken.
        observed: what the names of all that is observed begin with.
        action: name of the action, or what the names of its parts begin with.
    """

    states: tuple[str, ...]
    observed: str
    action: str


@dataclasses.dataclass(frozen=True)
class Taken:
    """The features of the state, of the action, and the camera or None."""

    state: tuple[str, ...]
    action: tuple[str, ...]
    camera: str | None

    @property
    def all(self) -> tuple[str, ...]:
        """Every feature that is taken."""
        return (*self.state, *self.action, *filter(None, [self.camera]))


def choose(
    features: Mapping[str, Feature], choice: Choice, names: Names, source: str
) -> Taken:
    """Returns what is taken of these features.

    Args:
        features: all features of a step, in the order of the source.
        choice: what a person named.
        names: how the format names things.
        source: the folder, for errors.

    Raises:
        SourceError: a feature that was named is not there or is of another kind, or
            none serves as state or action.
    """
    return Taken(
        _state(features, choice.state, names, source),
        _action(features, choice.action, names, source),
        _camera(features, choice.camera, source),
    )


def explain(
    features: Mapping[str, Feature], taken: Taken, known: Mapping[str, str]
) -> dict[str, str]:
    """Says why each feature that is not taken is left behind.

    Args:
        features: all features of a step.
        taken: what is taken as state, action and picture.
        known: reasons for features of a known meaning; "" for those carried over.
    """
    found = {}
    for name, feature in features.items():
        if name in taken.all or known.get(name) == "":
            continue
        if name in known:
            found[name] = known[name]
        elif feature.kind == "picture" and taken.camera is not None:
            found[name] = f"episodes have one camera, here {taken.camera}"
        elif feature.kind == "picture":
            found[name] = "pictures are left out"
        elif feature.kind == "number":
            found[name] = f"neither state nor action was made of it ({feature.doc})"
        else:
            found[name] = f"episodes have no field for it ({feature.doc})"
    return found


def _state(
    features: Mapping[str, Feature], named: Sequence[str], names: Names, source: str
) -> tuple[str, ...]:
    if named:
        return _named(features, named, "--state", source)
    for name in names.states:
        if name in features and features[name].kind == "number":
            return (name,)
    found = tuple(
        sorted(
            name
            for name, feature in features.items()
            if name.startswith(names.observed)
            and feature.kind == "number"
            and "embedding" not in name
            and (feature.size or 1) <= _LONGEST
        )
    )
    if not found:
        raise SourceError(
            source,
            f"numbers that a robot senses, such as {names.states[0]}",
            f"features {sorted(features)}",
            "name some with --state",
        )
    return found


def _action(
    features: Mapping[str, Feature], named: Sequence[str], names: Names, source: str
) -> tuple[str, ...]:
    if named:
        return _named(features, named, "--action", source)
    if names.action in features and features[names.action].kind == "number":
        return (names.action,)
    parts = tuple(
        sorted(
            name
            for name, feature in features.items()
            if name.startswith(f"{names.action}/") and feature.kind == "number"
        )
    )
    if not parts:
        raise SourceError(
            source,
            f"an action, a feature named {names.action}",
            f"features {sorted(features)}",
            "name some with --action",
        )
    return parts


def _camera(
    features: Mapping[str, Feature], named: str | None, source: str
) -> str | None:
    cameras = [name for name, one in features.items() if one.kind == "picture"]
    if named is None:
        return None
    if not named:
        return cameras[0] if cameras else None
    matching = [name for name in cameras if named in (name, name.split("/")[-1])]
    matching += [name for name in cameras if name.split(".")[-1] == named]
    if not matching:
        raise SourceError(
            "--camera", f"none, or one of {cameras} of {source}", named, "name another"
        )
    return matching[0]


def _named(
    features: Mapping[str, Feature], named: Sequence[str], flag: str, source: str
) -> tuple[str, ...]:
    for name in named:
        if name not in features or features[name].kind != "number":
            numbers = sorted(n for n, one in features.items() if one.kind == "number")
            raise SourceError(
                flag, f"some of {numbers}, which {source} has", name, "name others"
            )
    return tuple(named)
