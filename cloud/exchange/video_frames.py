"""Pictures out of a video file, by their times, decoded once and in order."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator, Sequence

import av
import numpy as np

from cloud.errors import BadEpisodeError
from cloud.exchange import pictures
from cloud.exchange.recorded import bad


class VideoFrames:
    """One open video; episodes that follow each other in it are decoded in one go."""

    def __init__(self, path: pathlib.Path, longest: int) -> None:
        """Opens the file.

        Args:
            path: the video.
            longest: longest side of a picture, in pixels; 0 for any.

        Raises:
            OSError, av.FFmpegError: it is no video.
        """
        self._container = av.open(str(path))
        try:
            self._stream = self._container.streams.video[0]
        except IndexError as e:
            self._container.close()
            raise OSError(f"no video in {path.name}") from e
        self._stream.thread_type = "AUTO"
        self._longest = longest
        self._frames = self._decode()
        self._held: av.VideoFrame | None = None

    def close(self) -> None:
        """Closes the file."""
        self._container.close()

    def read(
        self, times_s: Sequence[float], tolerance_s: float, episode: str, field: str
    ) -> Iterator[np.ndarray]:
        """Yields the picture u8 [h w 3] nearest to each time, in order.

        Args:
            times_s: times in the video, in order.
            tolerance_s: how far a picture may be from its time.
            episode: name of the episode, for errors.
            field: name of the camera, for errors.

        Raises:
            BadEpisodeError: there is no picture near a time, or one does not decode.
        """
        for step, time_s in enumerate(times_s):
            try:
                frame = self._find(time_s, tolerance_s, first=step == 0)
            except av.FFmpegError as e:
                raise bad(episode, field, "a video", f"{e} at step {step}") from e
            if frame is None:
                raise _missing(episode, field, step, time_s)
            width, height = pictures.fit(frame.width, frame.height, self._longest)
            yield frame.to_ndarray(
                format="rgb24", width=width, height=height, interpolation="AREA"
            )

    def _find(
        self, time_s: float, tolerance_s: float, *, first: bool
    ) -> av.VideoFrame | None:
        if first and not self._is_near(time_s, tolerance_s):
            self._seek(time_s)
        while self._held is None or _time_s(self._held) < time_s - tolerance_s:
            self._held = next(self._frames, None)
            if self._held is None:
                return None
        found = self._held
        return found if _time_s(found) <= time_s + tolerance_s else None

    def _is_near(self, time_s: float, tolerance_s: float) -> bool:
        """Whether the next frames lead to a time sooner than seeking does."""
        now_s = 0.0 if self._held is None else _time_s(self._held)
        return now_s - tolerance_s <= time_s <= now_s + 2.0

    def _seek(self, time_s: float) -> None:
        base = self._stream.time_base
        assert base is not None, "a video has a time base"
        self._container.seek(int(time_s / base), stream=self._stream, backward=True)
        self._frames, self._held = self._decode(), None

    def _decode(self) -> Iterator[av.VideoFrame]:
        for frame in self._container.decode(self._stream):
            if frame.pts is not None:
                yield frame


def _time_s(frame: av.VideoFrame) -> float:
    assert frame.time is not None, "frames without a time are passed over"
    return float(frame.time)


def _missing(episode: str, field: str, step: int, time_s: float) -> BadEpisodeError:
    return bad(
        episode,
        field,
        f"a picture at {time_s:.3f} s of the video",
        f"none, step {step}",
    )
