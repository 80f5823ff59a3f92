"""Tests of the choice of tasks from a dataset."""

from types import SimpleNamespace

import pytest

from cloud import dataset, job_data
from cloud.errors import DatasetError


def test_tasks_that_the_dataset_lacks_are_named_with_those_it_has(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    episode = SimpleNamespace(metadata=SimpleNamespace(task="reach-v3"))
    loaded = SimpleNamespace(episodes=[episode])
    monkeypatch.setattr(dataset, "load", lambda uri, split: loaded)
    settings = SimpleNamespace(
        dataset="/cache/cloud/demo/dataset",
        dataset_name="//cloud/demo:dataset",
        tasks=("nope",),
    )
    with pytest.raises(DatasetError) as e:
        job_data.load_data(settings)
    assert str(e.value) == (
        "//cloud/demo:dataset: expected episodes of ['nope'], got episodes of "
        "['reach-v3']; name other --tasks or another --dataset"
    )
