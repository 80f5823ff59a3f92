"""Makes a dataset version of other people's data, and says what was left behind.

The version is built beside its destination and moved there whole, so a command that was
killed has left nothing, and running it again gives the same bytes: ids, order, splits
and even the time in the manifest follow from the source. Its digest stands in the
manifest in the place of an index snapshot's.
"""

import dataclasses
import pathlib
import re
from collections.abc import Iterator

import rich.console

from base import canonical_json, durable_file, project_version, text_forms
from base.digest import sha256_bytes, sha256_file
from base.errors import printable, printable_lines
from base.store import store
from cloud import locations
from cloud.console import WorkProgress
from cloud.curate import version_files, version_place
from cloud.curate.plan import TRAIN, VAL, Placement, Plan
from cloud.curate.spec import EPISODE, CurationSpec
from cloud.curate.version_files import Origin
from cloud.dataset import shard_check, version
from cloud.errors import BadEpisodeError, DatasetExistsError, SourceError
from cloud.evaluate.bootstrap import FEWEST
from cloud.exchange import conversion, import_plan, lerobot_layout
from cloud.exchange.conversion import Naming
from cloud.exchange.import_spool import Spool
from cloud.exchange.recorded import Choice, Source, SourceFacts, Unreadable
from cloud.index import schema
from rlds import manifest as manifest_format
from rlds.errors import MalformedEpisodeError
from rlds.manifest import Manifest
from rlds.spec import EpisodeSpec

REPORT_FILE = "import.json"
_SALT = "import"
_ACTION = "proposed_action"
_MANY_TASKS = 50
"""As the largest suite of our own has; free texts are often thousands."""
_SHOWN = 10
"""Lines about episodes that are printed for each field; the report has all."""
_OUTPUT_FORM = re.compile(
    r"/(?P<dataset>[a-z][a-z0-9_]{0,63})/v(?P<version>\d+\.\d+\.\d+)/?$", re.ASCII
)


@dataclasses.dataclass(frozen=True)
class Request:
    """What a person wants imported.

    Attributes:
        source: folder of other people's data.
        output_uri: the new version, `…/<dataset>/vX.Y.Z`.
        choice: what is read of the source.
        robot_model: make of the robot; "" for what the source says, else its name.
        environment: what it acted in; "" for what the source says, else its name.
        task: the task of all episodes; None for the one that each states.
        actor: who acted; "" if nobody knows.
        simulated: whether the robot is known to be simulated.
        held_out: episodes of each task to hold out; 0 for the default.
        created_at: RFC 3339 time for the manifest.
        code_commit: for the manifest; None for that of a version already there, or
            of the checkout.
    """

    source: pathlib.Path
    output_uri: str
    choice: Choice
    robot_model: str = ""
    environment: str = ""
    task: str | None = None
    actor: str = ""
    simulated: bool = False
    held_out: int = 0
    created_at: str = "2026-01-01T00:00:00Z"
    code_commit: str | None = None


@dataclasses.dataclass
class Report:
    """What became of a source.

    Attributes:
        facts: what it says of itself.
        digest: SHA-256 of all its files that were read.
        left_out: why episodes are left out, by their name.
        notes: what was corrected or is unusual: episode, field, sentence.
        sizes: numbers in a state and in an action; None without an episode.
    """

    facts: SourceFacts
    digest: str
    left_out: dict[str, BadEpisodeError]
    notes: list[tuple[str, str, str]]
    sizes: EpisodeSpec | None = None


def open_source(folder: pathlib.Path, choice: Choice) -> Source:
    """Opens a folder in whatever format it is.

    Raises:
        SourceError: it is in none that is known here, or is not whole.
    """
    # Each is imported when it is needed: TensorFlow alone takes seconds.
    if (folder / lerobot_layout.INFO_FILE).is_file():
        from cloud.exchange.lerobot_source import LerobotSource

        return LerobotSource(folder, choice)
    from cloud.exchange.tfds_source import TfdsSource

    return TfdsSource(folder, choice)


