"""The source tree is what ARCHITECTURE.md, the import contract and the style rules say."""

import ast
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "fewlabels"
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
SOURCES = sorted([*PACKAGE.rglob("*.py"), *(ROOT / "src").glob("*.py")])
PACKAGES = sorted(p.name for p in PACKAGE.iterdir() if (p / "__init__.py").is_file())


def tree(folder: Path, depth: int, prefix: str = "") -> list[str]:
    """The lines of `tree -L depth -I '__pycache__|__init__.py'`."""
    entries = sorted(e for e in folder.iterdir() if e.name not in ("__pycache__", "__init__.py"))
    lines = []
    for entry in entries:
        last = entry == entries[-1]
        lines.append(f"{prefix}{'└── ' if last else '├── '}{entry.name}")
        if entry.is_dir() and depth > 1:
            lines += tree(entry, depth - 1, prefix + ("    " if last else "│   "))
    return lines


def test_the_tree_in_the_architecture_is_the_tree_on_disk():
    text = (ROOT / "ARCHITECTURE.md").read_text()
    drawn = re.search(r"```\n(src/fewlabels\n.*?)```", text, re.S)
    assert drawn, "ARCHITECTURE.md shows no tree"
    lines = [line.partition("  #")[0].rstrip() for line in drawn[1].splitlines()]
    assert lines == ["src/fewlabels", *tree(PACKAGE, 2)]


def test_at_most_eleven_packages_of_at_most_a_dozen_modules():
    assert len(PACKAGES) <= 11
    for name in PACKAGES:
        entries = [e for e in (PACKAGE / name).iterdir() if e.suffix == ".py" or (e / "__init__.py").is_file()]
        assert len(entries) - 1 <= 12, name  # beside __init__.py


def test_the_import_contract_is_exhaustive_and_has_the_layers_that_are_drawn():
    contract = PYPROJECT["tool"]["importlinter"]["contracts"][0]
    assert contract["exhaustive"]
    assert contract["containers"] == ["fewlabels"]
    layers = contract["layers"]
    assert sorted(name for layer in layers for name in layer.split(" | ")) == PACKAGES
    rows = re.findall(r"^\| (\d+) \| (.+?) \|", (ROOT / "ARCHITECTURE.md").read_text(), re.M)
    assert [name.replace("`", "").replace(" and ", " | ") for _, name in rows] == layers
    assert [int(number) for number, _ in rows] == list(range(len(layers), 0, -1))


def test_every_package_is_in_the_wheel():
    folders = {p.parent for p in PACKAGE.rglob("__init__.py")}
    names = {".".join(("fewlabels", *folder.relative_to(PACKAGE).parts)) for folder in folders}
    assert set(PYPROJECT["tool"]["setuptools"]["packages"]) == names | {"fewlabels.conf"}


@pytest.mark.parametrize("file", SOURCES, ids=lambda file: str(file.relative_to(ROOT / "src")))
def test_files_and_functions_are_short(file):
    text = file.read_text()
    assert len(text.splitlines()) <= 250
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            assert length <= 40, f"{node.name} has {length} lines"


def test_tests_mirror_the_packages():
    for file in sorted((ROOT / "tests").rglob("test_*.py")):
        relative = file.relative_to(ROOT / "tests")
        if len(relative.parts) > 1:
            assert (PACKAGE / relative.parent).is_dir(), relative


@pytest.mark.parametrize(
    "name", ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "docs/results.md", "docs/recipes.md"]
)
def test_files_that_documents_name_exist(name):
    text = (ROOT / name).read_text()
    for path in re.findall(r"\]\(([\w./-]+)\)", text):
        assert (ROOT / name).parent.joinpath(path).exists(), path
    folders = "conf|docs|src|tests|benchmarks|core|data|training|evaluation"
    shown = set(re.findall(rf"`((?:{folders})/[\w./]+\.(?:py|yaml|md))`", text))
    examples = {"barlow", "leaves", "norms"} if name == "CONTRIBUTING.md" else set()
    for path in shown:
        if not any(example in path for example in examples):
            assert (ROOT / path).exists() or (PACKAGE / path).exists(), path


def test_the_readme_is_at_most_150_lines():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150


def examples() -> list[tuple[str, str]]:
    """(path, text) of the files that CONTRIBUTING.md shows in full."""
    text = (ROOT / "CONTRIBUTING.md").read_text()
    return re.findall(r"`([\w/]+\.(?:py|yaml))`[^`]*?:\n\n```\w+\n(.*?)```", text, re.S)


def test_the_method_of_the_guide_works_as_written():
    shown = {Path(path).name: code for path, code in examples()}
    module, test = shown["barlow.py"], shown["test_barlow.py"]
    namespace: dict = {}
    exec(module, namespace)
    imports = re.sub(r"from fewlabels.methods.barlow import .*\n", "", test)
    exec(imports, namespace)
    tests = [value for name, value in namespace.items() if name.startswith("test_")]
    assert len(tests) == 3
    for each in tests:
        each()


def test_the_analysis_of_the_guide_is_an_analysis():
    namespace: dict = {}
    exec({Path(path).name: code for path, code in examples()}["norms.py"], namespace)
    analysis = namespace["Norms"]()
    assert (analysis.section, analysis.modality) == ("Embedding space", "images")
