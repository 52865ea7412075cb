"""Which documented commands the tests type for real, in which order, and why not the others.

A session folder holds what the pages call FOLDER, videos.csv, STORE and so on; commands run there
one after another, with the words of ``TOY`` added so that each takes seconds.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from tests.helpers.stages import STUDENT, TEACHER

_FAST = ["training.epochs=1", "training.batch_size=6", "data.num_workers=0"]
_TEACHER = [*TEACHER, *_FAST, "training.val_every=1"]
_STUDENT = [*STUDENT, *_FAST, "training.val_every=1"]
# Runs below outputs that pages name: STORE, TEACHER, STUDENT and ALONE.
FIRST = {"STORE": "pseudo_label/first/store", "TEACHER": "train_teacher/first",
         "STUDENT": "train_student/first", "ALONE": "train_student/first"}  # fmt: skip
_SHORT = ["--seconds", "0.4"]  # shots; the demo's videos last 0.6 s
_PLAN = ["dry_run=true", "data.num_workers=0"]


@dataclass(frozen=True)
class Typed:
    """A command as a page shows it, and what is added or put in its place.

    Attributes:
        text: the command of the page.
        added: words that make it small.
        put: what stands for a placeholder in this command.
        code: the exit code that is right here.
        prints: a part of what it prints.
    """

    text: str
    added: tuple[str, ...] = ()
    put: tuple[tuple[str, str], ...] = ()
    code: int = 0
    prints: str = ""


def _run(name: str) -> str:
    """The word that makes a run that of a page's name."""
    return f"hydra.run.dir=outputs/{FIRST[name]}"


def _typed(
    text: str, *added: str, code: int = 0, prints: str = "", put: dict[str, str] | None = None
) -> Typed:
    return Typed(text, added, tuple((put or {}).items()), code, prints)


TYPED = [
    # The main job and what follows it.
    _typed("python train_teacher.py --help", prints="teacher=compact|"),
    _typed("python train_student.py --help", prints="max_latency"),
    _typed("python train_teacher.py", *_TEACHER, _run("TEACHER"), prints="test"),
    _typed(
        "python pseudo_label.py", "data.num_workers=0", "hydra.run.dir=outputs/pseudo_label/first",
        prints="videos",
    ),
    _typed(
        "python train_student.py +budget=120", *_STUDENT, _run("STUDENT"), prints="GMACs a video"
    ),
    _typed("python evaluate.py", "data.num_workers=0", prints="SRCC"),
    _typed("python evaluate.py bundles=[STUDENT/bundle,theirs.csv]", "data.num_workers=0",
           prints="scores from a file, taken as they are"),
    _typed("python score.py FOLDER", "--workers", "0", prints="a.mp4"),
    _typed("python export.py --out exported", "--clips", "FOLDER", prints="model.onnx"),
    _typed("python score.py FOLDER --bundle exported", "--workers", "0", prints="a.mp4"),
    _typed(
        "python -m distill.report FOLDER --no-frames --out report.html",
        put={"FOLDER": "outputs/train_teacher/first"}, prints="report.html",
    ),
    # A user's own videos.
    _typed(
        "python train_teacher.py data=manifest data.manifest=videos.csv", *_PLAN, prints="plan:"
    ),
    _typed(
        "python pseudo_label.py pool=FOLDER_LIST_OR_TABLE",
        *_PLAN, put={"FOLDER_LIST_OR_TABLE": "FOLDER"},
    ),
    _typed(
        "python train_student.py +budget=120 data=manifest data.manifest=videos.csv",
        *STUDENT, *_PLAN, "labels=none", prints="plan:",
    ),
    _typed(
        "python train_teacher.py data=manifest data.manifest=scores.parquet data.columns.mos=MOS"
        " data.columns.mos_std=SD 'data.columns.video=\"{folder}/{vid}.mp4\"'"
        " 'data.group_regex=\"([A-Z]\\d+)_\\d+\\.mp4$\"'",
        *_PLAN, prints="plan:",
    ),
    _typed("python pseudo_label.py pool=videos.txt", *_PLAN),
    _typed("python pseudo_label.py pool=pool.tar", *_PLAN),
    _typed("python pseudo_label.py pool=FOLDER store=DIR", "data.num_workers=0"),
    _typed("python -m distill.labels STORE", prints="labelled"),
    _typed("python -m distill.labels STORE --sources best.csv", prints="best.csv"),
    _typed(
        "python train_student.py labels=FILE.csv labels_root=FOLDER_OF_THE_VIDEOS",
        *STUDENT, *_PLAN,
    ),
    _typed("python train_teacher.py labels=STORE", *_PLAN),
    _typed("python score.py FOLDER --bundle STUDENT/bundle --csv scores.csv", "--workers", "0"),
    _typed("python pseudo_label.py pool=FOLDER dry_run=true", "data.num_workers=0"),
    _typed(
        "python train_student.py +budget=20 student=fit labels=none data=manifest"
        " data.manifest=videos.csv",
        *_PLAN, prints="of 20 GMACs",
    ),
    _typed("python train_teacher.py teacher=fast_vqa training=none data=none", *_PLAN, code=2,
           prints="FAST_VQA_B_1_4.pth"),
    # Ladders.
    _typed("python make_ladder.py FOLDER --out ladder --dry-run", *_SHORT, prints="space"),
    _typed("python make_ladder.py FOLDER --out ladder", *_SHORT, prints="manifest.csv"),
    _typed("python make_ladder.py --print-ladder > my.yaml", prints="light"),
    _typed("python make_ladder.py --print-ladder", prints="light"),
    _typed(
        "python train_student.py +budget=2 labels=STORE data.also=[ladder/manifest.csv]"
        " finetune.epochs=16",
        *_PLAN, "student=mixed_view", "leak_check=hash",
    ),
    # Students under a budget.
    _typed("python -m students.rungs", prints="GMACs"),
    _typed("python train_student.py student=fit +budget=5", *_PLAN, "labels=none", prints="mixed"),
    # Public data sets, of which the session has a handful of files.
    _typed("python -m distill.datasets kvq --root /data/KVQ --out kvq.csv", code=1, prints="KVQ"),
    _typed("python train_teacher.py data=kvq data.root=/data/KVQ", *_PLAN, prints="plan:"),
    _typed(
        "python train_teacher.py data=kvq data.root=/data/KVQ data.labels=/data/labels/kvq", *_PLAN
    ),
    _typed("python score.py /data/KVQ/test --bundle STUDENT/bundle --csv test.csv"),
    _typed(
        "python train_student.py +budget=120 labels=none data=kvq data.root=/data/KVQ"
        " student=swin_t",
        *_PLAN, "student.weights=none", prints="47.94 of 120",
    ),
    _typed(
        "python evaluate.py bundles=[STUDENT/bundle,ALONE/bundle,TEACHER/bundle] data=kvq"
        " data.root=/data/KVQ split=val",
        "data.num_workers=0", prints="SRCC",
    ),
    # Teachers.
    _typed("python -m teachers", prints="missing"),
    _typed("python train_teacher.py 'hydra.searchpath=[FOLDER]' teacher=mine", *_PLAN, code=2,
           prints="FAST_VQA_M_1_4.pth"),
]  # fmt: skip

