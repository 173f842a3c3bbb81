"""The command line: parsing, progress and exit codes; everything else is in the jobs.

Exit codes: 0 all is well, 1 some inputs failed and are listed, 2 the request itself is wrong,
130 interrupted.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from openmarlin import __version__
from openmarlin.config import DEFAULT_MODEL, Backend, Precision, Tail
from openmarlin.console import console
from openmarlin.errors import InputError, OpenMarlinError

app = typer.Typer(
    help="Representation learning for facial video.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


Workers = Annotated[
    int | None, typer.Option(help="Videos read at once.", show_default="one a core")
]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with an interrupted run in OUT.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an earlier run in OUT.")]
LimitSeconds = Annotated[float | None, typer.Option(help="Read at most so much of each video.")]


@contextmanager
def _interruptible() -> Iterator[None]:
    """Ctrl-C ends a long job with what to do next, and the exit code shells expect."""
    try:
        yield
    except KeyboardInterrupt:
        console.print("interrupted: what is finished is kept; run again with --resume to go on")
        raise typer.Exit(130) from None


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"openmarlin {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None: ...


@app.command()
def extract(
    inputs: Annotated[
        list[str],
        typer.Argument(metavar="INPUT...", help="Videos, folders, CSV tables with a video column."),
    ],
    out: Annotated[
        Path, typer.Option(help="A folder to write, or one .parquet, .npz or .csv file.")
    ],
    model: Annotated[str, typer.Option(help="Name, folder or checkpoint.")] = DEFAULT_MODEL,
    faces: Annotated[str, typer.Option(help="largest, all, or a number a window.")] = "largest",
    precropped: Annotated[
        bool, typer.Option("--precropped", help="The videos are face crops already.")
    ] = False,
    align: Annotated[bool, typer.Option("--align", help="Rotate crops upright.")] = False,
    rate: Annotated[int, typer.Option(help="Take every RATE-th frame.")] = 2,
    stride: Annotated[int, typer.Option(help="Sampled frames from window to window.")] = 16,
    tail: Annotated[Tail, typer.Option(help="What to do with the last window.")] = "pad",
    tokens: Annotated[bool, typer.Option("--tokens", help="Also write all tokens.")] = False,
    precision: Annotated[Precision, typer.Option(help="Of the encoder.")] = "auto",
    backend: Annotated[Backend, typer.Option(help="What runs the encoder.")] = "auto",
    batch: Annotated[int, typer.Option(help="Clips encoded at once.")] = 8,
    workers: Workers = None,
    resume: Resume = False,
    overwrite: Overwrite = False,
    limit_seconds: LimitSeconds = None,
) -> None:
    """Turn videos of faces into features: one vector a window, and a report."""
    from openmarlin.jobs.extract import announce
    from openmarlin.jobs.extract import extract as run
    from openmarlin.native import return_large_blocks

    return_large_blocks()
    with _interruptible():
        result = run(
            inputs,
            out=out,
            model=model,
            faces=faces,
            precropped=precropped,
            align=align,
            rate=rate,
            stride=stride,
            tail=tail,
            tokens=tokens,
            precision=precision,
            backend=backend,
            batch=batch,
            workers=workers,
            resume=resume,
            overwrite=overwrite,
            limit_seconds=limit_seconds,
            progress=True,
        )
    announce(result, out)
    if result.failures:
        raise typer.Exit(1)


@app.command()
def prepare(
    inputs: Annotated[
        list[str],
        typer.Argument(metavar="INPUT...", help="Videos, folders, CSV tables, YouTube Faces."),
    ],
    out: Annotated[Path, typer.Option(help="The store, a folder.")],
    size: Annotated[int, typer.Option(help="Side of a face crop, pixels.")] = 224,
    margin: Annotated[int, typer.Option(help="Pixels around it, for augmentation.")] = 16,
    min_frames: Annotated[int, typer.Option(help="Leave shorter tracks out.")] = 29,
    max_frames: Annotated[int, typer.Option(help="Cut longer tracks into pieces.")] = 300,
    min_face_px: Annotated[float, typer.Option(help="Leave smaller faces out.")] = 64,
    sound: Annotated[bool, typer.Option("--sound", help="Also keep the sound.")] = False,
    limit_seconds: LimitSeconds = None,
    workers: Workers = None,
    resume: Resume = False,
    overwrite: Overwrite = False,
) -> None:
    """Turn videos of faces into a store of crops and regions to pre-train from."""
    from openmarlin.jobs.prepare import announce
    from openmarlin.jobs.prepare import prepare as run

    with _interruptible():
        result = run(
            inputs,
            out=out,
            size=size,
            margin=margin,
            min_frames=min_frames,
            max_frames=max_frames,
            min_face_px=min_face_px,
            sound=sound,
            limit_seconds=limit_seconds,
            workers=workers,
            resume=resume,
            overwrite=overwrite,
            progress=True,
        )
    announce(result)
    if result.failures:
        raise typer.Exit(1)


@app.command()
def masks(
    video: Annotated[Path, typer.Argument(help="A video with a face.")],
    out: Annotated[Path, typer.Option(help="The picture, a PNG.")],
    ratio: Annotated[float, typer.Option(help="Share of the tokens that is masked.")] = 0.9,
    regions: Annotated[
        str, typer.Option(help="What the last row hides first, separated by commas.")
    ] = "left_eye,right_eye,mouth",
    seed: Annotated[int, typer.Option(help="Of the chance in the masks.")] = 0,
) -> None:
    """Draw what every masking strategy hides of a face."""
    from openmarlin.jobs.masks import masks as run

    named = [name.strip() for name in regions.split(",")]
    run(video, out=out, ratio=ratio, regions=named, seed=seed)
    console.print(f"Look at {out}")


@app.command()
def pretrain(
    changes: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY=VALUE]...", help="Settings: data=STORE out=RUN steps=1000."),
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="A recipe, a YAML file of settings.", show_default=False)
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the run in out, from where it stopped.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an earlier run in out.")
    ] = False,
) -> None:
    """Pre-train a model on a store, as a recipe says."""
    from openmarlin.jobs.pretrain import announce
    from openmarlin.jobs.pretrain import pretrain as run
    from openmarlin.native import keep_freed_memory

    keep_freed_memory()
    pairs = [change.partition("=") for change in changes or []]
    for key, equals, _ in pairs:
        if not equals:
            raise InputError(f"'{key}' is not a setting: write key=value, such as steps=1000")
    settings = {key: value for key, _, value in pairs}
    with _interruptible():
        if "out" not in settings:
            raise InputError("out= is missing: name the run folder")
        options: dict[str, Any] = {**settings, "resume": resume, "overwrite": overwrite}
        result = run(config=config, progress=True, **options)
    announce(result)


@app.command()
def reconstruct(
    video: Annotated[Path, typer.Argument(help="A video with a face.")],
    out: Annotated[Path, typer.Option(help="A folder for strips.png, strips.mp4, errors.json.")],
    model: Annotated[
        str, typer.Option(help="A whole autoencoder: name, folder, checkpoint.")
    ] = DEFAULT_MODEL,
    masking: Annotated[str, typer.Option(help="How (see `openmarlin masks`).")] = "fasking",
    mask_ratio: Annotated[float, typer.Option(help="Share of the tokens that is masked.")] = 0.9,
    regions: Annotated[
        str, typer.Option(help="Parts of the face hidden first, separated by commas.")
    ] = "",
    windows: Annotated[int, typer.Option(help="How many: the first ones with a face.")] = 4,
    precropped: Annotated[
        bool, typer.Option("--precropped", help="The video is a face crop already.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Of the chance in the masks.")] = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what is in OUT.")] = False,
) -> None:
    """Show what a pre-trained model makes of a face that is masked."""
    from openmarlin.jobs.reconstruct import announce
    from openmarlin.jobs.reconstruct import reconstruct as run

    result = run(
        video,
        out=out,
        model=model,
        masking=masking,
        mask_ratio=mask_ratio,
        regions=[name.strip() for name in regions.split(",") if name.strip()],
        windows=windows,
        precropped=precropped,
        seed=seed,
        overwrite=overwrite,
    )
    announce(result)


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
    try:
        app()
    except OpenMarlinError as error:
        console.print(f"[red]error[/] {escape(str(error))}", soft_wrap=True)
        sys.exit(2)


if __name__ == "__main__":
    main()
