"""`serve`: the verbs in a browser, for people who would rather look than type."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from openmarlin.console import console
from openmarlin.errors import InputError, option
from openmarlin.model.zoo import SHIPPED_TASKS
from openmarlin.settings import documented, read_settings
from openmarlin.web.sessions import OWN, UPLOADS
from openmarlin.web.settings import ServeSettings

PICTURES = "examples"


@documented(ServeSettings)
def serve(
    *,
    config: str | Path | None = None,
    progress: bool = False,  # noqa: ARG001 - every verb takes it; the page shows its own
    **settings: Any,
) -> None:
    """Show the page in which the verbs can be tried, until it is interrupted (Ctrl-C, SIGTERM).

    Args:
        config: a recipe, a YAML file of settings; arguments go over it.
        progress: changes nothing: the page shows how far its work is.
        {settings}

    Raises:
        OpenMarlinError: the address cannot be listened on, a model cannot be loaded, or gradio is
            not installed.
    """
    s = read_settings(ServeSettings, config, settings)
    with Page(s) as page:
        console.print(f"Open {page.address} in a browser; Ctrl-C ends it.")
        wait_for_the_end()


class Page:
    """A page that is there for as long as the context.

    Args:
        settings: where it is, and what it takes.
    """

    address: str

    def __init__(self, settings: ServeSettings) -> None:
        if find_spec("gradio") is None:
            raise InputError("serve needs gradio: pip install 'openmarlin[serve]'")
        self.settings = settings

    def __enter__(self) -> Page:
        with ExitStack() as stack:
            self.address = self._begin(stack)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _begin(self, stack: ExitStack) -> str:
        from openmarlin.web.work import Workers

        s, port = self.settings, _free_port(self.settings)
        root = Path(stack.enter_context(TemporaryDirectory(prefix="openmarlin-page-")))
        stack.enter_context(_environment(root))
        workers = Workers(s.workers or max(1, (os.cpu_count() or 1) // 2))
        stack.callback(workers.end)
        checker = Workers(1)
        stack.callback(checker.end)
        return _launch(s, port, root, workers, checker, stack)


def _launch(
    s: ServeSettings, port: int, root: Path, workers: Any, checker: Any, stack: ExitStack
) -> str:
    """Build the page and begin to answer. Returns its address."""
    import gradio as gr

    from openmarlin.web import tasks
    from openmarlin.web.desk import Desk
    from openmarlin.web.page import launch_options, make_page

    desk = Desk(s, root, workers, checker)
    (root / PICTURES).mkdir()
    gr.set_static_paths([root / OWN, root / PICTURES])
    page = make_page(desk, _models(s, checker, root), root / PICTURES)
    page.queue(api_open=False)
    page.launch(
        server_name=s.host,
        server_port=port,
        share=False,
        quiet=True,
        prevent_thread_lock=True,
        max_file_size=s.max_mb << 20,
        ssr_mode=False,
        mcp_server=False,
        enable_monitoring=False,
        **launch_options(),
    )
    stack.callback(page.close, verbose=False)
    workers.warm_up(tasks.warm_up, root)
    return f"http://{s.host}:{port}"


def _models(s: ServeSettings, checker: Any, root: Path) -> list[tuple[str, str]]:
    """Models of tasks: names for the page, and what `predict` calls them."""
    from openmarlin.web import tasks

    shipped = [(name.capitalize(), name) for name in SHIPPED_TASKS]
    if not s.model:
        return shipped
    with checker.one() as worker:
        own = worker.run(
            tasks.name_models,
            s.model,
            folder=root,
            stop=threading.Event(),
            tell=lambda _now_s, _end_s: None,
        )
    return [*own, *shipped]


@contextmanager
def _environment(root: Path) -> Iterator[None]:
    """gradio's files lie in our folder, and it tells nobody that it is used."""
    changes = {"GRADIO_TEMP_DIR": str(root / UPLOADS), "GRADIO_ANALYTICS_ENABLED": "False"}
    before = {name: os.environ.get(name) for name in changes}
    os.environ.update(changes)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _free_port(s: ServeSettings) -> int:
    """The port to listen on, after a look at whether that can be done."""
    family = socket.AF_INET6 if ":" in s.host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((s.host, s.port))
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or error
            raise InputError(
                f"cannot listen on {s.host}:{s.port}: {reason}; choose another "
                f"{option('port')} or {option('host')}"
            ) from None
        return int(probe.getsockname()[1])


def wait_for_the_end() -> None:
    """Return at Ctrl-C, or when somebody ends the process (SIGTERM)."""
    ended = threading.Event()
    before = signal.signal(signal.SIGTERM, lambda *_: ended.set())
    try:
        while not ended.wait(1.0):
            pass
    except KeyboardInterrupt:
        pass
    finally:
        signal.signal(signal.SIGTERM, before)


def announce(_result: None) -> None:
    """Nothing is left to be said."""
