"""A headless Chromium that looks at the page of `openmarlin serve`."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement

_PATIENCE_S = 120.0  # a busy machine is no bug
_FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--hide-scrollbars",
    "--autoplay-policy=no-user-gesture-required",
)


class Browser:
    """One user.

    Args:
        driver: of the browser.
        address: of the page.
    """

    def __init__(self, driver: webdriver.Chrome, address: str) -> None:
        self.driver = driver
        driver.get(address)
        self.until(lambda: self.all("#clip input[type=file]"))

    def all(self, css: str) -> list[WebElement]:
        """Elements, seen or not."""
        return self.driver.find_elements(By.CSS_SELECTOR, css)

    def seen(self, css: str) -> list[WebElement]:
        """Elements that can be seen."""
        return [element for element in self.all(css) if element.is_displayed()]

    def until(self, holds: Callable[[], Any]) -> Any:
        """Wait for something to be so; what it then is."""
        ends_s = time.monotonic() + _PATIENCE_S
        while time.monotonic() < ends_s:
            try:
                if answer := holds():
                    return answer
            except StaleElementReferenceException:
                pass  # the page was redrawn meanwhile
            time.sleep(0.2)
        raise AssertionError(f"waited in vain; the page says: {self.messages()}")

    def upload(self, path: Path, css: str = "#clip input[type=file]") -> None:
        """Put a file into a component."""
        self.until(lambda: self.all(css))[0].send_keys(str(path))

    def choose(self, clip: Path) -> None:
        """Put a clip in, and wait until the page has taken it over."""
        self.upload(clip)
        self.until(lambda: any("/sessions/" in source for source in self.sources("#clip video")))

    def sources(self, css: str) -> list[str]:
        """Addresses of what videos play."""
        return [element.get_attribute("src") or "" for element in self.all(css)]

    def open_tab(self, name: str) -> None:
        """Open a tab, which may hide in the menu of a narrow page."""
        for tab in self.seen("button[role=tab]"):
            if tab.text.strip() == name:
                tab.click()
                return
        self.seen(".overflow-menu > button")[0].click()
        self.until(lambda: [b for b in self.seen(".overflow-dropdown button") if b.text == name])[
            0
        ].click()

    def button(self, name: str) -> WebElement | None:
        """A button that can be seen."""
        return next((b for b in self.seen("button") if b.text.strip() == name), None)

    def press(self, name: str) -> None:
        """Press a button as soon as it can be."""
        self.until(lambda: (found := self.button(name)) and found.is_enabled() and found).click()

    def run(self, name: str) -> None:
        """Press a button that begins work, and wait until the work is over."""
        self.press(name)
        self.until(lambda: self.button("Cancel"))
        self.until(lambda: self.is_idle(name))

    def is_refused(self, name: str, message: str) -> None:
        """Press a button, wait for the message, and for the button to be of use again."""
        self.press(name)
        self.until(lambda: message in self.messages())
        self.until(lambda: self.is_idle(name))

    def is_idle(self, name: str) -> bool:
        """Whether work may be begun by a button."""
        found = self.button(name)
        return found is not None and found.is_enabled() and self.button("Cancel") is None

    def messages(self) -> str:
        """What the page complains about."""
        return "\n".join(element.text for element in self.all(".toast-body"))

    def film(self) -> WebElement:
        """The result that plays."""
        return self.until(
            lambda: [
                video
                for video in self.seen(".film video")
                if self.driver.execute_script("return arguments[0].readyState", video) >= 2
            ]
        )[0]

    def report(self) -> str:
        """The text of the report that is shown, which is as high as it needs to be."""
        frame = self.until(lambda: self.seen("iframe.report"))[0]
        script = "return arguments[0].contentDocument.body.innerText"
        text = str(self.until(lambda: self.driver.execute_script(script, frame)))
        self.until(lambda: frame.size["height"] > 400)
        return text

    def top_of(self, css: str) -> float:
        """Where something begins in the report that is shown, pixels."""
        script = (
            "return arguments[0].contentDocument.querySelector(arguments[1])"
            ".getBoundingClientRect().top"
        )
        return float(self.driver.execute_script(script, self.seen("iframe.report")[0], css))

    def width(self) -> int:
        """Of all that can be scrolled to, pixels."""
        return int(self.driver.execute_script("return document.documentElement.scrollWidth"))

    def hosts(self) -> set[str]:
        """Whom the page has asked for anything."""
        messages = [json.loads(entry["message"]) for entry in self.driver.get_log("performance")]
        sent = [
            message["message"]["params"]
            for message in messages
            if message["message"]["method"]
            in ("Network.requestWillBeSent", "Network.webSocketCreated")
        ]
        addresses = [urlsplit(one.get("url") or one["request"]["url"]) for one in sent]
        return {place.hostname or "" for place in addresses if place.scheme not in ("data", "blob")}


@contextmanager
def user(address: str, width: int = 1280, height: int = 900) -> Iterator[Browser]:
    """A user with a browser of a width; the test is skipped where there is no Chromium."""
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or driver is None:
        pytest.skip("needs a browser: apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in (*_FLAGS, f"--window-size={width},{height}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"performance": "ALL"})
    browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    try:
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        yield Browser(browser, address)
    finally:
        browser.quit()
