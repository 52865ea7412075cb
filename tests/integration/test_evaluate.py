"""evaluate.py on bundles whose scores are told: what the run folder must hold."""

import csv
import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from openpyxl import Workbook

from distill.errors import BundleError, ConfigError, Interrupted, ManifestError
from distill.inference import score_rows
from distill.metrics import srcc
from distill.runs import unfinished
from distill.tracking import Tracker
from tests.helpers.stages import run_stage
from tests.helpers.told_scores import LINE, told_bundle
from tests.helpers.video_files import make_clip

ROW = set(
    "bundle name role table table_name split srcc krcc plcc plcc_fitted rmse rmse_raw pair_accuracy"
    " ntire2023 n contents intervals doubted low high warning notes calibrated demo gmacs params_m"
    " plot predictions".split()
)
PAIR = set("first other table_name statistic difference low high verdict contents".split())
PART = set(
    "name table_name column value n contents srcc low high plcc rmse_raw bias warning".split()
)
WORST = set("name table_name video mos score residual group".split())
MOS = {f"{number:04d}": 1 + 0.05 * number for number in range(1, 49)}


def write_table(folder: Path, clip: Path, first: int) -> Path:
    """48 videos of 12 contents, all in the test split; their bytes differ."""
    (folder / "val").mkdir(parents=True)
    lines = ["video,mos,group,split,kind"]
    for at, (name, mos) in enumerate(MOS.items()):
        video = folder / "val" / f"{name}.mp4"
        video.write_bytes(clip.read_bytes() + b"%d" % (first + at))
        lines.append(f"val/{name}.mp4,{mos:.2f},c{at // 4},test,{'ab'[at % 2]}")
    path = folder / "manifest.csv"
    path.write_text("\n".join(lines))
    return path


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("evaluate")
    clip = make_clip(folder, "tiny.mp4")
    tables = [write_table(folder / name, clip, k) for name, k in (("X", 1), ("Y", 100))]
    rng = np.random.default_rng(0)
    raw = {name: (mos - 1) / 2 for name, mos in MOS.items()}  # LINE makes the MOS of it
    noise = dict(zip(raw, rng.normal(0, 0.5, len(raw)), strict=True))
    good = {name: value + 0.05 * noise[name] for name, value in raw.items()}
    poor = {name: value + noise[name] for name, value in raw.items()}
    bundles = [
        told_bundle(folder / "runs" / name, s) for name, s in (("good", good), ("poor", poor))
    ]
    return {"folder": folder, "tables": tables, "bundles": bundles, "good": good, "poor": poor}


def evaluate(
    out: Path, files: dict[str, Any], *words: str, bundles: Any = None, resumed: bool = False
) -> dict[str, Any]:
    named = ",".join(map(str, bundles or files["bundles"]))
    common = [f"bundles=[{named}]", "data.num_workers=0", "reader.time_limit=null"]
    return run_stage("evaluate", out, *common, *words, resumed=resumed)


