"""The page: a clip on one side, what the verbs make of it on the other."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from openmarlin.web import tasks
from openmarlin.web.desk import PRIVATE, Desk
from openmarlin.web.examples import Example, examples
from openmarlin.web.tabs import answers, faces, features, lipsync, masks

STYLE = Path(__file__).parent / "page.css"

_HEAD = """
<h1>openmarlin</h1>
<p>Faces in video: where they are, what they express, what a model sees in them.</p>
"""
_FOOT = """
<p>The weights inside are for research, not for commercial use. Your files go when you close this
page.</p>
"""
_FONTS = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "Noto Sans", "sans-serif")
_MONO = ("ui-monospace", "SF Mono", "Cascadia Mono", "Menlo", "Consolas", "monospace")


def make_page(desk: Desk, models: Sequence[tuple[str, str]], pictures: Path) -> gr.Blocks:
    """The whole page.

    Args:
        desk: what does the work.
        models: of tasks: names to show and what `predict` calls them.
        pictures: a folder for those of the examples.
    """
    page = gr.Blocks(
        title="openmarlin", analytics_enabled=False, fill_width=True, delete_cache=(60, 600)
    )
    with page:
        gr.HTML(_HEAD, elem_classes="head")
        with gr.Row(elem_classes="sides", equal_height=False):
            with gr.Column(scale=2, min_width=300, elem_classes="input"):
                clip = _add_clip(desk, pictures)
            with gr.Column(scale=5, min_width=320), gr.Tabs():
                faces.add(desk, clip)
                masks.add(desk, clip)
                features.add(desk, clip)
                answers.add(desk, clip, models)
                lipsync.add(desk, clip)
        gr.HTML(_FOOT, elem_classes="foot")

        def leave(request: gr.Request) -> None:
            desk.sessions.end(request.session_hash)

        page.unload(leave)
    return page


def _add_clip(desk: Desk, pictures: Path) -> gr.Video:
    clip = gr.Video(label="Your clip", sources=["upload", "webcam"], elem_id="clip", height=280)
    gr.Markdown(f"Up to **{desk.limits}**. Nothing is kept.", elem_classes="told")
    desk.accept(clip, tasks.check_clip)
    found = examples()
    if found:
        _add_examples(desk, clip, found, pictures)
    return clip


def _add_examples(desk: Desk, clip: gr.Video, found: list[Example], pictures: Path) -> None:
    gr.Markdown("Or take an example:", elem_classes="told")
    gallery = gr.Gallery(
        [(str(example.save_picture(pictures)), example.caption) for example in found],
        show_label=False,
        columns=len(found),
        rows=1,
        height="auto",
        allow_preview=False,
        interactive=False,
        object_fit="cover",
        buttons=[],
        elem_id="examples",
    )

    def choose(chosen: gr.SelectData, request: gr.Request) -> str:
        session = desk.sessions.of(request.session_hash)
        return str(session.borrow(found[chosen.index].path))

    gallery.select(choose, None, clip, show_progress="hidden", **PRIVATE)


def launch_options() -> dict[str, Any]:
    """Looks, for `launch`: no font or script from elsewhere, nothing of gradio's own."""
    theme = gr.themes.Base(
        primary_hue=gr.themes.colors.blue,
        neutral_hue=gr.themes.colors.slate,
        radius_size=gr.themes.sizes.radius_md,
        font=_FONTS,
        font_mono=_MONO,
    ).set(body_text_color_subdued="*neutral_500", body_text_color_subdued_dark="*neutral_400")
    return {"theme": theme, "css_paths": STYLE, "footer_links": [], "run_history": False}
