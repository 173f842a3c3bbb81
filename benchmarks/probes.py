"""What frozen features know of a face; `python -m benchmarks.probes WINDOWS NAME=MODEL[,MODEL]...`.

WINDOWS is what `benchmarks.probe_windows` made; models of one name differ in their seed, and their
results are averaged. Everything is split by group of faces (real or fake: by source), and every
number comes with the interval in which 95 % of 1,000 bootstrap resamples of those groups lie. So
does what a model is ahead of raw pixels, and of random weights of its size: there both are measured
on the same resamples. Features are kept in WINDOWS/features, so that a model is run once.

    --references    also random weights of two seeds, and the mesh, which take longer than a model
    --tokens        also what can be read off the tokens, and off their movement of the sound
                    (`benchmarks.probe_sound`)
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from rich.table import Table

from benchmarks.common import console, save
from benchmarks.probe_inputs import (
    Windows,
    features,
    landmarks,
    pixels,
    pixels_in_time,
    untrained,
)
from benchmarks.probe_scores import (
    N_POSE,
    Draws,
    Rows,
    Score,
    draws,
    intervals,
    loudness,
    probe,
)
from benchmarks.probe_tokens import ATTENTIVE, GRID, probe_steps, probe_tokens
from openmarlin.model.encoder import Encoder
from openmarlin.model.io import load

PIXELS = "raw pixels, PCA"


class Board:
    """Tables of contenders and their leads."""

    def __init__(self) -> None:
        self.tables: dict[str, Rows] = {}
        self.drawn: dict[str, Draws] = {}

    def add(self, table: str, name: str, seeds: list[dict[str, Score]]) -> None:
        """A row, the mean over seeds."""
        self.drawn[name] = drawn = draws(seeds)
        title = f"{name} ({len(seeds)} seeds)" if len(seeds) > 1 else name
        self.tables.setdefault(table, {})[title] = intervals(drawn)
        console.print(title, {key: round(float(v[0]), 3) for key, v in drawn.items()})

    def lead(self, table: str, name: str, rival: str, title: str | None = None) -> None:
        """A row of what one is ahead of another in what both were asked, paired."""
        one, other = self.drawn[name], self.drawn[rival]
        ahead = {key: one[key] - other[key] for key in one if key in other}
        self.tables.setdefault(table, {})[title or name] = intervals(ahead)


def run(windows: Windows, models: Mapping[str, list[Encoder]], *, references: bool) -> Board:
    """Pooled features: what contenders reach, and how far models are ahead."""
    board = Board()
    board.add("rows", PIXELS, [probe(pixels(windows), windows)])
    if references:
        board.add("rows", "mesh and blendshapes, PCA", [probe(landmarks(windows), windows)])
        for size in sorted({seeds[0].config.image_size for seeds in models.values()}):
            made = [probe(features(e, windows), windows) for e in untrained(size)]
            board.add("rows", _chance(size), made)
    for name, seeds in models.items():
        board.add("rows", name, [probe(features(e, windows), windows) for e in seeds])
        if references:
            board.lead("ahead", name, _chance(seeds[0].config.image_size))
        board.lead("ahead_of_pixels", name, PIXELS)
    return board


def _chance(size: int) -> str:
    return f"random weights, {size} px"


def run_tokens(board: Board, windows: Windows, models: Mapping[str, list[Encoder]]) -> None:
    """The same of tokens; raw pixels, which have kept what is where, are the rival here too."""
    for name, seeds in models.items():
        found = [probe_tokens(encoder, windows) for encoder in seeds]
        for kind in (GRID, ATTENTIVE):
            board.add("tokens", f"{name}, {kind}", [one[kind] for one in found])
            board.lead("tokens_ahead_of_pixels", f"{name}, {kind}", PIXELS)


def run_sound(
    board: Board, windows: Windows, models: Mapping[str, list[Encoder]], *, references: bool
) -> None:
    """Loudness, from what moves in a window."""
    rival = "raw pixels of a time step, PCA"
    board.add("sound", rival, [loudness(pixels_in_time(windows), windows)])
    if references:
        shapes = np.nan_to_num(windows.movement[:, ::2, :-N_POSE])
        board.add("sound", "blendshapes", [loudness(shapes, windows)])
    for name, seeds in models.items():
        board.add("sound", f"{name}, a time step", [probe_steps(e, windows) for e in seeds])
        board.lead("sound_ahead_of_pixels", f"{name}, a time step", rival)


TITLES = {
    "rows": "Frozen features",
    "ahead": "Ahead of random weights",
    "ahead_of_pixels": "Ahead of raw pixels",
    "tokens": "Tokens",
    "tokens_ahead_of_pixels": "Tokens, ahead of raw pixels",
    "sound": "Sound seen",
    "sound_ahead_of_pixels": "Sound seen, ahead of raw pixels",
}


def show(results: Rows, title: str) -> None:
    table = Table("", *next(iter(results.values())), title=title)
    for contender, row in results.items():
        table.add_row(
            contender, *(f"{n:.2f} [{low:.2f}, {high:.2f}]" for n, low, high in row.values())
        )
    console.print(table)


def counts_of(windows: Windows) -> dict[str, int]:
    held_out = windows.table[windows.testing]
    sources = held_out.groupby("group").source.nunique()
    counts = {
        "training windows": int(windows.training.sum()),
        "held-out windows": int(windows.testing.sum()),
        "held-out groups": int(held_out.group.nunique()),
        "of them in several sources": int((sources > 1).sum()),
        "fake windows": int((~windows.real).sum()),
        "emotion windows": int(windows.labelled.sum()),
    }
    if windows.sound is not None:
        heard = windows.testing & np.isfinite(windows.sound).any(axis=1)
        counts["held-out windows with sound"] = int(heard.sum())
        counts["their groups"] = int(windows.table.group[heard].nunique())
    return counts


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("windows", type=Path)
    parser.add_argument("models", nargs="+", metavar="NAME=MODEL[,MODEL]")
    parser.add_argument("--references", action="store_true")
    parser.add_argument("--tokens", action="store_true")
    parser.add_argument("--results", default="probes", help="name of the file with the results")
    args = parser.parse_args()
    named = {name: paths.split(",") for name, _, paths in (m.partition("=") for m in args.models)}
    models = {name: [load(path, "encoder") for path in paths] for name, paths in named.items()}
    windows = Windows.read(args.windows)
    board = run(windows, models, references=args.references)
    if args.tokens:
        run_tokens(board, windows, models)
        if windows.sound is not None:
            run_sound(board, windows, models, references=args.references)
    for name, table in board.tables.items():
        show(table, TITLES[name])
    save(args.results, {"counts": counts_of(windows), **board.tables})


if __name__ == "__main__":
    main()
