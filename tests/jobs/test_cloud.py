"""Verbs on a bucket: a server of s3 on this machine, real clips, a process that is killed."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import numpy as np
import pytest

from openmarlin.data.features import Features
from openmarlin.data.store import Store
from openmarlin.errors import InputError
from openmarlin.jobs.extract import extract
from openmarlin.jobs.faces import faces
from openmarlin.jobs.predict import predict
from openmarlin.jobs.prepare import prepare

FAST: dict[str, Any] = {"precision": "fp32", "backend": "torch", "workers": 1}
NAMES = ["signer_book.mkv", "signer_help.mkv", "signer_yes.mkv"]
SHORT: dict[str, Any] = {"workers": 1, "limit_seconds": 1.2, "min_frames": 10}

CHILD = """
import json, sys
from openmarlin import mirror
from openmarlin.jobs.prepare import prepare
mirror._EVERY_S = 0.1
prepare(sys.argv[1], out=sys.argv[2], **json.loads(sys.argv[3]))
"""


@pytest.fixture
def videos(bucket: str, s3: Any, clips: Path) -> str:
    """The URL of a folder with clips in a new bucket."""
    for name in NAMES:
        s3.put_file(str(clips / name), f"{bucket}/videos/{name}")
    return f"s3://{bucket}/videos"


def test_a_folder_and_a_table_at_urls_give_what_files_give(
    videos: str, bucket: str, s3: Any, clips: Path, tmp_path: Path
) -> None:
    table = "video,who\nvideos/signer_yes.mkv,anna\ngone.mp4,bob\n" + f"{videos}/broken.mp4,carl\n"
    s3.pipe_file(f"{bucket}/list.csv", table.encode())
    s3.pipe_file(f"{bucket}/videos/broken.mp4", b"this is not a video\n" * 50)
    out = f"s3://{bucket}/features"
    result = extract(f"s3://{bucket}/list.csv", out=out, limit_seconds=1.0, **FAST)
    assert set(result.failures) == {f"s3://{bucket}/gone.mp4", f"{videos}/broken.mp4"}
    assert "no such file" in result.failures[f"s3://{bucket}/gone.mp4"]
    assert set(result.table.column("who").to_pylist()) == {"anna"}
    assert set(result.table.column("video").to_pylist()) == {f"{videos}/signer_yes.mkv"}
    here = extract(clips / "signer_yes.mkv", limit_seconds=1.0, **FAST)
    np.testing.assert_array_equal(result.embeddings, here.embeddings)
    files = {name.split("/", 2)[2] for name in s3.find(f"{bucket}/features")}
    assert {"features.parquet", "meta.json", "report.html", "failures.csv"} <= files
    s3.get(f"{bucket}/features/", str(tmp_path / "copy"), recursive=True)
    table_there = Features.load(tmp_path / "copy")
    np.testing.assert_array_equal(table_there.embeddings, here.embeddings)
    again = extract(f"{out}/failures.csv", out=out + "2", limit_seconds=1.0, **FAST)
    assert set(again.failures) == set(result.failures)


def test_killed_on_one_machine_it_goes_on_on_another(
    videos: str, bucket: str, s3: Any, clips: Path, tmp_path: Path
) -> None:
    """The store is the same byte for byte as one that is made of files, but for the names."""
    out = f"s3://{bucket}/store"
    command = [sys.executable, "-c", CHILD, videos, out, json.dumps(SHORT)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    journal: list[dict[str, Any]] = []
    while not journal:
        assert process.poll() is None, process.stderr.read() if process.stderr else ""
        time.sleep(0.05)
        if s3.exists(f"{bucket}/store/journal.jsonl"):
            journal = lines(s3.cat(f"{bucket}/store/journal.jsonl"))
    process.kill()
    process.communicate()
    done = {line["video"]: line for line in journal}
    assert len(done) < len(NAMES), "killed too late"
    assert not s3.exists(f"{bucket}/store/index.json")
    with pytest.raises(InputError, match="an earlier run"):
        prepare(videos, out=out, **SHORT)
    result = prepare(videos, out=out, resume=True, **SHORT)
    kept = lines(s3.cat(f"{bucket}/store/journal.jsonl"))
    assert sum(line.get("video") in done for line in kept) == len(done)  # none was made again
    s3.get(f"{bucket}/store/", str(tmp_path / "store"), recursive=True)
    there = Store(tmp_path / "store")
    assert there.verify() == []
    assert len(there) == len(result.store) > 0
    assert not s3.exists(f"{bucket}/store/parts")
    here = prepare([clips / name for name in sorted(NAMES)], out=tmp_path / "here", **SHORT)
    assert (tmp_path / "here" / "shard-00000.bin").read_bytes() == (
        tmp_path / "store" / "shard-00000.bin"
    ).read_bytes()
    assert [t.n_frames for t in here.store.tracks] == [t.n_frames for t in there.tracks]
    images, _ = result.store.read(0, [0])  # the copy on this machine is there as long as the result
    np.testing.assert_array_equal(images, there.read(0, [0])[0])


def test_parts_that_are_not_those_of_the_journal_are_made_again(
    bucket: str, s3: Any, clips: Path
) -> None:
    """As a writer leaves them that is killed between two uploads."""
    s3.put_file(str(clips / "signer_yes.mkv"), f"{bucket}/videos/a.mkv")
    s3.put_file(str(clips / "signer_help.mkv"), f"{bucket}/videos/b.mkv")
    out = f"s3://{bucket}/store"
    whole = prepare(f"s3://{bucket}/videos", out=out, **SHORT)
    shards = s3.cat(f"{bucket}/store/shard-00000.bin")
    journal = s3.cat(f"{bucket}/store/journal.jsonl").splitlines(keepends=True)
    videos = [line for line in journal if b'"video"' in line]
    s3.pipe_file(f"{bucket}/store/journal.jsonl", b"".join(videos))
    for name in ("shard-00000.bin", "index.json", "tracks.parquet"):
        s3.rm_file(f"{bucket}/store/{name}")
    key = json.loads(videos[0])["video"]
    s3.pipe_file(f"{bucket}/store/parts/{key}.bin", b"other bytes")
    again = prepare(f"s3://{bucket}/videos", out=out, resume=True, **SHORT)
    assert len(again.store) == len(whole.store)
    assert s3.cat(f"{bucket}/store/shard-00000.bin") == shards


def test_faces_and_answers_go_to_a_bucket(videos: str, bucket: str, s3: Any) -> None:
    out = f"s3://{bucket}/faces"
    video = f"{videos}/signer_yes.mkv"
    measured = faces(video, out=out, limit_seconds=0.4, overlay=True, workers=1)
    assert not measured.failures
    assert set(measured.table.column("video").to_pylist()) == {video}  # read from the bucket
    files = {name.split("/", 2)[2] for name in s3.find(f"{bucket}/faces")}
    assert {"faces.parquet", "report.html"} <= files
    assert any(name.startswith("overlay/signer_yes-") for name in files)
    answers = predict(video, out=f"s3://{bucket}/answers", limit_seconds=1.0, workers=1)
    assert str(answers.out) == f"s3://{bucket}/answers"
    assert [row["video"] for row in answers.videos] == [video]
    assert video in s3.cat(f"{bucket}/answers/predictions.csv").decode()


@pytest.mark.parametrize(
    ("inputs", "options", "told"),
    [
        ("s3://no-such-bucket/videos", {}, "no such file or folder"),
        ("{videos}/gone.mp4", {}, "no such file or folder"),
        ("{videos}", {"out": "s3://no-such-bucket/out"}, "there is no such bucket"),
        ("{videos}", {"out": "s3://bucket/table.parquet"}, "only a folder is written"),
    ],
)
def test_what_cannot_be_is_refused_at_once(
    videos: str, inputs: str, options: dict[str, Any], told: str
) -> None:
    with pytest.raises(InputError, match=told) as caught:
        extract(inputs.format(videos=videos), **options, **FAST)
    assert "\n" not in str(caught.value)


def test_no_permission_is_one_line(videos: str, bucket: str, s3_server: str, clips: Path) -> None:
    reset, plain = f"{s3_server}/moto-api/reset-auth", {"Content-Type": "text/plain"}
    urlopen(Request(reset, b"0", plain)).close()  # from now on nobody may do anything
    try:
        with pytest.raises(InputError, match=r"no permission .*check the credentials"):
            extract(videos, **FAST)
        with pytest.raises(InputError, match=r"s3://.*no permission .*check the credentials"):
            extract(clips / "signer_yes.mkv", out=f"s3://{bucket}/out", **FAST)
    finally:
        urlopen(Request(reset, b"inf", plain)).close()


def lines(data: bytes) -> list[dict[str, Any]]:
    whole = data[: data.rfind(b"\n") + 1]
    return [json.loads(line) for line in whole.splitlines()]
