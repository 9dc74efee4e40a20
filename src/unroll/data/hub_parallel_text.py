"""Translations from the Hugging Face Hub, or from a local folder in the same layout."""

from collections.abc import Mapping
from typing import Any

from unroll.data.hub import OnHub
from unroll.data.parallel_text import Pairs, ParallelText
from unroll.errors import UserError, did_you_mean

_NESTED = "translation"  # the column in which the Hub's own format keeps all languages of a row


class HubParallelText(OnHub, ParallelText):
    """The rows of a dataset with a column a language, or with one column `translation` that has them all.

    Args:
        **others: see `OnHub` and `ParallelText`, whose languages are the names of the columns.
    """

    instead = "data=phrasebook, reports, parallel_files or summary_files"

    def read(self) -> dict[str, Pairs]:
        if self.source_lang == self.target_lang:
            raise UserError(f"data.source_lang and data.target_lang are the same, {self.source_lang}")
        return {split: self._read(split, rows) for split, rows in self.load().items()}

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
