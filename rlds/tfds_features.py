"""Describes the fields of `rlds.spec` in the form that TFDS reads: `features.json`.

Source of the form: the proto `feature.proto` of tensorflow_datasets 4.9, as written by
`tfds.features.FeatureConnector.save_config`.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from base.errors import ContinuonError
from base.json_fields import decode
from rlds.errors import DatasetFolderError
from rlds.spec import PICTURE_PREFIX, EpisodeSpec, Field

type Json = dict[str, object]

LIMIT_BYTES = 1024 * 1024
"""Largest `features.json`; ours has some ten thousand."""
_MODULE = "tensorflow_datasets.core.features."
_ANY_LENGTH = "-1"
_CAMERA = PICTURE_PREFIX.rpartition("/")[2]


def features_json(spec: EpisodeSpec) -> bytes:
    """Returns the content of `features.json` for episodes of `spec`."""
    features: Json = {field.name: _own(field) for field in spec.episode_fields()}
    features["steps"] = {
        "pythonClassName": f"{_MODULE}dataset_feature.Dataset",
        "sequence": {"feature": _steps(spec.step_fields()), "length": _ANY_LENGTH},
    }
    return json.dumps(_dictionary(features), indent=4, sort_keys=True).encode() + b"\n"


def read_spec(raw: bytes, source: str | Path) -> EpisodeSpec:
    """Returns the sizes in a `features.json`, without reading an episode.

    Args:
        raw: content of the file.
        source: path of the file, for the error.

    Raises:
        DatasetFolderError: the content is not what `features_json` returns.
    """
    try:
        value = decode(raw, source, LIMIT_BYTES)
        steps = _inside(value)["steps"]["sequence"]["feature"]
        fields = _inside(steps)
        observed = _inside(fields["observation"])
        return EpisodeSpec(
            state_size=_size(observed["state"]),
            action_size=_size(fields["action"]),
            image="image" in observed,
            audio_size=_size(observed["audio_mel"]) if "audio_mel" in observed else 0,
            interventions="intervention" in fields,
            cameras=tuple(
                sorted(
                    name.removeprefix(_CAMERA)
                    for name in observed
                    if name.startswith(_CAMERA)
                )
            ),
        )
    except (ContinuonError, KeyError, TypeError, ValueError) as e:
        raise DatasetFolderError(
            source, "the fields of episodes", "other bytes", "curate the dataset again"
        ) from e


def _inside(dictionary: Any) -> Any:  # noqa: ANN401 - JSON has no types
    return dictionary["featuresDict"]["features"]


def _size(tensor: Any) -> int:  # noqa: ANN401 - JSON has no types
    (size,) = tensor["tensor"]["shape"]["dimensions"]
    return int(size)


def _steps(fields: Sequence[Field]) -> Json:
    features: Json = {}
    observation: Json = {}
    for field in fields:
        group, _, name = field.name.rpartition("/")
        (observation if group else features)[name] = _describe(_one(field), field)
    features["observation"] = _dictionary(observation)
    return _dictionary(features)


def _own(field: Field) -> Json:
    if not field.shape:
        return _describe(_one(field), field)
    listed: Json = {
        "pythonClassName": f"{_MODULE}sequence_feature.Sequence",
        "sequence": {"feature": _one(field), "length": _ANY_LENGTH},
    }
    return _describe(listed, field)


def _one(field: Field) -> Json:
    if field.dtype == "string":
        return {"pythonClassName": f"{_MODULE}text_feature.Text", "text": {}}
    if field.dtype == "jpeg":
        return {
            "pythonClassName": f"{_MODULE}image_feature.Image",
            "image": {
                "dtype": "uint8",
                "encodingFormat": "jpeg",
                "shape": {"dimensions": [_ANY_LENGTH, _ANY_LENGTH, "3"]},
            },
        }
    kind = "tensor_feature.Tensor" if field.shape else "scalar.Scalar"
    shape: Json = {"dimensions": [str(size) for size in field.shape]}
    return {
        "pythonClassName": f"{_MODULE}{kind}",
        "tensor": {
            "dtype": field.dtype,
            "encoding": "none",
            "shape": shape if field.shape else {},
        },
    }


def _describe(feature: Json, field: Field) -> Json:
    unit = f" Unit: {field.unit}." if field.unit else ""
    return {**feature, "description": field.doc + unit}


def _dictionary(features: Json) -> Json:
    return {
        "pythonClassName": f"{_MODULE}features_dict.FeaturesDict",
        "featuresDict": {"features": features},
    }
