"""The report of an extraction: one HTML file with everything in it, for people to look at."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from openmarlin.data.features import Features
from openmarlin.data.thumbs import WindowThumb
from openmarlin.report import figure, plots, words
from openmarlin.report.overview import MAX_FACES, Overview, survey
from openmarlin.report.page import write_page
from openmarlin.report.stats import face_similarity, principal_plane
from openmarlin.report.strips import spread

MAX_SIMILAR = 24  # faces in the similarity matrix
MAX_FAILURES = 200


def write_report(
    path: str | os.PathLike[str],
    features: Features,
    thumbs: Sequence[WindowThumb] = (),
    failures: Sequence[tuple[str, str]] = (),
) -> Path:
    """Writes the report to `path`, whole or not at all, with no reference to anything outside it.

    However large the table is, the file stays below some 10 MB: videos and windows are then shown
    in samples, and the page says so.

    Args:
        path: the .html file.
        features: table, record and embeddings; only what the record holds is shown of it.
        thumbs: crops of some windows, any order; faces without any show their timeline alone.
        failures: (video, reason) of what could not be read, or only in part.
    """
    return write_page(Path(path), "extract.html", _context(features, thumbs, failures))


def _context(
    features: Features, thumbs: Sequence[WindowThumb], failures: Sequence[tuple[str, str]]
) -> dict[str, Any]:
    overview = survey(features.table, thumbs, failures)
    meta = features.meta
    model = meta.get("model")
    shots = [shot for video in overview.shown for face in video.faces for shot in face.shots]
    return {
        "overview": overview,
        "headline": words.headline(overview),
        "verdict": words.verdict(overview, meta),
        "facts": words.facts(overview, meta, features.embeddings.shape[1]),
        "trouble": words.trouble(overview),
        "model": model if isinstance(model, Mapping) else {},
        "settings": words.settings({k: value for k, value in meta.items() if k != "notes"}),
        "notes": [(video, "; ".join(lines)) for video, lines in meta.get("notes", {}).items()],
        "failures": failures[:MAX_FAILURES],
        "failures_hidden": max(0, len(failures) - MAX_FAILURES),
        "max_faces": MAX_FACES,
        "few_faces": len(overview.faces) <= figure.DISTINCT,
        "has_mesh": any(shot.strip.dots for shot in shots),
        **_pictures(features, overview),
    }


def _pictures(features: Features, overview: Overview) -> dict[str, Any]:
    """The two plots over all usable windows; None where there is too little to draw."""
    embeddings = features.embeddings
    finite = np.all(np.isfinite(embeddings), axis=1)
    groups = [(face, face.used[finite[face.used]]) for face in overview.faces]
    groups = [(face, rows) for face, rows in groups if len(rows)]
    pictures: dict[str, Any] = {"map": None, "similarity": None, "explained": "", "similar": []}
    if groups:
        rows = np.concatenate([rows for _, rows in groups])
        owner = np.repeat([face.number - 1 for face, _ in groups], [len(r) for _, r in groups])
        plane = principal_plane(embeddings[rows])
        if plane is not None:
            colours = [face.colour for face in overview.faces]
            pictures["map"] = Markup(plots.map_svg(plane, owner, colours))
            pictures["explained"] = plots.percent(sum(plane.explained))
    shown = [groups[i] for i in spread(len(groups), MAX_SIMILAR)]
    if len(shown) > 1:
        matrix = face_similarity(embeddings, [rows for _, rows in shown])
        faces = [face for face, _ in shown]
        labels = [f"{face.short}\u2002\u2002{face.number}" for face in faces]
        numbers = [str(face.number) for face in faces]
        pictures["similarity"] = Markup(plots.similarity_svg(matrix, labels, numbers))
        pictures["similar"] = faces
        pictures["similarity_note"] = words.similarity(len(faces), len(groups))
    return pictures
