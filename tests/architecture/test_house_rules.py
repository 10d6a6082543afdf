"""House rules that a machine can check. Each says why; design.md and style.md say more."""

import ast
import re
import sys
from collections.abc import Iterator
from typing import Final

import pytest

from grantbook.model.errors import GrantbookError, all_errors
from grantbook.store.tables import metadata
from tests.architecture.code import SOURCE, Function, Module, modules

MAX_FUNCTION_LINES = 70
MAX_FILE_LINES = 600
MAX_LINE_LENGTH = 120
CLOCKS = {"now", "utcnow", "today", "time", "time_ns", "gmtime", "localtime"}
MAY_READ_THE_CLOCK = {"bootstrap.py", "http/errors.py"}  # the latter for the time on an error, which decides nothing


def test_the_rules_look_at_the_whole_package() -> None:
    """So that a rule cannot hold because nothing was found."""
    assert {"model", "engine", "store", "service", "bootstrap.py", "settings.py"} <= {each.room for each in modules()}
    assert sum(1 for each in modules() for _ in each.functions()) > 200


def test_functions_are_short() -> None:
    """One that is not does several things, of which only some are tested."""
    assert [
        module.at(function, f"{function.name}: {_length(function)} lines")
        for module in modules()
        for function in module.functions()
        if _length(function) > MAX_FUNCTION_LINES
    ] == []


def _length(function: Function) -> int:
    return (function.end_lineno or function.lineno) - function.lineno + 1


def test_files_are_short() -> None:
    """A long file is a sign that two rooms share a wall."""
    assert [
        f"{module.path}: {count} lines"
        for module in modules()
        if (count := len(module.text.splitlines())) > MAX_FILE_LINES
    ] == []


def test_the_model_imports_only_the_standard_library_msgspec_and_itself() -> None:
    """So that the meaning of access can be read, tested and reused without anything else."""
    allowed = sys.stdlib_module_names | {"grantbook", "msgspec"}
    assert [
        f"{module.path} imports {name}"
        for module in modules()
        if module.room == "model"
        for name in module.imports()
        if name.partition(".")[0] not in allowed
        or (name.startswith("grantbook") and not name.startswith("grantbook.model"))
    ] == []


def test_the_model_touches_no_file_process_or_network() -> None:
    """Time, randomness and text arrive as arguments."""
    effects = {
        "os",
        "io",
        "pathlib",
        "socket",
        "subprocess",
        "threading",
        "random",
        "secrets",
        "time",
        "urllib",
        "http",
    }
    assert [
        f"{module.path} imports {name}"
        for module in modules()
        if module.room == "model"
        for name in module.imports()
        if name.partition(".")[0] in effects
    ] == []


def test_imports_are_absolute() -> None:
    """So that a search for a module finds everybody who uses it."""
    assert [
        f"{module.path} imports {name}" for module in modules() for name in module.imports() if name.startswith(".")
    ] == []


def test_only_the_edges_read_the_clock() -> None:
    """A clock that is not an argument cannot be set by a test, nor agree with the transaction's time."""
    assert [
        module.at(node, ast.unparse(node.func))
        for module in modules()
        if module.path not in MAY_READ_THE_CLOCK
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Call) and _reads_the_clock(node)
    ] == []


def _reads_the_clock(call: ast.Call) -> bool:
    match call.func:
        case ast.Attribute(value=ast.Name(id="datetime" | "date" | "time"), attr=name):
            return name in CLOCKS
        case ast.Attribute(value=ast.Attribute(value=ast.Name(id="datetime")), attr=name):
            return name in CLOCKS
        case ast.Name(id=name):
            return name in {"time_ns", "utcnow"}
        case _:
            return False


def test_the_clock_rule_sees_the_ways_to_break_it() -> None:
    breaches = ["time.time()", "time.time_ns()", "datetime.now(UTC)", "datetime.datetime.utcnow()", "date.today()"]
    for text in breaches:
        node = ast.parse(text, mode="eval").body
        assert isinstance(node, ast.Call)
        assert _reads_the_clock(node)
    for text in ["self._clock()", "desk.clock()", "time.monotonic()", "datetime.fromisoformat(text)"]:
        node = ast.parse(text, mode="eval").body
        assert isinstance(node, ast.Call)
        assert not _reads_the_clock(node)


