"""Describes the paths of the pages: dashboard and documentation. Pure functions."""

from collections.abc import Mapping

from handlers.openapi.operations import operation, response
from handlers.openapi.schemas import Schema
from handlers.pages.docs import FILES
from handlers.problems.problem import NOT_FOUND

_HEADERS = ("ETag", "Cache-Control", "Vary")
_TEXT: Schema = {"schema": {"type": "string"}}


def page_paths(dashboard_files: Mapping[str, str]) -> dict[str, Schema]:
    """The operations, by path and method. `dashboard_files` maps the names of the dashboard's files to media types."""
    return {
        "/": {"get": _dashboard()},
        "/dashboard/{file}": {
            "get": _file("getDashboardFile", "Get a file of the dashboard", "Dashboard", dashboard_files)
        },
        "/openapi.json": {"get": _document()},
        "/docs": {"get": _docs()},
        "/docs/{file}": {"get": _file("getDocsFile", "Get a file of the documentation", "Documentation", FILES)},
    }


def _dashboard() -> Schema:
    return operation(
        "getDashboard",
        "Get the dashboard",
        "A page with the metrics and the orders. It asks the user for an API key if the server requires one.",
        tag="Dashboard",
        responses=_responses("The page.", {"text/html": _TEXT}),
        needs_key=False,
    )


def _document() -> Schema:
    return operation(
        "getOpenApi",
        "Get this document",
        "OpenAPI 3.1.",
        tag="Documentation",
        responses=_responses("The document.", {"application/json": {"schema": {"type": "object"}}}),
        needs_key=False,
    )


def _docs() -> Schema:
    return operation(
        "getDocs",
        "Get the documentation",
        "This document in Swagger UI, which can send the requests.",
        tag="Documentation",
        responses=_responses("The page.", {"text/html": _TEXT}),
        needs_key=False,
    )


def _file(name: str, summary: str, tag: str, files: Mapping[str, str]) -> Schema:
    file = {"name": "file", "in": "path", "required": True, "schema": {"type": "string", "enum": sorted(files)}}
    return operation(
        name,
        summary,
        "A script, a style sheet or an icon.",
        tag=tag,
        parameters=[file],
        responses=_responses("The file.", dict.fromkeys(sorted(set(files.values())), _TEXT)),
        problems=[NOT_FOUND],
        needs_key=False,
    )


def _responses(description: str, content: dict[str, Schema]) -> dict[str, Schema]:
    """The responses for content that has an ETag."""
    return {
        "200": response(description, content=content, headers=_HEADERS),
        "304": response("The client has the current content.", headers=_HEADERS),
    }
