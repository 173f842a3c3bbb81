"""The command line: parsing, progress and exit codes; everything else is in the jobs.

A verb's options, their help and their headings come from its settings class. Each may also be
given as `key=value` or in a recipe (`--config`), and means the same.

Exit codes: 0 all is well, 1 some inputs failed and are listed, 2 the request itself is wrong,
130 interrupted.
"""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from inspect import Parameter, Signature
from pathlib import Path
from typing import Annotated, Any, get_args

import typer
from pydantic.fields import FieldInfo
from rich.console import Console
from rich.markup import escape

from openmarlin import __version__
from openmarlin.console import console
from openmarlin.errors import InputError, OpenMarlinError, on_command_line
from openmarlin.settings import group, kind, takes_names
from openmarlin.verbs import VERBS, Verb, identifier, job_of

app = typer.Typer(
    help="Representation learning for facial video.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


GROUPS = {
    "lipsync": typer.Typer(
        help="Lip synchronisation: measure it, mend it, make lips for another sound.",
        no_args_is_help=True,
        rich_markup_mode="rich",
        context_settings={"help_option_names": ["-h", "--help"]},
    ),
}
"""Verbs of two words, as `lipsync score`, by their first word."""


@contextmanager
def _interruptible() -> Iterator[None]:
    """Ctrl-C ends a long job with what to do next, and the exit code shells expect."""
    try:
        yield
    except KeyboardInterrupt:
        console.print("interrupted: what is finished is kept; run again with --resume to go on")
        raise typer.Exit(130) from None


def _version(show: bool) -> None:
    if show:
        typer.echo(f"openmarlin {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None: ...


def _run(name: str, words: Sequence[str], config: Path | None, options: dict[str, Any]) -> None:
    """Call the verb's Python twin, say what came of it, and end with the exit code."""
    _check_temporary_folder()
    verb, job = VERBS[name], import_module(job_of(name))
    inputs, changes = _split(words)
    for key, value in options.items():
        if value is not None and value != []:
            changes[key] = ",".join(value) if isinstance(value, list) else value
    if verb.memory:
        getattr(import_module("openmarlin.native"), verb.memory)()
    with _interruptible():
        twin = getattr(job, identifier(name.rpartition(" ")[2]))
        result = twin(*_inputs(name, inputs), config=config, progress=True, **changes)
    job.announce(result)
    if getattr(result, "failures", None):
        raise typer.Exit(1)


def _check_temporary_folder() -> None:
    """Libraries ask for one as they are imported, and end with a traceback where there is none."""
    try:
        tempfile.gettempdir()
    except FileNotFoundError:
        raise InputError(
            "no temporary folder can be written to; set the environment variable TMPDIR to another"
        ) from None


def _inputs(name: str, inputs: list[str]) -> tuple[Any, ...]:
    verb = VERBS[name]
    if verb.several:
        return (inputs,)
    if not inputs and verb.names and "data" not in verb.settings.model_fields:
        raise InputError(f"{name} has nothing to read: name {verb.inputs.lower()}")
    if len(inputs) > len(verb.names) or (inputs and len(inputs) < len(verb.names)):
        takes = "one input" if len(verb.names) == 1 else f"{verb.usage} ({verb.inputs.lower()})"
        takes = takes if verb.names else "no input"
        raise InputError(f"{name} reads {takes}, not {len(inputs)}: {', '.join(inputs)}")
    return tuple(inputs)


def _split(words: Sequence[str]) -> tuple[list[str], dict[str, Any]]:
    """Words of a command line -> inputs, and settings written as key=value."""
    inputs: list[str] = []
    changes: dict[str, Any] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if equals and re.fullmatch(r"[a-z_]+(\.[a-z_]+)*", key) and not Path(word).exists():
            changes[key] = value
        else:
            inputs.append(word)
    return inputs, changes


def _command(name: str, verb: Verb) -> Callable[..., None]:
    """A function with the signature that typer makes options of."""

    def command(words: list[str] | None, config: Path | None, **options: Any) -> None:
        _run(name, words or [], config, options)

    words = typer.Argument(
        metavar=verb.usage.removesuffix("...") or "KEY=VALUE",
        help=f"{verb.inputs} Any option may also be written as KEY=VALUE.".lstrip(),
        show_default=False,
    )
    recipe = typer.Option(help="A recipe: a YAML file of settings.", show_default=False)
    parameters = [
        _parameter("words", Annotated[list[str] | None, words]),
        _parameter("config", Annotated[Path | None, recipe]),
        *(_option(key, field) for key, field in verb.settings.model_fields.items()),
    ]
    command.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in parameters}
    command.__doc__ = verb.summary
    return command


def _option(name: str, field: FieldInfo) -> Parameter:
    """An option that hands on what was typed: the settings class says what it may be."""
    flag = "--" + name.replace("_", "-")
    settings: dict[str, Any] = {
        "help": escape(_help(field)),
        "rich_help_panel": group(field) or "Options",
        "show_default": False,
    }
    if field.annotation is bool:
        return _parameter(name, Annotated[bool | None, typer.Option(flag, metavar="", **settings)])
    metavar = _metavar(field)
    if takes_names(field):  # repeated, or separated by commas
        kinds = Annotated[list[str] | None, typer.Option(flag, metavar=metavar, **settings)]
        return _parameter(name, kinds)
    return _parameter(name, Annotated[str | None, typer.Option(flag, metavar=metavar, **settings)])


def _parameter(name: str, annotation: Any) -> Parameter:
    return Parameter(name, Parameter.POSITIONAL_OR_KEYWORD, default=None, annotation=annotation)


def _help(field: FieldInfo) -> str:
    default = field.get_default()
    if field.is_required() or default is None or default is False or default in ((), {}):
        return str(field.description)
    text = ",".join(map(str, default)) if isinstance(default, tuple) else str(default)
    return f"{field.description} [default: {text}]"


def _metavar(field: FieldInfo) -> str:
    words = kind(field)
    if words.startswith("a whole number"):
        return "INTEGER"
    if words.startswith("a number"):
        return "NUMBER"
    if words == "a path":
        return "PATH"
    choices = get_args(field.annotation)
    if choices and all(isinstance(choice, str) for choice in choices):
        return "|".join(choices)
    return "TEXT"


for _name, _verb in VERBS.items():
    _group, _, _last = _name.rpartition(" ")
    (GROUPS[_group] if _group else app).command(_last)(_command(_name, _verb))
for _name, _group_app in GROUPS.items():
    app.add_typer(_group_app, name=_name)


@app.command()
def models() -> None:
    """List the models: size, where the weights are, licence."""
    from openmarlin.jobs.models import models as run

    Console().print(run())


@app.command()
def doctor() -> None:
    """Print a report on this machine and installation, to paste into an issue."""
    from openmarlin.jobs.doctor import doctor as run

    diagnosis = run()
    typer.echo(diagnosis.text)
    if not diagnosis.ok:
        raise typer.Exit(1)


def main() -> None:
    """Entry point of the `openmarlin` command."""
    on_command_line()
    try:
        app()
    except OpenMarlinError as error:
        console.print(f"[red]error[/] {escape(str(error))}", soft_wrap=True)
        sys.exit(2)


if __name__ == "__main__":
    main()
