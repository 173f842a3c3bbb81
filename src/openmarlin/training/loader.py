"""Batches, prepared by worker processes while the device computes."""

from __future__ import annotations

import os
import signal
from collections.abc import Generator, Iterable
from typing import Any

import cv2
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from openmarlin.errors import OpenMarlinError
from openmarlin.native import one_opencv_thread

_GRACE_S = 60
"""How long a worker goes on after SIGTERM, so that whoever trains can end in order."""


def load_batches(
    dataset: Dataset[Any],
    batches: Iterable[list[Any]],
    device: torch.device,
    workers: int | None,
    processes: int = 1,
) -> Generator[dict[str, Any], None, None]:
    """Batches of samples, stacked, on the device.

    Args:
        dataset: of samples, dicts by name.
        batches: keys of the samples of each.
        device: where tensors go.
        workers: processes that load; 0 loads here, None takes a number that suits the machine.
        processes: that train on this machine.

    Raises:
        OpenMarlinError: a worker's, as the one line it was.
    """
    on_gpu = device.type == "cuda"
    count = _count_workers(processes) if workers is None else workers
    loader = DataLoader(
        dataset,
        batch_sampler=batches,
        num_workers=count,
        pin_memory=on_gpu,
        worker_init_fn=_start_worker if count else None,
    )
    # A fork copies not OpenCV's threads but what waits for them: a worker would wait forever.
    with one_opencv_thread():
        batches_here = iter(loader)
    try:
        for batch in batches_here:
            yield {
                name: value.to(device, non_blocking=on_gpu) if isinstance(value, Tensor) else value
                for name, value in batch.items()
            }
    except OpenMarlinError as error:
        raise type(error)(_own_words(error)) from None
    finally:  # at once, not with the iterator: a worker that got a signal would take its time
        getattr(batches_here, "_shutdown_workers", lambda: None)()


def _count_workers(processes: int) -> int:
    return max(1, min(8, (os.cpu_count() or 1) // processes))


def _start_worker(_: int) -> None:
    # Signals may be sent to all processes: who trains then saves, and no loader may end before.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: signal.alarm(_GRACE_S))
    torch.set_num_threads(1)
    if cv2.getNumThreads() != 1:  # where workers are not forked
        cv2.setNumThreads(1)


def _own_words(error: Exception) -> str:
    """A loader packs a worker's error into its traceback; the last line is what it said."""
    text = str(error).strip()
    if "Traceback" not in text:
        return text
    return text.splitlines()[-1].partition(": ")[2]
