"""`GET /openapi.json`: it is valid and complete, and matches the server."""

import ast
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from handlers.openapi.document import document
from handlers.openapi.problems import schema_name
from handlers.pages.dashboard import read_dashboard
from handlers.pages.docs import FILES
from handlers.problems import problem as problems
from handlers.problems.problem import ProblemType
from models.errors import InvalidOrderError
from models.parsing.order_parser import parse_order
from tests.cases import cases
from tests.handlers.event_stream import open_stream
from tests.handlers.running_api import RunningApi, get_text
from tests.process import ROOT
from tests.sse import EventParser

SHOWN = read_dashboard(has_keys=False).types
DOCUMENT: dict[str, Any] = json.loads(document(version="1.2.3", dashboard_files=SHOWN, has_keys=False))
WITH_KEYS: dict[str, Any] = json.loads(document(version="1.2.3", dashboard_files=SHOWN, has_keys=True))
PATHS: dict[str, dict[str, Any]] = DOCUMENT["paths"]
KINDS = [value for value in vars(problems).values() if isinstance(value, ProblemType)]
ORDER = '{"order_id": 1, "user_id": 1, "item_ids": [1], "total_amount": %s}'


def operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Path, method and description of each operation."""
    for path, item in PATHS.items():
        for method, operation in item.items():
            yield path, method.upper(), operation


def urls(path: str) -> list[str]:
    """The URLs of a path with parameters."""
    files = (FILES if path.startswith("/docs") else SHOWN) if "{file}" in path else [""]
    return [path.format(order_id=12345, file=file) for file in files]


def routes() -> list[str]:
    """The patterns of the URL table, read from its source."""
    tree = ast.parse((ROOT / "handlers" / "routes.py").read_text())
    return [
        str(node.elts[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Tuple) and node.elts and isinstance(node.elts[0], ast.Constant)
        if str(node.elts[0].value).startswith("/")
    ]


def matches(value: Any, schema: dict[str, Any]) -> bool:
    """Whether the value matches a schema of the document."""
    # Imported only here, because the import takes some time, and every pytest process imports this module.
    from openapi_schema_validator import OAS31Validator

    # The references in the schema refer to the components.
    return bool(OAS31Validator(schema | {"components": DOCUMENT["components"]}).is_valid(value))


def test_the_document_is_valid_openapi() -> None:
    from openapi_spec_validator import OpenAPIV31SpecValidator

    # This document has all parts of the document without keys: see the next test.
    OpenAPIV31SpecValidator(WITH_KEYS).validate()
    assert WITH_KEYS["openapi"].startswith("3.1.")


def test_only_the_document_of_a_server_with_keys_requires_them() -> None:
    security: dict[str, Any] = {"security": [{"bearer": []}]}
    schemes = {"securitySchemes": WITH_KEYS["components"]["securitySchemes"]}
    assert DOCUMENT | security | {"components": DOCUMENT["components"] | schemes} == WITH_KEYS
    scheme = WITH_KEYS["components"]["securitySchemes"]["bearer"]
    assert (scheme["type"], scheme["scheme"]) == ("http", "bearer")
    assert "security" not in DOCUMENT
    assert "securitySchemes" not in DOCUMENT["components"]


def test_the_document_has_the_servers_version() -> None:
    assert DOCUMENT["info"]["version"] == "1.2.3"


def test_routes_and_documented_paths_are_the_same() -> None:
    described = [url for path in PATHS for url in urls(path)]
    patterns = routes()
    assert len(patterns) >= len(PATHS)
    assert [pattern for pattern in patterns if not any(re.fullmatch(pattern, url) for url in described)] == []
    assert [url for url in described if not any(re.fullmatch(pattern, url) for pattern in patterns)] == []


@pytest.mark.gen_test
async def test_every_path_allows_exactly_the_documented_methods(api: RunningApi) -> None:
    for path, item in PATHS.items():
        for url in urls(path):
            answer = await api.request("DELETE", url)
            allowed = set(answer.headers["Allow"].split(", "))
            # HEAD is not documented. Paths with GET also allow HEAD, except event streams.
            assert (url, answer.status, allowed - {"HEAD"}) == (url, 405, {method.upper() for method in item})
            assert ("HEAD" in allowed) == ("get" in item and not url.endswith("/events"))


@cases("kind", KINDS)
def test_every_problem_type_is_a_response_of_some_operation(kind: ProblemType) -> None:
    name = f"#/components/schemas/{schema_name(kind)}"
    found = [
        operation["operationId"]
        for _, _, operation in operations()
        if name in json.dumps(operation["responses"].get(str(kind.status), {}))
    ]
    assert found


@pytest.mark.gen_test
async def test_problems_match_their_schemas(api: RunningApi) -> None:
    for kind, answer in [
        (problems.INVALID_ORDER, await api.post(b"{}")),
        (problems.NOT_JSON, await api.post(b"{")),
        (problems.UNSUPPORTED_MEDIA_TYPE, await api.post(b"{}", headers={})),
        (problems.NOT_FOUND, await api.get("/order/1")),
        (problems.METHOD_NOT_ALLOWED, await api.request("PUT", "/order", b"")),
        (problems.INVALID_PARAMETER, await api.request("POST", "/orders/retry", b"")),
        (problems.CROSS_ORIGIN, await api.request("POST", "/orders/retry", b"", {"Sec-Fetch-Site": "cross-site"})),
    ]:
        assert (kind.slug, answer.status) == (kind.slug, kind.status)
        assert matches(json.loads(answer.body), DOCUMENT["components"]["schemas"][schema_name(kind)])


def test_every_operation_has_a_unique_name_a_tag_and_a_description() -> None:
    names = [operation["operationId"] for _, _, operation in operations()]
    assert len(set(names)) == len(names)
    tags = [tag["name"] for tag in DOCUMENT["tags"]]
    assert {tag for _, _, operation in operations() for tag in operation["tags"]} == set(tags)
    assert all(operation["summary"] and operation["description"] for _, _, operation in operations())


def test_every_reference_resolves_and_every_component_is_used() -> None:
    references = set(re.findall(r'"#/components/(\w+/[\w-]+)', json.dumps(DOCUMENT)))
    components = {
        f"{kind}/{name}"
        for kind, named in DOCUMENT["components"].items()
        for name in named
        if kind != "securitySchemes"
    }
    assert components == references


def test_examples_match_their_schemas() -> None:
    examples = [
        (operation["operationId"], media)
        for _, _, operation in operations()
        for content in [operation.get("requestBody", {}), *operation["responses"].values()]
        for name, media in content.get("content", {}).items()
        if "example" in media and name == "application/json"
    ]
    assert len(examples) > 8
    assert [name for name, media in examples if not matches(media["example"], media["schema"])] == []


def test_examples_of_problems_match_their_schemas() -> None:
    schemas = DOCUMENT["components"]["schemas"]
    assert [
        name for kind in KINDS if not matches(schemas[name := schema_name(kind)]["examples"][0], schemas[name])
    ] == []


def test_every_line_of_the_ndjson_example_is_an_order() -> None:
    media = PATHS["/orders"]["post"]["requestBody"]["content"]["application/x-ndjson"]
    assert matches([json.loads(line) for line in media["example"].splitlines()], media["schema"])


def test_the_examples_are_in_the_readme() -> None:
    readme = (ROOT / "README.md").read_text()
    send, look = PATHS["/order"]["post"], PATHS["/order/{order_id}"]["get"]
    for content in (send["requestBody"], send["responses"]["202"]):
        assert json.dumps(content["content"]["application/json"]["example"]) in readme
    for operation in (look, PATHS["/metrics"]["get"]):
        example = operation["responses"]["200"]["content"]["application/json"]["example"]
        assert json.dumps(example, separators=(",", ":")) in readme


@cases(
    "amount",
    [
        *("0", "0.0", "99.99", "9999999999.9999", "1.5", "1", '"0"', '"99.99"', '"1.25000"', '"9999999999.9999"'),
        *("-1", "1e11", "10000000000", "true", "null", "[]", "{}"),
        *('""', '"a"', '" 1"', '"1 "', '"+1"', '"01"', '".5"', '"1."', '"NaN"', '"Infinity"', '"-1"', '"1.23456"'),
        *('"10000000000"', '"1,5"', '"\u0661"'),
    ],
)
def test_the_schema_accepts_the_same_amounts_as_the_server(amount: str) -> None:
    body = (ORDER % amount).encode()
    try:
        parse_order(body)
        is_taken = True
    except InvalidOrderError:
        is_taken = False
    assert matches(json.loads(body), DOCUMENT["components"]["schemas"]["OrderBody"]) == is_taken


@cases("metadata", ["null", "{}", '{"a": 1}', "[]", '"{}"', "0", "false"])
def test_the_schema_accepts_the_same_metadata_as_the_server(metadata: str) -> None:
    body = ORDER.replace("}", f', "metadata": {metadata}}}') % 1
    try:
        parse_order(body.encode())
        is_taken = True
    except InvalidOrderError:
        is_taken = False
    assert matches(json.loads(body), DOCUMENT["components"]["schemas"]["OrderBody"]) == is_taken


@pytest.mark.gen_test
async def test_responses_match_the_document(api: RunningApi) -> None:
    body = (ORDER.replace("}", ', "metadata": {"a": 1}}') % "99.99").encode()
    accepted = await api.post(body)
    order, metrics = await api.get("/order/1"), await api.get("/metrics")
    many = await api.request("POST", "/orders", b"[%b, 1]" % body, {"Content-Type": "application/json"})
    page = await api.get("/orders?limit=1")
    for answer, status, name in [
        (accepted, "202", "/order"),
        (order, "200", "/order/{order_id}"),
        (metrics, "200", "/metrics"),
        (many, "202", "/orders"),
        (page, "200", "/orders"),
    ]:
        item = PATHS[name]
        operation = item["get" if status == "200" else "post"]["responses"][status]
        assert (name, answer.status) == (name, int(status))
        assert matches(json.loads(answer.body), operation["content"]["application/json"]["schema"])
        required = [
            header for header in operation["headers"] if DOCUMENT["components"]["headers"][header].get("required")
        ]
        assert [header for header in required if header not in answer.headers] == []


@pytest.mark.gen_test
async def test_events_match_the_document(api: RunningApi) -> None:
    for path, known in (("/orders/events", {"order"}), ("/metrics/events", {"history", "metrics", "point", "storage"})):
        media = PATHS[path]["get"]["responses"]["200"]["content"]["text/event-stream"]
        data = {
            each["properties"]["event"]["const"]: each["properties"]["data"]["contentSchema"]
            for each in media["schema"]["oneOf"]
        }
        [example] = EventParser().feed(media["example"].encode())
        async with open_stream(api.port, get_text(path)) as stream:
            await api.post((ORDER % 1).encode())
            status = await api.orders.storage_status()
            for seconds in range(3):
                api.monotonic_s += seconds
                api.metric_events.publish(await api.orders.totals(), status)
            api.metric_events.publish(None, status)
            messages = {example.type: example}
            while not messages.keys() >= known:
                message = await stream.next()
                messages[message.type] = message
        assert known <= data.keys()
        assert [name for name, message in messages.items() if not matches(message.json, data[name])] == []
        await api.request("POST", "/order/1/cancel")


@pytest.mark.gen_test
async def test_an_unchanged_document_is_answered_with_304(api: RunningApi) -> None:
    first = await api.get("/openapi.json")
    assert (first.status, first.headers["Content-Type"]) == (200, "application/json")
    assert first.body == document(version="1.2.3", dashboard_files=SHOWN, has_keys=False)
    again = await api.get("/openapi.json", headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status, again.body, again.headers["ETag"]) == (304, b"", first.headers["ETag"])
    head = await api.request("HEAD", "/openapi.json")
    assert (head.status, head.headers["Content-Length"], head.body) == (200, str(len(first.body)), b"")


def test_pages_and_probes_need_no_key_and_probes_have_no_rate_limit() -> None:
    described = {path: operation for path, item in DOCUMENT["paths"].items() for operation in item.values()}
    is_open = {path for path, operation in described.items() if operation.get("security") == []}
    probes = {"/livez", "/readyz"}
    assert is_open == probes | {"/", "/dashboard/{file}", "/docs", "/docs/{file}", "/openapi.json"}
    assert {path for path, operation in described.items() if "401" not in operation["responses"]} == is_open
    assert {path for path, operation in described.items() if "429" not in operation["responses"]} == probes
