"""What becomes of data that may be wrong: handled, or refused in one line that names it; never a traceback, never a hang."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import FrameType
from typing import Any

from conftest import composed

from unroll.building import build_data, check
from unroll.errors import UserError

TASKS = {
    "text_files": "char_lm",
    "tagged_files": "tagging",
    "labelled_files": "sentiment",
    "parallel_files": "translation",
    "summary_files": "summarization",
    "captioned_files": "captioning",
    "series_files": "forecasting",
    "tiny_shakespeare": "char_lm",
    "wikitext2_words": "word_lm",
    "sst2": "sentiment",
    "multi30k": "translation",
    "wnut17": "tagging",
    "etth1": "forecasting",
    "flickr8k": "captioning",
    "scitldr": "summarization",
    "mnist": "pixels",
}
SETTINGS = {
    "text_files": ["data.batch_size=2", "truncation=k8"],
    "tiny_shakespeare": ["data.batch_size=2", "truncation=k8"],
    "wikitext2_words": ["data.batch_size=2", "truncation=k8", "data.config_name=null"],
    "series_files": ["data.context_length=12", "data.prediction_length=3"],
    "etth1": ["data.context_length=12", "data.prediction_length=3"],
    "captioned_files": ["data.image_size=16"],
    "flickr8k": ["data.image_size=16"],
}


@cache
def config_of(option: str) -> dict[str, Any]:
    config = composed(f"task={TASKS[option]}", f"data={option}", "data.path=x", *SETTINGS.get(option, []))
    check(config)
    return config


@contextmanager
def within(seconds: int) -> Iterator[None]:
    def late(number: int, frame: FrameType | None) -> None:
        raise TimeoutError(f"more than {seconds} seconds")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def outcome(option: str, path: Path) -> str:
    """`handled`, or `refused`; anything else is an error of ours."""
    config = config_of(option)
    cached = {"cache_dir": str(path.parent / "cache")} if "cache_dir" in config["data"] else {}
    config = {**config, "data": {**config["data"], "path": str(path), **cached}}
    try:
        with within(20):
            data = build_data(config)
            data.prepare_data()
            _ = data.spec
            assert all(isinstance(line, str) for line in data.describe())
            next(iter(data.train_dataloader()))
            for split in data.splits:
                next(iter(data.eval_dataloader(split)))
    except UserError as error:
        told = str(error)
        assert "\n" not in told, told
        assert str(path) in told or "data." in told, f"names no file: {told}"
        assert len(told) <= 1000, told
        return "refused"
    return "handled"