def test_the_contract_of_a_run_folder(
    files: dict[str, Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tables = ",".join(map(str, files["tables"]))
    with caplog.at_level("INFO"):
        evaluate(tmp_path, files, f"manifests=[{tables}]", "by=[kind]", "worst=2")
    found = json.loads((tmp_path / "result.json").read_text())
    assert set(found) == {"rows", "pairs", "breakdowns", "worst"}
    rows = found["rows"]
    assert [(row["name"], row["table_name"]) for row in rows] == [
        ("good", "X"), ("poor", "X"), ("good", "Y"), ("poor", "Y"),
    ]  # fmt: skip
    for number, row in enumerate(rows, 1):
        assert set(row) == ROW and row["predictions"] == f"predictions_{number}.csv"
        assert (row["n"], row["contents"], row["calibrated"], row["demo"]) == (48, 12, True, False)
        assert set(row["intervals"]) == ROW & set(row["intervals"]) and len(row["intervals"]) == 8
        told = np.array([files[row["name"]][name] for name in MOS])
        assert row["doubted"] == ["rmse", "rmse_raw"]  # of 12 contents
        assert row["srcc"] == pytest.approx(srcc(told, list(MOS.values())))
        assert row["rmse_raw"] == pytest.approx(
            np.sqrt(np.mean((LINE(told) - list(MOS.values())) ** 2)), abs=1e-5
        )
        with (tmp_path / row["predictions"]).open(newline="") as file:
            table = list(csv.DictReader(file))
        assert [float(line["score"]) for line in table] == pytest.approx(LINE(told), abs=1e-5)
        assert {line["kind"] for line in table} == {"a", "b"} and table[0]["width"] == "32"
        assert Path(row["plot"]).is_file() and Path(table[0]["path"]).is_file()
    pairs = found["pairs"]
    assert all(set(pair) == PAIR for pair in pairs)
    assert [(p["table_name"], p["statistic"]) for p in pairs] == [
        ("X", "srcc"), ("X", "plcc"), ("Y", "srcc"), ("Y", "plcc"),
    ]  # fmt: skip
    assert pairs[0]["difference"] == pytest.approx(rows[0]["srcc"] - rows[1]["srcc"])
    assert pairs[1]["verdict"].startswith("good is better than poor on X: PLCC +0.")
    assert pairs[1]["verdict"].split("; but")[0] in caplog.text
    assert all(set(part) == PART for part in found["breakdowns"])
    kinds = [part for part in found["breakdowns"] if part["column"] == "kind"]
    assert [(k["name"], k["value"], k["n"]) for k in kinds[:2]] == [
        ("good", "a", 24),
        ("good", "b", 24),
    ]
    assert all(set(bad) == WORST for bad in found["worst"]) and len(found["worst"]) == 8
    assert caplog.text.count("lies in no run folder that says what it learned from") == 2


def test_kvq_pairs_beside_the_others(
    files: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    book = Workbook()
    book.active.title = "source"
    book.create_sheet("nonsource")
    for name, pair in (("source", (1, 2)), ("nonsource", (1, 48))):
        book[name].append(["video1", "video2", "rank"])
        book[name].append([*(f"val/{number:04d}.mp4" for number in pair), 2])
    book.save(tmp_path / "pairs.xlsx")
    words = [f"manifests={files['tables'][0]}", f"kvq.pairs={tmp_path / 'pairs.xlsx'}"]
    sent: dict[str, Any] = {}
    with monkeypatch.context() as patched:
        patched.setattr(Tracker, "table", lambda self, key, rows, *_: sent.update({key: rows}))
        patched.setattr(Tracker, "summary", lambda self, row, name="": sent.update({name: row}))
        found = evaluate(tmp_path / "a", files, *words)
    (good, poor), pairs = found["kvq"], found["pairs"]
    assert [row["kvq"] for row in sent["eval/models"]] == [good["score"], poor["score"]]
    assert sent["eval"]["kvq"] == good["score"]
    assert [pair["statistic"] for pair in pairs] == ["kvq", "srcc", "plcc"]
    assert pairs[0]["difference"] == pytest.approx(good["score"] - poor["score"])
    # One pair of a kind, without whose content there is no score.
    assert math.isnan(good["low"]) and good["contents"] == 12
    assert "KVQ score +0.267 of 12 contents, and there is no interval" in pairs[0]["verdict"]
    assert (good["name"], good["table_name"], good["acc_nonsource"]) == ("good", "X", 1)
    expected = 0.45 * (good["srcc"] + good["plcc"]) + 0.05 * (1 + good["acc_source"])
    assert good["score"] == pytest.approx(expected) and poor["score"] < good["score"]
    book["source"].append(["val/0001.mp4", "val/9999.mp4", 1])
    book.save(tmp_path / "pairs.xlsx")
    with pytest.raises(ManifestError, match=r"no MOS for 1 \(val/9999.mp4\)"):
        evaluate(tmp_path / "b", files, *words)
    assert not (tmp_path / "b").exists()  # nothing was scored


def test_scores_of_a_file_beside_a_bundle(files: dict[str, Any], tmp_path: Path) -> None:
    table, good = files["tables"][0], files["good"]
    # As score.py names them, with a video that it could not score, and one that is of no table.
    names = {name: f"../{table.parent.name}/val/{name}.mp4" for name in MOS}
    lines = [f"{names[name]},{float(LINE(good[name]))!r},True," for name in MOS]
    lines[4] = f"{names['0005']},,True,broken"
    theirs = tmp_path / "theirs.csv"
    theirs.write_text("\n".join(["video,score,calibrated,error", *lines, "other.mp4,9,True,"]))
    bundles = [files["bundles"][0], theirs]
    found = evaluate(tmp_path / "a", files, f"manifests={table}", bundles=bundles)
    own, given = found["rows"]
    assert (given["name"], given["role"], given["calibrated"]) == ("theirs.csv", "scores", True)
    assert own["n"] == given["n"] == 47 and math.isnan(given["gmacs"])
    for name in ("srcc", "plcc", "rmse_raw", "krcc", "pair_accuracy"):
        assert given[name] == pytest.approx(own[name], abs=1e-6), name
    assert any(text.startswith("scores from a file, taken as they are") for text in given["notes"])
    assert not any(text.startswith("scores from a file") for text in own["notes"])
    assert "not told apart on X: SRCC +0.000" in found["pairs"][0]["verdict"]
    left = "1 of 48 videos are left out: no score by theirs.csv"
    assert left in own["notes"] and left in given["notes"]
    problems = (tmp_path / "a" / "problems.csv").read_text()
    assert "val/0005.mp4" in problems and "line 6: score '' is not a finite number" in problems
    assert json.loads((tmp_path / "a" / "result.json").read_text())["rows"][1]["gmacs"] is None
    # On a scale of their own: what is fitted is the same, and so are errors by kind.
    percent = [f"{name},{20 * float(LINE(good[name])) - 150}" for name in MOS]
    theirs.write_text("\n".join(["filename,score", *percent]))
    words = [f"manifests={table}", "by=[kind]"]
    found = evaluate(tmp_path / "b", files, *words, bundles=bundles)
    own, given = found["rows"]
    assert given["calibrated"] is False and given["rmse_raw"] > 100 and given["n"] == 48
    assert any(text.endswith("only ranks and fitted numbers count") for text in given["notes"])
    assert given["rmse"] == pytest.approx(own["rmse"], abs=1e-4)
    told = {pair["statistic"]: pair["verdict"] for pair in found["pairs"]}
    assert told["plcc"].endswith("; but theirs.csv has another scale")
    assert "scale" not in told["srcc"] and "change their signs" not in given["warning"]
    parts = {(p["name"], p["value"]): p for p in found["breakdowns"] if p["column"] == "kind"}
    assert abs(parts["theirs.csv", "a"]["bias"]) < 0.1
    assert max(abs(w["residual"]) for w in found["worst"] if w["name"] == "theirs.csv") < 1


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        ("name,score\n0001,3\n", ConfigError, "no column `filename` or `video` in"),
        ("filename,mos\n0001,3\n", ManifestError, "no column `score` .*; bundles= takes"),
        ("filename,score\n0001,3\n0001,4\n", ConfigError, "'0001' has other numbers in line 2"),
        ("filename,score\nclip,3\n", ManifestError, r"only 0 of 48 .* has no row for 0001.mp4"),
    ],
)
def test_scores_that_cannot_be_compared(
    files: dict[str, Any], tmp_path: Path, text: str, kind: type[Exception], message: str
) -> None:
    theirs = tmp_path / "theirs.csv"
    theirs.write_text(text)
    with pytest.raises(kind, match=message):
        evaluate(tmp_path / "a", files, f"manifests={files['tables'][0]}", bundles=[theirs])


def test_one_name_of_two_videos_is_refused(files: dict[str, Any], tmp_path: Path) -> None:
    theirs = tmp_path / "theirs.csv"
    words = [f"manifests=[{','.join(map(str, files['tables']))}]"]
    theirs.write_text("\n".join(["filename,score", *(f"{name},3" for name in MOS)]))
    with pytest.raises(ConfigError, match=r"line 2: one name for .*X/val/0001.mp4 and .*Y/val/00"):
        evaluate(tmp_path / "a", files, *words, bundles=[theirs])
    assert not (tmp_path / "a").exists()  # nothing was scored
    named = [f"{table.parent.name}/val/{name},{mos}" for table in files["tables"]
             for name, mos in MOS.items()]  # fmt: skip
    theirs.write_text("\n".join(["filename,score", *named]))
    rows = evaluate(tmp_path / "b", files, *words, bundles=[theirs])["rows"]
    assert [row["srcc"] for row in rows] == [1, 1]


def test_a_file_alone_in_which_less_is_better(files: dict[str, Any], tmp_path: Path) -> None:
    theirs = tmp_path / "theirs.tsv"
    theirs.write_text("\n".join(["video\tscore", *(f"{n}\t{6 - v}" for n, v in MOS.items())]))
    found = evaluate(tmp_path, files, f"manifests={files['tables'][0]}", bundles=[theirs])
    row = found["rows"][0]
    assert row["srcc"] == pytest.approx(-1) and found["pairs"] == []
    assert row["notes"][-1].endswith("if less is better there, change their signs")


def test_an_evaluation_that_was_stopped_goes_on(
    files: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tables = f"manifests=[{','.join(map(str, files['tables']))}]"
    whole = evaluate(tmp_path / "whole", files, tables)
    asked: list[str] = []
    left = 60  # of 4 times 48

    def stopping(model: Any, rows: Any, *args: Any, **options: Any) -> Any:
        for scored in score_rows(model, rows, *args, **options):
            if len(asked) == left:
                raise KeyboardInterrupt(15)
            asked.append(scored.row.video)
            yield scored

    monkeypatch.setattr("distill.stages.evaluation_tables.score_rows", stopping)
    out = tmp_path / "evaluate" / "run"
    with pytest.raises(Interrupted, match="stopped; what was scored is kept in") as caught:
        evaluate(out, files, tables)
    assert caught.value.exit_code == 143 and not (out / "result.json").exists()
    assert unfinished(tmp_path, "evaluate") == out
    with pytest.raises(ConfigError, match="these differ: bundles: was"):
        evaluate(out, files, tables, resumed=True, bundles=[files["bundles"][0]])
    inputs = (out / "inputs.json").read_text()
    (out / "inputs.json").write_text('{"bundles": ["another"]}')  # the newest was another
    with pytest.raises(ConfigError, match=r"cannot be resumed, its inputs changed: bundles: was"):
        evaluate(out, files, tables, resumed=True)
    (out / "inputs.json").write_text(inputs)
    left = 10**6
    again = evaluate(out, files, tables, resumed=True)
    assert len(asked) == 4 * 48  # none twice
    assert again["pairs"] == whole["pairs"] and again["breakdowns"] == whole["breakdowns"]
    for name in ("predictions_1.csv", "predictions_4.csv"):
        assert (out / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert not (out / "scored").exists() and unfinished(tmp_path, "evaluate") is None


def _learned(run: Path, videos: dict[Path, str]) -> None:
    """Let a run say that it learned from such copies."""
    run.mkdir(parents=True, exist_ok=True)
    lines = ["video,mos,split,group"]
    for at, (video, split) in enumerate(videos.items()):
        shutil.copy(video, run / f"copy{at}.mp4")
        lines.append(f"copy{at}.mp4,3,{split},g{at}")
    (run / "videos.csv").write_text("\n".join(lines))
    data = {"name": "manifest", "manifest": str(run / "videos.csv"), "of_another_version": 1}
    (run / "config.yaml").write_text(yaml.safe_dump({"data": data}))


def test_videos_that_a_bundle_learned_from_are_told(files: dict[str, Any], tmp_path: Path) -> None:
    table, other = files["tables"]
    run = tmp_path / "runs" / "student"
    bundle = told_bundle(run, files["good"])
    clips = [table.parent / "val" / f"{at:04d}.mp4" for at in (1, 2, 3)]
    _learned(run, dict(zip(clips, ("train", "train", "val"), strict=True)))  # under other names
    columns = "video,path,action,weight\n"
    video = table.parent / "val" / "0009.mp4"
    (run / "pseudo_labels.csv").write_text(
        f"{columns}a,{video},kept,1.0\nb,/no/such.mp4,dropped,0\n"
    )
    words = [f"manifests=[{table},{other}]"]
    known, clean = evaluate(tmp_path / "a", files, *words, bundles=[bundle])["rows"]
    assert known["warning"] == (
        "student learned from 3 of these 48 videos and was chosen and calibrated on 1 of these 48"
        " videos: X does not test it"
    )
    assert clean["warning"] == ""
    assert evaluate(tmp_path / "c", files, words[0])["rows"][0]["warning"] == (
        "it is not known whether good has learned from X"
    )
    (run / "copy0.mp4").unlink()
    with (run / "pseudo_labels.csv").open("a") as file:
        file.write("c,/no/longer.mp4,kept,1.0\n")
    gone = evaluate(tmp_path / "d", files, words[0], bundles=[bundle])["rows"][1]["warning"]
    assert gone == "it is not known whether student has learned from Y"
    # All of these clips look alike.
    looks = evaluate(tmp_path / "b", files, *words, "leak_check=perceptual", bundles=[bundle])
    assert "learned from" in looks["rows"][1]["warning"]


def test_videos_that_its_teacher_learned_from_are_told(
    files: dict[str, Any], tmp_path: Path
) -> None:
    table, other = files["tables"]
    clip = [table.parent / "val" / f"{at:04d}.mp4" for at in range(1, 6)]
    theirs = [other.parent / "val" / f"{at:04d}.mp4" for at in range(1, 4)]
    runs = {name: tmp_path / name for name in ("first", "teacher", "student")}
    bundles = {name: told_bundle(run, files["good"]) for name, run in runs.items()}
    _learned(runs["first"], {theirs[0]: "train"})
    _learned(runs["teacher"], {clip[0]: "train", clip[1]: "train", clip[2]: "val"})
    _learned(runs["student"], {clip[1]: "train", theirs[1]: "val"})
    store = tmp_path / "store"
    store.mkdir()
    specs = {name: json.loads((b / "spec.json").read_text()) for name, b in bundles.items()}
    meta = {"bundle": str(bundles["teacher"]), "teacher": specs["teacher"]["fingerprint"]}
    (store / "meta.json").write_text(json.dumps(meta))
    (runs["student"] / "inputs.json").write_text(json.dumps({"labels": str(store)}))
    specs["teacher"]["provenance"]["init"] = {"provenance": {"run": str(runs["first"])}}
    (bundles["teacher"] / "spec.json").write_text(json.dumps(specs["teacher"]))

    def told() -> list[str]:
        words = [f"manifests=[{table},{other}]"]
        rows = evaluate(tmp_path / "out", files, *words, bundles=[bundles["student"]])["rows"]
        return [row["warning"] for row in rows]

    # One that both learned from counts once; val of a teacher chose the teacher alone.
    assert told() == [
        "student learned from 1 of these 48 videos and comes from a model that learned from 1 of"
        " these 48 videos: X does not test it",
        "student was chosen and calibrated on 1 of these 48 videos and comes from a model that"
        " learned from 1 of these 48 videos: Y does not test it",
    ]
    (store / "meta.json").write_text(json.dumps(meta | {"teacher": "0" * 16}))
    assert told()[0] == "student learned from 1 of these 48 videos: X does not test it"
    shutil.rmtree(store)
    _learned(runs["student"], {clip[1]: "val"})
    assert told()[1] == "it is not known whether student has learned from Y"
    (runs["student"] / "inputs.json").write_text(json.dumps({"labels": "none"}))
    assert told()[1] == ""


def test_a_whole_table_that_was_never_split(
    files: dict[str, Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    table = tmp_path / "Z" / "manifest.csv"
    shutil.copytree(files["tables"][0].parent, table.parent)
    lines = [line.split(",") for line in table.read_text().splitlines()]
    table.write_text("\n".join(",".join(cells[:3] + cells[4:]) for cells in lines))
    words = [f"manifests=[{table}]"]
    cheap = ["intervals=percentile", "draws=100"]
    made_up = (
        "no column split: 8 of 48 labelled videos are its made-up test split; data.as_split=test"
        " scores all"
    )
    with caplog.at_level("INFO"):
        (few, _) = evaluate(tmp_path / "a", files, *words, *cheap)["rows"]
    assert few["n"] == 8 and few["contents"] == 2 and "only 2 contents" in few["warning"]
    assert made_up in few["warning"] and made_up == few["notes"][0]
    assert f"data: {table} was split by the program: {made_up}" in caplog.text
    assert caplog.text.count(f"note: Z: {made_up}") == 1  # for both bundles
    caplog.clear()
    with caplog.at_level("INFO"):
        (whole, _) = evaluate(tmp_path / "b", files, *words, "data.as_split=test")["rows"]
    assert "made-up" not in whole["warning"] + caplog.text
    assert "VMAF" not in whole["warning"]
    vmaf = ["vmaf", *(f"{25 * (float(cells[1]) - 1):.4f}" for cells in lines[1:])]
    rows = [[*cells, value] for cells, value in zip(lines, vmaf, strict=True)]
    table.write_text("\n".join(map(",".join, rows)))
    (computed, _) = evaluate(tmp_path / "c", files, *words, *cheap)["rows"]
    assert "its labels are VMAF of processed copies, not people's opinions" in computed["notes"]
    assert whole["n"] == 48 and whole["table_name"] == "Z"
    assert "no column group" not in whole["warning"]


def test_a_table_without_contents_is_told(
    files: dict[str, Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    table = tmp_path / "Z" / "manifest.csv"
    shutil.copytree(files["tables"][0].parent, table.parent)
    lines = [line.split(",") for line in table.read_text().splitlines()]
    table.write_text("\n".join(",".join([*cells[:2], cells[3]]) for cells in lines))
    (alone, _) = evaluate(tmp_path / "a", files, f"manifests=[{table}]")["rows"]
    assert alone["contents"] == 48
    assert "no column group: contents are not known" in alone["warning"]
    assert f"{table} has no column group: every video counts as a content" in caplog.text


def test_what_cannot_be_used_is_told_before_anything_is_scored(
    files: dict[str, Any], tmp_path: Path
) -> None:
    table, bundle = files["tables"][0], files["bundles"][0]
    for words, error, message in (
        ([f"manifests=[{table}]", "by=[kidn]"], ConfigError, "did you mean kind"),
        ([f"manifests=[{table},{table}]"], ConfigError, "manifests: .* is given twice"),
        ([f"manifests=[{table}]", "split=val"], ManifestError, "data.as_split=test"),
        (["manifests=[konvid_1k:/no/such/folder]"], ManifestError, "/no/such/folder"),
        (["manifests=[konvid_2k:/no/such/folder]"], ManifestError, "konvid_2k:/no/such"),
        ([f"manifests=[{table}]", "kvq.pairs=/no/pairs.xlsx"], ManifestError, "no such file"),
    ):
        with pytest.raises(error, match=message):
            evaluate(tmp_path / "out", files, *words)
    with pytest.raises(ConfigError, match=r"bundles: .* is given twice"):
        evaluate(tmp_path / "out", files, f"manifests=[{table}]", bundles=[bundle, bundle])
    with pytest.raises(BundleError, match="not a bundle"):
        evaluate(tmp_path / "out", files, bundles=[tmp_path])
    assert not (tmp_path / "out").exists()
