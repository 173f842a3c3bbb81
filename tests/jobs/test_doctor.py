"""Doctor: a report in which every part of the installation was really tried."""

from __future__ import annotations

import pytest

from openmarlin.errors import OpenMarlinError
from openmarlin.jobs import doctor as job
from openmarlin.jobs.doctor import doctor


def test_report_on_this_machine() -> None:
    diagnosis = doctor()
    assert diagnosis.ok, diagnosis.text
    for word in ("## Machine", "torch", "openvino", "h264", "face nets", "cosine to fp32"):
        assert word in diagnosis.text
    assert "FAILED" not in diagnosis.text


def test_what_is_broken_is_named_and_the_rest_still_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> str:
        raise OpenMarlinError("net.tflite: wrong sha256")

    monkeypatch.setattr(job, "_CHECKS", {"face nets": broken, "video": job._video})
    diagnosis = doctor()
    assert not diagnosis.ok
    assert "FAILED: OpenMarlinError: net.tflite: wrong sha256" in diagnosis.text
    assert "written and read back" in diagnosis.text
