"""The Python language reference, which every CPython carries: a text that needs no network."""

from collections.abc import Iterator

from unroll.data.encoding import Chunk
from unroll.data.text_stream import TextStream


class PythonDocs(TextStream):
    """`pydoc_data.topics`, about half a million characters: topics in sorted order, joined by newlines, 90/5/5.

    The text differs a little between versions of Python, so a run's summary names the version.

    Args:
        **stream: see `TextStream`.
    """

    @property
    def source(self) -> str:
        return "python_docs"

    def texts(self, split: str) -> Iterator[Chunk]:
        from pydoc_data.topics import topics

        text = "\n".join(topics[name] for name in sorted(topics))
        first, second = int(0.9 * len(text)), int(0.95 * len(text))
        yield {"train": text[:first], "validation": text[first:second], "test": text[second:]}[split]
