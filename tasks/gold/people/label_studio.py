"""A project of Label Studio in which people answer, driven over its HTTP interface alone.

A set of questions is a project of its name, a question a task. The texts are shown by the tag
`Text`, which escapes them. What was annotated is read whole at every look, and each annotation has
its number, so that an edit is a later submission of the same person.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import urlsplit
from xml.sax.saxutils import quoteattr

import httpx

from tasks.endpoints.config import is_loopback
from tasks.gold.people.config import LabelStudioConfig
from tasks.gold.people.question import CHOICES, VERDICT, Kind, Question
from tasks.gold.people.submissions import PAGE, Handed
from tasks.settings.errors import ConfigError, one_line

_TASKS_PER_REQUEST = 200


class LabelStudioPage:
    """One project.

    Attributes:
        address: What people open.
        problem: Why it does not answer; empty where it does.
    """

    def __init__(
        self,
        config: LabelStudioConfig,
        name: str,
        kind: Kind,
        questions: Sequence[Question],
        instructions: str,
        quorum: int,
    ) -> None:
        """Take a set of questions; nothing is asked before `take`.

        Args:
            config: Where it is.
            name: The project's.
            kind: What is to be given.
            questions: The tasks.
            instructions: What people are told above each task.
            quorum: After how many annotations a task is not offered any more.
        """
        self._config, self._name, self._kind, self._questions = config, name, kind, questions
        self._instructions, self._quorum = instructions, quorum
        self.address, self.problem = config.url, ""

    def take(self) -> list[Handed]:
        """Make the project and its tasks where they are missing, and return all annotations.

        One that does not answer, or not as it should, returns nothing and has a `problem`.

        Raises:
            ConfigError: The token is missing or refused.
        """
        try:
            with self._client() as client:
                self._sign(client)
                project = self._project(client)
                self.address = f"{self._config.url.rstrip('/')}/projects/{project}/data"
                tasks = _export(client, project)
                self._add_missing(client, project, tasks)
        except httpx.HTTPStatusError as error:
            code = error.response.status_code
            if code in (401, 403):
                raise ConfigError(
                    f"Label Studio at {self._config.url} refuses the token of "
                    f"{self._config.token} ({code}): take one from its page Account & Settings"
                ) from None
            self.problem = f"Label Studio answers {code}: {one_line(error)}"
        except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
            self.problem = f"Label Studio does not answer: {one_line(error)}"
        else:
            return list(annotated(tasks))
        return []

    def _client(self) -> httpx.Client:
        is_here = is_loopback(urlsplit(self._config.url).hostname or "")
        return httpx.Client(
            base_url=self._config.url,
            timeout=self._config.request_seconds,
            trust_env=not is_here,
        )

    def _sign(self, client: httpx.Client) -> None:
        """Let a client in; a personal token is changed for one that holds for some minutes."""
        token = self._config.token_value()
        given = f"Token {token}"
        if token.count(".") == 2:
            access = _json(client.post("/api/token/refresh/", json={"refresh": token}))["access"]
            given = f"Bearer {access}"
        client.headers["Authorization"] = given

    def _project(self, client: httpx.Client) -> int:
        found = _json(client.get("/api/projects/", params={"title": self._name}))["results"]
        same = [one["id"] for one in found if one["title"] == self._name]
        if same:
            return int(min(same))
        about = {
            "title": self._name,
            "label_config": labelling_page(self._kind, self._questions, self._instructions),
            "maximum_annotations": self._quorum,
        }
        return int(_json(client.post("/api/projects/", json=about))["id"])

    def _add_missing(self, client: httpx.Client, project: int, tasks: Sequence[Any]) -> None:
        known = {task["data"].get("id") for task in tasks}
        missing = [
            {"data": {**one.shown(self._kind), "reference": one.reference or ""}}
            for one in self._questions
            if one.id not in known
        ]
        for start in range(0, len(missing), _TASKS_PER_REQUEST):
            part = missing[start : start + _TASKS_PER_REQUEST]
            _json(client.post(f"/api/projects/{project}/import", json=part))


def labelling_page(kind: Kind, questions: Sequence[Question], instructions: str) -> str:
    """Return what a task looks like, in Label Studio's own tags."""
    shown = [f"<Header value={quoteattr(instructions)}/>", _text("prompt")]
    if any(one.reference for one in questions):
        shown += ['<Header value="A reference answer"/>', _text("reference")]
    if kind is VERDICT:
        column = '<View style="flex: 50%; padding: 0 1em"><Header value="{}"/>{}</View>'
        sides = "".join(column.format(f"Answer {name.upper()}", _text(name)) for name in "ab")
        choices = "".join(f'<Choice value="{choice}"/>' for choice in CHOICES)
        attributes = 'toName="prompt" choice="single" showInline="true" required="true"'
        shown += [
            f'<View style="display: flex">{sides}</View>',
            f'<Choices name="{kind.column}" {attributes}>{choices}</Choices>',
        ]
    else:
        shown.append(_area(kind.column, 8, 'required="true"'))
    return "<View>" + "".join([*shown, _area("comment", 2, 'placeholder="Comment"')]) + "</View>"


def annotated(tasks: Sequence[Any]) -> Iterator[Handed]:
    """Yield the annotations of exported tasks, the oldest first; what is malformed says why."""
    found = [(task, one) for task in tasks for one in task["annotations"]]
    for task, one in sorted(found, key=lambda pair: (pair[1]["updated_at"], pair[1]["id"])):
        place, user = f"annotation {one['id']}", one["completed_by"]
        person = f"user-{user['id'] if isinstance(user, dict) else user}"
        try:
            given = {part["from_name"]: _value(part) for part in one["result"]}
        except (KeyError, TypeError, IndexError) as error:
            problem = f"its result is not what the project asks for ({one_line(error)})"
            yield Handed(PAGE, place, None, person, problem)
            continue
        if one["was_cancelled"]:  # skipped, which says nothing
            given = dict.fromkeys(given, "")
        fields = {"response": "", "verdict": "", **given, "id": task["data"].get("id")}
        yield Handed(PAGE, place, fields, person, is_stable=True)


def _value(part: Any) -> str:
    value = part["value"]
    if "choices" in value:
        return str(value["choices"][0])
    texts = value["text"]
    return texts if isinstance(texts, str) else "\n".join(texts)


def _export(client: httpx.Client, project: int) -> list[Any]:
    wanted = {"exportType": "JSON", "download_all_tasks": "true"}
    found = _json(client.get(f"/api/projects/{project}/export", params=wanted))
    if not isinstance(found, list):
        raise ValueError("its export is no list of tasks")
    return found


def _json(response: httpx.Response) -> Any:
    response.raise_for_status()
    return response.json()


def _text(name: str) -> str:
    return f'<Text name="{name}" value="${name}"/>'


def _area(name: str, rows: int, more: str) -> str:
    fixed = f'name="{name}" toName="prompt" rows="{rows}" maxSubmissions="1" editable="true"'
    return f"<TextArea {fixed} {more}/>"
