"""Plots that follow the page, and strips of crops with their mesh."""

from __future__ import annotations

import base64
import re
from xml.etree import ElementTree

import cv2
import matplotlib as mpl
import numpy as np
import pytest

from openmarlin.report.figure import DISTINCT, face_colours
from openmarlin.report.plots import curves_svg, map_svg, percent, similarity_svg
from openmarlin.report.stats import Plane
from openmarlin.report.strips import make_strip, spread

SVG = "{http://www.w3.org/2000/svg}"


def make_map(n_windows: int, n_faces: int) -> str:
    rng = np.random.default_rng(0)
    plane = Plane(rng.normal(size=(n_windows, 2)), (0.5, 0.004))
    return map_svg(plane, np.arange(n_windows) % n_faces, face_colours(n_faces))


@pytest.mark.parametrize("count", [0, 1, DISTINCT, DISTINCT + 1, 1000])
def test_colours_are_distinct_hex(count: int) -> None:
    colours = face_colours(count)
    assert len(colours) == count
    assert all(re.fullmatch(r"#[0-9a-f]{6}", colour) for colour in colours)
    assert len(set(colours)) == count if count < 200 else len(set(colours)) > 200


@pytest.mark.parametrize("count", [DISTINCT, 300])
def test_colours_show_on_white_and_on_black(count: int) -> None:
    for colour in face_colours(count):
        red, green, blue = (
            c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4
            for c in mpl.colors.to_rgb(colour)
        )
        luminance = 0.2126 * red + 0.7152 * green + 0.0722 * blue
        assert 1.05 / (luminance + 0.05) > 2.2, colour
        assert (luminance + 0.05) / 0.055 > 3, colour


def test_map_is_an_svg_that_follows_the_page() -> None:
    svg = make_map(30, 3)
    root = ElementTree.fromstring(svg)
    assert root.tag == f"{SVG}svg"
    assert "width" not in root.attrib
    assert "currentColor" in svg
    assert "#010203" not in svg
    words = " ".join(text.text or "" for text in root.iter(f"{SVG}text"))
    assert "component 1 (50 % of variance)" in words
    assert "component 2 (0.4 % of variance)" in words


def test_map_is_the_same_every_time_and_changes_nothing_of_the_process() -> None:
    drawing = ElementTree.fromstring(f'<svg xmlns="{SVG[1:-1]}"/>')
    before = dict(mpl.rcParams)
    assert make_map(30, 3) == make_map(30, 3)
    assert dict(mpl.rcParams) == before
    assert ElementTree.tostring(drawing).startswith(b"<ns0:svg")  # no prefix was registered


def test_maps_of_many_windows_stay_small() -> None:
    assert len(make_map(10_000, 5)) < 700_000
    assert len(make_map(10_000, 1000)) < 700_000


def test_ids_of_two_pictures_do_not_collide() -> None:
    ids = [
        re.findall(r'\bid="([^"]+)"', svg)
        for svg in (make_map(9, 2), similarity_svg(np.eye(2), "ab", "12"))
    ]
    assert not set(ids[0]) & set(ids[1])
    for svg, known in zip((make_map(9, 2),), ids, strict=False):
        assert set(re.findall(r'url\(#([^)]+)\)|href="#([^"]+)"', svg)) <= {
            pair for name in known for pair in ((name, ""), ("", name))
        }


@pytest.mark.parametrize("label", ["$x_1", "a$b$c", "<script>&\"'", "视频 🎬", r"\frac{", ""])
def test_labels_are_text_and_nothing_else(label: str) -> None:
    svg = similarity_svg(np.eye(2), [label, "b"], ["1", "2"])
    root = ElementTree.fromstring(svg)
    texts = [text.text or "" for text in root.iter(f"{SVG}text")]
    assert not label or label in texts
    assert "<script" not in svg


