"""The encoders of the distortion ladder: their arguments and the rates that each takes.

Each runs on one thread and without version stamps in the file, so that the same input and the same
build give the same bytes.
"""

# Name -> arguments; the rate (-qp or -crf) is added. One thread each: x264 and VP9 give other
# bytes with other numbers of threads.
CODECS: dict[str, tuple[str, ...]] = {
    "x264": ("-c:v", "libx264", "-preset", "medium", "-threads", "1"),
    "x265": (
        *("-c:v", "libx265", "-preset", "medium", "-threads", "1"),
        *("-x265-params", "pools=none:frame-threads=1:log-level=error"),
    ),
    "vp9": (
        *("-c:v", "libvpx-vp9", "-b:v", "0", "-deadline", "good", "-cpu-used", "4"),
        *("-row-mt", "0", "-threads", "1"),
    ),
    # Not libaom: on one thread it took 6 times as long (2.8 s against 0.45 s for 2.5 s of 320p at
    # crf 45, files of like size), and the bytes of both were the same each time.
    "av1": ("-c:v", "libsvtav1", "-preset", "8", "-svtav1-params", "lp=1"),
}
# Name -> rate modes -> lowest and highest value. Higher is worse. x264 at qp 0 is lossless in a
# profile that few decoders know.
RATES: dict[str, dict[str, tuple[int, int]]] = {
    "x264": {"qp": (1, 51), "crf": (1, 51)},
    "x265": {"qp": (1, 51), "crf": (1, 51)},
    "vp9": {"crf": (1, 63)},
    "av1": {"crf": (1, 63)},
}

# Codec, rate mode, value.
Step = tuple[str, str, int]


def encoder(step: Step) -> list[str]:
    """FFmpeg's arguments for one encoding into MP4, without sound and metadata."""
    codec, mode, value = step
    clean = ["-an", "-sn", "-dn", "-map_metadata", "-1", "-fflags", "+bitexact"]
    return [*clean, "-flags:v", "+bitexact", *CODECS[codec], f"-{mode}", str(value), "-f", "mp4"]
