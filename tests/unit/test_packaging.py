"""What is shipped: the wheel, its metadata and scripts, the image, and what git holds."""

import ast
import email.parser
import importlib
import importlib.metadata
import json
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from email.message import Message
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PACKAGES = ("conf", "distill", "students", "teachers")
DOORS = (
    "train_teacher",
    "pseudo_label",
    "train_student",
    "evaluate",
    "score",
    "export",
    "make_ladder",
    "dashboard",
)
TOP_LEVEL = {
    *PACKAGES,
    *(f"{door}.py" for door in DOORS),
    *("tests", "benchmarks", "docs", ".ci"),
    *("pyproject.toml", "Makefile", "Dockerfile", "README.md", "LICENSE", "CONTRIBUTING.md"),
    *(".gitignore", ".dockerignore", ".pre-commit-config.yaml"),
}
TEXT = {
    ".cfg",
    ".css",
    ".csv",
    ".html",
    ".js",
    ".json",
    ".md",
    ".py",
    ".sh",
    ".toml",
    ".txt",
    ".yaml",
    ".yml",
    "",
}


def _git_files() -> list[Path]:
    """What git holds or would hold: tracked, or new and not ignored."""
    done = subprocess.run(
        # safe.directory: in a container the checkout may belong to another user.
        [
            *("git", "-c", "safe.directory=*", "ls-files", "-z"),
            *("--cached", "--others", "--exclude-standard"),
        ],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    names = {Path(name) for name in done.stdout.decode().split("\0") if name}
    return sorted(name for name in names if (ROOT / name).is_file())


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkout as git holds it, without what else lies about."""
    source = tmp_path_factory.mktemp("source")
    for name in _git_files():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, source / name)
    return source


@pytest.fixture(scope="module")
def wheel(source: Path, tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The wheel, built without a network."""
    out = tmp_path_factory.mktemp("wheel")
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pip", "wheel", "--no-index", "--no-deps"),
            *("--no-build-isolation", "--wheel-dir", str(out), str(source)),
        ],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = out.glob("distill_vqa-*-py3-none-any.whl")
    return zipfile.ZipFile(path)


@pytest.fixture(scope="module")
def metadata(wheel: zipfile.ZipFile) -> Message:
    (name,) = [n for n in wheel.namelist() if n.endswith(".dist-info/METADATA")]
    return email.parser.Parser().parsestr(wheel.read(name).decode())


def test_wheel_holds_every_source_file_and_no_other(source: Path, wheel: zipfile.ZipFile) -> None:
    wanted = {
        path.relative_to(source).as_posix()
        for package in PACKAGES
        for path in (source / package).rglob("*")
        if path.suffix in {".py", ".yaml"}
        or path.name in {"measured.csv", "published.csv"}
        or path.parent.name == "templates"
    }
    assert any(re.fullmatch(r"conf/[^/]+/[^/]+\.yaml", name) for name in wanted)
    found = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert found == wanted


def test_metadata_is_complete(metadata: Message) -> None:
    import distill

    assert metadata["Name"] == "distill-vqa"
    assert metadata["Version"] == distill.__version__
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["License-File"] == "LICENSE"
    assert metadata["Description-Content-Type"] == "text/markdown"
    assert "make demo" in str(metadata.get_payload())
    assert len(metadata["Summary"]) > 20 and metadata["Keywords"] and metadata["Author"]
    assert set(metadata.get_all("Provides-Extra", [])) == {
        *("demo", "test", "dashboard", "kvq", "onnx", "ray", "remote", "slurm", "torchcodec"),
        *("vision-language", "dev"),
    }


def test_python_3_11_to_3_13(metadata: Message) -> None:
    allowed = SpecifierSet(metadata["Requires-Python"])
    versions = [f"3.{minor}" for minor in range(8, 17)]
    assert [v for v in versions if v in allowed] == ["3.11", "3.12", "3.13"]
    named = {c.rsplit(" ", 1)[1] for c in metadata.get_all("Classifier", []) if ":: 3." in c}
    assert named == {"3.11", "3.12", "3.13"}


def test_no_dependency_has_an_upper_bound() -> None:
    extras = [text for group in PROJECT["optional-dependencies"].values() for text in group]
    for requirement in map(Requirement, PROJECT["dependencies"] + extras):
        operators = {s.operator for s in requirement.specifier}
        assert operators == {">="}, f"{requirement}: exactly a lower bound is wanted"


def test_console_scripts_resolve(wheel: zipfile.ZipFile) -> None:
    (name,) = [n for n in wheel.namelist() if n.endswith(".dist-info/entry_points.txt")]
    lines = wheel.read(name).decode().split()
    scripts = dict(zip(lines[1::3], lines[3::3], strict=True))
    assert set(scripts) == {f"distill-{door.replace('_', '-')}" for door in DOORS}
    for script, target in scripts.items():
        module, function = target.split(":")
        assert f"distill-{function.replace('_', '-')}" == script
        assert callable(getattr(importlib.import_module(module), function)), target


