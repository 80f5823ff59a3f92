"""The edge package: a folder that `package.json` describes completely.

`package.json` lists every other file with its sha256 and size, so its own sha256, the
package digest, identifies the whole content. Three files are not in the list: the two
signed statements about a package, `provenance.intoto.jsonl` and
`blessing.intoto.jsonl`, and `evaluation.json`, the report that the verdict rests on.
They name the digest, so they can be written only after it is known; the signed blessing
states the sha256 of the report.

Format 1 had neither `canary.json` nor `evaluation.json`, and named neither the model of
the robot nor the dataset; its packages are still read, and only format 2 is written.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from base.digest import sha256_bytes
from base.errors import MalformedError, OversizedError
from base.json_fields import Fields, Source, decode_canonical
from release import canary, learning_plan
from release.errors import (
    DuplicateNameError,
    MissingFileError,
    RollbackError,
)
from release.learning_plan import LearningPlan
from release.limits import LIMITS
from release.package_tar import check_package_path
from release.package_tar import pack_tar as pack_tar
from release.package_tar import remove_leftovers as remove_leftovers
from release.package_tar import unpack_tar as unpack_tar

SCHEMA_VERSION = 2
MANIFEST = "package.json"
PROVENANCE = "provenance.intoto.jsonl"
BLESSING = "blessing.intoto.jsonl"
STATEMENTS = (PROVENANCE, BLESSING)
EVALUATION = "evaluation.json"
UNLISTED = (MANIFEST, *STATEMENTS, EVALUATION)
"""The files of a package that package.json does not list."""
WEIGHTS = "weights.safetensors"
SAFETY = "safety.json"
CANARY = "canary.tfrecord"
REQUIRED_FILES = (WEIGHTS, SAFETY, CANARY, canary.FILE)
REQUIRED_FUNCTION = "step"
LEARNING = "learning"
TARGETS = ("pi5-cpu", "jetson-cuda", "tpu", "hailo-onnx")
_NEW_ROBOT_KEYS = ("robot_model",)
_NEW_METADATA_KEYS = ("dataset_name", "dataset_version")
_METADATA_KEYS = (
    "dataset_manifest_digest",
    "code_commit",
    "hardware",
    "training_config",
    "metrics",
    "export_target",
    "jax_version",
)
_ROBOT_KEYS = ("observation", "action", "control_hz", "tasks")
_KEYS = (
    "schema_version",
    "family",
    "version",
    "release_counter",
    "target",
    "robot",
    "files",
    "functions",
    "surfaces",
    "backbone_digest",
    "safety_version",
    "metadata",
)


@dataclass(frozen=True)
class FileEntry:
    """One file: its path in the package, its sha256, its size."""

    path: str
    sha256: str
    size_bytes: int


@dataclass(frozen=True)
class TensorSpec:
    """A named array: shape without a batch axis, and name of its numpy dtype."""

    name: str
    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True)
class ActionSpec:
    """The action array and its limits, one pair per channel in the robot's unit."""

    shape: tuple[int, ...]
    dtype: str
    minimum: tuple[float, ...]
    maximum: tuple[float, ...]


@dataclass(frozen=True)
class RobotFit:
    """The robot that the package fits.

    Attributes:
        robot_model: the machine, as its episodes name it; None in format 1, which
            leaves it open.
        observation: arrays the policy reads, by name.
        action: the array it proposes.
        control_hz: control steps per second for which it was trained.
        tasks: task names, in the order of the one-hot input.
    """

    robot_model: str | None
    observation: Mapping[str, TensorSpec]
    action: ActionSpec
    control_hz: float
    tasks: tuple[str, ...]


@dataclass(frozen=True)
class FunctionSpec:
    """One exported function: its file and its signature."""

    path: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


@dataclass(frozen=True)
class SurfaceSpec:
    """One trainable surface: its number of values, and the bound on a delta's norm."""

    size: int
    bound: float


@dataclass(frozen=True)
class Metadata:
    """Where the package comes from.

    Attributes:
        dataset_name: name of the dataset; None in format 1.
        dataset_version: its version, `X.Y.Z`; None in format 1.
        dataset_manifest_digest: sha256 of the dataset's manifest.json.
        code_commit: commit of the training code.
        hardware: machine that trained the model.
        training_config: every training setting, as JSON.
        metrics: metrics measured in training, as JSON.
        export_target: the target once more, as the exporter recorded it.
        jax_version: version of jax that exported the functions.
    """

    dataset_name: str | None
    dataset_version: str | None
    dataset_manifest_digest: str
    code_commit: str
    hardware: str
    training_config: Mapping[str, object]
    metrics: Mapping[str, object]
    export_target: str
    jax_version: str


