"""TorchcodecReader: torchcodec in exact seek mode where it is right, PyAV where it is not."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from distill.data.readers.facts import Facts
from distill.data.readers.guard import OPEN_GOP
from distill.data.readers.guarded import GuardedReader, Refused

_INSTALL = "pip install torchcodec, and install the shared libraries of FFmpeg 4 to 9"
# get_frames_at allocates its whole answer: 8 frames of 1080p are 50 MB.
_BATCH = 8


class TorchcodecReader(GuardedReader):
    """Reads with torchcodec where it was measured to be exact, else with ``PyAVReader``.

    Exact seek mode only: the approximate one is up to 30 frames off in variable frame rate.

    The guard and the proofs are those of ``DecordReader``, but for HEVC's open GOPs, which are read
    too (x265 writes them unless told otherwise). Alone, torchcodec is wrong on B-frames in AVI and
    MPEG-TS, on mirrored videos, on intra refresh, and where a file begins before its first key
    frame; docs/video.md has the table.
    """

    name = "torchcodec"

    def _trusts(self, known: Facts) -> bool:
        if self.name in known.refused:
            return False
        enters = known.unsafe == OPEN_GOP and known.info.codec == "hevc" and known.all_enter
        return not known.unsafe or enters

    def _native(
        self, path: Path, wanted: list[int], known: Facts
    ) -> Iterator[tuple[int, np.ndarray]]:
        from torchcodec.decoders import VideoDecoder

        decoder = VideoDecoder(
            str(Path(path).absolute()),
            stream_index=known.stream,
            dimension_order="NHWC",
            num_ffmpeg_threads=self.threads,
            seek_mode="exact",
        )
        if len(decoder) != known.info.num_frames:
            raise Refused(f"torchcodec counts {len(decoder)} frames")
        for start in range(0, len(wanted), _BATCH):
            part = wanted[start : start + _BATCH]
            frames = decoder.get_frames_at(part).data.numpy()
            if frames.shape != (len(part), known.info.height, known.info.width, 3):
                raise Refused(f"torchcodec gave shape {frames.shape}")
            # Copied: one frame that a caller keeps must not keep its whole batch.
            yield from ((index, frame.copy()) for index, frame in zip(part, frames, strict=True))


def why_unavailable(video: Path) -> str:
    """Why torchcodec cannot be used, or an empty text.

    Its import succeeds without FFmpeg's libraries; only a decoder needs them. So one is made.

    Args:
        video: a small sound video with three frames.
    """
    try:
        from torchcodec.decoders import VideoDecoder

        count = len(VideoDecoder(str(video), seek_mode="exact")[:])
    except Exception as error:  # ImportError, OSError, or whatever the native library throws
        return f"{_INSTALL} ({type(error).__name__}: {' '.join(str(error).split())[:120]})"
    return "" if count == 3 else f"it finds {count} frames in a video of 3"
