"""What is not installed is named, with the extra that brings it."""

import importlib
import subprocess
import sys

import pytest

from distill.errors import ConfigError
from distill.overrides import check_overrides


def test_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)  # as if it were not there
    monkeypatch.delitem(sys.modules, "distill.engines.ray", raising=False)
    with pytest.raises(ConfigError, match=r"engine=ray needs Ray .*'distill-vqa\[ray\]'"):
        importlib.import_module("distill.engines.ray")


def test_submitit() -> None:
    words = ["hydra/launcher=submitit_elsewhere"]  # no plugin offers it
    with pytest.raises(ConfigError, match=r"submitit_elsewhere needs .*'distill-vqa\[slurm\]'"):
        check_overrides("pseudo_label", words)


def test_shards_of_a_sweep_are_checked_before_anything_starts() -> None:
    words = ["hydra/launcher=submitit_local", "shard=range(3)"]
    with pytest.raises(ConfigError, match="shard=1 needs a store"):
        check_overrides("pseudo_label", words)
    assert check_overrides("pseudo_label", [*words, "store=labels"]).shard == 0


def test_ray_is_not_imported_by_the_others() -> None:
    modules = "distill.stages.pseudo_label, distill.engines.local"
    program = f"import sys, {modules}; sys.exit('ray' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
