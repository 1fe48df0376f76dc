"""Tests the text of the report: its words for each kind of run, and escaping."""

import base64
import hashlib
import re
from html import unescape
from typing import Any

from load.report.page import Tone, render, verdict_of
from tests.cases import cases
from tests.load import sample_results as results

EVERY_KIND = [
    results.closed_loop,
    results.open_loop_with_a_stall,
    results.failed,
    results.with_wrong_202,
    results.interrupted,
    results.unanswered,
    results.single,
]
SCRIPT = re.compile(rb"<script>(.*?)</script>", re.DOTALL)


def page_of(result: dict[str, Any]) -> str:
    return render(result).decode()


@cases(
    ("result", "tone", "title"),
    [
        (results.closed_loop(), Tone.GOOD, "Passed: nothing lost"),
        (results.failed(), Tone.BAD, "Failed: 3 LOST, 2 DIFFERENT, 1 not processed"),
        (results.unanswered(), Tone.BAD, "Failed: nothing was accepted"),
        (results.interrupted(), Tone.UNSURE, "Interrupted: not checked"),
        (
            results.failed() | {"interrupted": True},
            Tone.BAD,
            "Interrupted: 3 LOST, 2 DIFFERENT, 1 not processed",
        ),
        (results.closed_loop(read_back=None, passed=False), Tone.BAD, "Failed: not all could be checked"),
        (
            results.closed_loop(passed=False, read_back=results.read_back(9, lost_ids=[1], unread={"2": "status 500"})),
            Tone.BAD,
            "Failed: 1 LOST, 1 not readable",
        ),
        (results.with_wrong_202(), Tone.BAD, "Failed: 5 with a wrong 202"),
        (
            results.with_wrong_202(accepted=0, read_back=results.read_back(0)),
            Tone.BAD,
            "Failed: 5 with a wrong 202",
        ),
    ],
)
def test_the_page_says_first_whether_the_run_passed(result: dict[str, Any], tone: Tone, title: str) -> None:
    verdict = verdict_of(result)
    assert (verdict.tone, verdict.title) == (tone, title)


def test_the_verdict_says_what_was_read_back_and_what_was_never_acknowledged() -> None:
    assert list(verdict_of(results.failed()).lines) == [
        results.failed()["read_back"]["summary"],
        "Not acknowledged, so nothing was promised: 1,883 refused, 12 without a valid answer.",
    ]
    assert list(verdict_of(results.interrupted()).lines) == [
        "It is not known whether one of 12,000 acknowledged orders was lost: none was read.",
        "Not acknowledged, so nothing was promised: 37,936 not sent.",
    ]


def test_an_interrupted_read_back_says_how_many_orders_were_checked() -> None:
    read_back = results.read_back(7_064, read=7_000, is_complete=False)
    verdict = verdict_of(results.interrupted(read_back=read_back))
    assert (verdict.tone, verdict.title) == (Tone.UNSURE, "Interrupted: not all checked")
    assert verdict.lines[0] == "Read back 7000 of 7064 acknowledged orders so far: none lost, none different."


@cases(
    ("read_back", "words"),
    [
        (
            results.read_back(9, read=8, lost_ids=[1]),
            "Read back 8 of 9 acknowledged orders: 1 LOST (1), none different, all p",
        ),
        (
            results.read_back(1, read=0, lost_ids=[1], statuses={}),
            "Read back 0 of 1 acknowledged orders: 1 LOST (1), none diff",
        ),
        (
            results.read_back(9, read=8, unread={"2": "status 500"}),
            "Read back 8 of 9 acknowledged orders: 1 COULD NOT BE READ (2: status 500), of the others none lost, "
            "none different, all p",
        ),
        (
            results.read_back(1, read=0, unread={"2": "status 500"}, statuses={}),
            "Read back 0 of 1 acknowledged orders: 1 COULD NOT BE READ (2: status 500).",
        ),
    ],
)
def test_the_page_describes_the_read_back_as_the_terminal_does(read_back: dict[str, Any], words: str) -> None:
    line = verdict_of(results.closed_loop(accepted=9, passed=False, read_back=read_back)).lines[0]
    assert line.startswith(words)
    assert ("all processed" in line) is (read_back["read"] > 0)


def test_a_wrong_202_is_named_and_not_counted_as_an_error() -> None:
    verdict = verdict_of(results.with_wrong_202())
    assert not any("nothing was promised" in line for line in verdict.lines)
    page = page_of(results.with_wrong_202())
    assert re.search(r"Wrong 202</th>\s*<td>\s*<data value=\"5\"", page)
    assert re.search(r"a 202 that names no order</th>\s*<td>\s*<data value=\"1\"", page)


