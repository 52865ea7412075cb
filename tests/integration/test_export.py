"""A student's way out of training: exported, checked, and scored alike by every runtime."""

import csv
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import distill
from distill.bundle import load_bundle
from distill.data.dataset import Example, VideoDataset
from distill.data.readers import make_reader
from distill.data.rows import Row
from distill.deploy import writing
from distill.deploy.checks import see_clips
from distill.deploy.exports import FILES, INT8, ONNX, TORCH, read_export
from distill.deploy.onnx_model import OnnxModel
from distill.errors import BundleError, ConfigError, ExportError, VideoError
from distill.stages import export, score
from students.frames import FramesStudent
from tests.helpers.student_bundles import STUDENTS, write_bundle
from tests.helpers.video_files import make_clip

CLIPS = ("plain.mp4", "odd.mp4", "turned90.mp4")


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clips")
    sources = tmp_path_factory.mktemp("sources")
    for name in CLIPS:
        shutil.copy(make_clip(sources, name), folder / name)
    return folder


def exported(folder: Path, name: str, clips: Path) -> tuple[Path, Path]:
    """A bundle, and its export with all graphs."""
    bundle, out = write_bundle(folder / "bundle", name), folder / "new" / "export"
    words = ["--bundle", str(bundle), "--out", str(out), "--clips", str(clips), "--int8"]
    assert export.run([*words, "--keep-slower"]) == 0
    return bundle, out


