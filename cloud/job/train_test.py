"""Tests of the main job's flags: every knob is one, with its default and its text."""

import dataclasses
import re
from pathlib import Path

import pytest
from absl import app, flags

from base.errors import DiskError
from cloud import programs
from cloud.errors import MeshError
from cloud.evaluate.bless import Gates
from cloud.job import train
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


def test_defaults_are_those_of_the_records() -> None:
    parse()
    settings = train.settings_from_flags()
    assert settings.train == TrainConfig().for_platform("cpu")
    assert settings.mesh == MeshShape(data=1) and settings.processes == 1
    assert settings.profile is None
    assert settings.gates == Gates()
    assert settings.evaluation_episodes == 50
    assert settings.evaluation_seed == 10000
    assert settings.publish


@pytest.mark.parametrize("record", [TrainConfig, Gates])
def test_every_knob_is_a_flag_with_its_own_text(record: type) -> None:
    for field in dataclasses.fields(record):
        text = flags.FLAGS[field.name].help
        assert text != field.name.replace("_", " "), field.name
        assert len(text) > 10, field.name


@pytest.mark.parametrize("flag", OWN_FLAGS, ids=lambda flag: flag.name)
def test_every_quantity_names_its_unit(flag: flags.Flag) -> None:
    unitless = flag.name in NOT_A_QUANTITY | PURE_NUMBERS
    assert unitless or UNITS.search(flag.help), flag.help


@pytest.mark.parametrize("flag", OWN_FLAGS, ids=lambda flag: flag.name)
def test_every_flag_tells_its_default(flag: flags.Flag) -> None:
    assert flag.default is not None or "default: " in flag.help, flag.help


def test_lists_of_unitless_flags_name_flags_only() -> None:
    assert {flag.name for flag in OWN_FLAGS} >= NOT_A_QUANTITY | PURE_NUMBERS
    assert len(OWN_FLAGS) > 30


def test_default_dataset_is_called_by_its_target(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    parse()
    assert train.settings_from_flags().dataset_name == "/absent"
    monkeypatch.setattr(programs, "locate", Path("/runfiles").joinpath)
    flags.FLAGS["dataset"].value = None
    settings = train.settings_from_flags()
    assert settings.dataset == "/runfiles/cloud/demo/dataset"
    assert settings.dataset_name == "//cloud/demo:dataset"


def test_default_store_is_in_the_home_folder() -> None:
    parse()
    settings = train.settings_from_flags()
    home = Path("~/.local/share/continuon").expanduser()
    assert settings.store == home.as_uri()
    assert settings.keys_folder == home / "keys"


def test_local_store_keeps_its_own_keys(tmp_path: Path) -> None:
    parse(f"--store={tmp_path}")
    settings = train.settings_from_flags()
    assert settings.keys_folder == tmp_path / "keys"
    assert settings.cache_folder == tmp_path / "cache"
    assert settings.state_dir == tmp_path / "robot"
    assert settings.channel_uri == (
        f"{tmp_path.as_uri()}/continuon-model-artifacts/channels/nightly.json"
    )


def test_keys_never_go_to_a_bucket() -> None:
    parse("--store=gs://bucket/prefix")
    settings = train.settings_from_flags()
    home = Path("~/.local/share/continuon").expanduser()
    assert settings.keys_folder == home / "keys"
    assert settings.artifacts == "gs://bucket/prefix/continuon-model-artifacts"
    cache = Path("~/.cache/continuon").expanduser()
    assert settings.state_dir == cache / "robot"
    assert settings.cache_folder == cache


def test_mapped_dataset_goes_where_the_command_says(tmp_path: Path) -> None:
    parse("--store=gs://bucket/prefix", f"--cache_dir={tmp_path}")
    assert train.settings_from_flags().cache_folder == tmp_path


@pytest.mark.parametrize(
    "argument",
    [
        "--minimum_success=2",
        "--steps=0",
        "--preset=huge",
        "--compute_dtype=half",
        "--remat=yes",
        "--profile=9-3",
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
    told = train.settings_from_flags().training_config()
    fast = config.multiplies_bfloat16()
    assert told["compute_dtype"] == ("bfloat16" if fast else "float32")
    assert told["remat"] == "on"
    assert told["mesh"] == "data=1,fsdp=1"


def test_mesh_of_other_devices_than_there_are_is_an_error() -> None:
    parse("--mesh=data=4,fsdp=2")
    with pytest.raises(MeshError, match=r"expected 1 devices in all.*which is 8"):
        train.settings_from_flags()


def test_profile_is_counted_from_warm_up_or_given_as_a_range() -> None:
    parse("--profile=3")
    assert train.settings_from_flags().profile == ProfileRange(6, 8)
    parse("--profile=100-110")
    assert train.settings_from_flags().profile == ProfileRange(100, 110)
