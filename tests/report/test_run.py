"""The report of a training run, made from nothing but its folder."""

from __future__ import annotations

import base64
import json
import re
from functools import partial
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest
import yaml
from pages import Page, read
from toys import TOY, toy_store

from openmarlin.errors import InputError
from openmarlin.jobs.pretrain import pretrain
from openmarlin.model.autoencoder import Autoencoder
from openmarlin.model.io import save_folder
from openmarlin.pretraining.settings import PretrainSettings
from openmarlin.pretraining.task import Reconstruction
from openmarlin.report.plots import curves_svg
from openmarlin.report.pretrain import about, draw_reconstructions
from openmarlin.report.run import MAX_STEPS, About, Plot, write_run_report
from openmarlin.training.checkpoint import Checkpoints
from openmarlin.training.task import Monitor, Progress

SETTINGS = PretrainSettings.of({**TOY, "data": "/store", "out": "/run", "steps": 40})
CONFIG = SETTINGS.architecture()
SVG = "{http://www.w3.org/2000/svg}"


def row(step: int, **values: Any) -> dict[str, Any]:
    losses = {"loss": 0.5 - step / 100, "rec": 1 / step, "adv": -0.1, "critic": -0.2, "lr": 1e-4}
    return {
        "step": step,
        **losses,
        "clips_per_s": 12.5,
        "data_wait": 0.25,
        "memory_gb": 0.0,
    } | values


def make_run(
    path: Path,
    *,
    done: int = 40,
    rows: list[dict[str, Any]] | None = None,
    pictures: tuple[int, ...] = (20, 40),
    settings: PretrainSettings = SETTINGS,
) -> Path:
    """A folder as a run leaves it."""
    path.mkdir(parents=True)
    (path / "config.yaml").write_text(yaml.safe_dump(settings.recipe()))
    sittings = [{"started": "2026-01-01", "command": ["openmarlin", "pretrain"], "cores": 2}] * 2
    (path / "environment.json").write_text(json.dumps({"sittings": sittings}))
    if rows is None:
        rows = [row(step) for step in range(1, done + 1)]
        rows += [{"step": 20, "val_rec": 0.0123}, {"step": 40, "val_rec": 0.0234}]
    (path / "metrics.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    rng = np.random.default_rng(0)
    for step in pictures:
        clips = []
        for _ in range(2):
            video = rng.integers(0, 256, (4, 32, 32, 3), dtype=np.uint8)
            mask = rng.permutation(np.arange(32) < 24)
            values = np.full((24, 384), step / 40, np.float32)
            clips.append(Reconstruction(video, mask, values))
        draw_reconstructions(path / "pictures", step, clips, CONFIG)
    for step, val_rec in ((20, 0.0123), (40, 0.0234)):
        if step <= done:
            export = partial(save_folder, Autoencoder(CONFIG))
            metrics = {"val_rec": val_rec}
            Checkpoints(path, keep=2).save(export, {}, Progress(step, 40), metrics)
    if done == 40:
        (path / "model").mkdir()
    return path


def report_of(run: Path, settings: PretrainSettings = SETTINGS) -> Page:
    return read(write_run_report(run, about(settings)))


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Page:
    return report_of(make_run(tmp_path_factory.mktemp("runs") / "first run"))


def test_it_says_how_the_run_went(page: Page) -> None:
    assert "first run" in page.text
    assert "Finished after 40 steps." in page.text
    assert "0.02340 after step 40" in page.text
    assert "0.01230 after step 20" in page.text
    assert "12.5 clips/s" in page.text
    assert "25%" in page.text
    assert "Memory" not in page.text  # a device that does not tell


def test_it_stands_alone_and_is_one_of_the_family(page: Page) -> None:
    assert all(str(img["src"]).startswith("data:image/") for img in page.all("img"))
    assert not page.all("script")
    assert not page.all("link")
    for text in ("http://", "https://"):
        assert page.source.replace("http://www.w3.org/2000/svg", "").count(text) == 0
    assert "default-src 'none'" in page.source


def test_curves_of_all_there_is(page: Page) -> None:
    titles = [
        "Reconstruction",
        "Whole loss",
        "Critic",
        "Learning rate",
        "Speed",
        "Waiting for data",
    ]
    assert all(title in page.text for title in titles)
    assert len(page.all("svg")) == 6
    ids = [attrs["id"] for _, attrs in page.tags if attrs.get("id")]
    assert len(ids) == len(set(ids))


def test_settings_environment_and_checkpoints(page: Page) -> None:
    for text in ("mask ratio 0.75", "w adv 0.01", "sittings 2", "openmarlin pretrain"):
        assert text in page.text
    for title in ("Clips and masks", "Data and model", "Objective", "Optimiser", "Machine"):
        assert title in page.text
    assert "0.01230 best checkpoints/step-00000020/model" in page.text
    assert "0.02340 checkpoints/step-00000040/model" in page.text
    assert "0.02340 model" in page.text


def strip(attrs: dict[str, str | None]) -> np.ndarray:
    data = base64.b64decode(str(attrs["src"]).split(",")[1])
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)


