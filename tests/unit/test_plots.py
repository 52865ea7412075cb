"""Pictures of results in which a number is not defined."""

from pathlib import Path

import pytest
from matplotlib.figure import Figure

from distill import plots
from distill.metrics import Scores


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """Figures in the order in which they were saved."""
    found: list[Figure] = []
    monkeypatch.setattr(plots, "save", lambda figure, *_, **__: found.append(figure))
    return found


def test_a_model_without_an_interval_is_a_point_alone(drawn: list[Figure]) -> None:
    sound = {"name": "a", "srcc": 0.8, "low": 0.7, "high": 0.9, "gmacs": 1.5}
    perfect = {"name": "b", "srcc": 1.0, "low": None, "high": None, "gmacs": 1.5}
    constant = {"name": "c", "srcc": None, "low": None, "high": None, "gmacs": 1.5}
    plots.comparison(Path("x.png"), [sound, perfect, constant], "t")
    (axes,) = drawn[0].axes
    assert [text.get_text() for text in axes.texts] == ["0.800", "1.000"]
    assert len(axes.get_yticklabels()) == 3
    drawn[0].canvas.draw()


def test_a_front_takes_a_test_without_an_interval(drawn: list[Figure]) -> None:
    run = {"run": "+budget=2", "gmacs": 1.5, "params_m": 3.2, "val_srcc": 0.9, "test_srcc": 1.0,
           "test_low": None, "test_high": None}  # fmt: skip
    plots.front(Path("x.png"), [run, {**run, "gmacs": 3.0, "test_srcc": None}], [])
    assert "+budget=2\n3.2 M" in [text.get_text() for text in drawn[0].axes[0].texts]
    drawn[0].canvas.draw()


def test_curves_show_no_share_of_time_and_no_noise(drawn: list[Figure], tmp_path: Path) -> None:
    log = tmp_path / "metrics.csv"
    log.write_text(
        "step,train/loss,train/srcc,train/data_wait,val/srcc,val/plcc\n"
        "0,2,1,0.9,,\n1,1,0.5,0.8,0.801,0.802\n2,1,0.4,0.8,0.803,0.802\n"
    )
    plots.curves(Path("x.png"), [log])
    left, right = drawn[0].axes
    assert [line.get_label() for line in left.lines] == ["loss", "srcc"]
    low, high = right.get_ylim()
    assert high - low == pytest.approx(0.1)
    colours = {str(line.get_label()).lower(): line.get_color() for line in right.lines}
    assert colours["srcc"] == left.lines[1].get_color() != colours["plcc"]


def test_a_scatter_has_the_axes_of_the_report(drawn: list[Figure]) -> None:
    scores = Scores(srcc=1, krcc=1, plcc=1, plcc_fitted=1, rmse=0, rmse_raw=0, n=2,
                    pair_accuracy=1)  # fmt: skip
    plots.scatter(Path("x.png"), [1.0, 2.0], [3.0, 5.0], scores, "t")
    (axes,) = drawn[0].axes
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("predicted score", "MOS")
    assert axes.collections[0].get_offsets().tolist() == [[1.0, 3.0], [2.0, 5.0]]
