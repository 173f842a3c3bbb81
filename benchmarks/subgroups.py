"""Whom features serve worse: `python -m benchmarks.subgroups STORE STILLS NAME=MODEL... --out OUT`.

STORE is what `benchmarks.distil_corpus` joined and `openmarlin distil` learnt from, STILLS the
folder with stills.csv. Probes are fitted to photographs that the training used, and measured on
those whose groups it held out: they chose the best of its checkpoints and taught nothing. A
photograph is a clip that does not move. Of every label with enough held-out people there is a row:
how far they are from all others, of the model and of raw pixels, with the interval of 95 % of 1,000
resamples of people.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from rich.table import Table
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks.common import console, save
from benchmarks.probe_inputs import SIDE, Array, clips_of, keep, principal, small
from benchmarks.probe_scores import FALSE, RESAMPLES, fit_ridge
from openmarlin.data.dataset import split_tracks
from openmarlin.data.store import Store
from openmarlin.distillation.settings import DistilSettings
from openmarlin.model.config import PRESETS
from openmarlin.model.encoder import Encoder
from openmarlin.model.io import load, weights_sha256
from openmarlin.model.runner import EncoderRunner

LABELLED, PAIRED = "UTKFace", "LFW"  # one has age and sex, the other several pictures of a person
FRAMES = PRESETS["tiny"].frames
FEWEST = 20  # people of a subgroup
OF_OTHERS = 8  # every so many training photographs without labels are enough to standardise by
TURNED = 0.15  # of yaw, -1 to 1, between two pictures of one person
AGES = ((18, 29), (30, 49), (50, 120))

ALL = "all"

Numbers = list[float]  # value, low, high


@dataclass(frozen=True)
class Photos:
    """Photographs and what is known of them.

    Attributes:
        images: uint8 (P, S, S, 3).
        rows: of stills.csv.
        held_out: (P,) whether training did not learn from them.
    """

    images: Array
    rows: list[dict[str, str]]
    held_out: Array

    @classmethod
    def read(cls, folder: Path, stills: Path, val_share: float) -> Photos:
        """Those that are needed: all with labels, held-out pairs, and some to standardise by."""
        with (stills / "stills.csv").open(newline="", encoding="utf-8") as file:
            table = {row["file"].replace("/", "-"): row for row in csv.DictReader(file)}
        store = Store(folder)
        held_out = held_out_groups(store, val_share)
        chosen, rows = [], []
        for number, track in enumerate(store.tracks):
            row = table.get(track.video)
            if row is None or not row["source"].startswith((LABELLED, PAIRED)):
                continue
            of_use = row["source"].startswith(LABELLED) or track.group in held_out
            if of_use or number % OF_OTHERS == 0:
                chosen.append(number)
                rows.append(row)
        inner = slice(store.margin, store.size - store.margin)
        images = np.stack([store.read(number, [0])[0][0][inner, inner] for number in chosen])
        apart = np.array([store.tracks[number].group in held_out for number in chosen])
        return cls(images, rows, apart)

    def of(self, source: str) -> Array:
        return np.array([row["source"].startswith(source) for row in self.rows])

    def column(self, name: str) -> Array:
        return np.array([row[name] for row in self.rows])


def held_out_groups(store: Store, share: float) -> set[str]:
    """Groups of photographs that `openmarlin distil` validates with."""
    moving = {track.group for track in store.tracks if track.n_frames >= FRAMES}
    still = [track for track in store.tracks if track.group not in moving]
    return {still[place].group for place in split_tracks(still, share)[1]}


def photo_features(encoder: Encoder, photos: Photos, folder: Path) -> Array:
    """(P, D) of photographs as clips; kept in `folder`."""
    size = encoder.config.image_size

    def make() -> Array:
        runner, images = EncoderRunner(encoder), photos.images
        still = np.broadcast_to(images[:, None], (len(images), FRAMES, *images.shape[1:]))
        return np.concatenate([runner(clips) for clips in clips_of(still, size)])

    return keep(folder / f"{weights_sha256(encoder)[:16]}-{size}-photos.npy", make)


def photo_pixels(photos: Photos) -> Array:
    """(P, D) principal components, small and grey."""
    grey = np.stack([small(image) for image in photos.images]).reshape(-1, SIDE * SIDE)
    return principal(grey, ~photos.held_out)


def subgroups(photos: Photos) -> dict[str, Array]:
    """Held-out people with labels, by label: (n,) whether each is of it."""
    people = photos.held_out & photos.of(LABELLED)
    sex, other, age = (photos.column(key)[people] for key in ("sex", "ethnicity", "age"))
    years = age.astype(float)
    found = {f"sex {word}": sex == word for word in np.unique(sex)}
    found |= {f"age {a} to {b}": (years >= a) & (years <= b) for a, b in AGES}
    found |= {f"labelled {word}": other == word for word in np.unique(other)}
    return {name: there for name, there in found.items() if there.sum() >= FEWEST}


def errors(features: Array, photos: Photos) -> dict[str, Array]:
    """(n,) of every held-out person with labels: how far a linear probe is off."""
    train = ~photos.held_out & photos.of(LABELLED)
    test = photos.held_out & photos.of(LABELLED)
    groups = photos.column("group")[train]
    out = {}
    for name, column in {"age, years off": "age", "head turn, off": "pose_yaw"}.items():
        learnt_from, asked = (photos.column(column)[some].astype(float) for some in (train, test))
        ridge = fit_ridge(features[train], learnt_from[:, None], groups)
        out[name] = np.abs(ridge.predict(features[test]).ravel() - asked)
    sex = photos.column("sex")
    logistic = LogisticRegression(C=0.01, class_weight="balanced", max_iter=2000)
    learnt = make_pipeline(StandardScaler(), logistic).fit(features[train], sex[train])
    out["sex, share wrong"] = (learnt.predict(features[test]) != sex[test]).astype(float)
    return out


def likeness(features: Array, photos: Photos, chosen: Array) -> Array:
    """Cosines (n, n) of standardised features."""
    scaler = StandardScaler().fit(features[~photos.held_out])
    scaled = scaler.transform(features[chosen])
    scaled /= np.linalg.norm(scaled, axis=1, keepdims=True)
    return np.asarray(scaled @ scaled.T)


def strangers(features: Array, photos: Photos) -> Array:
    """(n, n) pairs of held-out people with labels that look alike: a hundredth of all pairs."""
    near = likeness(features, photos, photos.held_out & photos.of(LABELLED))
    np.fill_diagonal(near, -np.inf)
    pairs = near[np.triu_indices(len(near), 1)]
    return np.asarray(near > np.quantile(pairs, 1 - FALSE))


def resamples(count: int) -> Array:
    """(1 + RESAMPLES, count): how often each person is there; first, everybody once."""
    chance = np.random.default_rng(0).multinomial(count, np.full(count, 1 / count), RESAMPLES)
    return np.concatenate([np.ones((1, count)), chance])


def mean_of(values: Array, people: Array, weights: Array) -> Array:
    """(R,) over some people."""
    return np.asarray(weights[:, people] @ values[people] / weights[:, people].sum(axis=1))


def share_of_pairs(alike: Array, people: Array, weights: Array) -> Array:
    """(R,) of the pairs of some people, nobody with himself."""
    own, some = weights[:, people], alike[np.ix_(people, people)]
    count = own.sum(axis=1) ** 2 - (own**2).sum(axis=1)
    return np.asarray(np.einsum("ri,ij,rj->r", own, some.astype(float), own, optimize=True) / count)


def interval(drawn: Array) -> Numbers:
    return [float(drawn[0]), *np.nanpercentile(drawn[1:], [2.5, 97.5]).tolist()]


def measure(features: Array, photos: Photos) -> dict[str, dict[str, Array]]:
    """Measure -> subgroup -> (R,) drawn; `all` is everybody; others are less the rest."""
    some = subgroups(photos)
    count = len(next(iter(some.values())))
    weights, everybody = resamples(count), np.ones(count, bool)
    found: dict[str, dict[str, Array]] = {}
    for name, values in errors(features, photos).items():
        found[name] = {ALL: mean_of(values, everybody, weights)} | {
            key: mean_of(values, there, weights) - mean_of(values, ~there, weights)
            for key, there in some.items()
        }
    alike = strangers(features, photos)
    found["strangers taken for one, share"] = {ALL: share_of_pairs(alike, everybody, weights)} | {
        key: share_of_pairs(alike, there, weights) - share_of_pairs(alike, ~there, weights)
        for key, there in some.items()
    }
    return found


def same_person(features: Array, photos: Photos) -> dict[str, Array]:
    """Share of the pairs of a person's pictures above what a hundredth of strangers reaches; (R,).

    People of whom two pictures are held out; by how differently the head is turned in them.
    """
    chosen = photos.held_out & photos.of(PAIRED)
    near, groups = likeness(features, photos, chosen), photos.column("group")[chosen]
    yaw = photos.column("pose_yaw")[chosen].astype(float)
    first, second = np.triu_indices(len(near), 1)
    same = groups[first] == groups[second]
    threshold = np.quantile(near[first, second][~same], 1 - FALSE)
    right = (near[first, second] > threshold)[same].astype(float)
    turned = np.abs(yaw[first] - yaw[second])[same] >= TURNED
    _, person = np.unique(groups[first][same], return_inverse=True)
    weights = resamples(int(person.max()) + 1)[:, person]
    alike, otherwise = (mean_of(right, there, weights) for there in (~turned, turned))
    everybody = mean_of(right, np.ones_like(turned), weights)
    return {ALL: everybody, "head turned, less not turned": otherwise - alike}


def run(photos: Photos, models: Mapping[str, Encoder], folder: Path) -> dict[str, object]:
    """All tables, JSON values: measure -> subgroup -> contender -> number, low, high."""
    contenders = {"raw pixels": photo_pixels(photos)} | {
        name: photo_features(encoder, photos, folder) for name, encoder in models.items()
    }
    tables: dict[str, dict[str, dict[str, Numbers]]] = {}
    raw: dict[str, dict[str, Array]] = {}
    for name, features in contenders.items():
        drawn = measure(features, photos)
        drawn["pictures of one person, share found"] = same_person(features, photos)
        raw = raw or drawn
        for what, rows in drawn.items():
            for key, values in rows.items():
                row = tables.setdefault(what, {}).setdefault(key, {})
                row[name] = interval(values)
                if name != "raw pixels":
                    row[f"{name}, less raw pixels"] = interval(values - raw[what][key])
    people = {name: int(there.sum()) for name, there in subgroups(photos).items()}
    return {"people": people, "counts": counts_of(photos), "tables": tables}


def counts_of(photos: Photos) -> dict[str, int]:
    labelled, held_out = photos.of(LABELLED), photos.held_out
    return {
        "photographs to fit to": int((labelled & ~held_out).sum()),
        "held-out people": int((labelled & held_out).sum()),
        "held-out photographs to pair": int((~labelled & held_out).sum()),
    }


def shown(tables: Mapping[str, Mapping[str, Mapping[str, Numbers]]]) -> Iterator[Table]:
    for what, rows in tables.items():
        table = Table("", *next(iter(rows.values())), title=what)
        for name, cells in rows.items():
            table.add_row(
                name, *(f"{n:.3f} [{low:.3f}, {high:.3f}]" for n, low, high in cells.values())
            )
        yield table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("store", type=Path)
    parser.add_argument("stills", type=Path)
    parser.add_argument("models", nargs="+", metavar="NAME=MODEL")
    parser.add_argument("--out", type=Path, required=True, help="keeps the features")
    share = DistilSettings.model_fields["val_share"].default
    parser.add_argument("--val-share", type=float, default=share, help="of the training")
    args = parser.parse_args()
    cv2.setNumThreads(1)
    models = {
        name: load(path, "encoder") for name, _, path in (m.partition("=") for m in args.models)
    }
    photos = Photos.read(args.store, args.stills, args.val_share)
    console.print(counts_of(photos))
    results = run(photos, models, args.out)
    for table in shown(results["tables"]):  # type: ignore[arg-type]
        console.print(table)
    save("subgroups", results)


if __name__ == "__main__":
    main()
