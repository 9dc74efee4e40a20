"""Translations from the Hugging Face Hub, or from a local folder in the same layout."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from unroll.data.base import SPLITS
from unroll.data.hub import load_splits
from unroll.data.parallel_text import Pairs, ParallelText
from unroll.errors import UserError, did_you_mean

_NESTED = "translation"  # the column in which the Hub's own format keeps all languages of a row


class HubParallelText(ParallelText):
    """The rows of a dataset with a column a language, or with one column `translation` that has them all.

    Args:
        hub_id: name on the Hub; null where only a local folder will do.
        revision: commit of the Hub's repository; null for the newest.
        config_name: the dataset's configuration; null for its default.
        path: a local folder in the Hub's layout, read in place of the Hub.
        **parallel: see `ParallelText`; its languages are the names of the columns.
    """

    def __init__(
        self, hub_id: str | None, revision: str | None, config_name: str | None, path: str | None, **parallel: Any
    ) -> None:
        super().__init__(**parallel)
        self.hub_id = hub_id
        self.revision = revision
        self.config_name = config_name
        self.path = path

    @property
    def source(self) -> str:
        return self.path or str(self.hub_id)

    def read(self) -> dict[str, Pairs]:
        if self.source_lang == self.target_lang:
            raise UserError(f"data.source_lang and data.target_lang are the same, {self.source_lang}")
        splits = load_splits(
            self.hub_id,
            self.revision,
            self.config_name,
            Path(self.path) if self.path else None,
            needed=("train",),
            offline="data=phrasebook or data=parallel_files",
        )
        return {split: self._read(split, splits[split]) for split in SPLITS if split in splits}

    def _read(self, split: str, rows: Any) -> Pairs:
        source = f"{self.source}, {split}"
        nested = isinstance(rows.features.get(_NESTED), Mapping)
        languages = list(rows.features[_NESTED] if nested else rows.column_names)
        for key, language in (("source_lang", self.source_lang), ("target_lang", self.target_lang)):
            if language not in languages:
                raise UserError(f"{source}: has no data.{key}={language}; {did_you_mean(language, sorted(languages))}")
        sides = []
        for language in (self.source_lang, self.target_lang):
            texts = [(row or {}).get(language) for row in rows[_NESTED]] if nested else rows[language][:]
            for number, text in enumerate(texts, start=1):
                if text is not None and not isinstance(text, str):
                    raise UserError(f"{source}, row {number}, column {language}: {text!r} is not a text")
            sides.append([text or "" for text in texts])
        return Pairs(sides[0], sides[1], source)
