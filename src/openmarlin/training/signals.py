"""Signals that ask a training to end in order."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def stop_signals() -> Iterator[threading.Event]:
    """The event is set by SIGTERM or Ctrl-C; a second Ctrl-C interrupts at once.

    Handlers are as before afterwards. Only the main thread may set them: elsewhere signals are
    left to it, and the event stays unset.
    """
    event = threading.Event()

    def handle(number: int, _frame: Any) -> None:
        if event.is_set() and number == signal.SIGINT:
            raise KeyboardInterrupt
        event.set()

    if threading.current_thread() is not threading.main_thread():
        yield event
        return
    before = {number: signal.signal(number, handle) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield event
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
