"""The specification of a dataset: one JSON file, kept verbatim in the manifest.

    {"dataset": "reach", "version": "1.0.0",
     "where": "success = 1 AND task IN ('reach-v3')",
     "split": {"by": ["robot_hash", "date"], "val_groups": 1, "salt": "reach"},
     "shards": {"train": 4, "val": 1}}

`where` is a predicate over the columns of `index/schema.py`. Episodes with equal values
in the columns `by` form a group, and a group is never divided between the splits. What
one robot recorded on one day can be split by `["episode_id"]` alone: then similar
episodes are in both splits, which the manifest says as it holds this spec.
"""

import dataclasses
import pathlib
import re
from collections.abc import Mapping

from base import plain_file
from base.json_fields import Fields, decode
from cloud.errors import CurationSpecError

# Similar episodes come from the same robot on the same day. Grouping by one of the two
# is coarser and just as safe; another column could put similar episodes in both splits.
GROUP_COLUMNS = ("robot_hash", "date")
EPISODE = "episode_id"
"""Each episode is a group of its own."""
_LIMIT_BYTES = 1024 * 1024
_MOST_SHARDS = 100_000  # the name of a shard has five digits
_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
_VERSION = re.compile(r"(0|[1-9]\d{0,8})(\.(0|[1-9]\d{0,8})){2}", re.ASCII)


@dataclasses.dataclass(frozen=True)
class CurationSpec:
    """A checked curation spec.

    Attributes:
        verbatim: the JSON object as its author wrote it.
        by: columns whose values define a group.
        val_groups: number of groups that go to `val`, at least one: held-out episodes
            judge a model and are its package's canary.
            Episodes as groups are taken from each task in turn.
        salt: decides the shuffled order of groups and of episodes.
        train_shards: maximum number of shards of `train`.
        val_shards: maximum number of shards of `val`.
    """

    verbatim: Mapping[str, object]
    dataset: str
    version: str
    where: str
    by: tuple[str, ...]
    val_groups: int
    salt: str
    train_shards: int
    val_shards: int

    @property
    def is_by_episode(self) -> bool:
        """Whether similar episodes may be in both splits."""
        return self.by == (EPISODE,)

    def shards(self, split: str) -> int:
        """Returns the maximum number of shards of a split."""
        return self.train_shards if split == "train" else self.val_shards


def read(path: pathlib.Path) -> CurationSpec:
    """Reads a spec file.

    Raises:
        MalformedError, OversizedError, CurationSpecError: as `parse`.
        OSError: the file cannot be read.
    """
    return parse(plain_file.read(path, _LIMIT_BYTES), str(path))


def parse(raw: bytes, where: str) -> CurationSpec:
    """Turns the bytes of a spec file into a checked spec.

    Raises:
        MalformedError: not strict JSON, or a field is missing, unknown or mistyped.
        CurationSpecError: a value is outside of what a dataset can have.
    """
    value = decode(raw, where, _LIMIT_BYTES)
    fields = Fields(value, where, ["dataset", "version", "where", "split", "shards"])
    split = fields.fields("split", ["by", "val_groups", "salt"])
    shards = fields.fields("shards", ["train", "val"])
    assert isinstance(value, dict), "checked by Fields"
    spec = CurationSpec(
        verbatim=value,
        dataset=fields.text("dataset"),
        version=fields.text("version"),
        where=fields.text("where"),
        by=split.texts("by"),
        val_groups=split.integer("val_groups", minimum=0),
        salt=split.text("salt"),
        train_shards=shards.integer("train", minimum=1),
        val_shards=shards.integer("val", minimum=1),
    )
    _check(spec, where)
    return spec


def require_output_folder(spec: CurationSpec, uri: str) -> None:
    """Checks that the output folder is named after the spec's dataset and version.

    Raises:
        CurationSpecError: it has another name.
    """
    wanted = f"{spec.dataset}/v{spec.version}"
    if not uri.endswith(f"/{wanted}"):
        raise CurationSpecError(
            "--output",
            f"a folder …/{wanted}, as the spec names dataset and version",
            uri,
            "correct the folder or the spec",
        )


def _check(spec: CurationSpec, where: str) -> None:
    if not _NAME.fullmatch(spec.dataset):
        raise CurationSpecError(
            where,
            "dataset to be lower-case letters, digits and _",
            f"{spec.dataset!r}",
            "TFDS accepts no other name",
        )
    if not _VERSION.fullmatch(spec.version):
        raise CurationSpecError(
            where,
            "version to be three numbers such as 1.0.0",
            f"{spec.version!r}",
            "correct it",
        )
    if not spec.is_by_episode and (
        not spec.by
        or len(set(spec.by)) != len(spec.by)
        or not set(spec.by) <= set(GROUP_COLUMNS)
    ):
        raise CurationSpecError(
            where,
            f"split.by to hold robot_hash, date or both, or {EPISODE} alone",
            list(spec.by),
            "otherwise similar episodes would be in both splits",
        )
    if spec.val_groups == 0:
        raise CurationSpecError(
            where,
            "split.val_groups of at least 1",
            0,
            "a model is evaluated on held-out robots or days and cannot be published"
            " without them",
        )
    if max(spec.train_shards, spec.val_shards) > _MOST_SHARDS:
        raise CurationSpecError(
            where,
            f"at most {_MOST_SHARDS} shards per split",
            max(spec.train_shards, spec.val_shards),
            "use fewer",
        )
