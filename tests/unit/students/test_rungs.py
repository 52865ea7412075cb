"""The ladder: what it costs is what it says, and the best measured rung under a cap is taken."""

import csv
import logging
from pathlib import Path

import pytest

from distill.budget import Caps
from distill.cost import profile
from distill.errors import BudgetError, ConfigError
from distill.model import network_class
from students import rungs
from students.rungs import ARM, COLUMNS, RUNGS, Rung, fit, main, read_measured

LADDER = {rung.name: rung for rung in RUNGS}
FREE = [rung for rung in RUNGS if "lite" in rung.name or rung.student == "compact"]  # in wheels


def _table(path: Path, srcc: dict[str, list[float]], data: str = "real", arm: str = ARM) -> str:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, restval="")
        writer.writeheader()
        for name, values in srcc.items():
            for seed, value in enumerate(values):
                writer.writerow({"rung": name, "arm": arm, "seed": seed, "val_srcc": value,
                                 "data": data, "date": f"2026-01-0{seed + 1}"})  # fmt: skip
    return str(path)


@pytest.mark.parametrize("rung", RUNGS, ids=lambda rung: rung.name)
def test_a_rung_costs_what_it_says(rung: Rung) -> None:
    cls, arguments = network_class(rung.node())
    cost = profile(cls(**{**arguments, "weights": "none"}))
    assert 0 <= rung.gmacs - cost.gmacs < 0.001  # rounded up: a rung that fits does fit
    assert rung.params_m == pytest.approx(cost.params_m, abs=0.005)


def test_names_are_unique_and_the_ladder_rises() -> None:
    assert len(LADDER) == len(RUNGS)
    assert [r.gmacs for r in RUNGS] == sorted(r.gmacs for r in RUNGS)


def test_the_committed_table_is_read_and_its_rungs_exist() -> None:
    assert set(read_measured()) <= set(LADDER)


def test_it_is_told_whose_videos_a_rung_was_measured_on(tmp_path: Path) -> None:
    ours = read_measured()
    assert ours and all("on this project's realladder, not on your data (" in str(m) for m in
                        ours.values())  # fmt: skip
    (mine,) = read_measured(Path(_table(tmp_path / "t.csv", {RUNGS[0].name: [0.7]}))).values()
    assert str(mine) == "val SRCC 0.700 on real (one seed, 2026-01-01)"


