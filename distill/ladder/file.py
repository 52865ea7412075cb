"""A ladder as a YAML file that people write: rungs by name, each with the recipes it draws from."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from string import Formatter
from typing import Any

import yaml

from distill.checks import unknown_option
from distill.ladder.codecs import CODECS, RATES
from distill.ladder.ffmpeg import Ffmpeg, LadderError
from distill.ladder.recipes import GIVEN, Encode, Recipe

Ladder = Mapping[str, Sequence[Recipe]]

_KEYS = ("processing", "encodes", "filters", "draws", "detail")
_TRIED = (254, 142, 31)  # width, height, frames: multiples of little, so that rounding shows
_HEADER = """\
# A distortion ladder: `python make_ladder.py SOURCE --out FOLDER --ladder THIS_FILE`.
# Each shot becomes a reference and one version per rung, made after one of the rung's recipes:
#   processing  name of the kind, for the manifest
#   encodes     one encoding after another, as "codec mode low-high"; the rate is drawn, higher is
#               worse. {codecs}
#   filters     FFmpeg filters before the first encoding; they must keep size and number of frames.
#               {{width}}, {{height}}, {{frames}} and the names under `draws` stand for their values
#   draws       name: equally likely values
#   detail      how the manifest tells the filters
"""


class _Loader(yaml.SafeLoader):
    """Refuses a key that stands twice, of which YAML otherwise keeps the last in silence."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                at = node.start_mark.line + 1
                raise yaml.YAMLError(f"key {key!r} stands twice below line {at}")
        return super().construct_mapping(node, deep)