def test_pictures_old_and_new(page: Page) -> None:
    """The first clip's reconstruction brightens from step to step, by construction."""
    strips = [(str(attrs["alt"]).split(":")[0], strip(attrs)) for attrs in page.all("img")]
    names = [name for name, _ in strips]
    fixed = ["original", "seen by the model"]
    assert names == [*fixed, "step 20", "step 40", *fixed, "step 40"]
    assert all(image.shape == (32, 128, 3) for _, image in strips)
    assert strips[3][1].mean() > strips[2][1].mean() + 50


def test_a_picture_shows_what_was_pasted(tmp_path: Path) -> None:
    mask = np.arange(32) < 24
    for number, value in enumerate((10, 200)):
        video = np.full((4, 32, 32, 3), value, np.uint8)
        clip = Reconstruction(video, mask, np.ones((24, 384), np.float32))
        draw_reconstructions(tmp_path / str(number), 5, [clip], CONFIG)
        folder = tmp_path / str(number) / "clip-0"
        original = cv2.imread(str(folder / "1-original.jpg"))
        reconstruction = cv2.imread(str(folder / "step-00000005.jpg"))
        assert abs(original.mean() - value) < 2
        assert abs((reconstruction > 240).mean() - 0.75) < 0.05


def test_many_pictures_are_shown_in_part(tmp_path: Path) -> None:
    page = report_of(make_run(tmp_path / "r", pictures=tuple(range(1, 31))))
    steps = [a for a in page.all("img") if str(a["alt"]).startswith("step ")]
    assert len(steps) == MAX_STEPS + 1  # of the first clip, and the newest of the second
    assert f"Shown: {MAX_STEPS} of 30 validations" in page.text


def test_a_run_that_was_stopped(tmp_path: Path) -> None:
    rows = [row(step) for step in range(1, 26)]
    page = report_of(make_run(tmp_path / "r", done=25, rows=rows, pictures=()))
    assert "Stopped after step 25 of 40; it goes on with resume" in page.text
    assert not page.all("img")
    assert "val_rec" in page.text  # of the checkpoint


def test_a_run_that_has_nothing_yet(tmp_path: Path) -> None:
    page = report_of(make_run(tmp_path / "r", done=0, rows=[], pictures=()))
    assert "no rows of metrics yet" in page.text
    assert not page.all("svg")


def test_a_run_without_a_critic(tmp_path: Path) -> None:
    settings = PretrainSettings.of({**SETTINGS.model_dump(), "w_adv": 0.0})
    rows = [{"step": s, "loss": 0.1, "rec": 0.1, "lr": 1e-4} for s in (1, 2)]
    page = report_of(make_run(tmp_path / "r", rows=rows, settings=settings), settings)
    assert len(page.all("svg")) == 3
    assert "Critic" not in page.text


