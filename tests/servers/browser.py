"""A real Chromium that tests look through: clicks, reads what a person sees, takes screenshots."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from selenium.common.exceptions import WebDriverException
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By

_FLAGS = (
    "--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-sync"
    " --disable-background-networking --disable-component-update --disable-dev-shm-usage"
    " --force-color-profile=srgb --hide-scrollbars"
).split()


@dataclass
class Browser:
    """One window."""

    driver: Chrome
    """Selenium's own handle, for what is not here."""
    shots: Path
    """Where screenshots go."""

    def open(self, url: str) -> None:
        """Go to a page."""
        self.driver.get(url)

    @property
    def text(self) -> str:
        """What the page says now."""
        return str(self.driver.find_element(By.TAG_NAME, "body").text)

    def wait_for(self, text: str, seconds: float = 60.0) -> str:
        """Wait until the page says `text`; return all it says."""
        self.until(lambda: text in self.text, seconds, lambda: f"no {text!r} in\n{self.text}")
        return self.text

    def click(self, text: str, tag: str = "*", seconds: float = 30.0) -> None:
        """Click the innermost visible element whose own text is `text`."""
        path = f"//{tag}[normalize-space(.)={_quoted(text)}]"

        def try_click() -> bool:
            found = [one for one in self.driver.find_elements(By.XPATH, path) if one.is_displayed()]
            if not found:
                return False
            found[-1].click()
            return True

        self.until(try_click, seconds, lambda: f"nothing to click called {text!r}\n{self.text}")

    def links(self) -> dict[str, str]:
        """Return the page's links: address by text."""
        return {
            one.text.strip(): str(one.get_attribute("href"))
            for one in self.driver.find_elements(By.TAG_NAME, "a")
            if one.text.strip()
        }

    def shot(self, name: str) -> Path:
        """Keep what the window shows as NAME.png."""
        self.shots.mkdir(parents=True, exist_ok=True)
        path = self.shots / f"{name}.png"
        self.driver.save_screenshot(str(path))
        return path

    def until(
        self, condition: Callable[[], bool], seconds: float, complaint: Callable[[], str]
    ) -> None:
        """Wait for a condition; a page that is redrawn meanwhile is asked again."""
        end = time.monotonic() + seconds
        while True:
            try:
                if condition():
                    return
            except WebDriverException:
                pass
            assert time.monotonic() < end, complaint()
            time.sleep(0.2)


@contextmanager
def browse(chromium: str, folder: Path, size: tuple[int, int] = (1500, 1000)) -> Iterator[Browser]:
    """Open a window.

    Args:
        chromium: The program, as the fixture `chromium` gives it.
        folder: For its profile; screenshots go to SPARRING_SHOTS, or there too.
        size: Of the window, pixels.
    """
    options = ChromeOptions()
    options.binary_location = chromium
    for flag in (
        *_FLAGS,
        f"--user-data-dir={folder}/profile",
        f"--window-size={size[0]},{size[1]}",
    ):
        options.add_argument(flag)
    driver = Chrome(options=options, service=Service("/usr/bin/chromedriver"))
    try:
        yield Browser(driver, Path(os.environ.get("SPARRING_SHOTS") or folder / "shots"))
    finally:
        driver.quit()


def _quoted(text: str) -> str:
    return f'"{text}"' if "'" in text else f"'{text}'"
