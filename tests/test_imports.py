"""The layers of the code and its packages: which folder imports which, read from the source."""

import ast
import functools
import gc
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.cases import cases
from tests.process import ROOT
from tests.test_requirements import pinned

ROOMS: Mapping[str, frozenset[str]] = {
    "server": frozenset({"handlers", "workers", "models"}),
    "handlers": frozenset({"models"}),
    "workers": frozenset({"models"}),
    "models": frozenset(),
    "load": frozenset(),
}
"""Which other top-level folders the code in a top-level folder may import."""
HTTP = frozenset({"requests", "transport", "problems"})
HANDLERS: Mapping[str, frozenset[str]] = {
    "api": HTTP | {"routes", "telemetry", "logs", "security", "service"},
    "routes": HTTP
    | {"router", "openapi", "orders", "pages", "health", "metrics", "telemetry", "logs", "security", "service"},
    "router": HTTP | {"orders", "sse", "telemetry", "logs", "security", "service"},
    "openapi": frozenset({"orders", "sse", "pages", "metrics", "problems"}),
    "flag_parser": frozenset({"flags", "security"}),
    "flags": frozenset({"logs", "security", "transport"}),
    "telemetry": frozenset({"sse", "metrics"}),
    "orders": HTTP | {"metrics", "security", "service"},
    "sse": HTTP | {"metrics"},
    "pages": HTTP,
    "health": HTTP | {"service"},
    "metrics": HTTP | {"service"},
    "logs": HTTP | {"security"},
    "security": HTTP,
    "requests": frozenset({"transport", "problems"}),
    "transport": frozenset({"problems"}),
    "service": frozenset(),
    "problems": frozenset(),
}
"""Which other folders and modules of handlers/ a folder or module of handlers/ may import."""
LAYERS_OF_LOAD: Mapping[str, frozenset[str]] = {
    "cli": frozenset(),
    "http": frozenset({"cli"}),
    "settings": frozenset({"cli", "http"}),
    "orders": frozenset({"cli", "http"}),
    "system": frozenset({"cli", "http"}),
    "results": frozenset({"cli", "http", "orders", "settings", "system"}),
    "report": frozenset({"cli"}),
    "readback": frozenset({"cli", "http", "orders", "results"}),
}
LOAD: Mapping[str, frozenset[str]] = {
    **LAYERS_OF_LOAD,
    # The commands. Only `bench` and `retention` may import another one.
    **dict.fromkeys(("command", "fill", "chaos", "patroni", "soak", "__main__"), frozenset(LAYERS_OF_LOAD)),
    **dict.fromkeys(("bench", "retention"), frozenset(LAYERS_OF_LOAD) | {"fill"}),
}
"""Which other folders and modules of load/ a folder or module of load/ may import."""
VALUES = frozenset({"errors", "order", "writes", "changes", "clock", "listing", "measurements"})
ENGINE = VALUES | {"database", "wire", "parsing", "identity", "transactions", "progress"}
MODELS: Mapping[str, frozenset[str]] = {
    **dict.fromkeys(("errors", "clock", "measurements", "progress", "trace_headers"), frozenset[str]()),
    "order": frozenset({"errors"}),
    "listing": frozenset({"order"}),
    "writes": frozenset({"errors", "order"}),
    "changes": frozenset({"order", "writes"}),
    "database": frozenset({"errors"}),
    "wire": frozenset({"order", "writes", "changes", "database"}),
    "parsing": frozenset({"errors", "order", "writes", "wire"}),
    "identity": frozenset({"order", "writes", "parsing"}),
    "transactions": frozenset({"errors", "order", "writes", "identity"}),
    "sqlite": ENGINE,
    "postgresql": ENGINE,
    "moving": ENGINE | {"sqlite", "postgresql"},
    "store": ENGINE | {"sqlite", "postgresql", "moving"},
}
"""Which other folders and modules of models/ a folder or module of models/ may import."""
CHAOS: Mapping[str, frozenset[str]] = {
    "faults": frozenset(),
    "plan": frozenset({"faults"}),
    "report": frozenset({"faults"}),
    "databases": frozenset({"report"}),
    "servers": frozenset({"report", "databases"}),
    "target": frozenset({"report", "databases", "servers"}),
    "webhooks": frozenset({"faults", "report", "servers"}),
    "clients": frozenset({"faults", "report", "target"}),
    "injection": frozenset({"faults", "report", "databases", "servers", "target", "webhooks", "clients"}),
    "inspection": frozenset({"report", "databases", "target", "clients"}),
    "run": frozenset(
        {"faults", "report", "databases", "servers", "target", "webhooks", "clients", "injection", "inspection"}
    ),
    "command": frozenset({"faults", "plan", "report", "servers", "run"}),
    "__main__": frozenset({"command"}),
}
"""Which other folders and modules of load/chaos/ a folder or module of load/chaos/ may import."""
INSIDE = {"handlers": HANDLERS, "models": MODELS, "load": LOAD, "load/chaos": CHAOS}
OURS = frozenset(ROOMS) | {"tests"}
ONLY_IN: Mapping[str, frozenset[str]] = {
    "peewee": frozenset({"models"}),
    "playhouse": frozenset({"models"}),
    "sqlite3": frozenset({"models"}),
    "concurrent.futures": frozenset({"workers"}),
    "multiprocessing": frozenset(),
}
"""Packages that only some folders may import."""
# `load` is a separate program: it can have threads and processes, and it locks and damages databases on purpose.
EXCEPTIONS = {("load", "concurrent.futures"), ("load", "multiprocessing"), ("load", "sqlite3")}
MODULES = {"prometheus-client": "prometheus_client", "python-mimeparse": "mimeparse"}
"""The modules whose names differ from the names of their packages."""
WITH_PEEWEE = {"playhouse"}
OPTIONAL = {"psycopg"}
"""Packages that only a server on PostgreSQL needs. `models/store.py` names the version."""
ASSETS_ONLY = {"flask-swagger-ui"}
"""Packages that are not imported: `handlers/pages/docs.py` serves their files."""