def test_the_best_measured_rung_under_the_cap_wins(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    low, mid, high = (rung.name for rung in FREE[:3])
    table = _table(tmp_path / "t.csv", {low: [0.7, 0.8], mid: [0.9], high: [0.8]})
    with caplog.at_level(logging.INFO):
        assert fit(Caps(LADDER[high].gmacs), measured=table) == LADDER[mid].node()
    assert (
        f"{mid}: " in caplog.text
        and "val SRCC 0.900 ± 0.071 on real (one seed, 2026-01-01)" in caplog.text
    )
    assert "val SRCC 0.750 ± 0.050 on real (mean of 2 seeds, 2026-01-02)" in caplog.text
    assert fit(Caps(LADDER[mid].gmacs - 0.01), measured=table) == LADDER[low].node()


def test_ties_go_to_the_cheaper_and_measured_ones_before_others(tmp_path: Path) -> None:
    low, mid, high = (rung.name for rung in FREE[:3])
    table = _table(tmp_path / "t.csv", {mid: [0.8001], low: [0.8002]})
    assert fit(Caps(LADDER[high].gmacs), measured=table) == LADDER[low].node()
    table = _table(tmp_path / "t.csv", {low: [0.3]})
    assert fit(Caps(LADDER[high].gmacs), measured=table) == LADDER[low].node()


def test_one_lucky_seed_does_not_beat_several(tmp_path: Path) -> None:
    low, mid, high = (rung.name for rung in FREE[:3])
    seeds = [0.80, 0.82, 0.78]
    table = _table(tmp_path / "t.csv", {low: seeds, mid: [0.805], high: [0.79, 0.83, 0.81]})
    errors = {name: one.error for name, one in read_measured(tmp_path / "t.csv").items()}
    assert errors[mid] == pytest.approx(0.02)  # both variances are 0.0004, by hand
    assert errors[low] == pytest.approx(0.02 / 3**0.5)
    assert fit(Caps(LADDER[mid].gmacs), measured=table) == LADDER[low].node()
    assert fit(Caps(LADDER[high].gmacs), measured=table) == LADDER[high].node()


def test_where_nobody_measured_the_dearest_is_taken_and_it_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    table = _table(tmp_path / "t.csv", {FREE[0].name: [0.9]}, arm="mos")
    with caplog.at_level(logging.INFO):
        assert fit(Caps(FREE[1].gmacs + 0.001), measured=table) == FREE[1].node()
    assert "not measured" in caplog.text


def test_every_cap_and_every_pass_counts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    table = _table(tmp_path / "t.csv", {rung.name: [0.5 + rung.gmacs / 100] for rung in FREE})
    assert fit(Caps(2 * FREE[1].gmacs), 2, table) == FREE[1].node()
    assert fit(Caps(50, params_m=3.5), measured=table) == LADDER["compact_4x224"].node()

    def latency(model: object) -> float:
        frames = next(iter(model.views.values())).shape[0]  # type: ignore[attr-defined]
        return 10.0 * frames

    monkeypatch.setattr("distill.budget._latencies", {})
    monkeypatch.setattr("distill.budget.latency_ms", latency)
    assert fit(Caps(50, latency_ms=45), measured=table) == LADDER["compact_4x224"].node()


def test_rungs_without_weights_are_passed_over_by_name(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def available(name: str) -> tuple[None, str]:
        return (None, "no such weights") if "lite2" in name or "swin" in name else (None, "")

    monkeypatch.setattr(rungs, "available", available)
    table = _table(tmp_path / "t.csv", {rung.name: [0.5 + rung.gmacs / 100] for rung in RUNGS})
    assert fit(Caps(120), measured=table) == LADDER["compact_4x224"].node()
    assert "passed over: swin_t_10x224, swin_t_4x224, mixed_lite2_8x448" in caplog.text
    monkeypatch.setattr(rungs, "available", lambda name: (None, "no such weights"))
    with pytest.raises(BudgetError, match="can be trained here; the cheapest is mixed_lite0_1x224"):
        fit(Caps(120), measured=table)


def test_torchvisions_weights_are_asked_for_where_they_would_lie(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    table = _table(tmp_path / "t.csv", {"evqa_4x384": [0.9], FREE[0].name: [0.5]})
    monkeypatch.setenv("DISTILL_WEIGHTS", str(tmp_path))
    assert fit(Caps(120), measured=table) == FREE[0].node()
    assert "passed over: evqa_4x384: swin_t-704ceda3.pth is missing" in caplog.text
    (tmp_path / "swin_t-704ceda3.pth").touch()
    assert fit(Caps(120), measured=table) == LADDER["evqa_4x384"].node()
    assert fit(Caps(114.8), measured=table) == FREE[0].node()


def test_a_cap_below_the_ladder_names_its_foot() -> None:
    with pytest.raises(BudgetError, match=r"under 0\.1 GMACs can be trained here.*0\.38 GMACs"):
        fit(Caps(0.1))
    with pytest.raises(BudgetError, match=r"test_views=4 .*1\.51 GMACs"):
        fit(Caps(1), 4)
    with pytest.raises(ConfigError, match=r"student=fit needs a budget: \+budget=20"):
        fit(Caps(params_m=30))


@pytest.mark.parametrize(
    ("text", "match"),
    [
        (f"rung,arm\na,{ARM}\n", "val_srcc"),
        (f"rung,arm,val_srcc,data,date\na,{ARM},high,x,y\n", "high"),
    ],
)
def test_a_table_that_is_none_is_named(tmp_path: Path, text: str, match: str) -> None:
    path = tmp_path / "mine.csv"
    path.write_text(text)
    with pytest.raises(ConfigError, match=match) as raised:
        fit(Caps(2), measured=str(path))
    assert f"student.measured={path}" in str(raised.value)
    with pytest.raises(ConfigError, match=r"gone\.csv"):
        fit(Caps(2), measured=str(tmp_path / "gone.csv"))


def test_measures_on_several_data_sets_are_not_compared(tmp_path: Path) -> None:
    one = _table(tmp_path / "a.csv", {FREE[0].name: [0.5]}, "kvq")
    other = _table(tmp_path / "b.csv", {FREE[1].name: [0.6]}, "lsvq")
    both = tmp_path / "both.csv"
    both.write_text(Path(one).read_text() + Path(other).read_text().split("\n", 1)[1])
    with pytest.raises(ConfigError, match="several data sets: kvq, lsvq"):
        read_measured(both)


def test_the_ladder_prints(capsys: pytest.CaptureFixture[str]) -> None:
    assert main() == 0
    assert len(capsys.readouterr().out.splitlines()) == len(RUNGS)
