"""Runs a network of the `masks` tree on one thread."""

from typing import Any

import numpy as np
import numpy.typing as npt

from edge.errors import DetectorError

Values = npt.NDArray[np.float32]


class Network:
    """A network with one input, in ONNX's form."""

    def __init__(self, name: str, content: bytes) -> None:
        """Loads it.

        Args:
            name: of the detector, for errors.
            content: of its file.

        Raises:
            DetectorError: the runtime is not installed, or does not take the network.
        """
        try:
            import onnxruntime
        except ImportError as e:
            raise DetectorError(
                name,
                "the package onnxruntime",
                str(e),
                "install the masks tree (docs/privacy.md)",
            ) from e
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3  # errors only
        # It would keep what the largest picture needed.
        options.enable_cpu_mem_arena = False
        try:
            self._session: Any = onnxruntime.InferenceSession(
                content, options, providers=["CPUExecutionProvider"]
            )
            (one,) = self._session.get_inputs()
        except Exception as e:  # the runtime raises types of its own
            raise DetectorError(
                name,
                "a network with one input",
                " ".join(str(e).split())[:200],
                "install the masks tree again",
            ) from e
        self._input = one.name

    def run(self, values: Values) -> list[Values]:
        """Returns all outputs for one input."""
        outputs: list[Values] = self._session.run(None, {self._input: values})
        return outputs
