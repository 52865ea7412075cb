"""A misspelt flag is answered with the nearest one, by every command that takes flags."""

import pytest

from distill.datasets.__main__ import run as datasets
from distill.flags import Parser
from distill.kvq.__main__ import run as kvq
from distill.labels.__main__ import run as labels
from distill.stages.dashboard import run as dashboard
from distill.stages.export import run as export
from distill.stages.main_job import main as main_job
from distill.stages.make_ladder import run as make_ladder
from distill.stages.score import run as score
from teachers.__main__ import main as teachers


@pytest.mark.parametrize(
    ("run", "words", "told"),
    [
        (score, "--budle X", "--budle; did you mean --bundle?"),
        (score, "a.mp4 --csc=3 --zzz", "--csc=3 --zzz; did you mean --csv?"),
        (score, "a.mp4 --zzz", "--zzz; see --help"),
        (score, "a.mp4 --bund X", "--bund X; did you mean --bundle?"),  # no short forms there
        (export, "--out x --intt8", "did you mean --int8?"),
        (make_ladder, "x --out y --dryrun", "did you mean --dry-run?"),
        (dashboard, "--printt", "did you mean --print?"),
        (labels, "x --cvs y", "did you mean --csv?"),
        (datasets, "kvq --root x --otu y", "did you mean --out?"),
        (kvq, "submit x --out y --rooot z", "did you mean --root?"),  # of the command below it
        (main_job, "--oot x", "did you mean --out?"),
        (teachers, "--wheights", "see --help"),
    ],
)
def test_the_nearest_flag_is_named(
    run: object, words: str, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        run(words.split())  # type: ignore[operator]
    assert caught.value.code == 2
    error = capsys.readouterr().err
    assert "error: unrecognized arguments: " in error and error.rstrip().endswith(told)


def test_what_is_right_is_read_as_before() -> None:
    parser = Parser(prog="x", description="one\n  two")
    parser.add_argument("--count", type=int, default=1)
    assert parser.parse_args(["--count", "3"]).count == 3 and parser.parse_args([]).count == 1
    assert "one\n  two" in parser.format_help()
