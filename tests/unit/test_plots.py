"""Pictures of results in which a number is not defined."""

from pathlib import Path

import pytest
from matplotlib.figure import Figure

from distill import plots


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