def import_dataset(
    request: Request, console: rich.console.Console
) -> tuple[Manifest, Report]:
    """Imports a source as a new version.

    Args:
        request: what is imported, and to where.
        console: where progress and lines about episodes are shown.

    Raises:
        SourceError: what all episodes need is missing, or none can be carried over.
        DatasetExistsError: other content is at the output.
        DiskError, OSError: a file cannot be read or written.
    """
    dataset, number = parse_output(request.output_uri)
    source = open_source(request.source, request.choice)
    facts = source.facts
    console.print(_describe_source(facts))
    report = Report(facts, digest_files(request.source, facts, console), {}, [])
    naming = _make_naming(request, facts, dataset)
    with version_place.build_folder(request.output_uri) as build:
        spool = Spool(build / "spool")
        try:
            _fill(spool, source, naming, report, console)
            _print_lines(report, console)
            if not spool.episodes:
                raise _nothing(request.source, report)
            with WorkProgress(console, "write"):
                manifest = _write_version(request, naming, spool, report, build, number)
        finally:
            spool.close()
        _settle(request.output_uri, build / "dataset", manifest, console)
    return manifest, report


def parse_output(uri: str) -> tuple[str, str]:
    """Returns dataset and version of the folder of a version.

    Raises:
        SourceError: it has another form.
    """
    match = _OUTPUT_FORM.search(uri)
    if match is None:
        raise SourceError(
            "--output",
            "a folder …/<dataset>/vX.Y.Z, the name in a-z, 0-9 and _",
            uri,
            "name one such as ~/datasets/pusht/v1.0.0",
        )
    return match["dataset"], match["version"]


def digest_files(
    folder: pathlib.Path, facts: SourceFacts, console: rich.console.Console
) -> str:
    """Returns one digest of the names and bytes of all files that are read."""
    listed = []
    with WorkProgress(console, "digest", len(facts.files), "files") as progress:
        for done, path in enumerate(sorted(facts.files), 1):
            try:
                listed.append([printable(str(path)), sha256_file(folder / path)])
            except OSError:
                # Whoever reads it says which episodes are in it.
                listed.append([printable(str(path)), "missing"])
            progress.show(done, "")
    return sha256_bytes(canonical_json.encode(listed))


def _make_naming(request: Request, facts: SourceFacts, dataset: str) -> Naming:
    name = printable(facts.name)
    return Naming(
        dataset=dataset,
        robot_hash=sha256_bytes(f"unnamed robot of {name}".encode()),
        robot_model=request.robot_model or facts.robot_model,
        environment_id=request.environment,
        default_name=name,
        task=request.task,
        actor=request.actor,
        simulated=request.simulated,
        control_hz=request.choice.control_hz or facts.control_hz,
        software_version=project_version.VERSION,
    )


def _fill(
    spool: Spool,
    source: Source,
    naming: Naming,
    report: Report,
    console: rich.console.Console,
) -> None:
    """Reads every episode once into the spool, or into the list of those left out."""
    total = source.facts.num_episodes
    with WorkProgress(console, "import", total, "episodes") as progress:
        steps = 0
        for done, found in enumerate(source.read(), 1):
            if isinstance(found, Unreadable):
                report.left_out[naming.episode_id(found.split, found.index)] = (
                    found.error
                )
            else:
                try:
                    episode, notes = conversion.convert(found, naming)
                    if report.sizes is None:
                        report.sizes = episode.spec
                    conversion.check_same(found.name, episode.spec, report.sizes)
                    spool.add(episode, found.split)
                    report.notes += [(found.name, *note) for note in notes]
                    steps += episode.num_steps
                except BadEpisodeError as e:
                    report.left_out[naming.episode_id(found.split, found.index)] = e
                except MalformedEpisodeError as e:
                    where = f"episode {found.name}: {e.source}"
                    report.left_out[naming.episode_id(found.split, found.index)] = (
                        BadEpisodeError(where, e.expected, e.got)
                    )
            progress.show(min(done, total), f"{steps} steps")


