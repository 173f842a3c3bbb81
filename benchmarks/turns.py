"""Steps of training side by side: every contender in a process of its own, a step each by turns.

So none profits from another's memory, and numbers of one round saw the same machine. On a machine
that others use too, threads wait for each other more than they work: there the processor time of
one thread tells more than the wall.
"""

from __future__ import annotations

import multiprocessing
import resource
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection

import torch

Step = Callable[[], object]
Seconds = dict[str, list[float]]

GROUPS = {
    "products of matrices, layers": ("aten::mm", "aten::addmm"),
    "products of matrices, attention": ("aten::bmm", "aten::_scaled_dot_product"),
    "softmax": ("aten::_softmax",),
    "layer norm": ("aten::native_layer_norm",),
    "GELU": ("aten::gelu",),
    "copies and casts": ("aten::copy_", "aten::cat", "aten::index", "aten::clone"),
    "AdamW": ("aten::_fused_adamw",),
}


@dataclass
class Turns:
    """What came of it, by contender.

    Attributes:
        seconds: wall time of each step.
        busy: processor time of each step.
        memory: most memory of the process, GB.
        profiles: share of a step's time by kind of work.
    """

    seconds: Seconds
    busy: Seconds
    memory: dict[str, float] = field(default_factory=dict)
    profiles: dict[str, dict[str, float]] = field(default_factory=dict)


def take_turns(
    makers: Mapping[str, Callable[[], Step]],
    rounds: int,
    threads: int | None,
    profiled: Sequence[str] = (),
) -> Turns:
    """Let contenders take a step each, round after round, after one round that is not counted.

    Args:
        makers: name -> function of a module that makes the step, in the contender's process.
        rounds: how many.
        threads: of each contender; all cores without it.
        profiled: whose time is told apart by kind of work.
    """
    lines, processes = {}, []
    context = multiprocessing.get_context("spawn")
    for name, make in makers.items():
        lines[name], theirs = context.Pipe()
        process = context.Process(target=_serve, args=(theirs, make, threads))
        process.start()
        theirs.close()  # or the end of the process would not end the line
        processes.append(process)
    turns = Turns({name: [] for name in lines}, {name: [] for name in lines})
    for turn in range(rounds + 1):
        for name, line in lines.items():
            line.send("step")
            wall, cpu = line.recv()
            if turn:
                turns.seconds[name].append(wall)
                turns.busy[name].append(cpu)
    for name in profiled:
        lines[name].send("profile")
        turns.profiles[name] = lines[name].recv()
    for name, line in lines.items():
        line.send("end")
        turns.memory[name] = line.recv()
    for process in processes:
        process.join()
    return turns


def _serve(line: Connection, make: Callable[[], Step], threads: int | None) -> None:
    """A contender's process: a step a request, then its peak memory."""
    if threads:
        torch.set_num_threads(threads)
    step = make()
    while (word := line.recv()) != "end":
        if word == "profile":
            line.send(_profile(step))
            continue
        start = time.perf_counter(), time.process_time()
        step()
        line.send((time.perf_counter() - start[0], time.process_time() - start[1]))
    line.send(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9)


def _profile(step: Step) -> dict[str, float]:
    activities = [torch.profiler.ProfilerActivity.CPU]
    with torch.profiler.profile(activities=activities) as trace:
        step()
    rows = [(row.key, row.self_cpu_time_total) for row in trace.key_averages()]
    total = sum(spent for _, spent in rows)
    shares = {
        group: sum(spent for key, spent in rows if key.startswith(names)) / total
        for group, names in GROUPS.items()
    }
    return {**shares, "the rest": 1 - sum(shares.values())}
