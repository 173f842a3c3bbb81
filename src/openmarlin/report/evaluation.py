"""The report of an evaluation: one HTML file, and the same numbers as JSON and CSV."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from openmarlin.report.page import write_page
from openmarlin.tasks.evaluation import Evaluation
from openmarlin.tasks.scorecard import entries, write_metrics
from openmarlin.video.picture import Image

REPORT_FILE = "report.html"


@dataclass(frozen=True)
class Section:
    """A part of the page that a verb adds.

    Attributes:
        heading: of it.
        body: a plot as SVG or a table, safe to be set into a page.
        note: a sentence below the heading.
    """

    heading: str
    body: Markup
    note: str = ""


@dataclass(frozen=True)
class EvaluationAbout:
    """What a report says of an evaluation beside its numbers.

    Attributes:
        title: the headline.
        facts: name and value of what was judged and how.
        sections: what a verb adds.
    """

    title: str
    facts: Sequence[tuple[str, str]]
    sections: Sequence[Section] = ()


def write_evaluation(
    folder: Path,
    evaluation: Evaluation,
    about: EvaluationAbout,
    pictures: Mapping[int, list[Image]] = {},
) -> Path:
    """Write report.html, metrics.json and metrics.csv.

    Args:
        folder: for the files.
        evaluation: what is known.
        about: what the page says beside it.
        pictures: crops by the position of a row in `evaluation.predictions.rows`.
    """
    write_metrics(folder, evaluation)
    content = {
        "headline": about.title,
        "about": about,
        "evaluation": evaluation,
        "entries": list(entries(evaluation)),
        "pictures": pictures,
    }
    return write_page(folder / REPORT_FILE, "evaluation.html", content)
