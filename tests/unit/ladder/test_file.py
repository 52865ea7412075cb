"""Ladders as files: what is printed is read back, and every slip is named with its place."""

from pathlib import Path

import pytest

from distill.ladder.codecs import CODECS, RATES
from distill.ladder.ffmpeg import Ffmpeg, LadderError
from distill.ladder.file import ladder_text, read_ladder, that_can_be_made
from distill.ladder.recipes import LADDER, POOL_ONLY, RUNGS, Encode, Recipe, codecs_of


@pytest.fixture(scope="module")
def tool() -> Ffmpeg:
    return Ffmpeg.find()


def read(tmp_path: Path, text: str, tool: Ffmpeg) -> dict[str, tuple[Recipe, ...]]:
    path = tmp_path / "my.yaml"
    path.write_text(text, encoding="utf-8")
    return read_ladder(path, tool)


def test_what_is_printed_is_read_back(tmp_path: Path, tool: Ffmpeg) -> None:
    """Reading tries every filter too, so the default ladder's filters keep size and number."""
    whole = LADDER | POOL_ONLY
    assert read(tmp_path, ladder_text(whole), tool) == whole


def test_default_rates_lie_in_their_codecs_ranges() -> None:
    assert RATES.keys() == CODECS.keys() == codecs_of(LADDER.values())
    for recipes in (*LADDER.values(), *POOL_ONLY.values(), *RUNGS):
        for step in (step for recipe in recipes for step in recipe.encodes):
            low, high = RATES[step.codec][step.mode]
            assert low <= step.low <= step.high <= high


def test_a_single_rate_and_a_filter_without_draws(tmp_path: Path, tool: Ffmpeg) -> None:
    text = "one: [{processing: grey, encodes: [vp9 crf 40], filters: hue=s=0}]"
    expected = Recipe("grey", (Encode("vp9", "crf", 40, 40),), "hue=s=0")
    assert read(tmp_path, text, tool) == {"one": (expected,)}


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ("{processing: a, encodes: [x264 qp 60-70]}", "encodes: 'x264 qp 60-70': must rise within"),
        ("{processing: a, encodes: [x264 qp 30-20]}", "encodes: 'x264 qp 30-20': must rise within"),
        ("{processing: a, encodes: [vp9 qp 20-30]}", "'vp9 qp 20-30': vp9 has crf, no qp"),
        ("{processing: a, encodes: [h265 crf 20]}", "codec 'h265' is none of x264, x265, vp9, av1"),
        ("{processing: a, encodes: x264 qp 20}", "encodes: 'x264 qp 20' is not a list such as"),
        ("{processing: a, encodes: [20]}", "encodes: '20'|encodes: 20 is not `codec mode low-high"),
        ("{encodes: [x264 qp 20]}", "processing: '' is not text"),
        ("{processing: a, encode: [x264 qp 20]}", "unknown option 'encode'; did you mean encodes"),
        ("a word", "'a word' is not a recipe"),
        (
            "{processing: a, encodes: [x264 qp 20], filters: 'gblur=sigma={s}'}",
            r"filters: 'gblur=sigma=\{s\}': \{s\} has no values; give them under draws",
        ),
        (
            "{processing: a, encodes: [x264 qp 20], filters: 'gblur=sigma={'}",
            "filters: 'gblur=sigma={': Single '{' enc",
        ),
        (
            "{processing: a, encodes: [x264 qp 20], draws: {s: [1]}}",
            "draws: 's' is not used in filters",
        ),
        (
            "{processing: a, encodes: [x264 qp 20], draws: {width: [1]}}",
            "draws: 'width' cannot be a name",
        ),
        ("{processing: a, encodes: [x264 qp 20], draws: {s: 1}}", "draws: s: 1 is not a list"),
        (
            "{processing: a, encodes: [x264 qp 20], draws: {s: [no]}}",
            "draws: s: False is neither a numb",
        ),
        (
            "{processing: a, encodes: [x264 qp 20], filters: glbur=sigma=2}",
            "filters: 'glbur=sigma=2': FFmpeg refuses it .*No such filter: 'glbur'",
        ),
        (
            "{processing: a, encodes: [x264 qp 20], filters: framestep=2}",
            "filters: 'framestep=2': it makes 16 frames of 31; VMAF pairs frames by number",
        ),
        (
            "{processing: a, encodes: [x264 qp 20], filters: 'scale=iw/2:ih/2'}",
            "it makes 127x71 of 254x142; scale back",
        ),
        (
            "{processing: a, encodes: [x264 qp 20], filters: 'gblur={s:q}', draws: {s: [1]}}",
            r"filters: 'gblur=\{s:q\}' with \{'s': 1\}: Unknown format code 'q'",
        ),
        (
            "{processing: a, encodes: [x264 qp 20], filters: 'gblur={s!x}', draws: {s: [1]}}",
            r"filters: 'gblur=\{s!x\}' .*Unknown conversion specifier",
        ),
        (
            "{processing: a, encodes: [x264 qp 20], filters: 'gblur={s:{t}}', draws: {s: [1]}}",
            r"filters: 'gblur=\{s:\{t\}\}' .*'t'",
        ),
        (
            "{processing: a, encodes: [x264 qp 20], detail: '{width:q}'}",
            r"detail: '\{width:q\}' with \{\}: Unknown format code 'q'",
        ),
        (
            "{processing: a, encodes: [x264 qp 20], filters: 'gblur={s:d}', draws: {s: [1, b, 2]}}",
            r"filters: 'gblur=\{s:d\}' with \{'s': 'b'\}: Unknown format code 'd'",
        ),
        (
            "{processing: a, encodes: [x264 qp 20], filters: 'gblur={s}', draws: {s: [1, bad, 2]}}",
            "filters: 'gblur=bad': FFmpeg refuses it",
        ),
        (
            "{processing: a, processing: b, encodes: [x264 qp 20]}",
            "not YAML: key 'processing' stands twice",
        ),
    ],
)
def test_a_slip_is_named_with_its_place(
    tmp_path: Path, tool: Ffmpeg, recipe: str, message: str
) -> None:
    sound = "{processing: ok, encodes: [x264 qp 20]}"
    with pytest.raises(LadderError, match=message) as caught:
        read(tmp_path, f"first: [{sound}]\nsecond: [{sound}, {recipe}]\n", tool)
    assert str(tmp_path / "my.yaml") in str(caught.value)
    if "twice" not in message:
        assert "rung 'second', recipe 2" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "a ladder is `name of a rung: list of recipes`; .*--print-ladder"),
        ("rung: {processing: a}", "rung 'rung': .* is not a list of recipes"),
        ("rung: [", "not YAML"),
    ],
)
def test_what_is_no_ladder(tmp_path: Path, tool: Ffmpeg, text: str, message: str) -> None:
    with pytest.raises(LadderError, match=message):
        read(tmp_path, text, tool)
    with pytest.raises(LadderError, match=r"no\.yaml: cannot be read"):
        read_ladder(tmp_path / "no.yaml", tool)


