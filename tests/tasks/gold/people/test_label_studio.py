"""Label Studio's answers as they may come: read, named where they are malformed, never believed."""

from __future__ import annotations

import xml.etree.ElementTree as tree
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tasks.gold.people.config import LabelStudioConfig
from tasks.gold.people.label_studio import LabelStudioPage, annotated, labelling_page
from tasks.gold.people.question import RESPONSE, VERDICT, Question
from tasks.settings.errors import ConfigError

QUESTIONS = [Question("q", "What is tea?"), Question("r", "Why?")]
Answer = Callable[[httpx.Request], httpx.Response]


def annotation(number: int, value: Any, at: str = "2026-01-01", **more: Any) -> dict[str, Any]:
    part = {"from_name": "response", "value": value}
    usual = {"id": number, "completed_by": 7, "was_cancelled": False, "updated_at": at}
    return {**usual, "result": [part], **more}


def task(identity: str, *annotations: dict[str, Any]) -> dict[str, Any]:
    return {"id": 1, "data": {"id": identity}, "annotations": list(annotations)}


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch) -> Callable[[Answer], LabelStudioPage]:
    """Make a page whose Label Studio answers as a function says."""
    monkeypatch.setenv("LABEL_STUDIO_TOKEN", "secret-token")

    def make(answer: Answer) -> LabelStudioPage:
        real = httpx.Client

        def client(**words: Any) -> httpx.Client:
            return real(transport=httpx.MockTransport(answer), **words)

        monkeypatch.setattr("tasks.gold.people.label_studio.httpx.Client", client)
        return LabelStudioPage(LabelStudioConfig(), "gold-1", RESPONSE, QUESTIONS, "Do.", 2)

    return make


def test_only_what_is_missing_is_made(page: Callable[[Answer], LabelStudioPage]) -> None:
    sent: list[tuple[str, str]] = []
    exported = [task("q", annotation(1, {"text": ["A drink."]}))]

    def answer(request: httpx.Request) -> httpx.Response:
        sent.append((request.method, request.url.path))
        assert request.headers["Authorization"] == "Token secret-token"
        if request.url.path == "/api/projects/":
            results = [{"id": 4, "title": "gold-12"}, {"id": 5, "title": "gold-1"}]
            return httpx.Response(200, json={"results": results})
        if request.method == "POST":
            assert b'"r"' in request.content and b'"q"' not in request.content
            return httpx.Response(201, json={})
        return httpx.Response(200, json=exported)

    one = page(answer)
    (found,) = one.take()
    assert found.fields is not None and found.fields["response"] == "A drink."
    assert (found.place, found.person, found.is_stable) == ("annotation 1", "user-7", True)
    assert one.address == "http://127.0.0.1:8080/projects/5/data" and not one.problem
    assert sent == [
        ("GET", "/api/projects/"),
        ("GET", "/api/projects/5/export"),
        ("POST", "/api/projects/5/import"),
    ]


def test_a_personal_token_is_changed_for_one_of_some_minutes(
    page: Callable[[Answer], LabelStudioPage], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LABEL_STUDIO_TOKEN", "head.body.seal")
    seen: list[str | None] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request.headers.get("Authorization"))
        if request.url.path == "/api/token/refresh/":
            return httpx.Response(200, json={"access": "short"})
        return httpx.Response(500)

    page(answer).take()
    assert seen == [None, "Bearer short"]


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (httpx.Response(502, text="<html>"), "Label Studio answers 502"),
        (httpx.Response(200, text="<html>hello</html>"), "Label Studio does not answer"),
        (httpx.Response(200, json={"results": [{"title": "gold-1"}]}), "does not answer"),
        (httpx.Response(200, json=[]), "does not answer"),
        (httpx.Response(302, headers={"location": "https://other.example"}), "answers 302"),
    ],
)
def test_what_makes_no_sense_is_a_problem_that_is_told(
    answer: httpx.Response, problem: str, page: Callable[[Answer], LabelStudioPage]
) -> None:
    def reply(request: httpx.Request) -> httpx.Response:
        assert request.url.host == "127.0.0.1", "the token goes nowhere else"
        return answer

    one = page(reply)
    assert one.take() == [] and problem in one.problem


def test_a_refused_token_stops_and_is_not_shown(page: Callable[[Answer], LabelStudioPage]) -> None:
    with pytest.raises(ConfigError, match=r"refuses the token of LABEL_STUDIO_TOKEN \(401\)") as no:
        page(lambda request: httpx.Response(401)).take()
    assert "secret-token" not in str(no.value)


def test_the_token_is_wanted_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LABEL_STUDIO_TOKEN", raising=False)
    with pytest.raises(ConfigError, match="LABEL_STUDIO_TOKEN is not set"):
        LabelStudioConfig().token_value()
    for url in ("http://studio.example", "ftp://127.0.0.1", "https://me:secret@studio.example"):
        with pytest.raises(ValueError):
            LabelStudioConfig(url=url)
    with pytest.raises(ValueError):
        LabelStudioConfig(token="AWS_SECRET_ACCESS_KEY")


def test_annotations_come_in_the_order_of_their_times_and_malformed_ones_are_named() -> None:
    tasks = [
        task(
            "q", annotation(2, {"text": "later"}, "2026-01-02"), annotation(1, {"text": ["a", "b"]})
        ),
        task("r", annotation(3, {}, "2026-01-03"), annotation(4, {"choices": []}, "2026-01-04")),
        task("r", annotation(5, {"text": ["x"]}, "2026-01-05", was_cancelled=True)),
    ]
    found = list(annotated(tasks))
    assert [one.place for one in found] == [f"annotation {n}" for n in (1, 2, 3, 4, 5)]
    texts = [one.fields and one.fields["response"] for one in found]
    assert texts == ["a\nb", "later", None, None, ""]
    assert all("its result is not what the project asks for" in one.problem for one in found[2:4])


def test_the_page_is_of_tags_that_escape_and_instructions_are_text() -> None:
    told = '<b>"Say" A & B</b>'
    for kind, names in ((RESPONSE, ["prompt"]), (VERDICT, ["prompt", "a", "b"])):
        root = tree.fromstring(labelling_page(kind, QUESTIONS, told))
        assert root[0].get("value") == told
        assert [one.get("name") for one in root.iter("Text")] == names
        assert {one.tag for one in root.iter()} <= {
            "View", "Header", "Text", "TextArea", "Choices", "Choice",
        }  # fmt: skip