@dataclass(frozen=True)
class PackageManifest:
    """The content of `package.json`.

    Attributes:
        digest: sha256 of the file's bytes; the package's identity.
        schema_version: format of the package, 1 or 2.
        family: name shared by all versions of a model.
        version: this model's version, for people.
        release_counter: lowest channel counter under which it may be released.
        target: export target, from `TARGETS`.
        robot: the robot that it fits.
        files: every file except those of `UNLISTED`, by path.
        functions: exported functions by name; `step` is always present.
        surfaces: trainable surfaces by name.
        backbone_digest: sha256 over the frozen tensors.
        safety_version: version of `safety.json`.
        metadata: where it comes from.
        learning: how a robot learns with it; None if it does not.
    """

    digest: str
    schema_version: int
    family: str
    version: str
    release_counter: int
    target: str
    robot: RobotFit
    files: Mapping[str, FileEntry]
    functions: Mapping[str, FunctionSpec]
    surfaces: Mapping[str, SurfaceSpec]
    backbone_digest: str
    safety_version: str
    metadata: Metadata
    learning: LearningPlan | None = None

    @property
    def step_form(self) -> str:
        """Form of the step that robots run, such as `int8`; f32 if it has one form."""
        prefix = f"{REQUIRED_FUNCTION}_"
        path = self.functions[REQUIRED_FUNCTION].path
        for name, function in sorted(self.functions.items()):
            if name.startswith(prefix) and function.path == path:
                return name.removeprefix(prefix)
        return canary.F32

    @property
    def size_bytes(self) -> int:
        """Total size of all listed files."""
        return sum(entry.size_bytes for entry in self.files.values())


def parse(raw: bytes, source: Source = MANIFEST) -> PackageManifest:
    """Reads the bytes of a package.json.

    Raises:
        OversizedError: `raw` is longer than a manifest may be, or lists more bytes
            than a package may hold.
        MalformedError: `raw` is not canonical JSON, or a field is missing, unknown or
            wrong.
        UnsafePathError: the path of a file leads out of the package.
        DuplicateNameError: a path occurs twice, ignoring upper and lower case.
        MissingFileError: a required file or a function's file is not listed.
    """
    value = decode_canonical(raw, source, LIMITS.manifest_bytes)
    fields = Fields(value, source, _KEYS, optional=(LEARNING,))
    if fields.integer("schema_version") not in (1, SCHEMA_VERSION):
        raise fields.fail("schema_version", f"to be 1 or {SCHEMA_VERSION}")
    first_format = fields.integer("schema_version") == 1
    files = _parse_files(fields, source)
    functions = _parse_functions(fields)
    required = set(REQUIRED_FILES) - ({canary.FILE} if first_format else set())
    _check_required(sorted(required), files, functions, source)
    target = fields.one_of("target", TARGETS)
    metadata_keys = (*_METADATA_KEYS, *(() if first_format else _NEW_METADATA_KEYS))
    robot_keys = (*_ROBOT_KEYS, *(() if first_format else _NEW_ROBOT_KEYS))
    metadata = _parse_metadata(fields.fields("metadata", metadata_keys), first_format)
    if metadata.export_target != target:
        raise MalformedError(
            source, f"metadata.export_target {target}", metadata.export_target
        )
    return PackageManifest(
        digest=sha256_bytes(raw),
        schema_version=fields.integer("schema_version"),
        family=fields.text("family"),
        version=fields.text("version"),
        release_counter=fields.integer("release_counter"),
        target=target,
        robot=_parse_robot(fields.fields("robot", robot_keys), first_format),
        files=files,
        functions=functions,
        surfaces={
            name: SurfaceSpec(entry.integer("size", 1), _positive(entry, "bound"))
            for name, entry in fields.named("surfaces", ("size", "bound")).items()
        },
        backbone_digest=fields.sha256("backbone_digest"),
        safety_version=fields.text("safety_version"),
        metadata=metadata,
        learning=_parse_learning(fields, functions),
    )


def check_counter(manifest: PackageManifest, counter: int, source: Source) -> None:
    """Checks that a package may be released under a channel's counter.

    Raises:
        RollbackError: the counter is below the package's own.
    """
    if counter < manifest.release_counter:
        raise RollbackError(
            source,
            f"a release counter of at least {manifest.release_counter}, below which "
            f"package {manifest.digest[:12]} may not be released",
            counter,
        )


