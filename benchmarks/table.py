"""Puts what was measured (benchmarks/results) into the docs: `python -m benchmarks.table`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.common import RESULTS, console
from benchmarks.probes import TITLES
from benchmarks.task_tables import tasks_lines
from benchmarks.trust_tables import damaged_lines, damages_lines, disk_lines, kill_lines

DOCS = Path(__file__).parents[1] / "docs"
BEGIN, END = "<!-- measured: begin (python -m benchmarks.table) -->", "<!-- measured: end -->"


def rows(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def head(*cells: str) -> str:
    return f"{rows(*cells)}\n|{'---|' * len(cells)}"


def machine_line(results: dict[str, Any]) -> str:
    facts = results["machine"]
    versions = ", ".join(f"{name} {number}" for name, number in facts["versions"].items())
    return (
        f"{facts['cpu']}, {facts['cores']} cores ({', '.join(facts['features'])}); {versions}; "
        f"{facts['when'][:10]}; load before the run {facts['load_before']:.1f}."
    )


def encoder_lines(results: dict[str, Any]) -> Iterator[str]:
    yield "### Encoder\n"
    yield machine_line(results) + "\n"
    for case in results["cases"]:
        clips = "one clip" if case["batch"] == 1 else f"a batch of {case['batch']} clips"
        yield head(
            f"ViT-{case['preset']}, {clips}", "ms a clip", "× reference", "share of bf16 matmul"
        )
        for row in case["rows"]:
            name = f"**{row['name']}** (`auto`)" if row["name"] == case["auto"] else row["name"]
            yield rows(
                name,
                f"{row['ms_a_clip']:.0f}",
                f"{row['times_reference']:.2f}",
                f"{row['share_of_matmul']:.0%}",
            )
        yield (
            f"\nMedians of {case['rounds']} rounds; a large bf16 matrix product ran at "
            f"{case['bf16_matmul_tflops']:.2f} TFLOP/s in the same rounds.\n"
        )


def accuracy_lines(results: dict[str, Any]) -> Iterator[str]:
    yield f"### bf16 against float32, the worst of {results['clips']} face clips\n"
    yield head(
        "encoder, weights",
        "backend",
        "cosine between clips",
        "features",
        "tokens",
        "centred features",
        "their median",
    )
    keys = ("between_clips", "features_worst", "tokens_worst", "centred_worst", "centred_median")
    for row in results["rows"]:
        numbers = (f"{row[key]:.5f}" for key in keys)
        yield rows(f"ViT-{row['preset']}, {row['weights']}", row["backend"], *numbers)
    yield ""


def end_to_end_lines(results: dict[str, Any]) -> Iterator[str]:
    yield "### From video to features\n"
    yield head("what", "× real time")
    yield rows(
        f"`extract`, ViT-S, {results['backend']} {results['precision']}, loading included",
        f"**{results['times_real_time']:.2f}**",
    )
    yield rows(
        "encoder alone of the reference, on as many clips",
        f"{results['reference_encoder_alone_times_real_time']:.2f}",
    )
    runs, core_s = len(results["seconds"]["extract"]), results["core_s_a_second"]
    yield f"\n{results['video']}; medians of {runs} runs.\n"
    yield f"`extract` took {core_s:.2f} core-seconds for a second of video.\n"


def predict_lines(results: dict[str, Any]) -> Iterator[str]:
    yield "### From video to answers\n"
    yield head("`predict` over `extract`, same videos and encoder", "core-seconds", "time")
    for name, ratio in results["ratios"].items():
        yield rows(f"{name} head", f"{ratio['core']:.2f}", f"{ratio['wall']:.2f}")
    n_rounds = len(results["core_s"]["extract"])
    yield (
        f"\n{results['videos']}; medians of {n_rounds} rounds in turns; load before the run "
        f"{results['machine']['load_before']:.1f}.\n"
    )


def memory_lines(results: dict[str, Any]) -> Iterator[str]:
    yield "### Memory\n"
    yield head(f"`extract`, {results['model']}, 720p", "windows", "peak MiB")
    for seconds, run in results["runs"].items():
        yield rows(f"{seconds} s", str(run["windows"]), f"{run['peak_mib']:.0f}")
    yield f"\nTen times the length: {results['growth']:+.1%}.\n"


def finetune_lines(results: dict[str, Any]) -> Iterator[str]:
    yield "### A step of fine-tuning\n"
    yield machine_line(results) + "\n"
    for case in results["cases"]:
        clips, threads = f"{case['batch']} clip", f"{case['threads']} thread"
        yield head(
            f"ViT-{case['preset']}, {clips}{'s' * (case['batch'] > 1)}, "
            f"{threads}{'s' * (case['threads'] > 1)}",
            "× transformers",
            "× transformers, processor time",
            "peak memory, GB",
        )
        for row in case["rows"]:
            yield rows(
                row["name"],
                f"{row['times_theirs']:.2f}",
                f"{row['times_theirs_cpu']:.2f}",
                f"{row['peak_memory_gb']:.1f}",
            )
        yield f"\nMedians of {case['rounds']} rounds.\n"


def faces_lines(results: dict[str, Any]) -> Iterator[str]:
    yield "### Faces\n"
    yield machine_line(results) + "\n"
    width, height = results["size"]
    yield head(f"`faces`, {width}x{height}, one face", "frames a second", "by processor time")
    for cores, run in results["in_memory"].items():
        rate = run["frames_per_s"]
        name = f"without decoding, {cores} core{'s' if cores != '1' else ''}"
        yield rows(name, f"{rate['wall']:.0f}", f"**{rate['processor']:.0f}**")
    for workers, run in results["verb"].items():
        name = f"the verb, start and report included, {workers} at once"
        by_core = f"{1e3 / run['core_ms_a_frame']:.0f} a core"
        yield rows(name, f"{run['frames_per_s']:.0f}", by_core)
    n_runs = len(results["in_memory"]["1"]["runs"][0]["wall"])
    yield f"\nMedians of {n_runs} runs over {results['frames']} frames.\n"


def pretrain_lines(results: dict[str, Any]) -> Iterator[str]:
    yield "### A training step\n"
    yield machine_line(results) + "\n"
    yield head(
        f"ViT-{results['preset']}, {results['batch']} clips, {results['threads']} threads",
        "clips a second",
        "× reference",
        "peak memory, GB",
    )
    for row in results["rows"]:
        yield rows(
            row["name"],
            f"{row['clips_per_s']:.2f}",
            f"{row['times_reference']:.2f}",
            f"{row['peak_memory_gb']:.1f}",
        )
    yield f"\nMedians of {results['rounds']} rounds. Where the time goes:\n"
    profiles = results["profiles"]
    yield head("share of a step", *profiles)
    for group in next(iter(profiles.values())):
        yield rows(group, *(f"{profile[group]:.0%}" for profile in profiles.values()))
    yield ""


def probe_speed_lines(results: dict[str, Any]) -> Iterator[str]:
    yield "### A linear probe\n"
    yield machine_line(results) + "\n"
    problems = results["labels"] * results["penalties"]
    yield head(
        f"{results['rows']:,} x {results['width']}, {results['labels']} labels, "
        f"{results['penalties']} penalties",
        "core-seconds",
        "wall, s",
    )
    yield rows(
        f"all {problems:,} problems at once",
        f"**{results['cpu_s']:.0f}**",
        f"{results['wall_s']:.0f}",
    )
    yield rows(
        "`probe --head linear`: these with three normalisations, and their choice",
        f"**{results['whole_cpu_s']:.0f}**",
        f"{results['whole_wall_s']:.0f}",
    )
    yield rows(
        f"scikit-learn's LogisticRegression, {results['peer_solved']} of them",
        f"{results['peer_cpu_s']:.0f}",
        f"{results['peer_wall_s']:.0f}",
    )
    yield (
        f"\nA problem takes scikit-learn {results['times_peer_cpu']:.0f} times the core-seconds. "
        f"Memory above that of the features: {results['memory_mib']:.0f} MiB. AUC on held-out rows "
        f"differs by {results['worst_auc_gap']:.4f} at most.\n"
    )


def probes_lines(results: dict[str, Any]) -> Iterator[str]:
    yield ", ".join(f"{number:,} {what}" for what, number in results["counts"].items()) + ".\n"
    for name, title in TITLES.items():
        if name in results:
            form = "{:+.2f}" if "ahead" in name else "{:.2f}"
            yield from probe_table(title, results[name], form)


def heads_lines(results: dict[str, Any]) -> Iterator[str]:
    for name, what in (("expression", "expression, accuracy"), ("actions", "actions, AUC")):
        titles = {
            key: f"{key} ({windows} windows of {groups} groups)"
            for key, (windows, groups) in results["counts"][name].items()
        }
        scores = {titles[key]: score for key, score in results[name].items()}
        yield from probe_table(what, {"head that ships": scores}, "{:.2f}")


def claim_lines(results: dict[str, Any]) -> Iterator[str]:
    yield f"### {results['clips']:,} clips each, {results['seeds']} seeds\n"
    yield from probe_table("pre-trained with", results["rows"], "{:.2f}")
    yield from probe_table("ahead of another", results["ahead"], "{:+.2f}")


def subgroups_lines(results: dict[str, Any]) -> Iterator[str]:
    yield "### Subgroups\n"
    counts = {**results["counts"], **results["people"]}
    yield ", ".join(f"{what} {number:,}" for what, number in counts.items()) + ".\n"
    tables = results["tables"]
    everybody = {measure: rows.pop("all") for measure, rows in tables.items()}
    yield from probe_table("all people", everybody, "{:.3f}")
    for measure, rows_ in tables.items():
        yield from probe_table(f"{measure}, less that of the others", rows_, "{:+.3f}")


def probe_table(title: str, contenders: dict[str, Any], form: str) -> Iterator[str]:
    """Numbers with their intervals; bold where a difference has all of its interval on one side."""
    yield head(title, *next(iter(contenders.values())))
    for name, numbers in contenders.items():
        cells = []
        for value, low, high in numbers.values():
            number = f"{form.format(value)} [{form.format(low)}, {form.format(high)}]"
            sure = "+" in form and low * high > 0
            cells.append(f"**{number}**" if sure else number)
        yield rows(name, *cells)
    yield ""


PAGES = {
    "lab/speed.md": {
        "encoder": encoder_lines,
        "accuracy": accuracy_lines,
        "end_to_end": end_to_end_lines,
        "predict": predict_lines,
        "memory": memory_lines,
        "faces": faces_lines,
        "pretrain": pretrain_lines,
        "finetune": finetune_lines,
        "probe_speed": probe_speed_lines,
    },
    "lab/probes.md": {
        "probes": probes_lines,
        "claim": claim_lines,
        "subgroups": subgroups_lines,
    },
    "lab/distil.md": {"face_probes": probes_lines, "heads": heads_lines},
    "lab/tasks.md": {"tasks": tasks_lines},
    "trust.md": {
        "trust_fuzz": damaged_lines,
        "trust_kill": kill_lines,
        "trust_limits": disk_lines,
    },
    "lab/trust.md": {"trust_fuzz": damages_lines},
}
"""Page -> name of the results -> what makes lines of them."""


def measured(sections: dict[str, Callable[[dict[str, Any]], Iterator[str]]]) -> str:
    """The sections whose results are there."""
    lines: list[str] = []
    for name, section in sections.items():
        path = RESULTS / f"{name}.json"
        if path.is_file():
            lines += section(json.loads(path.read_text("utf-8")))
    return "\n".join(lines).rstrip()


def main() -> None:
    for name, sections in PAGES.items():
        page = DOCS / name
        before, rest = page.read_text("utf-8").split(BEGIN)
        text = f"{before}{BEGIN}\n{measured(sections)}\n{END}{rest.split(END)[1]}"
        page.write_text(text, "utf-8")
        console.print(f"-> {page}")


if __name__ == "__main__":
    main()
