"""What a model must know of parallel texts."""

from dataclasses import dataclass
from functools import cached_property

from tokenizers import Tokenizer

from unroll.data.tokenizing import load_tokenizer


@dataclass(frozen=True)
class ParallelTextSpec:
    """What a model must know of parallel texts.

    Attributes:
        source_tokenizer_json, target_tokenizer_json: the tokenizers, as the `tokenizers` library writes them; the same
            where there is one for both sides.
        source_lang, target_lang: names of the languages, to be shown.
    """

    source_tokenizer_json: str
    target_tokenizer_json: str
    source_lang: str
    target_lang: str

    @cached_property
    def source_tokenizer(self) -> Tokenizer:
        """The tokenizer of the source side."""
        return load_tokenizer(self.source_tokenizer_json)

    @cached_property
    def target_tokenizer(self) -> Tokenizer:
        """The tokenizer of the target side."""
        return load_tokenizer(self.target_tokenizer_json)

    @property
    def joint(self) -> bool:
        """Whether both sides have the same tokens."""
        return self.source_tokenizer_json == self.target_tokenizer_json

    @property
    def identity(self) -> str:
        """What gives the model's numbers their meaning."""
        return self.source_tokenizer_json + self.target_tokenizer_json