def modules_of(root: Path) -> Iterator[tuple[str, Path]]:
    """The top-level folder and the file of each module."""
    yield "server", root / "server.py"
    for room in ROOMS:
        for path in sorted((root / room).rglob("*.py")):
            yield room, path


@functools.cache
def imports_of(path: Path) -> list[tuple[int, str]]:
    """Line and full name of every import, anywhere in the file. The name of a relative import begins with a dot."""
    gc.disable()  # otherwise, it takes half of the time, because a syntax tree has many objects
    try:
        return list(_read_imports(path))
    finally:
        gc.enable()


def _read_imports(path: Path) -> Iterator[tuple[int, str]]:
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                yield node.lineno, "." * node.level + (node.module or "") + "." + alias.name
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name | ast.Attribute):
            name = node.func.id if isinstance(node.func, ast.Name) else node.func.attr
            if name in ("import_module", "__import__") and node.args and isinstance(node.args[0], ast.Constant):
                yield node.lineno, str(node.args[0].value)


def is_below(name: str, package: str) -> bool:
    return name == package or name.startswith(package + ".")


def fault_of(room: str, path: Path, name: str) -> str | None:
    """Why the module `path` in the folder `room` must not import `name`. None if the import is allowed."""
    if name.startswith("."):
        return "is relative"
    top = name.partition(".")[0]
    if top in OURS and top != room and top not in ROOMS[room]:
        return f"is not for {room}"
    if room == "server" and top == "server":
        return "is not for server"
    for folder, layers in INSIDE.items():
        if path.is_relative_to(folder) and is_below(name, folder.replace("/", ".")) and path.name != "__init__.py":
            depth = folder.count("/") + 1
            importer, imported = path.with_suffix("").parts[depth], name.split(".")[depth]
            if importer != imported and imported not in layers.get(importer, frozenset()):
                return f"is not for {folder}/{importer}"
    if path.parts[:2] == ("workers", "processors") and is_below(name, "workers.dispatch"):
        return "is not for workers/processors"
    for package, rooms in ONLY_IN.items():
        if is_below(name, package) and room not in rooms and (room, package) not in EXCEPTIONS:
            return f"is not for {room}"
    return None