def _parse_files(fields: Fields, source: Source) -> dict[str, FileEntry]:
    listed = fields.each("files", ("path", "sha256", "size_bytes"))
    if len(listed) > LIMITS.files:
        raise fields.fail("files", f"to list at most {LIMITS.files} files")
    files: dict[str, FileEntry] = {}
    folded: set[str] = set()
    for one in listed:
        path = check_package_path(one.text("path"), source)
        if path.casefold() in folded:
            raise DuplicateNameError(source, "each path once", path)
        if path in UNLISTED:
            raise MalformedError(source, "entries for content files only", path)
        folded.add(path.casefold())
        files[path] = FileEntry(path, one.sha256("sha256"), one.integer("size_bytes"))
    if list(files) != sorted(files):
        raise MalformedError(source, "files sorted by path", "another order")
    total = sum(entry.size_bytes for entry in files.values())
    if total > LIMITS.package_bytes:
        raise OversizedError(source, f"at most {LIMITS.package_bytes} bytes", total)
    return files


def _parse_functions(fields: Fields) -> dict[str, FunctionSpec]:
    named = fields.named("functions", ("path", "inputs", "outputs"))
    return {
        name: FunctionSpec(
            entry.text("path"), _tensors(entry, "inputs"), _tensors(entry, "outputs")
        )
        for name, entry in named.items()
    }


def _parse_learning(
    fields: Fields, functions: Mapping[str, FunctionSpec]
) -> LearningPlan | None:
    if not fields.has(LEARNING):
        return None
    return learning_plan.parse(
        fields.fields(LEARNING, ("loops", "memory_bytes")),
        {
            n: learning_plan.top_names(x.name for x in f.inputs)
            for n, f in functions.items()
        },
        {
            n: learning_plan.top_names(x.name for x in f.outputs)
            for n, f in functions.items()
        },
    )


def _tensors(fields: Fields, key: str) -> tuple[TensorSpec, ...]:
    listed = fields.each(key, ("name", "shape", "dtype"))
    tensors = tuple(
        TensorSpec(one.text("name"), _shape(one), one.text("dtype")) for one in listed
    )
    names = [tensor.name for tensor in tensors]
    if len(set(names)) != len(names):
        raise fields.fail(key, "to name each array once")
    return tensors


def _shape(fields: Fields) -> tuple[int, ...]:
    shape = fields.items("shape")
    sizes = tuple(
        size for size in shape if isinstance(size, int) and not isinstance(size, bool)
    )
    if len(sizes) != len(shape) or any(size < 0 for size in sizes):
        raise fields.fail("shape", "to be an array of sizes")
    return sizes


def _check_required(
    required: Sequence[str],
    files: Mapping[str, FileEntry],
    functions: Mapping[str, FunctionSpec],
    source: Source,
) -> None:
    for path in required:
        if path not in files:
            raise MissingFileError(source, f"an entry for {path}", "none")
    if REQUIRED_FUNCTION not in functions:
        raise MissingFileError(source, "function step", ", ".join(functions) or "none")
    for name, function in functions.items():
        if function.path not in files:
            raise MissingFileError(
                source, f"an entry for {function.path} of function {name}", "none"
            )


def _parse_robot(fields: Fields, first_format: bool) -> RobotFit:
    action = fields.fields("action", ("shape", "dtype", "minimum", "maximum"))
    shape = _shape(action)
    minimum, maximum = action.numbers("minimum"), action.numbers("maximum")
    if len(shape) != 1 or not len(minimum) == len(maximum) == shape[0]:
        raise action.fail("minimum", f"and maximum to have {list(shape)} values")
    if any(low > high for low, high in zip(minimum, maximum, strict=True)):
        raise action.fail("minimum", "not to exceed maximum")
    observation = fields.named("observation", ("shape", "dtype"))
    return RobotFit(
        robot_model=None if first_format else fields.text("robot_model"),
        observation={
            name: TensorSpec(name, _shape(entry), entry.text("dtype"))
            for name, entry in observation.items()
        },
        action=ActionSpec(shape, action.text("dtype"), minimum, maximum),
        control_hz=_positive(fields, "control_hz"),
        tasks=_distinct(fields, "tasks"),
    )


def _parse_metadata(fields: Fields, first_format: bool) -> Metadata:
    return Metadata(
        dataset_name=None if first_format else fields.text("dataset_name"),
        dataset_version=None if first_format else fields.text("dataset_version"),
        dataset_manifest_digest=fields.sha256("dataset_manifest_digest"),
        code_commit=fields.text("code_commit"),
        hardware=fields.text("hardware"),
        training_config=fields.mapping("training_config"),
        metrics=fields.mapping("metrics"),
        export_target=fields.text("export_target"),
        jax_version=fields.text("jax_version"),
    )


def _positive(fields: Fields, key: str) -> float:
    number = fields.number(key)
    if number <= 0:
        raise fields.fail(key, "to be above zero")
    return number


def _distinct(fields: Fields, key: str) -> tuple[str, ...]:
    texts: Sequence[str] = fields.texts(key)
    if not texts or len(set(texts)) != len(texts):
        raise fields.fail(key, "to name at least one, each once")
    return tuple(texts)