def read_ladder(path: Path, ffmpeg: Ffmpeg) -> dict[str, tuple[Recipe, ...]]:
    """Read a ladder, and try its filters on a small picture.

    Raises:
        LadderError: no such file, no YAML, or a value that cannot be used; the text names file,
            rung, recipe, key and value.
    """
    try:
        document = yaml.load(path.read_text(encoding="utf-8-sig"), _Loader)
    except (OSError, UnicodeDecodeError) as error:
        raise LadderError(f"{path}: cannot be read ({error})") from error
    except yaml.YAMLError as error:
        raise LadderError(f"{path}: not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(document, dict) or not document:
        raise LadderError(
            f"{path}: a ladder is `name of a rung: list of recipes`; "
            "`python make_ladder.py --print-ladder` prints one"
        )
    ladder = {}
    for rung, recipes in document.items():
        if not isinstance(recipes, list) or not recipes:
            raise LadderError(f"{path}: rung {rung!r}: {recipes!r} is not a list of recipes")
        ladder[str(rung)] = tuple(
            _recipe(f"{path}: rung {rung!r}, recipe {number}", recipe, ffmpeg)
            for number, recipe in enumerate(recipes, 1)
        )
    return ladder


def ladder_text(ladder: Ladder) -> str:
    """The file that ``read_ladder`` reads as this ladder."""
    modes = "; ".join(
        f"{codec}: " + ", ".join(f"{mode} {low}-{high}" for mode, (low, high) in rates.items())
        for codec, rates in RATES.items()
    )
    document = {rung: [_plain(recipe) for recipe in recipes] for rung, recipes in ladder.items()}
    body = yaml.safe_dump(document, sort_keys=False, width=10**6, default_flow_style=None)
    return _HEADER.format(codecs=modes) + body


def that_can_be_made(ladder: Ladder, ffmpeg: Ffmpeg) -> tuple[Ladder, list[str]]:
    """The ladder without the recipes whose codec this FFmpeg lacks, and a line for each."""
    kept: dict[str, list[Recipe]] = {}
    told = []
    for rung, recipes in ladder.items():
        for recipe in recipes:
            lacks = sorted({step.codec for step in recipe.encodes} - ffmpeg.codecs)
            if lacks:
                names = " and ".join(CODECS[codec][1] for codec in lacks)
                told.append(
                    f"rung {rung}: {recipe.processing} by {_rates(recipe)} is left out: "
                    f"{ffmpeg.exe} was built without {names}"
                )
            else:
                kept.setdefault(rung, []).append(recipe)
    return kept, told


def _recipe(where: str, given: Any, ffmpeg: Ffmpeg) -> Recipe:
    if not isinstance(given, dict):
        raise LadderError(f"{where}: {given!r} is not a recipe; it needs {', '.join(_KEYS[:2])}")
    for key in given:
        if key not in _KEYS:
            raise LadderError(f"{where}: {unknown_option(str(key), _KEYS)}")
    texts = {key: given.get(key, "") for key in ("processing", "filters", "detail")}
    for key, text in texts.items():
        if not isinstance(text, str) or (key == "processing" and not text):
            raise LadderError(f"{where}: {key}: {text!r} is not text")
    encodes = given.get("encodes")
    if not isinstance(encodes, list) or not encodes:
        raise LadderError(f"{where}: encodes: {encodes!r} is not a list such as [x264 qp 24-31]")
    recipe = Recipe(
        texts["processing"],
        tuple(_encode(f"{where}: encodes", text, ffmpeg) for text in encodes),
        texts["filters"],
        _draws(where, given.get("draws", {})),
        texts["detail"],
    )
    _check_names(where, recipe)
    # Each drawn value at least once.
    for turn in range(max(map(len, recipe.draws.values()), default=1)):
        drawn = {name: values[turn % len(values)] for name, values in recipe.draws.items()}
        _check_formats(where, recipe, drawn)
        filters = recipe.filters_for(drawn, *_TRIED)
        if filters and (wrong := ffmpeg.try_filters(filters, *_TRIED)):
            raise LadderError(f"{where}: filters: {filters!r}: {wrong}")
    return recipe


def _encode(where: str, text: Any, ffmpeg: Ffmpeg) -> Encode:
    found = re.fullmatch(r"\s*(\w+)\s+(\w+)\s+(\d+)(?:\s*-\s*(\d+))?\s*", str(text))
    if not found:
        raise LadderError(f"{where}: {text!r} is not `codec mode low-high`, as in x264 qp 24-31")
    codec, mode, low, high = found.groups()
    if codec not in RATES:
        raise LadderError(f"{where}: {text!r}: codec {codec!r} is none of {', '.join(RATES)}")
    if mode not in RATES[codec]:
        raise LadderError(f"{where}: {text!r}: {codec} has {' and '.join(RATES[codec])}, no {mode}")
    least, most = RATES[codec][mode]
    first, last = int(low), int(high or low)
    if not least <= first <= last <= most:
        raise LadderError(f"{where}: {text!r}: must rise within {codec}'s {mode} {least}-{most}")
    if codec not in ffmpeg.codecs:
        lacks = CODECS[codec][1]
        raise LadderError(f"{where}: {text!r}: {ffmpeg.exe} was built without {lacks}")
    return Encode(codec, mode, first, last)


def _draws(where: str, given: Any) -> dict[str, list[Any]]:
    if not isinstance(given, dict):
        raise LadderError(f"{where}: draws: {given!r} is not `name: [value, value]`")
    for name, values in given.items():
        if not str(name).isidentifier() or name in GIVEN:
            raise LadderError(f"{where}: draws: {name!r} cannot be a name; use another word")
        if not isinstance(values, list) or not values:
            raise LadderError(f"{where}: draws: {name}: {values!r} is not a list of values")
        for value in values:
            if isinstance(value, bool) or not isinstance(value, str | int | float):
                raise LadderError(f"{where}: draws: {name}: {value!r} is neither a number nor text")
    return {str(name): list(values) for name, values in given.items()}


def _check_names(where: str, recipe: Recipe) -> None:
    """Every name in braces has a value, and every drawn value is used."""
    used = set()
    for key in ("filters", "detail"):
        text = getattr(recipe, key)
        try:
            names = {name for _, name, _, _ in Formatter().parse(text) if name is not None}
        except ValueError as error:
            raise LadderError(f"{where}: {key}: {text!r}: {error}") from error
        if unknown := sorted(names - {*recipe.draws, *GIVEN}):
            raise LadderError(
                f"{where}: {key}: {text!r}: {{{unknown[0]}}} has no values; give them under draws"
            )
        used |= names if key == "filters" else set()
    if unused := sorted(set(recipe.draws) - used):
        raise LadderError(f"{where}: draws: {unused[0]!r} is not used in filters")


def _check_formats(where: str, recipe: Recipe, drawn: Mapping[str, Any]) -> None:
    """What stands behind a name in braces, as in ``{strength:.2f}``, suits the drawn value."""
    for key in ("filters", "detail"):
        text = getattr(recipe, key)
        try:
            text.format(**drawn, **dict(zip(GIVEN, _TRIED, strict=True)))
        except (ValueError, LookupError, OverflowError) as error:
            raise LadderError(f"{where}: {key}: {text!r} with {drawn}: {error}") from error


def _plain(recipe: Recipe) -> dict[str, Any]:
    """As YAML has it, without what is empty."""
    plain = {
        "processing": recipe.processing,
        "encodes": [_rate(step) for step in recipe.encodes],
        "filters": recipe.filters,
        "draws": {name: list(values) for name, values in recipe.draws.items()},
        "detail": recipe.detail,
    }
    return {key: value for key, value in plain.items() if value}


def _rate(step: Encode) -> str:
    return f"{step.codec} {step.mode} {step.low}-{step.high}"


def _rates(recipe: Recipe) -> str:
    return " then ".join(_rate(step) for step in recipe.encodes)
