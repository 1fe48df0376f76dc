"""Checks that a response is a problem."""

from typing import Any

from tests.handlers.running_api import Answer


def assert_is_problem(answer: Answer, status: int, slug: str, instance: str = "/order") -> dict[str, Any]:
    """Checks the members that every problem has. Returns the problem."""
    assert answer.status == status, answer.body
    assert answer.headers["Content-Type"] == "application/problem+json"
    problem: dict[str, Any] = answer.json
    assert list(problem)[:6] == ["type", "title", "status", "detail", "instance", "request_id"]
    assert problem["type"] == f"/problems/{slug}"
    assert (problem["status"], problem["instance"]) == (status, instance)
    assert problem["title"]
    assert problem["detail"]
    assert problem["request_id"] == answer.headers["X-Request-Id"]
    assert "Server" not in answer.headers
    return problem
