"""Errors that a user can cause: one line each that says what, where and what to do."""

from __future__ import annotations

from typing import Any


class OpenMarlinError(Exception):
    """Base of every error the command line prints as one line instead of a traceback."""


class InputError(OpenMarlinError):
    """The request itself is wrong: a path, an option or a table that cannot be used."""


class VideoError(OpenMarlinError):
    """A file that cannot be read as video."""


class FaceError(OpenMarlinError):
    """A face net or region parser that cannot be loaded or does not fit."""


class ModelError(OpenMarlinError):
    """A model or checkpoint that cannot be loaded, or does not fit the request."""


class TrainingError(OpenMarlinError):
    """Training that cannot go on: losses that are no numbers, devices that do not fit."""


_command_line = False


def on_command_line() -> None:
    """From now on this process names options as a command line spells them."""
    global _command_line
    _command_line = True


def option(name: str, value: Any = None) -> str:
    """An option as the caller writes it: `rate=2` in Python, `--rate 2` on the command line.

    Args:
        name: of a setting, such as limit_seconds or shape.depth.
        value: what it is or should be set to; without it the option is only named.
    """
    if _command_line and "." not in name:
        flag = "--" + name.replace("_", "-")
        return flag if value is None or value is True else f"{flag} {value}"
    if _command_line:  # what has a dot is written as in a recipe
        return name if value is None else f"{name}={value}"
    return f"{name}=" if value is None else f"{name}={value!r}"
