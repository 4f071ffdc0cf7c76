"""The heat-map's page: escaped, apart in colour, and readable by a finger on a phone."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks.evaluation.report.heat_map import (
    HeatMap,
    ShownPair,
    ShownResponse,
    ShownToken,
    colour,
    limit_of,
    render_heat_map,
)
from tests.servers.browser import browse

BAD = '"><script>alert(1)</script>'


def page(text: str = " fox", prompt: str = "user: what?") -> str:
    tokens = [ShownToken(text, 0.5), ShownToken(" stupid", -1.25, 1.0), ShownToken("", 0.0)]
    response = ShownResponse("Better", -1.25, 0.25, tokens)
    return render_heat_map("Rewards of tokens", [ShownPair(prompt, [response])], ["a < b"])


def test_texts_are_escaped_and_nothing_is_loaded() -> None:
    found = page(BAD, BAD)
    assert "<script" not in found and found.count("&lt;script&gt;") == 3
    assert "a &lt; b" in found and "default-src 'none'" in found
    assert "http" not in found.replace("http-equiv", "")


def test_each_token_says_its_reward_and_its_penalty() -> None:
    found = page()
    assert 'data-v="“fox”: +0.500"' in found and "the prompt's end: +0.250" in found
    assert "“stupid”: -1.250 · the oracle takes 1.00" in found
    assert "Underlined" in found and ">·</span>" in found and "score -1.250" in found


def test_colours_diverge_from_white_and_one_outlier_pales_nothing() -> None:
    assert colour(0, 1) == "#ffffff"
    assert colour(1, 1) == colour(9, 1) != colour(0.5, 1) != colour(-0.5, 1)
    assert limit_of([0.01 * n for n in range(100)] + [50.0]) < 1
    assert limit_of([]) == limit_of([0.0]) == 1


def test_what_is_not_shown_still_makes_the_scale() -> None:
    responses = [
        [ShownResponse("Better", 0.0, 0.0, [ShownToken(f"t{size}", size)])] for size in (1.0, 4.0)
    ]
    found = HeatMap("", [ShownPair("", one) for one in responses], most=1)
    assert [pair.responses for pair in found.shown] == responses[:1] and found.limit == 4


@pytest.mark.real
def test_a_finger_reads_a_token_on_a_phone(chromium: str, tmp_path: Path) -> None:
    """No text is wider than the window, and what is tapped says its number at the bottom."""
    file = tmp_path / "heat-map.html"
    file.write_text(page("unbroken" * 30, "word " * 60))
    with browse(chromium, tmp_path, size=(500, 844)) as browser:
        browser.open(file.as_uri())
        width = browser.driver.execute_script("return document.documentElement.scrollWidth")
        assert width <= browser.driver.execute_script("return window.innerWidth")
        browser.click("stupid", tag="span")
        shown = browser.driver.execute_script(
            "return getComputedStyle(document.activeElement, '::after').content"
        )
        assert "-1.250" in shown
        browser.shot("heat-map")