def test_a_codec_that_this_ffmpeg_lacks(tmp_path: Path) -> None:
    """The default ladder goes without, and says so; the user's own is an error."""
    lacking = Ffmpeg("some/ffmpeg", "7", frozenset({"x264", "x265", "vp9"}))
    kept, lines = that_can_be_made({**LADDER, "new": LADDER["light"][3:]}, lacking)
    assert list(kept) == list(LADDER) and codecs_of(kept.values()) == lacking.codecs
    assert len(lines) == 6
    reason = "is left out: some/ffmpeg was built without libsvtav1"
    assert lines[0] == f"rung light: transcode by av1 crf 33-48 {reason}"
    with pytest.raises(LadderError, match="'av1 crf 30': some/ffmpeg was built without libsvtav1"):
        read(tmp_path, "one: [{processing: a, encodes: [av1 crf 30]}]", lacking)


def test_a_number_is_formatted_in_filters_and_named_in_the_manifest() -> None:
    filters = "scale={width:04d}/{factor:.2f}:{height!s}"
    recipe = Recipe("small", (Encode("x264", "qp", 20, 20),), filters, {"factor": [1.5]})
    assert recipe.filters_for({"factor": 1.5}, 640, 360, 9) == "scale=0640/1.50:360"
    assert recipe.words({"factor": 1.5}) == "scale=width/1.50:height"


@pytest.mark.parametrize("endless", ["loop=-1:1", "loop=-1:1,reverse"])
def test_filters_that_never_end(
    tmp_path: Path, tool: Ffmpeg, monkeypatch: pytest.MonkeyPatch, endless: str
) -> None:
    monkeypatch.setattr("distill.ladder.ffmpeg._TRY", 0.2)
    text = f"one: [{{processing: a, encodes: [x264 qp 20], filters: '{endless}'}}]"
    with pytest.raises(LadderError, match=r"filters: 'loop=.*did not finish 31 frames in 0\.2 s"):
        read(tmp_path, text, tool)
