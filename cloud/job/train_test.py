"""Tests of the main job's flags: every setting is one, with its default and text."""

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest
from absl import app, flags

from base import project_version
from base.errors import DiskError
from cloud import programs
from cloud.errors import MeshError, ProgramMissingError
from cloud.evaluate.settings import EvaluateSettings
from cloud.evaluate.verdict import Gates
from cloud.job import train
from cloud.job.settings import (
    ARTIFACTS,
    CACHE,
    HOME,
    DatasetSettings,
    JobSettings,
    PublishSettings,
    RunSettings,
)
from cloud.train import config
from cloud.train.config import TrainConfig
from cloud.train.mesh import MeshShape
from cloud.train.profile import ProfileRange

OWN_FLAGS = tuple(flags.FLAGS.flags_by_module_dict()["cloud.job.train"])
UNITS = re.compile(
    r"\b(steps|updates|windows|episodes|processes|days|MB|microseconds|share of 0 to 1|"
    r"safety violations|in the robot's unit|in the action's unit)\b"
)
NOT_A_QUANTITY = {
    "dataset",
    "store",
    "artifacts",
    "keys_dir",
    "cache_dir",
    "family",
    "channel",
    "publish",
    "tasks",
    "environment",
    "evaluation_seed",
    "code_commit",
    "resume",
    "summary_json",
    "seed",
    "preset",
    "senses",
    "compute_dtype",
    "remat",
    "mesh",
    "coordinator_address",
    "process_index",
}
PURE_NUMBERS = {
    "learning_rate",
    "weight_decay",
    "gradient_norm",
    "average_decay",
    "next_share",
}


def parse(*arguments: str) -> None:
    """Parses a command line as if it were the first one."""
    flags.FLAGS.unparse_flags()
    for name in flags.FLAGS:
        flags.FLAGS[name].unparse()
    flags.FLAGS(["train", "--dataset=/absent", *arguments])


def settings_here() -> JobSettings:
    """The settings of the parsed flags, as the job gets them."""
    return train.settings_from_flags().on_this_machine(None)


def test_defaults_are_those_of_the_records() -> None:
    parse()
    settings = train.settings_from_flags()
    absent = DatasetSettings(location="/absent")
    assert settings == JobSettings(dataset=absent)
    assert settings.evaluate.episodes == 50
    assert settings.evaluate.seed == 10000
    assert settings.publish.if_blessed
    assert settings.dataset.tasks == ()


def test_open_settings_are_decided_by_devices_and_checkout() -> None:
    parse()
    settings = settings_here()
    assert settings.train == TrainConfig().for_platform("cpu")
    assert settings.run.mesh_shape == MeshShape(data=1)
    assert settings.run.profile_range is None
    assert settings.run.code_commit == project_version.UNVERSIONED
    assert settings.training_config()["processes"] == 1
    parse("--code_commit=c0ffee")
    assert settings_here().run.code_commit == "c0ffee"


@pytest.mark.parametrize("flag", OWN_FLAGS, ids=lambda flag: flag.name)
def test_every_flag_has_its_own_text_in_one_style(flag: flags.Flag[Any]) -> None:
    assert len(flag.help) > 10
    assert flag.help != flag.name.replace("_", " ")
    assert not flag.help[0].isupper() and not flag.help.endswith(".")


@pytest.mark.parametrize("record", [TrainConfig, Gates])
def test_every_setting_is_a_flag(record: type) -> None:
    assert {f.name for f in dataclasses.fields(record)} <= {f.name for f in OWN_FLAGS}


def test_texts_name_the_default_folders_and_dataset() -> None:
    assert flags.FLAGS["store"].help.endswith(f"default: {HOME}")
    assert flags.FLAGS["artifacts"].help.endswith(f"{ARTIFACTS} in the store")
    assert flags.FLAGS["keys_dir"].help.endswith("default: keys in the store")
    assert f"cache in the store, or {CACHE} if" in flags.FLAGS["cache_dir"].help
    assert DatasetSettings().name in flags.FLAGS["dataset"].help


