"""The doors: every slip of the keyboard gets one clear message, every right word works."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill.config import SCHEMAS, StageConfig, folder
from distill.doors import check_overrides, choose, missing_folders, remove_empty
from distill.errors import ConfigError
from distill.help import config_groups, help_page
from distill.losses import WeightedLoss

ROOT = Path(__file__).parents[2]
DOORS = [
    *("train_teacher", "pseudo_label", "train_student", "evaluate", "score", "make_ladder"),
    "export", "dashboard",
]  # fmt: skip


def refused(stage: str, *words: str, multirun: bool = True) -> str:
    with pytest.raises(ConfigError) as caught:
        check_overrides(stage, words, multirun)
    message = str(caught.value)
    assert "\n" not in message and "HYDRA_FULL_ERROR" not in message
    return message


def door(
    name: str, *words: str, cwd: Path = ROOT, program: Path = ROOT
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(program / f"{name}.py"), *words],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
    )


# ---------------------------------------------------------------- the budget


@pytest.mark.parametrize("word", ["+budget=120", "budget=120", "++budget=120", "budget=1.2e2"])
def test_a_budget_works_however_it_is_typed(word: str) -> None:
    assert check_overrides("train_student", [word]).budget == 120.0


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("+budget=abc", "budget=abc is not a number; write the cap in GMACs"),
        ("+budget=-5", "budget=-5 is not a positive finite number"),
        ("+budget=0", "budget=0 is not a positive finite number"),
        ("+budget=nan", "budget=nan is not a positive finite number"),
        ("+budget=inf", "budget=inf is not a positive finite number"),
        ("+budget=1e999", "budget=inf is not a positive finite number"),
        ("+budget=", "budget= is not a number"),
        ("+budget=true", "budget=True is not a number"),
        ("+budget=[1,2]", "budget=[1, 2] is not a number"),
        ("+budget=20,abc", "budget=abc is not a number"),
        ("+budget=120,", "cannot read the value of '+budget=120,'"),
        ("+bugdet=120", "unknown option 'bugdet'; did you mean budget"),
        ("bugdet=120", "unknown option 'bugdet'; did you mean budget"),
        ("~budget", "~budget: Could not delete from config"),
        ("student.framess=8", "unknown option 'student.framess'; did you mean student."),
        ("budget", "cannot read 'budget'; write options as name=value"),
        ("120", "cannot read '120'; write options as name=value"),
        ("=120", "cannot read '=120'; write options as name=value"),
        ("@budget=120", "unknown option '@budget'"),
        ("student=swn_t", "student=swn_t: no such choice; student is one of compact, "),
        ("student=null", "student=null: no such choice; student is one of compact, "),
        (
            "training=5",
            "training=5: no such choice; training is one of gpu, none, student, teacher",
        ),
        ("+student=swin_t", "+student=swin_t: student is chosen already; write student=swin_t"),
        ("student=glob(x*)", "student=glob(x*): no such choice of student"),
        ("teacher=large", "unknown option 'teacher'"),
        ("+teacher=large", "unknown option 'teacher'"),
        ("pool=videos", "unknown option 'pool'"),
        ("training.lr=fast", "training.lr=fast: Value 'fast' of type 'str' could not be converted"),
        ("training.epochs=1.5", "training.epochs=1.5: Value '1.5' of type 'float'"),
        ("training.epochs=0", "training.epochs=0 (training=none) calibrates a trained student"),
        ("+training.epoch=3", "unknown option 'training.epoch'; did you mean training.epochs"),
        ("training.epoch=3", "unknown option 'training.epoch'; did you mean training.epochs"),
        ("+data.deep.er=1", "unknown option 'data.deep'"),
        ("seed=-1", "seed=-1 must lie between"),
        ("loss.srccc=1", "unknown option 'loss.srccc'; did you mean loss.srcc"),
        ("hydra.nothing=1", "hydra.nothing=1: Key 'nothing' not in 'HydraConf'"),
    ],
)
def test_a_slip_gets_one_clear_message(word: str, message: str) -> None:
    assert refused("train_student", word).startswith(message)
    # Also among words that are right, before or after it.
    assert refused("train_student", "seed=3", word, "training=gpu").startswith(message)


def test_the_options_of_the_chosen_student_count() -> None:
    words = ["student.key_frames=true", "student=swin_t"]
    assert refused("train_student", *words).startswith("unknown option 'student.key_frames'")
    assert check_overrides("train_student", ["student.key_frames=true", "student=compact"])


def test_sweeps_are_checked_value_by_value() -> None:
    assert check_overrides("train_student", ["+budget=20,120"]).budget == 20.0
    assert check_overrides("train_student", ["+budget=20,47,120", "seed=1,2"]).seed == 1
    assert check_overrides("train_student", ["student=glob(*)", "budget=range(1,4)"]).budget == 1
    assert refused("train_student", "seed=1,-2", "+budget=1").startswith("seed=-2 must lie")
    message = refused("train_student", "+budget=20,120", multirun=False)
    assert message.startswith("'+budget=20,120' is a sweep: add -m for one run per value")


# ---------------------------------------------------------------- paths


letters = st.characters(
    codec="utf-8", exclude_characters="$\0", categories=("L", "N", "P", "S", "Zs")
)


@given(st.text(letters, min_size=1))
@settings(max_examples=20)
def test_the_quoting_that_messages_advise_gives_the_value_back(value: str) -> None:
    path = f"/videos,a=b/{value}"  # never readable unquoted, or a sweep
    message = refused("pseudo_label", f"pool={path}", multirun=False)
    advice = message.split("twice: ", 1)[1]
    (word,) = shlex.split(advice)
    assert check_overrides("pseudo_label", [word], multirun=False).pool == path


@pytest.mark.parametrize(
    "value",
    ["/a,b/c", "/a=b", "/x#1", "/it's", 'say "x"', "/ü", "~/x", "[x]", "[x", "{x}", "{x:1}", "x)"],
)
def test_odd_paths_are_explained(value: str) -> None:
    message = refused("pseudo_label", f"pool={value}", multirun=False)
    (word,) = shlex.split(message.split("twice: ", 1)[1])
    assert check_overrides("pseudo_label", [word], multirun=False).pool == value


@pytest.mark.parametrize("value", ["/a b/c.mp4", "../x", "/a-b_c+d@e%f", "C:\\videos", "none"])
def test_plain_paths_need_no_quotes(value: str) -> None:
    assert check_overrides("pseudo_label", [f"pool={value}"], multirun=False).pool == value


def test_a_list_of_bundles() -> None:
    config = check_overrides("evaluate", ["bundles=[a/b,c]", "split=val"])
    assert (config.bundles, config.split) == (["a/b", "c"], "val")
    assert check_overrides("evaluate", ['bundles="a,b"']).bundles == ["a,b"]


def test_no_option_for_a_path_shares_its_name_with_a_config_group() -> None:
    taken = set(config_groups())
    for option in ("teacher_bundle", "pool", "store", "labels", "bundles", "manifests", "resume",
                   "outputs", "budget", "init"):  # fmt: skip
        assert option not in taken


# ---------------------------------------------------------------- conf/


CHOICES = [(group, name) for group, names in config_groups().items() for name in names]


@pytest.mark.parametrize(("group", "name"), CHOICES, ids=str)
def test_every_choice_composes_with_a_budget(group: str, name: str) -> None:
    word = f"{group}={name}"
    if group in ("teacher", "experiment"):
        assert check_overrides("train_teacher", [word]).teacher["_target_"]
        return
    if word == "training=none":  # for teachers of published scores, and trained students
        assert "needs init=BUNDLE" in refused("train_student", word)
        return
    assert check_overrides("train_student", [word, "+budget=120"]).budget == 120.0
    assert check_overrides("train_student", ["+budget=120", word]).budget == 120.0


@pytest.mark.parametrize(
    ("name", "terms"),
    [
        ("correlation", {"plcc": 1.0, "srcc": 1.0, "mse": 0.1}),
        ("plcc", {"plcc": 1.0}),
        ("fast_vqa", {"plcc": 1.0, "rank_hinge": 0.3}),
        ("e_vqa", {"fidelity": 1.0, "mse": 0.01}),
        ("ranking", {"plcc": 1.0, "srcc": 0.5, "rank_hinge": 0.3}),
        ("adaptive_rank", {"plcc": 1.0, "rank_within": 0.5, "rank_across": 0.5, "mse": 0.1}),
        ("distribution", {"plcc": 1.0, "distribution": 0.5}),
    ],
)
@pytest.mark.parametrize("stage", ["train_teacher", "train_student"])
def test_a_loss_replaces_the_default_one_and_adds_nothing_to_it(
    stage: str, name: str, terms: dict[str, float]
) -> None:
    assert check_overrides(stage, [f"loss={name}"]).loss == terms
    assert [term.name for term in WeightedLoss(terms).terms] == list(terms)
    added = check_overrides(stage, [f"loss={name}", "++loss.srcc=2"]).loss
    assert added == {**terms, "srcc": 2.0}


def test_a_teacher_of_the_user_s_own_file(tmp_path: Path) -> None:
    (tmp_path / "teacher").mkdir()
    text = "_target_: teachers.ensemble.TeacherEnsemble\nmembers: {a: {kind: liqe}}\n"
    (tmp_path / "teacher" / "mine.yaml").write_text(text)
    words = [f"hydra.searchpath=['{tmp_path}']", "teacher=mine", "+teacher.fusion=mean"]
    assert check_overrides("train_teacher", words).teacher["members"] == {"a": {"kind": "liqe"}}


def test_every_choice_was_seen() -> None:
    files = {(p.parent.name, p.stem) for p in (ROOT / "conf").glob("*/*.yaml")}
    assert set(CHOICES) == files
    assert len(CHOICES) > 8


@pytest.mark.parametrize("stage", SCHEMAS)
def test_the_plain_command_composes(stage: str) -> None:
    assert isinstance(check_overrides(stage, []), SCHEMAS[stage])


# ---------------------------------------------------------------- what the user left open


def finished(outputs: Path, name: str = "a") -> Path:
    run = outputs / "train_teacher" / name
    (run / "checkpoints").mkdir(parents=True)
    (run / "checkpoints/last.ckpt").touch()
    return run


def resume(outputs: Path, value: object, multirun: bool = False) -> list[str]:
    config = SCHEMAS["train_teacher"](outputs=str(outputs))
    config.resume = value  # type: ignore[attr-defined]
    return choose("train_teacher", [f"resume={value}"], config, multirun)


def test_resume_finds_the_unfinished_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = finished(tmp_path / "it's, a=b")
    (word,) = resume(tmp_path / "it's, a=b", True)
    assert f"resuming {run}" in capsys.readouterr().err
    assert check_overrides("train_teacher", [word]) and "hydra.run.dir=" in word
    assert resume(tmp_path, str(run)) == [word]
    (run / "result.json").touch()
    with pytest.raises(
        ConfigError, match=f"no unfinished run with a checkpoint or scores below {tmp_path}"
    ):
        resume(tmp_path / "it's, a=b", True)


def test_resume_that_cannot(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no unfinished run with a checkpoint or scores below"):
        resume(tmp_path, True)
    with pytest.raises(ConfigError, match=f"with a checkpoint or scores in {tmp_path}/x"):
        resume(tmp_path, f"{tmp_path}/x")
    with pytest.raises(ConfigError, match="cannot be combined with -m"):
        resume(tmp_path, True, multirun=True)
    assert resume(tmp_path, False) == []


def test_the_default_student_is_chosen_once_and_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("students.default.default_student", lambda: ("compact", "no weights"))
    config = check_overrides("train_student", [])
    assert choose("train_student", ["+budget=120"], config, False) == ["student=compact"]
    assert "student=compact: no weights" in capsys.readouterr().err
    for word in ("student=mixed_view", "student._target_=a.B"):
        assert choose("train_student", [word], config, False) == []
    assert choose("train_teacher", [], StageConfig(), False) == []


def test_a_swin_trains_with_a_swins_rates(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = check_overrides("train_student", [])
    for student in ("student=swin_t", "student=evqa"):
        assert choose("train_student", [student], config, False) == ["training=gpu"]
        assert "training=gpu: learning rates and epochs as published" in capsys.readouterr().err
        assert choose("train_student", [student, "training=student"], config, False) == []
        assert choose("train_student", [student, "training.lr=1e-4"], config, False) == [
            "training=gpu"
        ]
    assert choose("train_student", ["student=swin_t", "recipe=sharpmind"], config, False) == []
    monkeypatch.setattr("students.default.default_student", lambda: ("swin_t", "weights"))
    assert choose("train_student", [], config, False) == ["student=swin_t", "training=gpu"]


# ---------------------------------------------------------------- as the user types them


@pytest.mark.parametrize("stage", SCHEMAS)
def test_help_names_every_option_and_choice(stage: str) -> None:
    page = help_page(stage)
    for option in vars(SCHEMAS[stage]()):
        assert re.search(rf"^  ([\w, ]+, )?{option}(,[\w, ]+)?: ", page, re.M), option
    for option in vars(SCHEMAS[stage]().data):
        assert f"data.{option}: " in page
    assert f"python {stage}.py" in page and re.search(r"data=\S*demo\|\S*manifest", page)
    if stage.startswith("train"):
        assert "training.batch_size: " in page and "dry_run" in page
    if stage == "train_student":
        assert "+budget=120" in page and "student=compact|" in page


@pytest.mark.parametrize("stage", SCHEMAS)
def test_help_says_where_what_it_refers_to_is(stage: str) -> None:
    page = help_page(stage)
    assert "see there" not in page
    for section in set(re.findall(r"(\w+)\.\* (?:and|below)", page)):
        assert re.search(rf"^  {section}\.\w+", page, re.M), section
    for told in set(re.findall(r"docs/\w+\.md", page)):
        assert (ROOT / told).is_file(), told


def test_help_says_which_teacher_is_the_default() -> None:
    head = " ".join(help_page("train_teacher").split("Options, name=value")[0].split())
    assert head.startswith("Train a teacher") and "The default is teacher=compact" in head


@pytest.mark.parametrize("name", DOORS)
def test_help_exits_0(name: str, tmp_path: Path) -> None:
    done = door(name, "--help", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"python {name}.py" in done.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "words", "message"),
    [
        ("train_student", ["+bugdet=120"], "error: unknown option 'bugdet'; did you mean budget"),
        ("train_student", ["-m", "+budget=20,abc"], "error: budget=abc is not a number"),
        ("train_teacher", ["resume=true"], "error: resume=True: no unfinished run"),
        ("pseudo_label", ["--pool", "x"], "error: unknown option '--pool'; options are name=value"),
        ("pseudo_label", ["pool=a,b"], "error: 'pool=a,b' is a sweep: add -m"),
        ("evaluate", ["split=tset"], "error: split='tset' is not a choice; did you mean test?"),
    ],
)
def test_a_slip_ends_with_one_line_and_no_directory(
    name: str, words: list[str], message: str, tmp_path: Path
) -> None:
    done = door(name, *words, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith(message) and done.stderr.count("\n") == 1
    assert "Traceback" not in done.stderr and done.stdout == ""
    assert list(tmp_path.iterdir()) == []


def test_what_a_dry_run_made_and_left_empty_is_removed(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    for outputs, stays in (("new", False), ("there", True)):
        made = missing_folders(str(tmp_path / outputs), "train_teacher")
        (tmp_path / outputs / "train_teacher").mkdir(parents=True)
        remove_empty(made)
        assert (tmp_path / outputs).exists() == stays  # what was there before is the user's
        assert not (tmp_path / outputs / "train_teacher").exists()
    made = missing_folders(str(tmp_path / "new"), "train_teacher")
    (tmp_path / "new" / "train_teacher" / "run").mkdir(parents=True)
    remove_empty(made)
    assert (tmp_path / "new" / "train_teacher" / "run").is_dir()


def test_a_refused_start_leaves_no_folder(tmp_path: Path) -> None:
    done = door("pseudo_label", cwd=tmp_path)
    assert done.returncode == 2 and "no teacher bundle below outputs" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_cfg_prints_the_options(tmp_path: Path) -> None:
    done = door("train_student", "--cfg", "job", "+budget=120", "student=swin_t", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "budget: 120" in done.stdout and "students.swin_t.SwinTStudent" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_folder_is_what_doors_hand_to_stages(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert folder("../x") == tmp_path.parent / "x"
