"""The base of every verb's settings, which are written down once.

A settings class gives a verb its options and their help, the keys of its recipes, what is saved
beside its results, the arguments of its Python twin and its page in the docs:

    class MaskSettings(Settings):
        mask_ratio: float = setting(0.9, "Share of the tokens that is masked.", gt=0, lt=1)
"""

from __future__ import annotations

import difflib
import inspect
import os
from collections.abc import Callable, Iterable, Mapping
from inspect import Parameter
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, ClassVar, Literal, Self, TypeVar, Union, get_args, get_origin

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PlainValidator,
    ValidationError,
)
from pydantic.fields import FieldInfo

from openmarlin.errors import InputError, option
from openmarlin.storage import is_url, locate


def _expanded(path: str | os.PathLike[str]) -> Path:
    """With `~` spelt out: no shell does it in `out=~/run`. (pathlib's own expansion fails where
    there is no such user.)"""
    return Path(os.path.expanduser(path))  # noqa: PTH111


def _on_this_machine(path: Path) -> Path:
    if is_url(path):
        raise ValueError("is a URL; this must be on this machine")
    return _expanded(path)


def _anywhere(value: Any) -> Path:
    if not isinstance(value, str | os.PathLike):
        raise ValueError("must be a path or URL")
    return locate(value) if is_url(value) else _expanded(value)


UserPath = Annotated[Path, AfterValidator(_on_this_machine)]
"""A path on this machine."""

UserPlace = Annotated[Path, PlainValidator(_anywhere)]
"""A path, or a URL."""

Precision = Literal["auto", "fp32", "bf16"]
"""Of arithmetic; auto is the fastest that is faithful on this machine."""

Function = TypeVar("Function", bound=Callable[..., Any])
AnySettings = TypeVar("AnySettings", bound="Settings")


def setting(
    default: Any,
    description: str,
    *,
    group: str = "",
    free: bool = False,
    saved: bool = True,
    **constraints: Any,
) -> Any:
    """One setting of a `Settings` class.

    Args:
        default: its value when nobody says otherwise; `...` where somebody must.
        description: a sentence for help and docs.
        group: the heading under which help and docs show it.
        free: it may differ when a run is resumed, because results do not depend on it.
        saved: it belongs into a recipe. What says where and how this one call writes does not.
        constraints: pydantic's: ge, gt, le, lt, multiple_of.
    """
    extra: dict[str, Any] = {"group": group, "free": free, "saved": saved}
    return Field(default, description=description, json_schema_extra=extra, **constraints)


class Settings(BaseModel):
    """Base of all settings: frozen, no unknown keys, errors as one line."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    renamed: ClassVar[Mapping[str, str]] = {}
    """Earlier names of settings, which recipes may still hold, and today's."""

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Self:
        """Validate.

        Raises:
            InputError: one line that names the first setting that is wrong, as the caller wrote it.
        """
        for key in values:
            if key in cls.renamed:
                raise InputError(f"{option(key)} is now called {option(cls.renamed[key])}")
            if key not in cls.model_fields:
                raise InputError(f"there is no setting '{key}'{nearest(key, cls.model_fields)}")
        try:
            return cls(**values)
        except ValidationError as error:
            raise InputError(_one_line(cls, error)) from None

    def recipe(self, *, free: bool = True) -> dict[str, Any]:
        """JSON values of the settings that a recipe holds.

        Args:
            free: those too that may differ when a run is resumed.
        """
        fields = type(self).model_fields.items()
        names = {name for name, field in fields if _role(field, "saved", True)}
        if not free:
            names -= {name for name, field in fields if _role(field, "free", False)}
        return self.model_dump(mode="json", include=names)


def read_settings(
    cls: type[AnySettings], config: str | Path | None, changes: Mapping[str, Any]
) -> AnySettings:
    """The settings of a recipe with changes on top.

    Args:
        cls: which settings.
        config: a YAML file, or None.
        changes: `{"batch": 8}`; dotted keys reach inside, `{"shape.image_size": 64}`. Values that
            are text are read as the command line writes them.

    Raises:
        InputError: the recipe cannot be read, or a setting is unknown, missing or wrong.
    """
    values = read_recipe(config) if config is not None else {}
    for key, value in changes.items():
        name, dot, part = key.partition(".")
        field = cls.model_fields.get(name)
        if isinstance(value, os.PathLike):
            value = os.fspath(value)
        if isinstance(value, str):
            value = _read_text(None if dot else field, key, value)
        if dot:
            table = values.get(name) or {}
            if (field is not None and not _is_table(field)) or not isinstance(table, dict):
                raise InputError(f"{option(name)} has no parts, so '{key}' cannot be set")
            values[name] = {**table, part: value}
        else:
            values[name] = value
    return cls.of(values)


def read_recipe(path: str | Path) -> dict[str, Any]:
    """The settings in a YAML file.

    Raises:
        InputError: it is missing, or not a table of settings.
    """
    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"{path}: is not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise InputError(f"{path}: is not a recipe: it must be lines of `key: value`")
    return content


def nearest(name: str, names: Iterable[str]) -> str:
    """The end of an error about a name that does not exist: which one may have been meant."""
    names = list(names)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return f": did you mean '{close[0]}'?" if close else f": choose from {', '.join(names)}"