def _write_version(
    request: Request,
    naming: Naming,
    spool: Spool,
    report: Report,
    build: pathlib.Path,
    number: str,
) -> Manifest:
    tasks = {name: one.task for name, one in spool.episodes.items()}
    splits = {name: one.split for name, one in spool.episodes.items()}
    held_out = import_plan.hold_out(tasks, splits, request.held_out, _SALT)
    if not held_out:
        raise SourceError(
            request.source,
            "two episodes, of which one is held out and judges the model",
            text_forms.count(len(tasks), "episode"),
        )
    sizes = {name: one.size_bytes for name, one in spool.episodes.items()}
    placed = import_plan.fill_shards(sizes, held_out, _SALT)
    (build / "work").mkdir()
    results = spool.write_shards(build / "work", import_plan.group(placed))
    (build / "spool").unlink()
    assert report.sizes is not None, "there is an episode"
    planned = Plan(
        tuple(
            Placement(_row(name, tasks[name], report.sizes), split, shard, position)
            for position, (split, shard, name) in enumerate(placed)
        ),
        {name: _reason(error) for name, error in report.left_out.items()},
    )
    existing = version.existing_manifest(request.output_uri)
    commit = request.code_commit or (
        existing.code_commit
        if existing
        else project_version.code_commit(project_version.workspace())
    )
    spec = _spec(request, naming, report, number, len(held_out))
    origin = Origin(spec, report.digest, commit, request.created_at)
    manifest = version_files.write(build / "dataset", planned, results, origin)
    durable_file.write(
        build / "dataset" / REPORT_FILE, canonical_json.encode(to_json(report)) + b"\n"
    )
    return manifest


def _settle(
    uri: str, built: pathlib.Path, manifest: Manifest, console: rich.console.Console
) -> None:
    """Moves the version to its place, unless it is there."""
    existing = version.existing_manifest(uri)
    if existing is None:
        version_place.move(built, uri)
        return
    got, wanted = (manifest_format.digest(one) for one in (existing, manifest))
    if got != wanted:
        raise DatasetExistsError(
            uri,
            f"nothing or the same dataset {wanted}",
            got,
            "a version never changes, name another one such as v1.0.1",
        )
    shard_check.verify_shards(store.open_store(uri), existing)
    console.print("this version is already there, identical")


def _row(name: str, task: str, sizes: EpisodeSpec) -> schema.Row:
    """Returns what the files of a version need of an index's row."""
    return {
        "episode_id": name,
        "task": task,
        "state_size": sizes.state_size,
        "action_size": sizes.action_size,
        "has_image": sizes.image,
        "cameras": ",".join(sizes.cameras),
        "audio_size": sizes.audio_size,
    }


def _spec(
    request: Request, naming: Naming, report: Report, number: str, held_out: int
) -> CurationSpec:
    """Returns what stands in the manifest in the place of a curation spec."""
    facts = report.facts
    choice = {
        field.name: getattr(request.choice, field.name)
        for field in dataclasses.fields(request.choice)
    }
    verbatim: dict[str, object] = {
        "dataset": naming.dataset,
        "version": number,
        "split": {"by": [EPISODE], "val_groups": held_out, "salt": _SALT},
        "imported": {
            "format": facts.format,
            "name": printable(facts.name),
            "source_sha256": report.digest,
            "episodes": facts.num_episodes,
            "robot_model": naming.robot_model or None,
            "environment_id": naming.environment_id or None,
            "task": naming.task,
            "actor": naming.actor,
            "simulated": naming.simulated,
            "choice": {
                name: list(value) if isinstance(value, tuple) else value
                for name, value in choice.items()
            },
        },
    }
    return CurationSpec(
        verbatim, naming.dataset, number, "", (EPISODE,), held_out, _SALT, 1, 1
    )


def to_json(report: Report) -> dict[str, object]:
    """Returns the report as it lies in the version: `import.json`."""
    facts = report.facts
    return {
        "format": facts.format,
        "name": printable(facts.name),
        "source_sha256": report.digest,
        "described": {k: printable_lines(v) for k, v in facts.described.items()},
        "splits": {printable(name): n for name, n in facts.splits.items()},
        "control_hz": facts.control_hz,
        "taken": {
            field: [printable(name) for name in names]
            for field, names in facts.taken.items()
        },
        "not_carried_over": {
            printable(name): printable(reason)
            for name, reason in facts.left_behind.items()
        },
        "cameras_renamed": {
            printable(name): ours for name, ours in facts.renamed.items()
        },
        "left_out": {
            name: f"{error.source}: expected {error.expected}, got {error.got}"
            for name, error in sorted(report.left_out.items())
        },
        "notes": [
            {"episode": episode, "field": field, "note": note}
            for episode, field, note in report.notes
        ],
    }