def test_every_given_flag_sets_its_record() -> None:
    parse(
        "--tasks=reach-v3,push-v3",
        "--evaluation_episodes=3",
        "--evaluation_seed=7",
        "--evaluation_max_steps=9",
        "--nopublish",
        "--expires_days=0.5",
        "--action_minimum=-2",
        "--resume=run",
        "--required_disk_mb=2",
        "--minimum_success=0.5",
    )
    settings = train.settings_from_flags()
    assert settings.dataset.tasks == ("reach-v3", "push-v3")
    assert settings.evaluate == EvaluateSettings(episodes=3, seed=7, max_steps=9)
    assert settings.publish == PublishSettings(
        if_blessed=False, expires_days=0.5, action_minimum=(-2.0,)
    )
    assert settings.run == RunSettings(resume="run", required_disk_mb=2)
    assert settings.run.required_disk_bytes == 2_000_000
    assert settings.gates == Gates(minimum_success=0.5)


def test_limits_of_actions_may_be_one_per_channel() -> None:
    parse("--action_minimum=-3.14,-3.14,0", "--action_maximum=3.14,3.14,255")
    publish = train.settings_from_flags().publish
    assert publish.action_minimum == (-3.14, -3.14, 0.0)
    assert publish.action_maximum == (3.14, 3.14, 255.0)
    for wrong in ("low", "-1,nan", "-inf"):
        parse(f"--action_minimum={wrong}")
        with pytest.raises(app.UsageError, match="action_minimum: expected numbers"):
            train.settings_from_flags()


def test_task_with_a_comma_is_named_in_quotes() -> None:
    parse('--tasks="pick up the cube, please",reach-v3')
    tasks = train.settings_from_flags().dataset.tasks
    assert tasks == ("pick up the cube, please", "reach-v3")


@pytest.mark.parametrize("flag", OWN_FLAGS, ids=lambda flag: flag.name)
def test_every_quantity_names_its_unit(flag: flags.Flag[Any]) -> None:
    unitless = flag.name in NOT_A_QUANTITY | PURE_NUMBERS
    assert unitless or UNITS.search(flag.help), flag.help


@pytest.mark.parametrize("flag", OWN_FLAGS, ids=lambda flag: flag.name)
def test_every_flag_tells_its_default(flag: flags.Flag[Any]) -> None:
    assert flag.default is not None or "default: " in flag.help, flag.help


def test_lists_of_unitless_flags_name_flags_only() -> None:
    assert {flag.name for flag in OWN_FLAGS} >= NOT_A_QUANTITY | PURE_NUMBERS
    assert len(OWN_FLAGS) > 30


