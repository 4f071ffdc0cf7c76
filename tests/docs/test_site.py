"""The site is built without a warning, reads nothing from elsewhere, and leads nowhere in vain."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from typer.main import get_command

from flows.cli.main import app
from flows.registry import CONFIGS, FLOWS
from tests.docs.pages import ROOT


def build(
    target: Path, config: Path = ROOT / "infra/mkdocs.yml"
) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-m", "mkdocs", "build", "--strict"]
    words += ["-f", str(config), "-d", str(target)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    return subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site."""
    target = tmp_path_factory.mktemp("site")
    done = build(target)
    assert done.returncode == 0, done.stdout + done.stderr
    return target


class Page(HTMLParser):
    """What a built page refers to, and the places in it that can be referred to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.links: list[str] = []
        self.ids: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attributes}
        self.ids |= {given[name] for name in ("id", "name") if name in given}
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        elif tag == "link" and given.get("rel") not in ("canonical", "prev", "next"):
            self.loaded.append(given.get("href", ""))
        elif "src" in given:
            self.loaded.append(given["src"])


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Page]:
    return {path: Page(path.read_text("utf-8")) for path in site.rglob("*.html")}


def test_a_reader_needs_no_network(site: Path, pages: dict[Path, Page]) -> None:
    assert len(pages) > 30
    loaded = {one for page in pages.values() for one in page.loaded}
    assert not [one for one in loaded if urlsplit(one).scheme not in ("", "data")]
    sheets = [path.read_text("utf-8") for path in site.rglob("*.css")]
    assert sheets and not [text for text in sheets if "url(http" in text or "@import" in text]


def broken_links(site: Path, pages: dict[Path, Page]) -> Iterator[str]:
    for path, page in pages.items():
        for link in [*page.links, *page.loaded]:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc or path.name == "404.html":
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            target = target / "index.html" if (target / "index.html").exists() else target
            anchor = unquote(parts.fragment)
            if not target.exists():
                yield f"{path.relative_to(site)}: {link}"
            elif anchor and target in pages and anchor not in pages[target].ids:
                yield f"{path.relative_to(site)}: no place {link}"


def test_every_link_leads_somewhere(site: Path, pages: dict[Path, Page]) -> None:
    assert not list(broken_links(site, pages))


def test_a_broken_link_is_found(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/index.md").write_text("# A\n\n[nowhere](no-such-page.md)\n")
    (tmp_path / "mkdocs.yml").write_text("site_name: A\ntheme: {name: material, font: false}\n")
    done = build(tmp_path / "site", tmp_path / "mkdocs.yml")
    assert done.returncode != 0 and "no-such-page.md" in done.stdout + done.stderr


def test_the_search_finds_keys_commands_and_losses(site: Path) -> None:
    entries = json.loads((site / "search/search_index.json").read_text("utf-8"))["docs"]
    texts = " ".join(f"{one['location']} {one['title']} {one['text']}" for one in entries)
    for word in ("micro_batch_tokens", "--create-pool", "exo_pref", "win_rate/OPPONENT/JUDGE"):
        assert word in texts, word


# What is made from the code


def test_every_key_is_described() -> None:
    from docs.keys_page import keys_page, sections_of

    for name, entry in FLOWS.items():
        page = keys_page(name)
        for model, paths in sections_of(entry.config_class()).items():
            for key, field in model.model_fields.items():
                where = f"{name}: {paths[0]}.{key}"
                assert field.description, f"{where} has no docstring"
                assert f"\n`{key}` {{ #" in page, where
    assert "default: `1e-06`" in keys_page("apo") and "at least 1" in keys_page("apo")


def test_every_command_and_every_option_is_described(site: Path) -> None:
    page = (site / "reference/commands.html").read_text("utf-8")
    group: Any = get_command(app)
    for name, command in group.commands.items():
        assert f'<h2 id="{name}">' in page
        for one in command.params:
            assert one.param_type_name == "argument" or one.opts[-1] in page, f"{name} {one.opts}"
            assert one.hidden or one.help, f"{name} {one.name} has no help"


def test_every_ready_configuration_is_shown(site: Path) -> None:
    page = (site / "reference/configurations.html").read_text("utf-8")
    assert not [path.stem for path in CONFIGS.glob("*.yaml") if f'id="{path.stem}"' not in page]


@pytest.mark.real
def test_the_search_works_in_a_page_that_is_opened_as_a_file(
    site: Path, chromium: str, tmp_path: Path
) -> None:
    from tests.servers.browser import browse

    with browse(chromium, tmp_path) as window:
        window.open((site / "index.html").as_uri())
        asked = (
            "const field = document.querySelector('.md-search__input'); field.focus();"
            "field.value = 'micro_batch_tokens'; field.dispatchEvent(new Event('keyup'));"
        )
        found = "return document.querySelector('.md-search-result').innerText"

        def is_found() -> bool:
            window.driver.execute_script(asked)
            return "Keys of" in window.driver.execute_script(found)

        window.until(is_found, 60.0, lambda: str(window.driver.execute_script(found)))


@pytest.mark.real
def test_no_page_is_wider_than_a_phone(site: Path, chromium: str, tmp_path: Path) -> None:
    from tests.servers.browser import browse

    with browse(chromium, tmp_path, (500, 900)) as window:
        # A window has a least width of its own; a page of a phone is shown in a frame.
        window.driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True},
        )
        wide = "return document.documentElement.scrollWidth"
        for path in sorted(site.rglob("*.html")):
            window.open(path.as_uri())
            assert window.driver.execute_script(wide) <= 390, path.relative_to(site)
