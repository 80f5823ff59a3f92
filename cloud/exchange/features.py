"""Which features of other people's data become state, action and pictures.

Pure: names, types and sizes in, a choice out. What a person names is taken as it is.
Without a name there is a default, and whatever is not taken is listed with the reason.
"""

import dataclasses
from collections.abc import Mapping, Sequence

from cloud.errors import SourceError
from cloud.exchange import camera_names
from cloud.exchange.recorded import Choice
from rlds.spec import MAX_CAMERAS

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
    """The features that are taken.

    Attributes:
        state: those of the state.
        action: those of the action.
        cameras: our name of each camera, by its feature; see `camera_names`.
    """

    state: tuple[str, ...]
    action: tuple[str, ...]
    cameras: Mapping[str, str]

    @property
    def all(self) -> tuple[str, ...]:
        """Every feature that is taken."""
        return (*self.state, *self.action, *self.cameras)

    @property
    def renamed(self) -> dict[str, str]:
        """The cameras that their source calls otherwise, and our names of them."""
        return {
            feature: name
            for feature, name in self.cameras.items()
            if camera_names.is_renamed(feature, name)
        }


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
        _cameras(features, choice.cameras, source),
    )


def explain(
    features: Mapping[str, Feature], taken: Taken, known: Mapping[str, str]
) -> dict[str, str]:
    """Says why each feature that is not taken is left behind.

    Args:
        features: all features of a step.
        taken: what is taken as state, action and pictures.
        known: reasons for features of a known meaning; "" for those carried over.
    """
    found = {}
    for name, feature in features.items():
        if name in taken.all or known.get(name) == "":
            continue
        if name in known:
            found[name] = known[name]
        elif feature.kind == "picture" and len(taken.cameras) >= MAX_CAMERAS:
            found[name] = f"episodes have at most {MAX_CAMERAS} named cameras"
        elif feature.kind == "picture":
            found[name] = "its pictures are left out, as --camera says"
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


def _cameras(
    features: Mapping[str, Feature], named: Sequence[str] | None, source: str
) -> dict[str, str]:
    cameras = [name for name, one in features.items() if one.kind == "picture"]
    if named is None:
        return {}
    names = camera_names.name_cameras(cameras)
    if not named:
        return names
    chosen = {_find_camera(names, one, source) for one in named}
    return {feature: name for feature, name in names.items() if feature in chosen}


def _find_camera(names: Mapping[str, str], wanted: str, source: str) -> str:
    """Returns the feature of a camera: by its name there, by its end, or by ours."""
    for feature, name in names.items():
        if wanted in (feature, feature.split("/")[-1], feature.split(".")[-1], name):
            return feature
    raise SourceError(
        "--camera",
        f"none, or some of {list(names)} of {source}",
        wanted,
        "name others",
    )


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