def test_matrix_shows_its_values() -> None:
    matrix = np.array([[1, -0.254, 0.004], [-0.254, 1, -0.001], [0.004, -0.001, -1]])
    texts = [t.text for t in ElementTree.fromstring(similarity_svg(matrix, "abc", "123")).iter()]
    assert texts.count("−.25") == 2
    assert texts.count("0") == 4
    assert "−1" in texts


def test_large_matrix_has_colours_only() -> None:
    labels = [str(i) for i in range(24)]
    svg = similarity_svg(np.eye(24), [f"face {i}" for i in labels], labels)
    assert len(svg) < 400_000
    assert not [t for t in ElementTree.fromstring(svg).iter(f"{SVG}text") if t.text == "−.25"]


def test_any_number_of_curves() -> None:
    steps = np.arange(3.0)
    curves = {f"curve {i}": (steps, steps + i) for i in range(DISTINCT + 1)}
    root = ElementTree.fromstring(curves_svg(curves, "many"))
    assert {t.text for t in root.iter(f"{SVG}text")} >= set(curves)


def test_drawing_leaves_the_xml_of_others_alone() -> None:
    make_map(9, 2)
    foreign = ElementTree.fromstring('<svg xmlns="http://www.w3.org/2000/svg"/>')
    assert b"<ns0:svg" in ElementTree.tostring(foreign)


def test_percent() -> None:
    assert [percent(x) for x in (0.5, 0.1, 0.056, 0)] == ["50 %", "10 %", "5.6 %", "0.0 %"]


def decode(src: str) -> np.ndarray:
    head, data = src.split(",")
    assert head == "data:image/jpeg;base64"
    image = cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR)
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def make_images(count: int) -> np.ndarray:
    """Plain pictures, each of its own red, all with the same blue."""
    images = np.zeros((count, 112, 112, 3), np.uint8)
    images[..., 0] = (np.arange(count) * 30)[:, None, None]
    images[..., 2] = 200
    return images


def test_strip_holds_the_crops_in_order_and_colour() -> None:
    strip = make_strip(make_images(4), None, limit=8)
    image = decode(strip.src)
    assert image.shape == (112, 448, 3)
    assert (strip.width, strip.height, strip.count) == (448, 112, 4)
    for i in range(4):
        np.testing.assert_allclose(image[56, 112 * i + 56], [30 * i, 0, 200], atol=6)
    assert strip.dots == strip.lines == ""


def test_strip_of_fewer_crops_keeps_first_and_last() -> None:
    image = decode(make_strip(make_images(8), None, limit=3).src)
    reds = [image[56, 112 * i + 56, 0] for i in range(3)]
    np.testing.assert_allclose(reds, [0, 120, 210], atol=6)


def test_dots_lie_on_their_crop_and_gaps_have_none() -> None:
    points = np.full((3, 2, 2), np.nan, np.float32)
    points[0] = [[10, 20], [-50, 5]]
    points[2] = [[0, 0], [112, 112]]
    strip = make_strip(make_images(3), points, limit=8)
    dots = [tuple(map(int, xy)) for xy in re.findall(r"M(-?\d+) (-?\d+)h0", strip.dots)]
    assert dots == [(20, 40), (448, 0), (672, 224)]
    assert strip.lines == ""


def test_mesh_of_a_face_has_outlines() -> None:
    points = np.random.default_rng(0).uniform(0, 112, (1, 478, 2)).astype(np.float32)
    strip = make_strip(make_images(1), points, limit=8)
    assert strip.lines.count("M") == 9
    assert re.fullmatch(r"(M\d+ \d+l(-?\d+ -?\d+ ?)+z?)+", strip.lines)
    assert len(strip.lines) + len(strip.dots) < 8000


@pytest.mark.parametrize(("count", "limit"), [(0, 3), (1, 3), (3, 3), (10, 3), (10, 1), (1000, 24)])
def test_spread(count: int, limit: int) -> None:
    chosen = spread(count, limit)
    assert len(chosen) == min(count, limit)
    assert chosen == sorted(set(chosen))
    if limit > 1 and count:
        assert (chosen[0], chosen[-1]) == (0, count - 1)
