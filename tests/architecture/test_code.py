"""The house rules that a machine can check. Each rule lists all places where it is broken."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "sightline"
FILES = sorted(SOURCE.rglob("*.py"))

Function = ast.FunctionDef | ast.AsyncFunctionDef


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def lines_of(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


def place(path: Path, node: ast.stmt | ast.expr) -> str:
    return f"{path.relative_to(SOURCE)}:{node.lineno}"


def functions() -> Iterator[tuple[Path, Function]]:
    for path in FILES:
        for node in ast.walk(tree(path)):
            if isinstance(node, Function):
                yield path, node


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


def test_no_file_is_over_500_lines_and_nine_in_ten_are_under_350():
    sizes = sorted((lines_of(path), path.name) for path in FILES)
    assert [size for size in sizes if size[0] > 500] == []
    assert sizes[int(0.9 * len(sizes))][0] <= 350


def test_no_function_takes_over_8_arguments():
    assert [
        f"{place(path, function)} {function.name}: {arguments(function)}"
        for path, function in functions()
        if arguments(function) > 8 and not is_command(path, function)
    ] == []


def test_no_function_is_over_80_lines():
    assert [
        f"{place(path, function)} {function.name}"
        for path, function in functions()
        if (function.end_lineno or 0) - function.lineno >= 80 and not is_command(path, function)
    ] == []


def test_no_constructor_takes_anything_you_like():
    assert [place(p, f) for p, f in functions() if f.name == "__init__" and f.args.kwarg is not None] == []


def test_nothing_forbidden_is_used():
    assert {str(path): found for path in FILES if (found := forbidden(path))} == {}


def test_nothing_depends_on_the_training_flag():
    # contract.py's predict() sets the flag, and puts it back; sync_norm.py is a batch norm, which is defined by it.
    assert [
        place(path, node)
        for path in FILES
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Attribute)
        and ast.unparse(node) == "self.training"
        and path.name not in ("contract.py", "sync_norm.py")
    ] == []


def test_all_that_is_public_is_documented():
    missing = []
    for path in FILES:
        if not ast.get_docstring(tree(path)):
            missing.append(str(path))
        owners = [tree(path), *[node for node in tree(path).body if isinstance(node, ast.ClassDef)]]
        for owner in owners:
            if isinstance(owner, ast.ClassDef) and owner.name.startswith("_"):
                continue
            for node in owner.body:
                public = isinstance(node, Function | ast.ClassDef) and not node.name.startswith("_")
                if public and not ast.get_docstring(node) and "overload" not in map(ast.unparse, node.decorator_list):
                    missing.append(f"{place(path, node)} {node.name}")
    assert missing == []


def test_only_the_command_line_prints():
    assert [
        place(path, node)
        for path in FILES
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "print" and path.parent.name != "cli"
    ] == []


def test_rooms_import_nothing_by_themselves():
    assert [str(p) for p in FILES if p.name == "__init__.py" and p.parent != SOURCE and len(tree(p).body) > 1] == []


def test_the_rules_find_what_they_look_for(tmp_path):
    wrong = tmp_path / "wrong.py"
    wrong.write_text("import pickle\nfrom . import a\ntorch.load(x)\ntry:\n    pass\nexcept:\n    hasattr(a, 'b')\n")
    assert [line.split(":")[0] for line in sorted(forbidden(wrong))] == ["1", "2", "3", "6", "7"]
