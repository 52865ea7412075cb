"""Another system's scores as a member: standardised, scored, cached, bundled."""

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

from distill.bundle import load_bundle, save_bundle
from distill.committee import Committee
from distill.cost import profile
from distill.errors import ConfigError
from distill.features import fingerprint
from teachers.ensemble import TeacherEnsemble
from teachers.file_scores import FileScores
from teachers.members import make_member

CPU = torch.device("cpu")


def _table(folder: Path, *scores: float, name: str = "scores.csv") -> str:
    rows = "".join(f"{number}.mp4,{score},{2 * number}\n" for number, score in enumerate(scores))
    (folder / name).write_text("filename,score,std\n" + rows)
    return str(folder / name)


def _bytes(*scores: float) -> Tensor:
    return torch.tensor(scores, dtype=torch.float64).view(torch.uint8).reshape(len(scores), 1, 8)


def test_features_are_standardised_over_the_table_and_the_score_is_the_file_s(
    tmp_path: Path,
) -> None:
    scores = torch.tensor([20.5, 70.25, 33.125, 90.0], dtype=torch.float64)
    member = FileScores(_table(tmp_path, *scores.tolist()))
    features = member(_bytes(*scores.tolist()))
    assert features.shape == (4, 1, 1) and features.dtype == torch.float32
    expected = (scores - scores.mean()) / scores.std(correction=0)
    torch.testing.assert_close(features[:, 0, 0], expected.float())
    torch.testing.assert_close(member.own_score(features), scores.float())
    assert member.own_scale == pytest.approx(
        [scores.mean().item(), scores.std(correction=0).item()]
    )
    with pytest.raises(TypeError, match="uint8"):
        member(torch.zeros(1, 1, 8))


def test_more_columns_and_unusable_rows(tmp_path: Path) -> None:
    table = _table(tmp_path, 1.0, float("nan"), 3.0)  # the nan's std, 2, does not count either
    member = FileScores(table, columns=["std", "score"])
    assert member.feature_dim == 2
    assert member.center.tolist() == [2.0, 2.0] and member.width.tolist() == [2.0, 1.0]
    constant = FileScores(_table(tmp_path, 5.0, 5.0))
    assert constant(_bytes(5.0)).item() == 0
    with pytest.raises(ConfigError, match="no row has numbers"):
        FileScores(_table(tmp_path, float("nan")))


def test_the_teacher_keeps_the_scale_of_a_single_column(tmp_path: Path) -> None:
    options = {"kind": "file_scores", "table": _table(tmp_path, 1.0, 2.0, 4.0)}
    torch.manual_seed(0)
    fused = TeacherEnsemble({"other": options}, hidden=8).eval()
    batch = {"other": _bytes(1.0, 2.0, 4.0)}
    says = fused(batch)
    assert len(set(says.score.tolist())) == 3
    assert len(set(says.member_scores["other"].tolist())) == 3
    alone = TeacherEnsemble({"other": {**options, "head": "own"}}, fusion="mean")
    torch.testing.assert_close(alone(batch).score, torch.tensor([1.0, 2.0, 4.0]))
    assert profile(alone).gmacs == 0 and profile(fused).gmacs < 1e-6


def test_two_tables_are_two_views_and_two_fingerprints(tmp_path: Path) -> None:
    tables = [_table(tmp_path, 1.0, 2.0, name=n) for n in ("a.csv", "b.csv")]
    members = {f"m{i}": {"kind": "file_scores", "table": t} for i, t in enumerate(tables)}
    model = TeacherEnsemble(members, hidden=8)
    assert list(model.views) == ["m0", "m1"]
    prints = set()
    for scores in ((1.0, 3.0), (1.0, 3.0), (3.0, 1.0)):  # the last has the same statistics
        member = FileScores(_table(tmp_path, *scores))
        assert member.view is not None
        prints.add(fingerprint(member, member.view, CPU))
    assert len(prints) == 2