def describe(manifest: Manifest, report: Report) -> Iterator[str]:
    """Yields lines on what was taken, what was not carried over, and what to know."""
    for field, names in report.facts.taken.items():
        yield f"{field} from {', '.join(names)}"
    for name, ours in report.facts.renamed.items():
        said = f"is called {ours} here" if ours else "has no name here"
        yield f"note: the camera {name} {said}, in words of a closed list"
    for name, reason in report.facts.left_behind.items():
        yield f"not carried over: {name}: {reason}"
    left_out = len(report.left_out)
    yield f"{len(manifest.episodes)} episodes carried over, {left_out} left out"
    held_out = manifest.tasks.get(VAL, {})
    if len(manifest.tasks.get(TRAIN, {})) > _MANY_TASKS:
        yield (
            f"note: {len(manifest.tasks[TRAIN])} tasks, and a model has an input for "
            "each one; --task=NAME makes them one"
        )
    few = [t for t in manifest.tasks.get(TRAIN, {}) if held_out.get(t, 0) < FEWEST]
    if few:
        yield (
            f"note: of {text_forms.count(len(few), 'task')} fewer than {FEWEST} "
            f"episodes are held out, too few for a verdict; --held_out={FEWEST} holds "
            "out more"
        )


def suggest_training(manifest: Manifest, report: Report, uri: str) -> str:
    """Returns the command that trains on the version.

    A package needs limits for its actions. Where those of the data are not within the
    usual ones, the command states their range, for whoever knows the robot to narrow.
    """
    parts = [
        f"./bazelw run //cloud:train -- --dataset={locations.format_location(uri)}",
        "--environment=none",
    ]
    if report.sizes is not None and report.sizes.picture_fields:
        parts.append("--nosenses")
    actions = manifest.statistics[_ACTION]
    if min(actions.min) < -1 or max(actions.max) > 1:
        low, high = zip(*map(_widen, actions.min, actions.max), strict=True)
        parts.append(f"--action_minimum={','.join(f'{one:.4g}' for one in low)}")
        parts.append(f"--action_maximum={','.join(f'{one:.4g}' for one in high)}")
    return " ".join(parts)


def _widen(low: float, high: float) -> tuple[float, float]:
    """Returns a range a hundredth wider at each end, of which one is never empty."""
    margin = (high - low or abs(high) or 1.0) / 100
    return low - margin, high + margin


def _describe_source(facts: SourceFacts) -> str:
    rate = "" if facts.control_hz is None else f", {facts.control_hz:g} steps/s"
    return f"{facts.format}: {facts.name}, {facts.num_episodes} episodes{rate}"


def _print_lines(report: Report, console: rich.console.Console) -> None:
    """Prints a line for each episode that is left out or was corrected.

    Of many alike the first ones are printed, and how many more there are.
    """
    lines: dict[str, list[str]] = {}
    for error in report.left_out.values():
        lines.setdefault(f"left out {error.expected}", []).append(
            f"left out: {error.source}: expected {error.expected}, got {error.got}"
        )
    for episode, field, note in report.notes:
        kind = f"{field} {note.partition(' ')[2]}" if note[:1].isdigit() else note
        lines.setdefault(f"note {field} {kind[:12]}", []).append(
            f"note: episode {episode}: {field}: {note}"
        )
    for found in lines.values():
        for line in found[:_SHOWN]:
            console.print(line)
        if len(found) > _SHOWN:
            console.print(f"… and {len(found) - _SHOWN} more; {REPORT_FILE} has all")


def _reason(error: BadEpisodeError) -> str:
    return f"{error.source}: expected {error.expected}, got {error.got}"


def _nothing(folder: pathlib.Path, report: Report) -> SourceError:
    first = next(iter(report.left_out.values()), None)
    got = "none" if first is None else f"none; {_reason(first)}"
    return SourceError(folder, "episodes that can be carried over", got)
