"""Completing while one types, on a terminal."""

from collections.abc import Iterable
from functools import lru_cache
from typing import TYPE_CHECKING

from prompt_toolkit import PromptSession
from prompt_toolkit.completion import CompleteEvent, Completer
from prompt_toolkit.completion import Completion as Shown
from prompt_toolkit.document import Document

from unroll.errors import UsageError

if TYPE_CHECKING:
    from unroll.tasks.word_lm import Completion, WordLM

_WORDS = 1  # that are shown after each: a key is to be answered at once


class NextWords(Completer):
    """What a language model would write next, or how the word goes on that is begun.

    Args:
        task: the model.
        top: words that are shown.
    """

    def __init__(self, task: "WordLM", top: int) -> None:
        @lru_cache(maxsize=256)
        def complete(text: str) -> "list[Completion]":
            try:
                return task.complete(text, top, _WORDS)
            except UsageError:  # no word begins so
                return []

        self._words = task.words
        self._complete = complete

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Shown]:
        text = document.text_before_cursor
        begun, _ = self._words.last_word(text)
        for found in self._complete(text):
            if found.word == "\n":
                continue
            goes_on = found.word.startswith(begun) and begun != found.word
            space = "" if not begun or goes_on or not text else " "
            yield Shown(
                f"{space}{found.word} ",
                start_position=-len(begun) if goes_on else 0,
                display=found.word,
                display_meta=f"{found.probability:.1%}  {found.goes_on}",
            )


def complete_while_typing(task: "WordLM", top: int) -> None:
    """Lines at a terminal, with the words that may come next below; Tab and the arrow keys choose, Ctrl-D ends."""
    session: PromptSession[str] = PromptSession(completer=NextWords(task, top), complete_while_typing=True)
    print("type; Tab or the arrow keys choose a word, Ctrl-D ends")
    while True:
        try:
            session.prompt("> ")
        except (EOFError, KeyboardInterrupt):
            return