def test_a_server_s_texts_are_escaped_and_cut() -> None:
    lost = results.read_back(1, different={"1": "\x1b[2J" + "x" * 900}, statuses={"\x1b": 1})
    page = page_of(results.closed_loop(read_back=lost, passed=False))
    assert "\x1b" not in page
    assert r"1: \x1b[2Jxxx" in page
    assert "x" * 201 not in page


def test_of_many_lost_orders_the_first_are_named_and_the_rest_counted() -> None:
    read_back = results.read_back(5_000, lost_ids=list(range(1_300)))
    [line] = verdict_of(results.closed_loop(read_back=read_back)).lines
    assert "1300 LOST (0; 1; 2; 3; 4; and 1295 more)" in line


def test_the_notes_are_shown_unchanged() -> None:
    def notices(result: dict[str, Any]) -> list[str]:
        page, _, _ = page_of(result).partition("<noscript>")
        return [unescape(each) for each in re.findall(r'<p class="notice">(.*?)</p>', page)]

    assert notices(results.closed_loop()) == []
    assert notices(results.failed()) == results.failed()["notes"] != []
    assert "<b>no</b>" not in page_of(results.failed())


@cases("make", EVERY_KIND)
def test_no_text_of_a_run_becomes_markup(make: Any) -> None:
    evil = "</script><script>alert(1)</script><!--\"'&"
    page = page_of(
        make()
        | {
            "url": f"http://{evil}",
            "replay": evil,
            "refused_by_status": {evil: 1},
            "errors_by_reason": {evil: 7},
            "machine": {evil: evil},
            "read_back": results.read_back(1, different={"1": evil}, statuses={evil: 1}),
        }
    )
    assert "alert(1)" in page
    assert "<script>alert" not in page
    assert "<!--" not in page
    assert page.count("<script") == page.count("</script>") == 3


def test_the_policy_allows_only_the_scripts_and_the_style_of_the_page_by_hash() -> None:
    page = render(results.closed_loop())
    hashes = [base64.b64encode(hashlib.sha256(script).digest()).decode() for script in SCRIPT.findall(page)]
    assert len(hashes) == 2
    [style] = re.findall(rb"<style>(.*?)</style>", page, re.DOTALL)
    style_hash = base64.b64encode(hashlib.sha256(style).digest()).decode()
    policy = re.search(rb'Content-Security-Policy" content="([^"]*)"', page)
    assert policy is not None
    assert policy[1].decode().replace("&#x27;", "'").replace("&#39;", "'").split("; ") == [
        "default-src 'none'",
        f"script-src 'sha256-{hashes[0]}' 'sha256-{hashes[1]}'",
        f"style-src 'sha256-{style_hash}'",
        "base-uri 'none'",
        "form-action 'none'",
    ]


def test_the_page_refers_to_nothing_outside_it() -> None:
    page = page_of(results.closed_loop(url="http://127.0.0.1:8080"))
    assert re.findall(r"(?:src|href)=|url\(|@import", page) == []
    assert set(re.findall(r"https?://[^\s<\"]+", page)) == {"http://127.0.0.1:8080"}


def test_the_open_loop_shows_latencies_from_due_and_from_sending_side_by_side() -> None:
    page = page_of(results.open_loop_with_a_stall())
    [row] = re.findall(r'<th scope="row">p99</th>(.*?)</tr>', page, re.DOTALL)
    assert re.findall(r"<data value=\"(.*?)\" data-field=\"(.*?)\">(.*?)<", row) == [
        ("712.660133", "latency_p99_ms", "713"),
        ("318.907166", "sending_latency_p99_ms", "319"),
    ]
    assert "sending_latency" not in page_of(results.closed_loop()).split('id="data"')[0]


def test_the_page_says_that_the_warm_up_does_not_count() -> None:
    page = page_of(results.open_loop_with_a_stall(warm_up_s=2.5))
    assert "Counted from the end of the warm-up." in page
    assert '<p class="note">from the end of the warm-up</p>' in page
    assert page.count("The first 2.5 s are the warm-up, which does not count.") == 2
    assert "<code>--warm-up</code></dt><dd>2.5</dd>" in page
    assert "warm-up" not in page_of(results.open_loop_with_a_stall())


def test_an_unknown_number_is_a_dash() -> None:
    page = page_of(results.interrupted())
    assert '<span class="unknown" data-field="all_processed_after_s">–</span>' in page  # noqa: RUF001 - the dash that the page shows
    assert "None" not in page


def test_a_run_without_answers_has_a_text_instead_of_charts() -> None:
    page = page_of(results.unanswered())
    assert page.count("There is nothing to draw.") == 4
    assert 'class="plot"' not in page