def faults_in(root: Path) -> list[str]:
    return [
        f"{path.relative_to(root)}:{line}: {name} {fault}"
        for room, path in modules_of(root)
        for line, name in imports_of(path)
        if (fault := fault_of(room, path.relative_to(root), name))
    ]


def test_each_folder_imports_only_from_the_layers_below() -> None:
    assert faults_in(ROOT) == []


def test_every_module_of_the_product_is_read() -> None:
    read = {path for _, path in modules_of(ROOT)}
    assert {path for room in ROOMS for path in (ROOT / room).rglob("*.py")} <= read
    for folder, layers in INSIDE.items():
        paths = (path.relative_to(ROOT / folder) for path in (ROOT / folder).rglob("*.py"))
        inside = {path.parts[0].removesuffix(".py") for path in paths}
        assert inside - {"__init__"} == set(layers)
    assert {"server.py", "store.py", "batcher.py", "routes.py", "order_reader.py"} <= {path.name for path in read}
    assert set(ROOT.glob("*.py")) == {ROOT / "server.py"}


def test_the_expected_imports_are_found() -> None:
    used = {
        room: {
            name.partition(".")[0] for each, path in modules_of(ROOT) if each == room for _, name in imports_of(path)
        }
        for room in ROOMS
    }
    assert {"handlers", "workers", "models"} <= used["server"]
    assert "peewee" in used["models"]
    assert used["models"] & OURS == {"models"}
    assert used["load"] & OURS <= {"load"}


@cases("layers", INSIDE.values())
def test_no_layers_import_each_other(layers: Mapping[str, frozenset[str]]) -> None:
    below: set[str] = set()
    left = dict(layers)
    while left:
        free = {name for name, imports in left.items() if imports <= below}
        assert free, f"a cycle in {sorted(left)}"
        below |= free
        left = {name: imports for name, imports in left.items() if name not in free}


def test_the_programs_import_every_package_of_requirements_and_no_other() -> None:
    imported = {
        name.partition(".")[0] for _, path in modules_of(ROOT) for _, name in imports_of(path) if name[0] != "."
    }
    modules = {MODULES.get(package, package) for package in pinned(ROOT / "requirements.txt") - ASSETS_ONLY}
    assert imported - set(ROOMS) - WITH_PEEWEE - OPTIONAL - sys.stdlib_module_names == modules


def tree(folder: Path, files: Mapping[str, str]) -> Path:
    for name, text in ({"server.py": ""} | dict(files)).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


