"""The tables of docs/trust.md and docs/lab/trust.md, for `python -m benchmarks.table`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

READ = {
    "read in full": ("read in full", "done"),
    "read in part, or failures listed": ("read in part", "done, failures listed"),
    "refused with a line": ("refused",),
    "faults": ("fault",),
}
"""Column -> outcomes of `benchmarks.trust_fuzz`."""

VERBS = ("extract", "predict", "prepare")


def damaged_lines(results: Mapping[str, Any]) -> Iterator[str]:
    """What became of damaged files, by what reads them."""
    yield f"### {results['files']:,} damaged files\n"
    yield from _read_table("files", results["outcomes"], 0)


def damages_lines(results: Mapping[str, Any]) -> Iterator[str]:
    """What became of damaged videos, by damage."""
    videos = [row for row in results["outcomes"] if row[0] in VERBS]
    yield "### Videos, by what was done to them\n"
    yield from _read_table("damage", videos, 1)
    others = [row for row in results["outcomes"] if row[0] not in VERBS]
    yield "### Tables, recipes, models and stores, by what was done to them\n"
    yield from _read_table("damage", others, 1)


def _read_table(title: str, outcomes: list[Any], column_of_row: int) -> Iterator[str]:
    counts: dict[str, Counter[str]] = {}
    for row in outcomes:
        counts.setdefault(row[column_of_row], Counter())[row[2]] += row[3]
    yield f"| {title} | tried | {' | '.join(READ)} |"
    yield f"|---|---|{'---|' * len(READ)}"
    for name in sorted(counts, key=lambda name: (name not in VERBS, name)):
        label = f"{name}: videos" if name in VERBS else name
        cells = [sum(counts[name][outcome] for outcome in column) for column in READ.values()]
        yield f"| {label} | {sum(cells):,} | {' | '.join(f'{cell:,}' for cell in cells)} |"
    yield ""


def kill_lines(results: Mapping[str, Any]) -> Iterator[str]:
    """What `--resume` made of runs that were killed."""
    yield f"### {results['kills']} kills\n"
    rows: dict[str, Counter[str]] = {}
    for verb, kind, outcome, number in results["outcomes"]:
        if outcome != "had ended before":
            row = rows.setdefault(verb, Counter())
            row["random" if "random" in kind else "change"] += number
            row["again"] += number * kind.startswith("resume")
            row[outcome] += number
    yield "| | kills | random moment | before a change | of a resumed run | equal | faults |"
    yield "|---|---|---|---|---|---|---|"
    for verb, row in rows.items():
        equal = row["equal to an undisturbed run"]
        kills = row["random"] + row["change"]
        cells = (kills, row["random"], row["change"], row["again"], equal, row["fault"])
        yield f"| {verb} | {' | '.join(map(str, cells))} |"
    yield ""


def disk_lines(results: Mapping[str, Any]) -> Iterator[str]:
    """Bad disks and little memory."""
    yield "### Disks and memory\n"
    yield "| | tried | stopped with one line, or done | faults |"
    yield "|---|---|---|---|"
    cases = Counter((row["kind"], bool(row["fault"])) for row in results["disks"])
    for kind in dict.fromkeys(row["kind"] for row in results["disks"]):
        good, bad = cases[kind, False], cases[kind, True]
        yield f"| {kind}: extract, predict, prepare, pretrain | {good + bad} | {good} | {bad} |"
    yield ""
    yield f"| within {results['limit_mib']:,} MiB | most of it resident, MiB | |"
    yield "|---|---|---|"
    for row in results["memory"]:
        yield f"| {row['name']} | {row['peak_mib']:,} | {row['said']} |"
    yield ""
