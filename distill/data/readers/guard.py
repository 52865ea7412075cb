"""The guard: in which files a seek to a key frame is exact, judged from packets alone."""

from typing import Any, Literal

import numpy as np

from distill.data.reader import VideoInfo
from distill.data.readers.rgb import is_turn

# Both readers gave the same pixels for these, measured in tests/reference. In MPEG-4 part 2 a
# packet may hold two pictures or none, so its time stamp does not tell which picture is shown; in
# AVI those of B-frames are missing; and at the seam of two GIFs pasted together a seek fails.
_SEEKABLE_CODECS = {"h264", "hevc", "vp9", "av1"}
_SEEKABLE_FORMATS = {"yuv420p", "yuvj420p", "yuv444p", "yuv420p10le"}
_SEEKABLE_CONTAINERS = ("mov", "matroska")
# Bits and shift of a NAL unit's type; the types of IDR pictures; those where decoding may begin.
_ENTRIES = {"h264": (0x1F, 0, {5}, {5}), "hevc": (0x3F, 1, {19, 20}, set(range(16, 22)))}
OPEN_GOP = "open GOP"


def why_unsafe(
    info: VideoInfo,
    *,
    container: str,
    several_streams: bool,
    shown: int,
    discarded: int,
    orphans: int,
    pts: list[int | None],
    keys: list[int],
    all_idr: bool,
    matrix: tuple[int, ...] | None,
    widened: bool,
) -> str:
    """Why a seek could yield a wrong frame, or an empty text.

    Args:
        info: metadata; its number of frames is what the file promises.
        container: FFmpeg's name of the format.
        several_streams: whether there is more than one video to choose from.
        shown, discarded, orphans: packets that are shown, that an edit list hides, and that no
            decoder shows because the file begins inside an open GOP.
        pts: presentation time stamps in decode order.
        keys: places of key packets in decode order.
        all_idr: whether each key packet clears the decoder.
        matrix: display matrix, see display_matrix.
        widened: whether a decoder with default flags widens the crop at the left to an aligned
            column; decord and torchcodec then scale what it gives to the size after the crop.
    """
    if several_streams:
        return "several video streams"
    if info.codec not in _SEEKABLE_CODECS or info.pix_fmt not in _SEEKABLE_FORMATS:
        return f"codec {info.codec} with {info.pix_fmt}"
    if not container.startswith(_SEEKABLE_CONTAINERS):
        return f"container {container}"
    if discarded:
        return "edit list"
    if orphans:
        return "begins inside an open GOP"
    if info.num_frames != shown:
        return "truncated or damaged"
    if not is_turn(matrix, info.rotation):
        return "mirrored or oblique display matrix"
    if widened:
        return "cropped at the left"
    if None in pts or len(set(pts)) != len(pts):
        return "time stamps missing or repeated"
    if not keys or keys[0] != 0:
        return "does not start with a key frame"
    # In a closed GOP no picture that is decoded from its key frame on is shown before it, and none
    # that is decoded before it is shown after it.
    stamps = np.array(pts, dtype=np.int64)
    latest = np.maximum.accumulate(stamps)
    earliest = np.minimum.accumulate(stamps[::-1])[::-1]
    if any(earliest[key] != stamps[key] or (key and latest[key - 1] > stamps[key]) for key in keys):
        return OPEN_GOP
    # Periodic intra refresh marks pictures as key that rebuild the image only over many frames.
    if not all_idr:
        return "key frames that are no IDR pictures"
    return ""


def needs_key(context: Any) -> bool:
    """Whether ffmpeg shows nothing before the first key frame; older codecs show what they have."""
    return context.codec.canonical_name in ("h264", "hevc", "vp9", "av1")


def entry(context: Any, packet: Any) -> Literal["clears", "enters", ""]:
    """What a key packet is good for.

    Returns:
        ``clears``: nothing after it refers to what was before it; ``enters``: decoding may begin
        there for all that is shown after it (HEVC's CRA and BLA); empty: neither is known. Codecs
        without the distinction always clear.
    """
    codec = context.codec.canonical_name
    if codec not in _ENTRIES:
        return "clears"
    mask, shift, clears, enters = _ENTRIES[codec]
    heads = _unit_heads(bytes(packet), context.extradata or b"", 4 if codec == "h264" else 21)
    types = {(head >> shift) & mask for head in heads}
    return "clears" if types & clears else "enters" if types & enters else ""


def _unit_heads(data: bytes, extradata: bytes, length_at: int) -> list[int]:
    """First byte of each NAL unit of a packet.

    Args:
        data: the packet.
        extradata: the decoder's configuration; begins with 1 where units carry their length
            (MP4, Matroska), else start codes part them (MPEG-TS, AVI).
        length_at: byte of the configuration whose two lowest bits are the length's size less 1.
    """
    if len(extradata) <= length_at or extradata[0] != 1:
        return [unit[0] for unit in data.split(b"\x00\x00\x01")[1:] if unit]
    size, at, heads = (extradata[length_at] & 3) + 1, 0, []
    while at + size < len(data):
        heads.append(data[at + size])
        at += size + int.from_bytes(data[at : at + size], "big")
    return heads