@pytest.mark.parametrize(
    ("file", "text", "fault"),
    [
        ("models/a.py", "from handlers.api import x", "models/a.py:1: handlers.api.x is not for models"),
        ("models/a.py", "import workers", "models/a.py:1: workers is not for models"),
        ("models/deep/er/a.py", "import workers.x", "models/deep/er/a.py:1: workers.x is not for models"),
        ("workers/a.py", "import models, handlers", "workers/a.py:1: handlers is not for workers"),
        ("workers/a.py", "import os\nimport sqlite3", "workers/a.py:2: sqlite3 is not for workers"),
        ("workers/a.py", "from playhouse import shortcuts", "workers/a.py:1: playhouse.shortcuts is not for workers"),
        (
            "workers/processors/a.py",
            "import workers.dispatch.retries",
            "workers/processors/a.py:1: workers.dispatch.retries is not for workers/processors",
        ),
        (
            "handlers/orders/a.py",
            "import handlers.router",
            "handlers/orders/a.py:1: handlers.router is not for handlers/orders",
        ),
        (
            "handlers/sse/a.py",
            "import handlers.orders.x",
            "handlers/sse/a.py:1: handlers.orders.x is not for handlers/sse",
        ),
        (
            "handlers/transport/a.py",
            "import handlers.api",
            "handlers/transport/a.py:1: handlers.api is not for handlers/transport",
        ),
        ("handlers/new.py", "import handlers.api", "handlers/new.py:1: handlers.api is not for handlers/new"),
        ("handlers/a.py", "import workers.batcher", "handlers/a.py:1: workers.batcher is not for handlers"),
        ("handlers/a.py", "from concurrent import futures", "handlers/a.py:1: concurrent.futures is not for handlers"),
        ("handlers/a.py", "def f():\n    import peewee as p", "handlers/a.py:2: peewee is not for handlers"),
        ("handlers/a.py", "from sqlite3.dbapi2 import x", "handlers/a.py:1: sqlite3.dbapi2.x is not for handlers"),
        ("handlers/a.py", "if TYPE_CHECKING:\n    import server", "handlers/a.py:2: server is not for handlers"),
        ("handlers/a.py", "__import__('peewee')", "handlers/a.py:1: peewee is not for handlers"),
        ("handlers/a.py", "importlib.import_module('server')", "handlers/a.py:1: server is not for handlers"),
        ("load/a.py", "import peewee", "load/a.py:1: peewee is not for load"),
        ("load/a.py", "from models.errors import X", "load/a.py:1: models.errors.X is not for load"),
        ("load/a.py", "import tests.models", "load/a.py:1: tests.models is not for load"),
        ("load/http/a.py", "import load.orders.x", "load/http/a.py:1: load.orders.x is not for load/http"),
        ("load/http/a.py", "import load.chaos.x", "load/http/a.py:1: load.chaos.x is not for load/http"),
        ("load/command.py", "import load.fill.x", "load/command.py:1: load.fill.x is not for load/command"),
        (
            "load/chaos/clients/a.py",
            "import load.chaos.injection.x",
            "load/chaos/clients/a.py:1: load.chaos.injection.x is not for load/chaos/clients",
        ),
        ("load/new/a.py", "import load.cli.x", "load/new/a.py:1: load.cli.x is not for load/new"),
        ("models/a.py", "import concurrent.futures", "models/a.py:1: concurrent.futures is not for models"),
        (
            "models/writes/a.py",
            "import models.sqlite.x",
            "models/writes/a.py:1: models.sqlite.x is not for models/writes",
        ),
        ("models/new.py", "import models.order", "models/new.py:1: models.order is not for models/new"),
        ("models/a.py", "from . import errors", "models/a.py:1: ..errors is relative"),
        ("models/a.py", "from .errors import X", "models/a.py:1: .errors.X is relative"),
        ("server.py", "import load", "server.py:1: load is not for server"),
        ("server.py", "import sqlite3", "server.py:1: sqlite3 is not for server"),
        ("server.py", "import concurrent.futures", "server.py:1: concurrent.futures is not for server"),
        ("server.py", "import server", "server.py:1: server is not for server"),
    ],
)
def test_an_import_in_the_wrong_direction_is_found(tmp_path: Path, file: str, text: str, fault: str) -> None:
    assert faults_in(tree(tmp_path, {file: text})) == [fault]


def test_an_import_in_the_right_direction_is_not_a_fault(tmp_path: Path) -> None:
    right = {
        "server.py": "import handlers.api, workers.batcher\nfrom models.order import Order",
        "handlers/orders/a.py": "from handlers.transport.b import x\nimport asyncio, modelspec, serverless",
        "workers/a.py": "from concurrent.futures import Executor\nfrom models.errors import X\nimport workers.b",
        "models/sqlite/a.py": "import sqlite3, peewee\nfrom models.errors import X",
        "load/bench/a.py": "from load.fill.b import x\nimport load.cli.c, load.bench.d",
        "load/results/a.py": "import load.settings, concurrent.futures\nimport tornado",
    }
    assert faults_in(tree(tmp_path, right)) == []


@cases("room", ["handlers", "models", "workers"])
def test_importing_a_folder_starts_no_threads(room: str) -> None:
    threads = threading.active_count()
    for each, path in modules_of(ROOT):
        if each == room and path.name != "__init__.py":
            __import__(".".join(path.relative_to(ROOT).with_suffix("").parts))
    assert threading.active_count() == threads