def test_a_bundle_refers_to_the_table_and_keeps_its_scale(tmp_path: Path) -> None:
    kwargs = {"members": {"m": {"kind": "file_scores", "table": _table(tmp_path, 1.0, 3.0)}}}
    kwargs["members"]["m"]["head"] = "own"
    trained = TeacherEnsemble(**kwargs, fusion="mean", score_mean=0.0, score_std=1.0)  # type: ignore[arg-type]
    assert trained.licenses()[0].startswith("scores of scores.csv, sha256 ")
    _table(tmp_path, 1.0, 3.0, 80.0)  # more videos came
    spec = json.loads(json.dumps(kwargs))
    loaded = TeacherEnsemble(**spec, fusion="mean", score_mean=0.0, score_std=1.0, weights="none")
    loaded.load_state_dict(trained.state_dict(), strict=True)
    batch = {"m": _bytes(1.0, 3.0)}
    torch.testing.assert_close(loaded(batch).score, trained(batch).score)
    torch.testing.assert_close(loaded(batch).score, torch.tensor([-1.0, 1.0]))
    Path(kwargs["members"]["m"]["table"]).unlink()
    with pytest.raises(ConfigError, match=r"members.m: table=.*scores.csv: no such file"):
        TeacherEnsemble(**spec, weights="none")


def test_options_are_checked(tmp_path: Path) -> None:
    table = _table(tmp_path, 1.0)
    with pytest.raises(ConfigError, match=r"members.m: table is missing"):
        make_member("m", {"kind": "file_scores"})
    with pytest.raises(ConfigError, match=r"members.m: columns .*each once"):
        make_member("m", {"kind": "file_scores", "table": table, "columns": ["std", "std"]})
    with pytest.raises(ConfigError, match=r"unknown option 'members.m.tabel'.*members.m.table"):
        make_member("m", {"kind": "file_scores", "tabel": table})


def test_a_changed_table_makes_another_model_and_keeps_the_published_scale(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    table = _table(tmp_path, 1.0, 2.0, 9.0)
    members = {"other": {"kind": "file_scores", "table": table, "head": "own"}}
    model = TeacherEnsemble(members, fusion="mean")
    architecture = {
        "_target_": "teachers.ensemble.TeacherEnsemble", "members": members, "fusion": "mean",
        "score_mean": model.score_mean, "score_std": model.score_std,
    }  # fmt: skip
    save_bundle(
        tmp_path / "bundle", model, role="teacher", architecture=architecture, calibration=None,
        cost={}, provenance={}, licenses=[], metrics={},
    )  # fmt: skip
    before = load_bundle(tmp_path / "bundle")
    assert "counts as another model" not in caplog.text
    _table(tmp_path, 1.0, 2.0, 9.0, 90.0)
    after = load_bundle(tmp_path / "bundle")
    assert "other.sha256: was" in caplog.text and "counts as another model" in caplog.text
    assert after.fingerprint != before.fingerprint
    batch = {"other": _bytes(1.0, 2.0, 9.0)}
    torch.testing.assert_close(after.model(batch).score, torch.tensor([1.0, 2.0, 9.0]))


def test_a_committee_may_have_one(tmp_path: Path) -> None:
    members = {"other": {"kind": "file_scores", "table": _table(tmp_path, 1.0, 2.0, 4.0)}}
    architecture = {"_target_": "teachers.ensemble.TeacherEnsemble", "members": members}
    one = TeacherEnsemble(members).eval()
    committee = Committee(architecture, 2)
    committee.fill([one.state_dict()] * 2)
    batch = {"other": _bytes(1.0, 4.0)}
    torch.testing.assert_close(committee(batch).score, one(batch).score)


def test_its_features_are_never_cached_by_content(tmp_path: Path) -> None:
    model = TeacherEnsemble({"other": {"kind": "file_scores", "table": _table(tmp_path, 1.0, 2.0)}})
    assert model.frozen_members() == {}
