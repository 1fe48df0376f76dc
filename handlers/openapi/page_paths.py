"""The paths of pages for people: the dashboard and the documentation. Pure."""

from collections.abc import Mapping

from handlers.openapi.operations import answer, operation
from handlers.openapi.schemas import Schema
from handlers.pages.docs import FILES
from handlers.problems.problem import NOT_FOUND

_HEADERS = ("ETag", "Cache-Control")
_TEXT: Schema = {"schema": {"type": "string"}}


def page_paths(dashboard_files: Mapping[str, str]) -> dict[str, Schema]:
    """By path, and by method in it; `dashboard_files` has the media types by name."""
    return {
        "/": {"get": _dashboard()},
        "/dashboard/{file}": {
            "get": _file(
                "getDashboardFile", "What the dashboard is made of", "Dashboard", dashboard_files, is_open=True
            )
        },
        "/openapi.json": {"get": _document()},
        "/docs": {"get": _docs()},
        "/docs/{file}": {"get": _file("getDocsFile", "What the page is made of", "Documentation", FILES)},
    }


def _dashboard() -> Schema:
    return operation(
        "getDashboard",
        "How it goes, to look at",
        "A page that shows the metrics and the orders, and asks for a key where one is needed.",
        tag="Dashboard",
        answers=_answers("The page.", {"text/html": _TEXT}),
        is_open=True,
    )


def _document() -> Schema:
    return operation(
        "getOpenApi",
        "This document",
        "OpenAPI 3.1.",
        tag="Documentation",
        answers=_answers("The document.", {"application/json": {"schema": {"type": "object"}}}),
    )


def _docs() -> Schema:
    return operation(
        "getDocs",
        "This document, to read and to try",
        "A page with Swagger UI.",
        tag="Documentation",
        answers=_answers("The page.", {"text/html": _TEXT}),
    )


def _file(name: str, summary: str, tag: str, files: Mapping[str, str], *, is_open: bool = False) -> Schema:
    file = {"name": "file", "in": "path", "required": True, "schema": {"type": "string", "enum": sorted(files)}}
    return operation(
        name,
        summary,
        "Scripts, style and icon.",
        tag=tag,
        parameters=[file],
        answers=_answers("The file.", dict.fromkeys(sorted(set(files.values())), _TEXT)),
        problems=[NOT_FOUND],
        is_open=is_open,
    )


def _answers(description: str, content: dict[str, Schema]) -> dict[str, Schema]:
    """Those of what changes only with the program."""
    return {
        "200": answer(description, content=content, headers=_HEADERS),
        "304": answer("The client has it already.", headers=_HEADERS),
    }
