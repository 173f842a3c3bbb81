"""Processes that torchrun started: which job they work for, and how they meet after a restart.

When a process dies, torchrun starts all of them again, on every machine. What it tells them does
not say so: `--rdzv-id` is "none" unless the user gives one, and its count of restarts differs from
machine to machine. The store in which processes find each other lives as long as the job does, so
what must be known is left there.
"""

from __future__ import annotations

import json
import os
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING
from uuid import uuid4

if TYPE_CHECKING:
    from torch.distributed.distributed_c10d import Store

_PATIENCE = timedelta(seconds=1)


def is_worker() -> bool:
    """Whether torchrun started this process."""
    return "TORCHELASTIC_RUN_ID" in os.environ


@cache
def job() -> str | None:
    """A name for the job, the same in all its processes, those too that replace others.

    None where torchrun did not start this process.
    """
    if not is_worker():
        return None
    return str(_store().compare_set("openmarlin/job", "", uuid4().hex).decode())


def meet(rank: int, world: int) -> Store:
    """Wait for the other processes.

    torchrun keeps one store for all restarts, and torch would read from it where the dead processes
    were to be found (pytorch issue 135712). So process 0 invites to a place of its own, the others
    answer, and it confirms whom it has heard: a dead one can do neither.

    Returns:
        A part of the store that nobody has used.
    """
    from torch.distributed import DistStoreError
    from torch.distributed.distributed_c10d import PrefixStore

    store, me = _store(), uuid4().hex
    while True:
        place = me
        if rank == 0:
            store.set("openmarlin/place", me)
        else:
            store.wait(["openmarlin/place"])
            place = store.get("openmarlin/place").decode()
        here = PrefixStore(f"openmarlin/{place}", store)
        here.set(f"answer/{rank}", me)
        try:
            if rank == 0:
                answers = [f"answer/{other}" for other in range(world)]
                here.wait(answers, _PATIENCE)
                here.set("heard", json.dumps([here.get(key).decode() for key in answers]))
            here.wait(["heard"], _PATIENCE)
        except DistStoreError:  # not all are there yet, or the place is one of dead processes
            continue
        if json.loads(here.get("heard"))[rank] == me:
            return PrefixStore("group", here)


@cache
def _store() -> Store:
    from torch.distributed import TCPStore  # type: ignore[attr-defined]

    address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    store: Store = TCPStore(address, port, is_master=False)
    return store