def _imports(path: Path) -> set[str]:
    """Top-level names that a file imports, wherever in the file."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.split(".")[0])
    return names


@pytest.mark.parametrize(
    ("rooms", "extras"),
    [
        (
            ("distill", "teachers", "students"),
            ("dashboard", "demo", "kvq", "onnx", "ray", "remote", "torchcodec", "vision_language"),
        ),
        (("tests", "benchmarks"), ("demo", "test", "torchcodec")),
    ],
)
def test_every_import_is_declared(rooms: tuple[str, ...], extras: tuple[str, ...]) -> None:
    optional = PROJECT["optional-dependencies"]
    declared = [*PROJECT["dependencies"], *(text for extra in extras for text in optional[extra])]
    wanted = {canonicalize_name(Requirement(text).name) for text in declared}
    owners = importlib.metadata.packages_distributions()
    own = {*PACKAGES, *DOORS, "tests", "benchmarks", "conftest"}
    own.add("torchsort")  # benchmarks/loss.py measures against it where somebody has built it
    own |= {script.stem for script in (ROOT / "benchmarks").glob("*.py")}  # of each other
    missing = {}
    for name in _git_files():
        if name.suffix != ".py" or name.parts[0] not in rooms:
            continue
        for module in _imports(ROOT / name) - own - sys.stdlib_module_names:
            distributions = {canonicalize_name(d) for d in owners.get(module, [module])}
            if not distributions & wanted:
                missing[f"{name}: {module}"] = sorted(distributions)
    assert not missing


def test_top_level_is_what_the_design_allows() -> None:
    assert {name.parts[0] for name in _git_files()} <= TOP_LEVEL


def test_no_file_names_a_machine_or_a_package_host() -> None:
    # Put together here, so that this file passes its own test.
    paths = [rf"(?<![\w.~])/{top}/" for top in ("work", "root", "tmp", "opt/pypi", "mnt", "Users")]
    hosts = [
        re.escape(".".join(parts))
        for parts in [
            *(("pypi", "org"), ("files", "pythonhosted"), ("registry", "npmjs")),
            *(("conda", "anaconda"), ("download", "pytorch", "org"), ("ghcr", "io")),
        ]
    ]
    pattern = re.compile("|".join(paths + hosts))
    found = [
        f"{name}:{number}: {line.strip()[:100]}"
        for name in _git_files()
        if name.suffix in TEXT
        for number, line in enumerate((ROOT / name).read_text("utf-8").splitlines(), 1)
        if pattern.search(line)
    ]
    assert not found


def test_licence_is_apache_2() -> None:
    text = (ROOT / "LICENSE").read_text()
    assert text.split()[:4] == ["Apache", "License", "Version", "2.0,"]
    assert "END OF TERMS AND CONDITIONS" in text


def _dockerfile() -> list[tuple[str, str]]:
    """Instructions and their arguments, continued lines joined."""
    text = re.sub(r"^\s*#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)
    lines = text.replace("\\\n", " ").splitlines()
    return [(line.split()[0], line.split(None, 1)[1]) for line in lines if line.strip()]


def test_hadolint_finds_nothing_in_the_dockerfile() -> None:
    tool = Path(sys.executable).with_name("hadolint")
    found = str(tool) if tool.exists() else shutil.which("hadolint")
    assert found, "hadolint is missing: run `make install`"
    bad = subprocess.run([found, "-"], input="FROM debian:latest\n", capture_output=True, text=True)
    assert "DL3007" in bad.stdout, "this hadolint does not lint"
    done = subprocess.run([found, str(ROOT / "Dockerfile")], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


def test_image_has_a_pinned_cuda_base_and_no_root() -> None:
    lines = _dockerfile()
    (base,) = [text for word, text in lines if word == "FROM"]
    assert re.fullmatch(r"nvidia/cuda:\d+\.\d+\.\d+-\w+-ubuntu24\.04", base)
    (user,) = [text for word, text in lines if word == "USER"]
    assert int(user) > 0


def test_image_context_holds_all_that_is_copied_and_all_packages() -> None:
    allowed = {
        line[1:] for line in (ROOT / ".dockerignore").read_text().split() if line.startswith("!")
    }
    copied = {part for word, text in _dockerfile() if word == "COPY" for part in text.split()[:-1]}
    assert copied == allowed
    assert copied >= {*PACKAGES, "pyproject.toml"}


def test_image_without_a_command_prints_the_help_of_every_door(tmp_path: Path) -> None:
    lines = dict(_dockerfile())
    assert json.loads(lines["ENTRYPOINT"]) == ["python"]
    for door in DOORS:
        (tmp_path / f"{door}.py").write_text("import sys; print(sys.argv)")
    done = subprocess.run(
        [sys.executable, *json.loads(lines["CMD"])], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    for door in DOORS:
        assert f"== {door}.py\n['{door}.py', '--help']" in done.stdout
