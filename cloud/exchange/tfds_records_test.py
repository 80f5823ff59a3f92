"""Holds what is read of a record against what TFDS decodes with TensorFlow."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow_datasets as tfds

from cloud.errors import BadEpisodeError
from cloud.exchange import tfds_schema
from cloud.exchange.tfds_records import RecordParser
from cloud.testing import other_data

Connector = Any
"""A feature of TFDS, which has no types."""
Dtype = Any
KINDS = tfds.features
COUNT = 5


def of_steps(**features: Connector) -> Connector:
    """Features of an episode whose steps have these."""
    return KINDS.FeaturesDict({"steps": KINDS.Dataset(features)})


def encode(features: Connector, example: dict[str, Any]) -> bytes:
    raw: bytes = features.serialize_example(example)
    return raw


def parse(features: Connector, raw: bytes) -> dict[str, Any]:
    return RecordParser(tfds_schema.list_leaves(features)).parse("train 0", raw)


def tensor(
    *shape: int | None, dtype: Dtype = np.float32, encoding: str = "none"
) -> Connector:
    return KINDS.Tensor(shape=shape, dtype=dtype, encoding=encoding)


@pytest.mark.parametrize(
    ("feature", "shape", "dtype"),
    [
        (tensor(2, 3), (2, 3), np.float32),
        (tensor(dtype=np.float64), (), np.float64),
        (tensor(4, dtype=np.int16), (4,), np.int16),
        (tensor(2, dtype=np.uint8), (2,), np.uint8),
        (tensor(dtype=np.uint64), (), np.uint64),
        (tensor(3, dtype=np.bool_), (3,), np.bool_),
        (tensor(2, 3, encoding="zlib"), (2, 3), np.float32),
        (tensor(4, dtype=np.int16, encoding="bytes"), (4,), np.int16),
        (tensor(None, 2, dtype=np.int64, encoding="bytes"), (3, 2), np.int64),
        (tensor(None, None, encoding="zlib"), (2, 3), np.float32),
        (KINDS.Scalar(dtype=np.int32), (), np.int32),
        (KINDS.ClassLabel(num_classes=100), (), np.int64),
        (KINDS.BBoxFeature(), (4,), np.float32),
    ],
    ids=repr,
)
def test_numbers_are_those_that_tfds_decodes(
    feature: Connector, shape: tuple[int, ...], dtype: Dtype
) -> None:
    random = np.random.default_rng(1)
    values = (100 * random.random((COUNT, *shape))).astype(dtype)
    if np.dtype(dtype) == np.uint64:
        values[1] = 2**63 + 5
    if isinstance(feature, KINDS.BBoxFeature):
        values = np.array([[0.1, 0.2, 0.3 + k / 10, 0.4] for k in range(COUNT)], dtype)
    features = of_steps(x=feature)
    box = KINDS.BBox
    raw = encode(
        features,
        {
            "steps": [
                {"x": box(*one) if isinstance(feature, KINDS.BBoxFeature) else one}
                for one in values
            ]
        },
    )
    got = parse(features, raw)["steps/x"]
    read = features.deserialize_example(raw)["steps"]
    wanted = np.stack([step["x"].numpy() for step in read])
    assert got.dtype == wanted.dtype
    np.testing.assert_array_equal(got, wanted)
    if np.dtype(dtype) == np.float64:  # a record has numbers of 32 bits
        values = values.astype(np.float32)
    np.testing.assert_array_equal(got, values)


def test_texts_and_pictures_are_their_bytes() -> None:
    features = KINDS.FeaturesDict(
        {
            "steps": KINDS.Dataset(
                {"shown": KINDS.Image(shape=(4, 6, 3)), "said": KINDS.Text()}
            ),
            "tags": KINDS.Sequence(KINDS.Text()),
            "task": KINDS.Text(),
            "success": KINDS.Scalar(dtype=np.bool_),
        }
    )
    pixels = np.arange(72, dtype=np.uint8).reshape(4, 6, 3)
    steps = [{"shown": pixels, "said": f"go {k}\0"} for k in range(COUNT)]
    whole = {"steps": steps, "tags": ["a", "b"], "task": "push", "success": True}
    found = parse(features, encode(features, whole))
    assert found["steps/said"].tolist() == [f"go {k}\0".encode() for k in range(COUNT)]
    for one in found["steps/shown"]:
        np.testing.assert_array_equal(other_data.decode(one), pixels)
    assert found["tags"].tolist() == [b"a", b"b"]
    assert (found["task"], found["success"]) == (b"push", True)


@pytest.mark.parametrize(
    "feature", [tensor(None, encoding="bytes"), tensor(None, None, encoding="zlib")]
)
def test_values_of_other_sizes_in_each_step_are_a_bad_episode(
    feature: Connector,
) -> None:
    features = of_steps(x=feature)
    more = (1,) * (len(feature.shape) - 1)
    steps = [{"x": np.zeros((k + 1, *more), np.float32)} for k in range(COUNT)]
    with pytest.raises(BadEpisodeError, match="x: expected as many numbers in each"):
        parse(features, encode(features, {"steps": steps}))


@pytest.mark.parametrize(
    ("written", "read", "expected"),
    [
        (tensor(2), tensor(2, dtype=np.int32), "got a float_list, no int64_list"),
        (tensor(2), KINDS.Text(), "got a float_list, no bytes_list"),
        (tensor(2), tensor(3), "expected 3 numbers in each step, got 10 in all"),
        (KINDS.Text(), tensor(2, encoding="zlib"), "expected values as features.json"),
    ],
    ids=["integers", "text", "size", "encoding"],
)
def test_record_of_other_features_than_described_is_a_bad_episode(
    written: Connector, read: Connector, expected: str
) -> None:
    value = "no zlib" if isinstance(written, KINDS.Text) else np.zeros(2, np.float32)
    raw = encode(of_steps(x=written), {"steps": [{"x": value}] * COUNT})
    with pytest.raises(BadEpisodeError) as caught:
        parse(of_steps(x=read), raw)
    assert "episode train 0: x: " in str(caught.value)
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_value_of_an_episode_that_is_absent_is_a_bad_episode() -> None:
    written = of_steps(x=tensor())
    raw = encode(written, {"steps": [{"x": np.float32(0)}]})
    read = KINDS.FeaturesDict({"task": KINDS.Text()})
    with pytest.raises(BadEpisodeError, match="task: expected a value, got none"):
        parse(read, raw)


def test_an_import_loads_no_tensorflow(tmp_path: Path) -> None:
    steps = other_data.oxe_steps(3)
    source = other_data.write_rlds(tmp_path / "arms", {"train": [steps, steps]})
    output = tmp_path / "data" / "arms" / "v1.0.0"
    program = (
        "import sys\n"
        "from cloud.exchange import import_dataset\n"
        "from absl import flags\n"
        "flags.FLAGS(sys.argv)\n"
        "assert import_dataset.main(sys.argv[:1]) == 0\n"
        "print('loaded', 'tensorflow' in sys.modules)\n"
    )
    arguments = [f"--source={source}", f"--output={output}", "--control_hz=5"]
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments, "--code_commit=c0ffee"],
        capture_output=True,
        text=True,
        check=False,
        env={"PYTHONPATH": ":".join(sys.path), "HOME": str(tmp_path)},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "loaded False"
