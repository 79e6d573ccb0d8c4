"""The house rules that a machine can check."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "sightline"
FILES = sorted(SOURCE.rglob("*.py"))
NAMES = [str(path.relative_to(SOURCE)) for path in FILES]

every_file = pytest.mark.parametrize("path", FILES, ids=NAMES)
Function = ast.FunctionDef | ast.AsyncFunctionDef


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def functions(path: Path) -> Iterator[Function]:
    return (node for node in ast.walk(tree(path)) if isinstance(node, Function))


def is_command(path: Path, function: Function) -> bool:
    """A command's parameters are its options: people type them by name, and there may be many."""
    return path.parent.name == "cli" and function.name.endswith("_command")


def arguments(function: Function) -> int:
    given = function.args
    names = [a.arg for a in [*given.posonlyargs, *given.args, *given.kwonlyargs]]
    return len([name for name in names if name not in ("self", "cls")])


def forbidden(path: Path) -> list[str]:
    """What no file may hold, with line numbers."""
    found = []
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            found += [f"{node.lineno}: import {m}" for m in modules if m.split(".")[0] in ("pickle", "dill", "joblib")]
            if isinstance(node, ast.ImportFrom) and node.level:
                found.append(f"{node.lineno}: a relative import")
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            if called in ("torch.save", "torch.load", "eval", "exec", "hasattr"):
                found.append(f"{node.lineno}: {called}()")
        if isinstance(node, ast.ExceptHandler) and (node.type is None or ast.unparse(node.type) == "BaseException"):
            found.append(f"{node.lineno}: a bare except")
        if isinstance(node, ast.Global):
            found.append(f"{node.lineno}: global state")
    return found


@every_file
def test_no_file_is_over_500_lines(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 500


@every_file
def test_no_function_takes_over_8_arguments_or_80_lines(path):
    for function in functions(path):
        lines = (function.end_lineno or 0) - function.lineno + 1
        if not is_command(path, function):
            assert arguments(function) <= 8, f"{function.name} takes {arguments(function)} arguments"
            assert lines <= 80, f"{function.name} is {lines} lines long"


@every_file
def test_no_constructor_takes_anything_you_like(path):
    for function in functions(path):
        assert function.name != "__init__" or function.args.kwarg is None, f"line {function.lineno}: **kwargs"


@every_file
def test_nothing_forbidden_is_used(path):
    assert forbidden(path) == []


@every_file
def test_nothing_depends_on_the_training_flag(path):
    if path.name == "contract.py":
        pytest.skip("predict() alone sets the flag, and restores it")
    reads = [
        n.lineno for n in ast.walk(tree(path)) if isinstance(n, ast.Attribute) and ast.unparse(n) == "self.training"
    ]
    assert reads == []


@every_file
def test_all_that_is_public_is_documented(path):
    assert ast.get_docstring(tree(path)), "the module has no docstring"
    for node in tree(path).body:
        if isinstance(node, Function | ast.ClassDef) and not node.name.startswith("_"):
            assert ast.get_docstring(node), f"{node.name} has no docstring"
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            for method in node.body:
                if isinstance(method, Function) and not method.name.startswith("_"):
                    assert ast.get_docstring(method), f"{node.name}.{method.name} has no docstring"


@every_file
def test_only_the_command_line_prints(path):
    if path.parent.name == "cli":
        pytest.skip("the command line is what prints")
    assert not [n.lineno for n in ast.walk(tree(path)) if isinstance(n, ast.Call) and ast.unparse(n.func) == "print"]


@every_file
def test_packages_import_nothing_by_themselves(path):
    if path.name != "__init__.py" or path.parent == SOURCE:
        pytest.skip("not the top of a room")
    assert len(tree(path).body) == 1


def test_files_are_small_on_the_whole():
    sizes = sorted(len(path.read_text(encoding="utf-8").splitlines()) for path in FILES)
    assert sizes[int(0.9 * len(sizes))] <= 350


def test_the_rules_find_what_they_look_for(tmp_path):
    wrong = tmp_path / "wrong.py"
    wrong.write_text("import pickle\nfrom . import a\ntorch.load(x)\ntry:\n    pass\nexcept:\n    hasattr(a, 'b')\n")
    assert [line.split(":")[0] for line in sorted(forbidden(wrong))] == ["1", "2", "3", "6", "7"]