MAY_STAY_UNTYPED = {
    "sets up the machine or runs the checks": (
        "make *", ".venv/bin/*", "DISTILL_CACHE=* make test", "pip install *",
    ),
    "takes minutes to hours; its options are checked": (
        "python -m tests.helpers.messages", "python benchmarks/*", "python -m benchmarks.*",
        "python train_student.py -m student=fit *", "python train_student.py +budget=5 *",
        "python export.py --bundle DIR --out *",
    ),
    "another program's, or a machine that is not here (GPUs, clusters, networks)": (
        "wandb sync*", "python dashboard.py*",
        "python train_teacher.py tracking.project=*", "ffmpeg *", "docker *", "python -c *",
        "python -m teachers --download",
        "python pseudo_label.py pool=FOLDER store=DIR device*",
        "python pseudo_label.py engine=ray *", "python pseudo_label.py -m shard=*",
        "python pseudo_label.py pool=s3:*", "python pseudo_label.py 'pool=*",
    ),
    "published weights or data sets that are not here": (
        "python evaluate.py bundles=[A,B] *", "python evaluate.py bundles=[A,theirs.csv] *",
        "python evaluate.py data=kvq data.root=FOLDER *",
        "python train_teacher.py data=kvq data.root=FOLDER training=none",
        "python -m distill.kvq *",
        "python train_teacher.py teacher=fast_vqa training=none data=konvid_1k *",
        "python train_teacher.py teacher=fast_vqa training=none data=manifest *",
        "python train_teacher.py data=kvq data.root=/data/KVQ experiment=*",
        "python evaluate.py data=konvid_1k *",
        "python train_teacher.py experiment=*", "python -m distill.datasets lsvq *",
        "python train_teacher.py data=kvq data.root=/data/KVQ data.also=*",
        "python train_teacher.py data=kvq data.root=/data/KVQ init=*",
        "*../shared/realladder/manifest.csv*",
    ),
    "a line like it is typed": (
        "python pseudo_label.py pool=FOLDER", "python export.py --out FOLDER",
        "python make_ladder.py best.csv --out ladder",
        "python train_teacher.py data=manifest data.manifest=ladder/manifest.csv",
        "python -m distill.datasets kvq --root FOLDER --out manifest.csv",
        "python train_student.py +budget=1 training=none init=BUNDLE *",
        "python train_student.py +budget=120 guide.bundle=*",
        "python train_student.py +budget=20 training=none init=BUNDLE *",
        "python train_student.py +budget=20 labels=none data=manifest *",
        "python train_student.py +budget=20 student=fit labels=DIR *",
        "python train_student.py +budget=120 labels=DIR *",
        "python train_teacher.py data=manifest data.manifest=videos.csv dry_run=true",
        "python evaluate.py bundles=[STUDENT/bundle,ALONE/bundle] *",
        "python pseudo_label.py pool=FOLDER store=DIR dry_run=true",
        "python -m distill.labels DIR", "python -m distill.labels STORE --csv FILE",
        "python - a.mp4 *", "python score.py VIDEO...", "python score.py ~/.cache/*",
        "python score.py 'videos/*", "python score.py - -0 *",
        "python evaluate.py by=*", "python -m distill.report outputs/*",
    ),
}  # fmt: skip


def untyped_because(text: str, patterns: Iterable[str] | None = None) -> str:
    """Why a documented command is not typed; "" where nothing excuses it.

    Args:
        text: the command.
        patterns: with ``*`` for anything; None takes all of ``MAY_STAY_UNTYPED``.
    """
    reasons = MAY_STAY_UNTYPED.items() if patterns is None else [("given", tuple(patterns))]
    for reason, found in reasons:
        for pattern in found:
            if re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), text):
                return reason
    return ""
