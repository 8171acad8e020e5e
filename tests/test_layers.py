"""Packages import in one direction: each only those before it. Imports inside functions count too."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ORDER = {
    "nst_gluon": ("system", "assets", "pictures", "descriptor", "objective", "optimise", "methods", "nets", "pages",
                  "training", "api", "cli"),
    "bench": ("plan", "machine", "store", "engines", "run", "analysis", "gate", "report", "cli"),
}  # fmt: skip


def imports(path: Path) -> Iterator[str]:
    """Full names of what a file imports: modules, or names in them."""

    def visit(node: ast.AST) -> Iterator[str]:
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            return  # what methods are written against: an optimiser is given a problem
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: a relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        for child in ast.iter_child_nodes(node):
            yield from visit(child)

    yield from visit(ast.parse(path.read_text(encoding="utf-8")))


def edges(top: str) -> Iterator[tuple[str, str, Path]]:
    """(package, package that it imports, file) within ``top``; the top package's own names are nobody's."""
    for path in sorted((ROOT / top).rglob("*.py")):
        parts = path.relative_to(ROOT / top).parts
        if len(parts) == 1:
            continue
        for name in imports(path):
            target = name.split(".")[1:2]
            if name.split(".")[0] == top and target and target[0] in ORDER[top] and target[0] != parts[0]:
                yield parts[0], target[0], path


@pytest.mark.parametrize("top", ORDER)
def test_each_package_imports_only_those_before_it(top):
    place = {name: index for index, name in enumerate(ORDER[top])}
    wrong = {f"{path.relative_to(ROOT)}: {target}" for package, target, path in edges(top)
             if place[target] > place[package]}  # fmt: skip
    assert not wrong


@pytest.mark.parametrize("top", ORDER)
def test_every_package_has_its_place(top):
    packages = {path.parent.name for path in (ROOT / top).glob("*/__init__.py")}
    assert packages <= set(ORDER[top])
    assert len(list(edges(top))) > 20


def test_methods_know_nothing_of_benchmarks():
    for path in (ROOT / "nst_gluon").rglob("*.py"):
        assert not [name for name in imports(path) if name.split(".")[0] == "bench"], path


def test_a_line_against_the_order_is_found(tmp_path):
    file = tmp_path / "file.py"
    file.write_text("from __future__ import annotations\nfrom typing import TYPE_CHECKING\nif TYPE_CHECKING:\n"
                    "    import bench.cli\ndef late():\n    from nst_gluon import train\n    import bench.run.worker\n")
    found = [name for name in imports(file) if name.split(".")[0] in ORDER]
    assert found == ["nst_gluon.train", "bench.run.worker"]