def test_a_run_that_broke(tmp_path: Path) -> None:
    """Numbers that are none are left out; the page says what happened."""
    run = make_run(tmp_path / "r", rows=[row(1), row(2, rec=float("nan"), loss=float("inf"))])
    (run / "nonfinite.json").write_text(
        json.dumps({"step": 2, "error": "the loss is not finite (<b>)", "ids": []})
    )
    page = report_of(run)
    assert "The loss stopped being a number in step 2: the loss is not finite (<b>)" in page.text
    assert "nan" not in page.text.lower().split()


def test_a_folder_that_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"config.yaml: cannot be read"):
        write_run_report(tmp_path, about(SETTINGS))


def test_any_task_has_a_report(tmp_path: Path) -> None:
    """Metrics that nobody names get plots of their own, training and validation in one."""
    rows = [{"step": s, "loss": 1 / s, "accuracy": s / 9, "val_accuracy": s / 10} for s in (1, 2)]
    run = make_run(tmp_path / "r", rows=rows, pictures=())
    monitor = Monitor("val_accuracy", "max")
    for checkpoint in Checkpoints(run).all():
        state = json.loads((checkpoint.path / "state.json").read_text())
        state["metrics"] = {"val_accuracy": 0.25}
        (checkpoint.path / "state.json").write_text(json.dumps(state))
    page = read(write_run_report(run, About("finetune", PretrainSettings, monitor)))
    assert "openmarlin finetune" in page.text
    assert "Validation accuracy 0.20000 after step 2" in page.text
    assert {"Loss", "Accuracy"} <= set(page.text.split())
    assert len(page.all("svg")) == 2


def test_curves_stay_small_and_keep_their_course() -> None:
    steps = np.arange(100_000, dtype=np.float64)
    svg = curves_svg({"a": (steps, steps + 1), "b": (steps[:3], steps[:3])}, "x", logarithmic=True)
    assert len(svg) < 100_000
    words = [text.text or "" for text in ElementTree.fromstring(svg).iter(f"{SVG}text")]
    assert {"a", "b", "step"} <= set(words)


def test_metrics_of_any_name_and_number(tmp_path: Path) -> None:
    """A task of another kind: six losses in one plot, names that are no ids and share a title."""
    names = [f"part_{i}" for i in range(6)]
    odd = {"f1 (macro)": 0.5, "eval_loss": 0.25, "val_eval_loss": 0.125, "speed": 3.0}
    rows = [{"step": s, **dict.fromkeys(names, 0.1 * s), **odd, "clips_per_s": 2} for s in (1, 2)]
    parts = Plot("Parts", {name: name for name in names})
    task = About("finetune", PretrainSettings, Monitor("val_auc", "max"), [parts])
    page = read(write_run_report(make_run(tmp_path / "r", rows=rows, pictures=()), task))
    assert all(title in page.text for title in ("Parts", "F1 (macro)", "Eval loss"))
    assert len(page.all("svg")) == 5
    ids = [str(attrs["id"]) for _, attrs in page.tags if attrs.get("id")]
    assert len(ids) == len(set(ids))
    assert not [name for name in ids if " " in name]
    assert set(re.findall(r"url\(#([^)]*)\)", page.source)) <= set(ids)
    assert "0.02340" not in page.text  # a metric that is not this task's


def test_a_real_run_ends_with_its_report(tmp_path: Path) -> None:
    toy_store(tmp_path / "store")
    settings = {**TOY, "data": tmp_path / "store", "out": tmp_path / "run", "val_every": 3}
    pretrain(**settings)
    page = read(tmp_path / "run" / "report.html")
    assert "Finished after 6 steps." in page.text
    assert len([a for a in page.all("img") if str(a["alt"]).startswith("step ")]) == 2
