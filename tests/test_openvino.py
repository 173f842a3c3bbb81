"""OpenVINO shared by threads, and beside signals; in processes of their own."""

from __future__ import annotations

import subprocess
import sys

import pytest

_RACE = """
import sys, threading
import openmarlin.openvino
import openvino as ov
sys.setswitchinterval(1e-6)
gate = threading.Barrier(4)
threads = [threading.Thread(target=lambda: (gate.wait(), ov.Type.f32.to_dtype())) for _ in range(4)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
"""


def test_threads_may_meet_at_their_first_call() -> None:
    """Without the look-up at import, half of these processes wait forever."""
    children = [subprocess.Popen([sys.executable, "-c", _RACE]) for _ in range(4)]
    try:
        assert [child.wait(timeout=120) for child in children] == [0] * 4
    finally:
        for child in children:
            child.kill()


_SIGNAL = """
import os, signal
from openmarlin.model.inference import EncoderRunner
from openmarlin.model.weights import load
encoder = load("tiny", frames=2, image_size=32)
first = EncoderRunner(encoder, backend="openvino")
second = EncoderRunner(encoder, backend="openvino")
del first, second
seen = []
signal.signal(signal.SIGUSR1, lambda *_: seen.append(1))
os.kill(os.getpid(), signal.SIGUSR1)
assert seen
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_signals_arrive_when_encoders_have_come_and_gone() -> None:
    """With a core for each encoder the process dies of the signal."""
    assert subprocess.run([sys.executable, "-c", _SIGNAL], timeout=120, check=False).returncode == 0
