"""A student with several looks at a video: calibrated, tested, priced and scored with all."""

import json
from pathlib import Path

import pytest

from distill.bundle import load_bundle
from distill.errors import BudgetError
from tests.helpers.stages import STUDENT, TRAINING, run_stage

WORDS = [*STUDENT, *TRAINING, "training.epochs=1", "labels=none", "test_views=2"]


@pytest.mark.slow
def test_the_bundle_scores_as_it_was_calibrated(demo_manifest: Path, tmp_path: Path) -> None:
    trained = run_stage("train_student", tmp_path / "train", *WORDS)
    bundle = tmp_path / "train" / "bundle"
    assert load_bundle(bundle).test_views == 2
    words = [f"bundles={bundle}", "split=val", "draws=100"]

    def evaluate(name: str) -> dict[str, float]:
        return run_stage("evaluate", tmp_path / name, *words)["rows"][0]

    both = evaluate("both")
    for name in ("srcc", "plcc", "rmse_raw"):
        assert both[name] == pytest.approx(trained["val"][name], abs=1e-5)
    spec = json.loads((bundle / "spec.json").read_text())
    (bundle / "spec.json").write_text(json.dumps({**spec, "test_views": 1}))
    assert evaluate("one")["rmse_raw"] != pytest.approx(both["rmse_raw"], abs=1e-5)

    # Both looks count: a cap between one and two of them lets one through.
    cap = 0.75 * trained["gmacs"]
    assert spec["cost"]["gmacs"] == trained["gmacs"]
    with pytest.raises(BudgetError, match=r"test_views=2 costs .* These fit: test_views=1 "):
        run_stage("train_student", tmp_path / "dear", *WORDS, f"budget={cap}")
    one = [*WORDS, f"budget={cap}", "test_views=1", "dry_run=true"]
    assert run_stage("train_student", tmp_path / "dry", *one) == {}