@pytest.fixture(scope="module")
def pair(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return exported(tmp_path_factory.mktemp("frames"), "frames", clips)


def scores(clips: Path, *words: str) -> dict[str, dict[str, Any]]:
    out = clips.parent / "scores.json"
    score.run([str(clips), "--json", str(out), "--workers", "0", "--frames", *words])
    return {Path(row["video"]).name: row for row in json.loads(out.read_text())}


@pytest.mark.parametrize("name", STUDENTS)
def test_every_runtime_scores_as_the_bundle_does(
    name: str, pair: tuple[Path, Path], clips: Path, tmp_path: Path
) -> None:
    bundle, out = map(str, pair if name == "frames" else exported(tmp_path, name, clips))
    expected = scores(clips, "--bundle", bundle)
    assert len({row["score"] for row in expected.values()}) == len(CLIPS)
    for words in (["--runtime", "torch"], ["--runtime", "onnx", "--workers", "2"]):
        found = scores(clips, "--bundle", out, *words)
        for name, row in expected.items():
            assert found[name]["score"] == pytest.approx(row["score"], abs=1e-4)
            assert found[name]["frame_scores"] == pytest.approx(row["frame_scores"], abs=1e-4)
            assert found[name]["model"] == row["model"] and len(row["frame_scores"]) == 2
    quantised = scores(clips, "--bundle", out, "--runtime", "int8")
    for name, row in expected.items():
        assert quantised[name]["model"] == row["model"] + "-int8"
        assert 0 < abs(quantised[name]["raw"] - row["raw"]) < 0.3


def test_the_specification_tells_what_the_graphs_are(pair: tuple[Path, Path]) -> None:
    bundle, out = pair
    made, spec = read_export(out), load_bundle(bundle).spec
    assert {path.name for path in out.iterdir()} == {*FILES.values(), "spec.json", "README.md"}
    assert {key: made.spec[key] for key in spec} == spec
    assert made.views == load_bundle(bundle).model.views
    section = made.spec["export"]
    assert section["inputs"] == {n: ["batch", *v.shape] for n, v in made.views.items()}
    assert section["outputs"] == {"score": ["batch"], "frame_scores": ["batch", 2]}
    for kind in (ONNX, TORCH):
        assert section["graphs"][kind]["videos"] == len(CLIPS)
        assert section["graphs"][kind]["largest_difference"] <= 1e-4
    assert section["graphs"][INT8]["milliseconds"].keys() == {ONNX, INT8}
    assert section["graphs"][INT8]["cost"]["largest_difference"] > 0


def test_graphs_take_any_number_of_videos(pair: tuple[Path, Path]) -> None:
    import onnxruntime

    bundle, out = pair
    model = load_bundle(bundle).model
    session = onnxruntime.InferenceSession(out / FILES[ONNX])
    for videos in (1, 7):
        rng = np.random.default_rng(videos)
        views = {
            name: rng.integers(0, 256, (videos, *view.shape), dtype=np.uint8)
            for name, view in model.views.items()
        }
        with torch.inference_mode():
            says = model({name: torch.from_numpy(view) for name, view in views.items()})
        found = dict(zip(["score", "frame_scores"], session.run(None, views), strict=True))
        np.testing.assert_allclose(found["score"], says.score, atol=1e-5)
        np.testing.assert_allclose(found["frame_scores"], says.frame_scores, atol=1e-5)


ALONE = """
import sys

ALLOWED = {"distill", "numpy", "av", "onnxruntime"}


class Guard:
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if top not in ALLOWED | sys.stdlib_module_names and not top.startswith("_"):
            raise ImportError(f"{name} is not for a machine without torch")


sys.meta_path.insert(0, Guard())
try:
    import torch
except ImportError:
    pass
else:
    sys.exit("the guard lets torch through")
import distill

model = distill.load(sys.argv[1])
found = model.score(sys.argv[2], frames=True)
print(repr(found.score), *map(repr, found.frame_scores))
"""


def test_a_video_is_scored_where_there_is_nothing_but_numpy_av_and_onnxruntime(
    pair: tuple[Path, Path], clips: Path
) -> None:
    bundle, out = pair
    video = clips / "odd.mp4"
    done = subprocess.run(
        [sys.executable, "-c", ALONE, out, video], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    expected = distill.load(bundle, device="cpu").score(video, frames=True)
    found = [float(word) for word in done.stdout.split()]
    assert found == pytest.approx([expected.score, *expected.frame_scores], abs=1e-4)


def test_score_py_needs_no_torch_for_an_export(pair: tuple[Path, Path], clips: Path) -> None:
    door = "import sys; sys.modules['torch'] = None; import distill.doors as d; d.score()"
    words = [str(clips / "odd.mp4"), "--bundle", str(pair[1]), "--json", "-"]
    done = subprocess.run([sys.executable, "-c", door, *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(done.stdout)
    assert row["score"] == pytest.approx(distill.load(pair[1]).score(clips / "odd.mp4"), abs=1e-6)


def test_three_lines_of_python(pair: tuple[Path, Path], clips: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video")
    names = [clips / "plain.mp4", tmp_path / "gone.mp4", broken, str(clips / "odd.mp4")]
    for folder in pair:
        model = distill.load(folder, device="cpu")
        one = model.score(names[0])
        assert isinstance(one, float) and 1 < one < 5
        found = model.score(names, workers=0)
        assert [each.video for each in found] == [str(name) for name in names]
        assert found[0].score == pytest.approx(one, abs=1e-5) and found[0].frame_scores == []
        assert found[1].score is None and found[1].error == f"no such file: {names[1]}"
        assert found[2].score is None and found[2].error.startswith("pyav: ")
        assert found[3].error == "" and found[3].score != found[0].score
        with pytest.raises(VideoError, match=r"gone\.mp4: no such file$"):
            model.score(names[1])
        with pytest.raises(VideoError, match=f"^{tmp_path}: a folder, no video$"):
            model.score(tmp_path)
        with pytest.raises(VideoError, match=r"broken\.mp4: pyav: "):
            model.score(broken)
        with pytest.raises(ConfigError, match="batch_size 0 must be >= 1"):
            model.score(names, batch_size=0)


def test_the_runtime_without_torch_sees_what_the_data_set_sees(
    pair: tuple[Path, Path], clips: Path
) -> None:
    made, reader = read_export(pair[1]), make_reader()
    model = OnnxModel(made, device="cpu")
    rows = [Row(name, clips / name) for name in CLIPS]
    dataset = VideoDataset([*map(Example, rows)], made.views, reader, train=False, test_views=2)
    for row, sample in zip(rows, dataset, strict=True):
        seen = model.see(reader, row)
        assert (seen.info, seen.content, seen.error) == (sample.info, sample.content, "")
        for ours, theirs in zip(seen.looks, [sample.views, *sample.others], strict=True):
            assert ours.keys() == theirs.keys()
            assert all((ours[name] == theirs[name].numpy()).all() for name in ours)


def test_a_score_that_is_no_number_is_a_reason(
    pair: tuple[Path, Path], clips: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nan(self: OnnxModel, views: dict[str, np.ndarray]) -> Any:
        return np.full(1, np.nan, np.float32), None

    monkeypatch.setattr(OnnxModel, "__call__", nan)
    (found,) = distill.load(pair[1]).score([clips / "odd.mp4"])
    assert found.score is None and found.error == "the score is nan, no number"


def test_an_int8_score_does_not_depend_on_its_neighbours(
    pair: tuple[Path, Path], clips: Path
) -> None:
    model = distill.load(pair[1], runtime="int8")
    alone = [model.score(clips / name) for name in CLIPS]
    together = model.score([clips / name for name in CLIPS], batch_size=3, workers=2)
    assert [each.score for each in together] == alone


def test_a_csv_has_the_scores_of_frames(pair: tuple[Path, Path], clips: Path) -> None:
    out = clips.parent / "scores.csv"
    words = [str(clips / "odd.mp4"), "--csv", str(out), "--frames"]
    assert score.run([*words, "--bundle", str(pair[1])]) == 0
    with out.open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert len(row["frame_scores"].split()) == 2 and 1 < float(row["score"]) < 5


def test_what_is_wrong_with_an_export_is_told(pair: tuple[Path, Path], tmp_path: Path) -> None:
    bundle, out = pair
    with pytest.raises(BundleError, match=r"a bundle, not an export; make one: python export\.py"):
        distill.load(bundle, runtime="onnx")
    with pytest.raises(BundleError, match="is an export already"):
        export.run(["--bundle", str(out), "--out", str(tmp_path / "x")])
    with pytest.raises(BundleError, match=r"model\.safetensors: missing"):
        load_bundle(out)
    copy = shutil.copytree(out, tmp_path / "copy")
    (copy / FILES[ONNX]).write_bytes((copy / FILES[ONNX]).read_bytes()[:-1] + b"?")
    with pytest.raises(BundleError, match=r"model\.onnx: checksum differs from spec\.json"):
        distill.load(copy)
    (copy / FILES[INT8]).unlink()
    with pytest.raises(BundleError, match=r"model_int8\.onnx: missing"):
        distill.load(copy, runtime="int8")
    spec = json.loads((copy / "spec.json").read_text())
    del spec["export"]["graphs"][INT8]
    (copy / "spec.json").write_text(json.dumps(spec))
    with pytest.raises(BundleError, match=r"has no int8 graph, only onnx, torch; make one with"):
        distill.load(copy, runtime="int8")


def test_a_graph_that_says_something_else_is_not_left(
    pair: tuple[Path, Path], clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def graphs(model: FramesStudent, folder: Path) -> dict[str, Any]:
        for kind in (ONNX, TORCH):
            shutil.copy(pair[1] / FILES[kind], folder)
        return read_export(pair[1]).spec["export"]

    monkeypatch.setattr(writing, "write_graphs", graphs)
    bundle, out = write_bundle(tmp_path / "bundle", "frames", shift=2e-4), tmp_path / "export"
    words = ["--bundle", str(bundle), "--out", str(out), "--clips", str(clips / "odd.mp4")]
    with pytest.raises(ExportError, match=r"model\.onnx differs .* more than 0\.0001: nothing is"):
        export.run(words)
    assert {path.name for path in tmp_path.iterdir()} == {"bundle"}


def test_int8_that_is_slower_is_refused_and_the_rest_stays(
    pair: tuple[Path, Path], clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = shutil.copytree(pair[1], tmp_path / "export")
    (out / FILES[INT8]).unlink()
    before = (out / "spec.json").read_bytes()
    made, reader = read_export(out), make_reader()
    seen = see_clips(OnnxModel(made, device="cpu"), [Row("odd", clips / "odd.mp4")], reader)
    monkeypatch.setattr(writing, "seconds_each", lambda graphs, seen: [0.010, 0.0123])
    with pytest.raises(ExportError, match=r"slower .*: 12\.3 ms a video, the float graph 10\.0"):
        writing.write_int8(made, seen, [], reader, keep_slower=False)
    assert not (out / FILES[INT8]).exists() and (out / "spec.json").read_bytes() == before
    labelled = [Row(name, clips / name, mos=k) for k, name in enumerate(CLIPS)]
    about = writing.write_int8(made, seen, labelled, reader, keep_slower=True)
    assert about["milliseconds"] == {ONNX: 10.0, INT8: pytest.approx(12.3)}
    assert about["cost"].keys() == {"videos", "srcc_onnx", "srcc_int8", "largest_difference"}
    assert distill.load(out, runtime="int8").score(clips / "odd.mp4") > 1


def test_what_cannot_be_exported_is_refused_before_any_work(
    pair: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle, out = str(pair[0]), str(tmp_path / "export")
    teacher = write_bundle(tmp_path / "teacher", "frames", role="teacher")
    with pytest.raises(BundleError, match="is the bundle of a teacher; students are exported"):
        export.run(["--bundle", str(teacher), "--out", out])
    with pytest.raises(ConfigError, match="exists and is no export; give a new folder"):
        export.run(["--bundle", bundle, "--out", str(teacher)])
    with pytest.raises(ConfigError, match="--manifest tells what int8 costs; give --int8 too"):
        export.run(["--bundle", bundle, "--out", out, "--manifest", "t.csv"])
    with pytest.raises(BundleError, match=f"no student bundle below {tmp_path}"):
        export.run(["--outputs", str(tmp_path), "--out", out])
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(ConfigError, match=r"needs onnxscript: pip install 'distill-vqa\[onnx\]'"):
        export.run(["--bundle", bundle, "--out", out])
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ConfigError, match="runtime onnx needs onnxruntime: pip install onnxrun"):
        distill.load(pair[1])
    assert not (tmp_path / "export").exists()