def documented(cls: type[Settings]) -> Callable[[Function], Function]:
    """For the Python twin of a verb, which takes `**settings`: signature and docs from `cls`.

    The docstring says where the settings belong by a line `{settings}` in its `Args`.
    """

    def decorate(function: Function) -> Function:
        own = inspect.signature(function)
        kept = [p for p in own.parameters.values() if p.kind is not Parameter.VAR_KEYWORD]
        fields = [
            Parameter(
                name,
                Parameter.KEYWORD_ONLY,
                default=Parameter.empty if field.is_required() else field.get_default(),
                annotation=field.annotation,
            )
            for name, field in cls.model_fields.items()
            if name not in own.parameters
        ]
        signature = own.replace(parameters=[*kept, *fields])
        function.__signature__ = signature  # type: ignore[attr-defined]
        if function.__doc__:
            arguments = "\n".join(
                f"    {name}: {field.description}"
                for name, field in cls.model_fields.items()
                if name not in own.parameters
            )
            text = inspect.cleandoc(function.__doc__)
            function.__doc__ = text.replace("    {settings}", arguments)
        return function

    return decorate


def kind(field: FieldInfo) -> str:
    """What a setting takes, in words: "a whole number, at least 1"."""
    return _kind(field.annotation, field.metadata)


def takes_names(field: FieldInfo) -> bool:
    """Whether a setting takes any number of names."""
    return any(_is_names(_bare(choice)) for choice in _types(field.annotation))


def group(field: FieldInfo) -> str:
    """The heading under which a setting is shown."""
    return str(_role(field, "group", ""))


def is_free(field: FieldInfo) -> bool:
    """Whether a setting may differ when a run is resumed."""
    return bool(_role(field, "free", False))


def _role(field: FieldInfo, name: str, default: Any) -> Any:
    extra = field.json_schema_extra
    return extra.get(name, default) if isinstance(extra, dict) else default


def _types(annotation: Any) -> list[Any]:
    """The types a value may have, None left out, `Annotated` kept."""
    if get_origin(annotation) in (Union, UnionType):
        return [a for a in get_args(annotation) if a is not NoneType]
    return [annotation]


def _bare(annotation: Any) -> Any:
    return get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation


def _is_names(annotation: Any) -> bool:
    return get_origin(annotation) is tuple and get_args(annotation)[-1] is Ellipsis


def _is_table(field: FieldInfo) -> bool:
    return any(get_origin(_bare(choice)) is dict for choice in _types(field.annotation))


_BOUNDS = (("ge", "of at least"), ("gt", "above"), ("le", "of at most"), ("lt", "below"))
_NAMES = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}


def _kind(annotation: Any, metadata: Iterable[Any]) -> str:
    words = []
    for choice in _types(annotation):
        bounds = list(metadata)
        if get_origin(choice) is Annotated:
            for part in get_args(choice)[1:]:
                bounds += part.metadata if isinstance(part, FieldInfo) else [part]
        words += _words(_bare(choice), bounds)
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"


def _words(choice: Any, bounds: list[Any]) -> list[str]:
    origin, arguments = get_origin(choice), get_args(choice)
    if origin is Literal:
        return [str(argument) for argument in arguments]
    if _is_names(choice):
        names = "numbers" if get_args(choice)[0] is float else "names"
        return [f"{names} separated by commas"]
    if origin is tuple:
        each = _kind(arguments[0], [])
        more = "" if each == _NAMES[float] else f", each {each}"
        return [f"{len(arguments)} numbers separated by commas{more}"]
    if origin is dict:
        return [f"parts, each {_kind(arguments[1], [])}"]
    if choice in (int, float):
        limits = [
            f"{word} {getattr(bound, name):g}"
            for name, word in _BOUNDS
            for bound in bounds
            if hasattr(bound, name)
        ]
        limits += [f"divisible by {b.multiple_of:g}" for b in bounds if hasattr(b, "multiple_of")]
        return [" ".join([_NAMES[choice], " and ".join(limits)]).strip()]
    return [_NAMES.get(choice, "a path")]


def _read_text(field: FieldInfo | None, key: str, text: str) -> Any:
    """A value as the command line or a `key=value` writes it."""
    kinds = [] if field is None else [_bare(choice) for choice in _types(field.annotation)]
    if kinds and set(kinds) <= {str, Path}:  # in YAML "faces #2" were "faces", and "2024" a number
        return None if text == "null" else text
    if any(get_origin(k) is tuple for k in kinds) and not text.startswith("["):
        return [part.strip() for part in text.split(",") if part.strip()]
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        raise InputError(f"{option(key, text)}: the value cannot be read; quote it") from None


def _one_line(cls: type[Settings], error: ValidationError) -> str:
    first = error.errors()[0]
    where = [str(part) for part in first["loc"]]
    if not where:
        return str(first["msg"]).removeprefix("Value error, ")
    name = where[0]
    field = cls.model_fields[name]
    if first["type"] == "missing" and len(where) == 1:
        return f"{option(name)} is missing: it must be {kind(field)}"
    if first["type"] == "value_error":
        return f"{option(name, first['input'])}: {first['msg'].removeprefix('Value error, ')}"
    if _is_table(field) and len(where) > 1:
        parts = get_args(_bare(_types(field.annotation)[0]))[1]
        return f"{option('.'.join(where[:2]), first['input'])}: must be {_kind(parts, [])}"
    value = first["input"]
    if not isinstance(value, str | int | float | list | tuple | dict | None):
        return f"{option(name)} is an object of type {type(value).__name__}: must be {kind(field)}"
    return f"{option(name, value)}: must be {kind(field)}"
