"""The page as people meet it: a server of its own, a real browser, real clips."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

pytest.importorskip("gradio", reason="needs the page: pip install 'openmarlin[serve]'")
pytest.importorskip("selenium", reason="needs selenium, which `make test` installs")

from tests.browser import Browser, user
from tests.media import numbered, write_tones, write_video

MAX_SECONDS, MAX_MB = 8, 1


@dataclass
class Served:
    """A page that is there.

    Attributes:
        address: of it.
        files: the folder in which it keeps all of its files.
        process: of the server.
    """

    address: str
    files: Path
    process: subprocess.Popen[str]

    def clips(self) -> list[str]:
        """Names of clips that lie in sessions."""
        return sorted(path.name for path in self.files.glob("*/sessions/*/in-*/*"))

    def wait_for(self, clips: list[str]) -> None:
        """Wait until these are the clips that lie there."""
        ends_s = time.monotonic() + 60
        while self.clips() != clips and time.monotonic() < ends_s:
            time.sleep(0.2)
        assert self.clips() == clips


@contextmanager
def serve(files: Path) -> Iterator[Served]:
    """The server as a user starts it."""
    command = [sys.executable, "-m", "openmarlin", "serve", "--port", "0", "--workers", "1"]
    limits = ["--max-seconds", str(MAX_SECONDS), "--max-mb", str(MAX_MB)]
    process = subprocess.Popen(
        [*command, *limits],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(files)},
    )
    try:
        assert process.stderr is not None
        line = process.stderr.readline()
        found = re.search(r"http://127\.0\.0\.1:\d+", line)
        assert found is not None, line + process.stderr.read()
        yield Served(found[0], files, process)
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serve(tmp_path_factory.mktemp("files")) as page:
        yield page


@pytest.fixture(scope="module")
def browser(served: Served, clips: Path) -> Iterator[Browser]:
    with user(served.address) as one:
        one.choose(clips / "two_people.mp4")
        yield one


def test_faces_are_measured_and_nobody_else_is_asked(browser: Browser) -> None:
    assert f"{MAX_MB} MB and {MAX_SECONDS} s" in browser.driver.page_source
    browser.run("Measure faces")
    browser.film()
    report = browser.report()
    assert "2 faces" in report
    assert "yaw" in report
    assert "How it was made" not in report
    assert browser.until(lambda: browser.seen(".files a"))
    assert browser.hosts() == {"127.0.0.1"}
    assert "Gradio" not in browser.driver.find_element("tag name", "body").text


def test_reconstruction(browser: Browser) -> None:
    browser.open_tab("Reconstruction")
    browser.run("Reconstruct")
    browser.film()
    assert "1,412 of 1,568 tokens" in browser.driver.page_source


def test_features_of_several_clips(browser: Browser, clips: Path) -> None:
    browser.open_tab("Features")
    browser.upload(clips / "signer_yes.mkv", "input[type=file][multiple]")
    browser.run("Compare")
    report = browser.report()
    assert "2 videos, 3 faces" in report
    assert "Similarity of the faces" in report
    assert browser.top_of("#features") < browser.top_of("#faces")


def test_answers_of_a_task(browser: Browser) -> None:
    browser.open_tab("Expressions and tasks")
    browser.run("Ask the model")
    browser.film()
    assert "surprised" in browser.report()


def test_lip_sync(browser: Browser, clips: Path, tmp_path: Path) -> None:
    browser.open_tab("Lip sync")
    browser.is_refused("Score the clip's own sound", "no sound")
    browser.driver.refresh()  # a new session, without the message
    browser.until(lambda: browser.all("#clip input[type=file]"))
    browser.choose(clips / "face_then_none.mp4")
    browser.open_tab("Lip sync")
    browser.run("Score the clip's own sound")
    assert "No sound while it is seen" in browser.report()
    browser.open_tab("New sound")
    browser.upload(
        write_tones(tmp_path / "voice.wav", [(0.2, 0.8, 300)]), "input[type=file][accept*=audio]"
    )
    browser.run("Make the video")
    browser.film()
    assert "frames drawn" in browser.driver.page_source
    browser.report()


def test_what_is_not_taken_is_said_in_a_line(served: Served, clips: Path, tmp_path: Path) -> None:
    wrong, large = tmp_path / "wrong.mp4", tmp_path / "large.mp4"
    wrong.write_text("not a video <b>at all</b>", encoding="utf-8")
    large.write_bytes(bytes((MAX_MB << 20) + 1))
    long = write_video(tmp_path / "long.mp4", numbered(12 * (MAX_SECONDS + 2)), fps=12)
    with user(served.address) as browser:
        browser.is_refused("Measure faces", "choose a clip first")
        browser.upload(wrong)
        browser.until(lambda: "wrong.mp4: cannot be read as video" in browser.messages())
        browser.upload(long)
        browser.until(lambda: f"this page takes {MAX_SECONDS} s" in browser.messages())
        browser.upload(large)
        browser.until(lambda: "large.mp4" in browser.messages())
        assert "Traceback" not in browser.messages()
        assert not browser.all("#clip video")
        browser.choose(clips / "single_face.mp4")  # and all is well again


def test_cancelled_work_ends_and_the_next_one_runs(served: Served, clips: Path) -> None:
    with user(served.address) as browser:
        browser.choose(clips / "single_face.mp4")
        browser.press("Measure faces")
        browser.until(lambda: browser.button("Cancel"))
        browser.press("Cancel")
        browser.until(lambda: browser.is_idle("Measure faces"))
        assert not browser.seen("iframe.report")
        browser.run("Measure faces")
        assert "1 face" in browser.report()


def test_two_users_do_not_meet_and_leave_nothing(
    clips: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    files = tmp_path_factory.mktemp("files")
    with serve(files) as served:
        with user(served.address) as one, user(served.address, 390, 844) as other:
            one.choose(clips / "single_face.mp4")
            other.choose(clips / "two_people.mp4")
            served.wait_for(["single_face.mp4", "two_people.mp4"])
            for browser in (one, other):
                browser.press("Measure faces")  # there is one worker: one of them waits
            for browser, own, seen in (
                (one, "single_face", "1 face"),
                (other, "two_people", "2 f"),
            ):
                browser.until(lambda browser=browser: browser.is_idle("Measure faces"))
                report = browser.report()
                assert f"{own}.mp4" in report
                assert seen in report
                assert browser.width() <= (1280 if browser is one else 390)
            other.driver.quit()
            served.wait_for(["single_face.mp4"])
        served.wait_for([])
        assert not list(files.glob("*/uploads/*/*"))
        children = psutil.Process(served.process.pid).children(recursive=True)
        served.process.send_signal(signal.SIGTERM)
        assert served.process.wait(60) == 0
        psutil.wait_procs(children, timeout=20)
        assert not [child for child in children if child.is_running()]
        assert not list(files.iterdir())