def test_default_dataset_is_called_by_its_target(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    parse()
    assert train.settings_from_flags().dataset.name == "/absent"
    monkeypatch.setattr(programs, "locate", Path("/runfiles").joinpath)
    flags.FLAGS["dataset"].value = None
    dataset = train.settings_from_flags().dataset
    assert dataset.uri == "file:///runfiles/cloud/demo/dataset"
    assert dataset.name == "//cloud/demo:dataset"


def test_default_dataset_that_was_not_built_is_an_error_before_anything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(programs, "root", lambda: tmp_path)
    with pytest.raises(ProgramMissingError, match="//cloud/demo/dataset"):
        JobSettings().on_this_machine(None)


def test_default_store_is_in_the_home_folder() -> None:
    parse()
    run = train.settings_from_flags().run
    home = Path("~/.local/share/continuon").expanduser()
    assert run.store_folder == home
    assert run.keys_folder == home / "keys"


@pytest.mark.parametrize("form", ["{}", "file://{}", "file://{}/"])
def test_everything_is_in_the_store_that_is_named(tmp_path: Path, form: str) -> None:
    parse(f"--store={form.format(tmp_path)}")
    settings = train.settings_from_flags()
    assert settings.run.keys_folder == tmp_path / "keys"
    assert settings.run.cache_folder == tmp_path / "cache"
    assert settings.run.state_dir == tmp_path / "robot"
    assert settings.channel_uri == (
        f"{tmp_path.as_uri()}/continuon-model-artifacts/channels/nightly.json"
    )


def test_keys_never_go_to_a_bucket() -> None:
    parse("--artifacts=gs://bucket/prefix/")
    run = train.settings_from_flags().run
    home = Path("~/.local/share/continuon").expanduser()
    assert run.keys_folder == home / "keys"
    assert run.artifacts_uri == "gs://bucket/prefix"
    assert run.work_folder == Path("~/.cache/continuon").expanduser()
    assert run.cache_folder == home / "cache"


def test_store_in_a_bucket_is_wrong_usage_that_names_the_flag_for_it() -> None:
    parse("--store=gs://bucket/prefix")
    with pytest.raises(app.UsageError, match="--store: expected a folder of this"):
        train.settings_from_flags()
    with pytest.raises(app.UsageError, match="--artifacts names a bucket"):
        train.settings_from_flags()


def test_nothing_is_added_to_the_root_of_the_artifacts(tmp_path: Path) -> None:
    parse("--artifacts=gs://continuon-model-artifacts", f"--store={tmp_path}")
    settings = settings_here()
    assert settings.run.artifacts_uri == "gs://continuon-model-artifacts"
    assert settings.channel_uri == (
        "gs://continuon-model-artifacts/channels/nightly.json"
    )
    assert settings.run.keys_folder == tmp_path / "keys"
    assert settings.run.state_dir.parent == settings.run.work_folder
    parse(f"--artifacts={tmp_path / 'anywhere'}")
    assert settings_here().run.artifacts_uri == (tmp_path / "anywhere").as_uri()


def test_robots_of_two_roots_keep_apart(tmp_path: Path) -> None:
    folders = set()
    for root in ("gs://one", "gs://other", str(tmp_path)):
        parse(f"--artifacts={root}")
        folders.add(settings_here().run.state_dir)
    parse()
    folders.add(settings_here().run.state_dir)
    assert len(folders) == 4


def test_mapped_dataset_goes_where_the_command_says(tmp_path: Path) -> None:
    parse("--artifacts=gs://bucket/prefix", f"--cache_dir={tmp_path}")
    assert train.settings_from_flags().run.cache_folder == tmp_path


@pytest.mark.parametrize(
    "argument",
    [
        "--minimum_success=2",
        "--updates=0",
        "--preset=huge",
        "--compute_dtype=half",
        "--remat=yes",
        "--profile=9-3",
        "--expires_days=401",
    ],
)
def test_value_out_of_range_is_wrong_usage(argument: str) -> None:
    parse(argument)
    with pytest.raises(app.UsageError, match=argument[2:].partition("=")[0]):
        train.settings_from_flags()


def test_summary_that_could_not_be_written_is_refused_before_anything(
    tmp_path: Path,
) -> None:
    parse(f"--summary_json={tmp_path}/absent/summary.json", f"--store={tmp_path}/store")
    with pytest.raises(DiskError, match=r"summary\.json"):
        train.main(["train"])
    assert not any(tmp_path.iterdir())


def test_preset_decides_what_the_command_leaves_out() -> None:
    parse("--preset=seed")
    train_config = train.settings_from_flags().train
    assert (train_config.batch_size, train_config.sequence_length) == (16, 128)
    parse("--preset=seed", "--batch_size=64", "--learning_rate=0.01")
    train_config = train.settings_from_flags().train
    assert (train_config.batch_size, train_config.sequence_length) == (64, 128)
    assert train_config.learning_rate == 0.01


def test_metadata_tell_the_dtype_and_the_mesh() -> None:
    parse("--preset=vertex")
    written = settings_here().training_config()
    fast = config.multiplies_bfloat16()
    assert written["compute_dtype"] == ("bfloat16" if fast else "float32")
    assert written["remat"] == "on"
    assert written["mesh"] == "data=1,fsdp=1"


def test_mesh_of_unavailable_devices_is_an_error() -> None:
    parse("--mesh=data=4,fsdp=2")
    with pytest.raises(MeshError, match=r"expected 1 devices, all.*which is 8"):
        settings_here()


def test_profile_is_counted_from_warm_up_or_given_as_a_range() -> None:
    parse("--profile=3")
    assert train.settings_from_flags().run.profile_range == ProfileRange(6, 8)
    parse("--profile=100-110")
    assert train.settings_from_flags().run.profile_range == ProfileRange(100, 110)
