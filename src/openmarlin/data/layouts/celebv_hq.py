"""CelebV-HQ (Zhu et al., ECCV 2022): attributes, actions and emotions of 35,666 clips.

    ROOT/celebvhq_info.json     {meta_info: {appearance_mapping, ...}, clips: {CLIP: ...}}
    ROOT/processed/CLIP.mp4     or downloaded_celebvhq/processed, downloaded, or cropped (faces)

The names of attributes and actions are those of `meta_info`, in lower case. A clip belongs to the
YouTube video that its `ytb_id` says: its name holds underscores of its own and tells nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from openmarlin.data.layouts.layout import (
    Layout,
    Listing,
    Option,
    damaged,
    hashed_split,
    locate,
    locate_any,
    official_lists,
    read_json,
)
from openmarlin.data.manifest import Row
from openmarlin.errors import InputError, option
from openmarlin.output import WHOLE, Part

_INFO = "celebvhq_info.json"
_FOLDERS = ("processed", "downloaded_celebvhq/processed", "downloaded", "cropped")
_RAW = ("raw", "downloaded_celebvhq/raw")
_META = ("meta_info", "mete_info")  # releases differ in the spelling
_EMOTION = "emotion"
_ATTRIBUTES = ("appearance", "action")


def read(root: Path, options: Mapping[str, Any]) -> Listing:
    """The clips that are there; see `Layout.read`."""
    info = locate(root, [_INFO], "CelebV-HQ")
    content = read_json(info)
    try:
        clips = content["clips"]
        meta = next(content[name] for name in _META if name in content)
        groups = {clip: str(entry["ytb_id"]) for clip, entry in clips.items()}
        mappings = {kind: _names(meta[f"{kind}_mapping"]) for kind in _ATTRIBUTES}
    except (KeyError, TypeError, AttributeError, StopIteration) as error:
        raise damaged(info, f"no {error}" if str(error) else "no meta_info") from None
    kinds = _kinds(options["labels"])
    folder = _folder(root, clips)
    splits = _splits(root, groups, options["split"])
    listing = Listing("clips and segments" if kinds == (_EMOTION,) else "clips")
    if folder.name == "cropped":
        listing.notes.append(f"{folder} holds face crops already: use them with precropped")
    for clip, entry in clips.items():
        try:
            labelled = list(_labels(entry["attributes"], kinds, mappings))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise damaged(info, f"clip {clip}: {error!r}") from None
        for (start_s, end_s), labels in labelled:
            split = splits.get(clip, "")
            video = folder / f"{clip}.mp4"
            listing.add(Row(video, start_s, end_s, split, groups[clip], labels))
    return listing


def _names(mapping: list[str]) -> list[str]:
    return [name.strip().lower().replace(" ", "_") for name in mapping]


def _kinds(labels: tuple[str, ...]) -> tuple[str, ...]:
    if _EMOTION in labels and len(labels) > 1:
        raise InputError(
            f"{option('labels', ','.join(labels))}: emotions belong to segments of clips, so they "
            f"are a table of their own: {option('labels', _EMOTION)}"
        )
    return labels


def _folder(root: Path, clips: Mapping[str, Any]) -> Path:
    """Where the clips are: the first folder that has one."""
    for name in _FOLDERS:
        folder = root / name
        if folder.is_dir() and any((folder / f"{clip}.mp4").is_file() for clip in clips):
            return folder
    raw = locate_any(root, _RAW)
    if raw is not None:
        raise InputError(
            f"{raw}: holds whole YouTube videos; the labels are about clips cut from them, one "
            "face each: let the downloader of the data set finish, it writes processed/CLIP.mp4"
        )
    raise InputError(f"{root}: no clip in it: looked for CLIP.mp4 in {', '.join(_FOLDERS)}")


def _splits(root: Path, groups: Mapping[str, str], how: str) -> dict[str, str]:
    if how == "none":
        return {}
    if how == "paper-like":
        return hashed_split({clip: clip for clip in groups})
    if how == "leak-free":
        return hashed_split(groups)
    splits = official_lists(root)
    if not splits:
        raise InputError(f"{root}: no train.txt, val.txt, test.txt in it; take another split")
    return splits


def _labels(
    attributes: Mapping[str, Any], kinds: tuple[str, ...], mappings: Mapping[str, list[str]]
) -> Iterator[tuple[Part, dict[str, str]]]:
    """Parts of a clip, seconds, and their labels."""
    if kinds != (_EMOTION,):
        yield WHOLE, {kind: _present(attributes[kind], mappings[kind]) for kind in kinds}
        return
    emotion = attributes[_EMOTION]
    if not emotion["sep_flag"]:
        yield WHOLE, {_EMOTION: emotion["labels"].lower()}
        return
    for segment in emotion["labels"]:
        start_s, end_s = max(0.0, float(segment["start_sec"])), float(segment["end_sec"])
        if end_s > start_s:
            yield (start_s, end_s), {_EMOTION: segment["emotion"].lower()}


def _present(flags: list[int], names: list[str]) -> str:
    return ";".join(n for n, flag in zip(names, flags, strict=True) if flag) or "none"


LAYOUT = Layout(
    "celebv_hq",
    "CelebV-HQ: 40 attributes, 35 actions, emotions",
    read,
    {
        "labels": Option(_ATTRIBUTES, (*_ATTRIBUTES, _EMOTION)),
        "split": Option("leak-free", ("paper-like", "leak-free", "given", "none")),
    },
)