def test_modules_and_public_names_say_what_they_are() -> None:
    """Methods that keep a promise made elsewhere (a protocol, a base class) say it there."""
    assert [place for module in modules() for place in _undocumented(module)] == []


def _undocumented(module: Module) -> Iterator[str]:
    is_empty = not module.tree.body
    if not is_empty and ast.get_docstring(module.tree) is None:
        yield f"{module.path} has no docstring"
    for node in module.tree.body:
        is_public = isinstance(node, ast.ClassDef | Function) and not node.name.startswith("_")
        if is_public and isinstance(node, ast.ClassDef | Function) and ast.get_docstring(node) is None:
            yield module.at(node, node.name)


def test_no_docstring_only_repeats_the_name() -> None:
    assert [
        module.at(node, node.name)
        for module in modules()
        for node in ast.walk(module.tree)
        if isinstance(node, ast.ClassDef | Function) and _repeats_its_name(node.name, ast.get_docstring(node) or "")
    ] == []


def _repeats_its_name(name: str, docstring: str) -> bool:
    words = docstring.lower().strip(".").split()
    return bool(words) and "".join(words) == name.replace("_", "").lower()


def test_nothing_is_printed_or_left_to_do() -> None:
    """What a program has to say goes through its edges: the command line's output, the server's log."""
    assert [
        module.at(node, "print")
        for module in modules()
        if module.room != "cli"
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in {"print", "breakpoint"}
    ] == []
    marks = ("TODO", "FIXME", "XXX")
    assert [f"{module.path} has a {mark}" for module in modules() for mark in marks if mark in module.text] == []


def test_no_error_is_swallowed() -> None:
    """A bare `except:` or an `except Exception: pass` would turn a broken store into an answer."""
    assert [
        module.at(node, "except") if isinstance(node, ast.stmt) else f"{module.path}:{node.lineno} except"
        for module in modules()
        for node in ast.walk(module.tree)
        if isinstance(node, ast.ExceptHandler) and (node.type is None or (_is_broad(node) and _does_nothing(node)))
    ] == []


def test_nothing_is_sent_from_within_a_reading() -> None:
    """Who takes a streamed answer may be slow, and would hold the state of the database that is read, and its log."""
    yields = {
        module.at(node, "yield")
        for module in modules()
        if module.room == "http"
        for block in ast.walk(module.tree)
        if isinstance(block, ast.With) and any(".reading(" in ast.unparse(item.context_expr) for item in block.items)
        for node in ast.walk(block)
        if isinstance(node, ast.Yield | ast.YieldFrom)
    }
    assert len(yields) == 1, yields  # that of `Exchange.reading` itself
    assert all(place.startswith("http/exchange.py") for place in yields)


def _is_broad(handler: ast.ExceptHandler) -> bool:
    return isinstance(handler.type, ast.Name) and handler.type.id in {"Exception", "BaseException"}


def _does_nothing(handler: ast.ExceptHandler) -> bool:
    return all(isinstance(statement, ast.Pass | ast.Continue) for statement in handler.body)


def test_statements_about_the_book_are_expressions() -> None:
    """Of which `tests/statements.py` reads that they are about one organization; a text would not be looked at."""
    assert [
        module.at(node, text)
        for module in modules()
        if module.room == "store"
        for node, text in _texts_about_the_book(module.tree)
    ] == []


def test_the_rule_of_statements_sees_the_ways_to_break_it() -> None:
    for text in (
        '"SELECT id FROM grants WHERE id = ?"',
        '"SELECT 1 " "FROM heads"',
        '"""SELECT id\n FROM\n grants"""',
        'f"""SELECT {columns}\n FROM members"""',
        'f"DELETE FROM {table}"',
        '"DELETE FROM " + table',
        '"SELECT id FROM %s" % table',
        '"INSERT INTO  members VALUES (?)"',
        '"update entities set name = 1"',
        '"UPDATE OR IGNORE grants SET id = 1"',
        "'SELECT id FROM \"grants\"'",
        '"SELECT id FROM ONLY public.grants"',
        '"SELECT 1 FROM unnest(?) AS a, grants"',
        'f"SELECT {columns} FROM a JOIN {name} USING (id)"',
    ):
        assert len(list(_texts_about_the_book(ast.parse(f"run({text})")))) == 1, text
    for text in ('"""Updates the book from grants, and SELECT FROM heads."""', '"SELECT relname FROM pg_class"'):
        assert list(_texts_about_the_book(ast.parse(text))) == [], text


