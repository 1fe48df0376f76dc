"""Tests the imports in load/: each folder may import only some others. Reads the source."""

from collections.abc import Mapping
from pathlib import Path

from tests.process import ROOT
from tests.test_imports import imports_of

COMMANDS = {"command", "fill", "bench", "chaos", "soak", "__main__"}
LAYERS: Mapping[str, set[str]] = {
    "cli": set(),
    "http": {"cli"},
    "settings": {"cli", "http"},
    "orders": {"cli", "http"},
    "system": {"cli", "http"},
    "results": {"cli", "http", "orders", "settings", "system"},
    "report": {"cli"},
    "readback": {"cli", "http", "orders", "results"},
}
"""The layers that each layer is allowed to import. Commands can import all layers, but no other command; bench imports
fill."""


def layer_of(path: Path) -> str:
    return path.relative_to(ROOT / "load").with_suffix("").parts[0]


def may_import(importer: str, imported: str) -> bool:
    if importer in COMMANDS:
        return imported in LAYERS or (importer, imported) == ("bench", "fill")
    return imported in LAYERS[importer]


def test_each_layer_imports_only_the_layers_below_it() -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{line}: {name}"
        for path in sorted((ROOT / "load").rglob("*.py"))
        for line, name in imports_of(path)
        if name.startswith("load.") and name.split(".")[1] != layer_of(path)
        if not may_import(layer_of(path), name.split(".")[1])
    ]
    assert wrong == []


def test_every_module_has_a_layer_and_no_layers_import_each_other() -> None:
    names = {layer_of(path) for path in (ROOT / "load").rglob("*.py")} - {"__init__"}
    assert names == COMMANDS | set(LAYERS)
    below: set[str] = set()
    left = dict(LAYERS)
    while left:
        free = {name for name, imports in left.items() if imports <= below}
        assert free, f"a cycle in {sorted(left)}"
        below |= free
        left = {name: imports for name, imports in left.items() if name not in free}
