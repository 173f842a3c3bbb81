"""Between the page and the workers: files of a session in, what there is to show out."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any

import gradio as gr

from openmarlin.errors import InputError, OpenMarlinError
from openmarlin.video.watch import Tell
from openmarlin.web.sessions import Session, Sessions
from openmarlin.web.settings import ServeSettings
from openmarlin.web.work import CancelledError, Worker, Workers

_QUEUE = "work"
"""All that workers do waits in one line."""

_PROGRESS = gr.Progress()


@dataclass
class Job:
    """One press of a button.

    Attributes:
        session: whose.
        values: of the inputs, by component.
        out: where the verb may write; it is not there yet.
        do: runs a task with its arguments in a worker.
    """

    session: Session
    values: dict[Any, Any]
    out: Path
    do: Callable[..., Any]

    def file(self, component: gr.components.Component, what: str) -> Path:
        """The file in a component.

        Raises:
            InputError: there is none; `what` is to be chosen first.
        """
        value = self.values[component]
        if not value:
            raise InputError(f"choose {what} first")
        return self.session.take(value)


Work = Callable[[Job], Sequence[Any]]
"""What a tab does when its button is pressed: the values of its outputs."""


class Desk:
    """Sessions, workers and limits of a page.

    Args:
        settings: what the page takes.
        root: an empty folder for everything that lies on disk while the page is there.
        workers: what does the work; they are ended by whoever began them.
        checker: what looks at uploads, so that nobody waits for others to have one checked.
    """

    def __init__(
        self, settings: ServeSettings, root: Path, workers: Workers, checker: Workers
    ) -> None:
        self.settings = settings
        self.sessions = Sessions(root)
        self._workers, self._checker = workers, checker

    @property
    def limits(self) -> str:
        """What the page takes, in words."""
        s = self.settings
        return f"{s.max_mb:,} MB and {s.max_seconds:g} s"

    def accept(self, component: Any, check: Callable[..., Any]) -> None:
        """Look at what is put into a component, and make it the session's own.

        Args:
            component: takes a file, or several.
            check: the task that looks at one.
        """

        def taken(value: str | list[str] | None, request: gr.Request) -> Any:
            if not value:
                return None
            paths = value if isinstance(value, list) else [value]
            session = self.sessions.of(request.session_hash)
            own = []
            for path in paths:
                try:
                    mine = session.take(path)
                    with self._checker.one() as worker:
                        self._run(worker, session, check, mine, self.settings.max_seconds)
                    own.append(str(mine))
                except OpenMarlinError as error:
                    gr.Warning(_line(error, session), duration=None, title="This file is not taken")
            if not own:
                return None
            return own if isinstance(value, list) else own[0]

        names = ("upload", "stop_recording")
        events = [getattr(component, name) for name in names if hasattr(component, name)]
        gr.on(events, taken, component, component, concurrency_limit=None, **PRIVATE)

    def wire(
        self,
        name: str,
        start: gr.Button,
        stop: gr.Button,
        work: Work,
        inputs: set[gr.components.Component],
        outputs: Sequence[gr.components.Component],
    ) -> None:
        """Let one button do work and another one cancel it.

        Args:
            name: of the tab's work; a session has one of each under way at most.
            start: begins it.
            stop: ends it.
            work: what is done.
            inputs: whose values it gets.
            outputs: what it fills.
        """

        def cancel(request: gr.Request) -> list[gr.Button]:
            self._session(request).stop(name)
            gr.Info("Cancelled.", duration=3, title="")
            return _idle()

        buttons, at_once = [start, stop], {**PRIVATE, "queue": False, "show_progress": "hidden"}
        begun = start.click(_busy, None, buttons, **at_once)
        done = begun.then(
            self._runner(name, work, len(outputs)),
            inputs,
            outputs,
            show_progress_on=outputs[0],
            concurrency_id=_QUEUE,
            concurrency_limit=self._workers.count,
            **PRIVATE,
        )
        for ended in (done.success, done.failure):  # `then` does not follow an error
            ended(_idle, None, buttons, **at_once)
        stop.click(cancel, None, buttons, cancels=[done], **at_once)

    def _runner(self, name: str, work: Work, n_outputs: int) -> Callable[..., Sequence[Any]]:
        """The function behind a button, as gradio calls it."""

        def run(
            values: dict[Any, Any], request: gr.Request, progress: gr.Progress = _PROGRESS
        ) -> Sequence[Any]:
            session = self._session(request)
            progress(0, desc="starting")
            try:
                with session.running(name) as event, self._workers.one() as worker:
                    out = session.result_folder(name) / "out"

                    def do(task: Callable[..., Any], *args: Any) -> Any:
                        return self._run(
                            worker, session, task, *args, stop=event, tell=_tell(progress)
                        )

                    return work(Job(session, values, out, do))
            except CancelledError:
                return [gr.skip()] * n_outputs
            except OpenMarlinError as error:
                raise _shown(error, session) from None

        return run

    def _session(self, request: gr.Request) -> Session:
        return self.sessions.of(request.session_hash)

    def _run(
        self,
        worker: Worker,
        session: Session,
        task: Callable[..., Any],
        *args: Any,
        stop: Event | None = None,
        tell: Tell | None = None,
    ) -> Any:
        return worker.run(
            task,
            *args,
            folder=session.folder,
            stop=stop or Event(),
            tell=tell or (lambda _now_s, _end_s: None),
        )


PRIVATE: dict[str, Any] = {"api_visibility": "private"}
"""No function of the page is an interface for programs."""


def buttons(label: str) -> tuple[gr.Button, gr.Button]:
    """What begins the work of a tab, and what ends it while it is under way."""
    with gr.Row(elem_classes="go"):
        start = gr.Button(label, variant="primary", scale=3, min_width=160)
        stop = gr.Button("Cancel", scale=1, min_width=80, visible=False)
    return start, stop


def _busy() -> list[gr.Button]:
    return [gr.Button(interactive=False), gr.Button(visible=True)]


def _idle() -> list[gr.Button]:
    return [gr.Button(interactive=True), gr.Button(visible=False)]


def film() -> gr.Video:
    """Where a tab plays its result."""
    look: dict[str, Any] = {"show_label": False, "elem_classes": "film", "buttons": ["download"]}
    return gr.Video(interactive=False, autoplay=True, loop=True, **look)


def page_of_a_report(hint: str) -> gr.HTML:
    """Where a tab shows a verb's report, and before that what it will show."""
    return gr.HTML(f"<p>{hint}</p>", elem_classes="hint", min_height=60)


def download() -> gr.File:
    """Where a tab offers its table; see `offered`."""
    return gr.File(show_label=False, interactive=False, visible=False, elem_classes="files")


def offered(files: list[str]) -> gr.File:
    """The table of a result, to be downloaded."""
    return gr.File(files, visible=True)


def _tell(progress: gr.Progress) -> Tell:
    def tell(now_s: float, end_s: float | None) -> None:
        if end_s:
            progress(min(now_s / end_s, 1.0), desc=f"reading {now_s:.1f} of {end_s:.1f} s")
        else:
            progress(None, desc=f"reading {now_s:.1f} s")

    return tell


def _shown(error: OpenMarlinError, session: Session) -> gr.Error:
    """An error as the page shows it."""
    line = _line(error, session)
    return gr.Error(line, duration=None, title="That did not work", print_exception=False)


def _line(error: OpenMarlinError, session: Session) -> str:
    """The one line of an error, with files as the user named them."""
    folders = re.escape(str(session.folder)) + r"/[^/]+/"
    return html.escape(re.sub(folders, "", str(error)))
