"""The terminal: one console on standard error, and the progress bar of long jobs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

console = Console(stderr=True, highlight=False)


def job_progress(unit: str) -> Progress:
    """A progress bar of done / total `unit`, with a free `note` field, that never hides results.

    On something that is not a terminal (a log file, a pipe) it stays silent.
    """
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn(f"{{task.completed:.0f}}/{{task.total:.0f}} {unit}"),
        TextColumn("{task.fields[note]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    )


def say_troubles(
    model: Mapping[str, str], notes: Mapping[str, Sequence[str]], failures: Mapping[str, str]
) -> None:
    """What is to be known of a run over videos before its results are used.

    Args:
        model: name, licence and caution of the encoder.
        notes: by video what is unusual in it.
        failures: by video why it could not be read.
    """
    if model["licence"]:
        console.print(f"Weights: {model['name']}, {model['licence']}.")
    if model["caution"]:
        console.print(f"[yellow]{escape(model['caution'])}[/]", soft_wrap=True)
    for video, lines in notes.items():
        console.print(f"[yellow]note[/] {escape(f'{video}: ' + '; '.join(lines))}", soft_wrap=True)
    for video, reason in failures.items():
        console.print(f"[red]failed[/] {escape(f'{video}: {reason}')}", soft_wrap=True)