_OWN_INDEX: Final = r"\{GRAMS\}"
"""What SQLite finds texts by has no organization: it is the file's, and not spread."""


def _texts_about_the_book(tree: ast.AST) -> Iterator[tuple[ast.expr, str]]:
    """Texts of SQL that read or change one of its tables, or one that the text does not name."""
    named = "|".join(map(re.escape, metadata.tables))
    before = r"\b(?:FROM|JOIN|INTO|UPDATE)\s+(?:ONLY\s+|OR\s+\w+\s+)?"
    about = re.compile(rf'{before}(?:\w+\.)?"?(?:(?:{named})\b|%s|\{{|$)|,\s*(?:{named})\b', re.IGNORECASE)
    prose = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    parts = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in ast.walk(node)}
    for node in ast.walk(tree):
        if id(node) in prose or (id(node) in parts and not isinstance(node, ast.JoinedStr)):
            continue
        text = _text_of(node)
        is_sql = re.search(r"\b(?:SELECT|DELETE|INSERT|UPDATE)\b", text, re.IGNORECASE)
        if is_sql and about.search(re.sub(_OWN_INDEX, "grams", text)) and isinstance(node, ast.expr):
            yield node, text


def _text_of(node: ast.AST) -> str:
    """Of a literal; what is put into it later stands in braces."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=values):
            return "".join(map(_text_of, values))
        case ast.FormattedValue(value=value):
            return f"{{{ast.unparse(value)}}}"
    return ""


def test_the_package_tells_type_checkers_that_it_is_typed() -> None:
    """Source: PEP 561."""
    assert (SOURCE / "py.typed").is_file()


@pytest.mark.parametrize("error", all_errors(), ids=lambda error: error.__name__)
def test_every_error_has_a_code_and_two_sentences_of_its_own(error: type[GrantbookError]) -> None:
    """An inherited code would hide one error behind another."""
    own = vars(error)
    assert {"code", "message", "system_message"} <= own.keys()
    assert error.code.replace("_", "").isalpha()
    assert error.code.isupper()
    assert error.message.endswith(".")
    assert not error.system_message.endswith(".")
    assert "{" not in error.message + error.system_message
    assert error.__doc__


def test_no_two_errors_share_a_code() -> None:
    codes = [error.code for error in all_errors()]
    assert len(set(codes)) == len(codes)


def test_every_error_of_the_package_is_in_the_catalogue() -> None:
    """Errors are values of the model; a class that is made elsewhere would not be translated at the edges."""
    names = {error.__name__ for error in all_errors()}
    assert [
        module.at(node, node.name)
        for module in modules()
        if module.path != "model/errors.py"
        for node in ast.walk(module.tree)
        if isinstance(node, ast.ClassDef) and {ast.unparse(base) for base in node.bases} & names
    ] == []


def test_codes_that_are_given_by_hand_do_not_clash_with_those_of_other_errors() -> None:
    """`Conflict(code="MEMBER_ALREADY_EXISTS")` narrows an error; it must not pretend to be another one."""
    taken = {error.code: error.__name__ for error in all_errors()}
    found = [
        (module.at(node, ast.unparse(node.func)), str(keyword.value.value))
        for module in modules()
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func) in taken.values()
        for keyword in node.keywords
        if keyword.arg == "code" and isinstance(keyword.value, ast.Constant)
    ]
    assert found
    assert [(place, code) for place, code in found if taken.get(code, place.rpartition(" ")[2]) not in place] == []


def test_errors_are_raised_with_texts_that_hold_no_secrets() -> None:
    """Details go out on the wire: nothing in them may be called a secret, a digest or a password."""
    forbidden = {"secret", "digest", "password", "token"}
    taken = {error.__name__ for error in all_errors()}
    assert [
        module.at(node, f"{ast.unparse(node.func)}({keyword.arg})")
        for module in modules()
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func) in taken
        for keyword in node.keywords
        if keyword.arg in forbidden
    ] == []
