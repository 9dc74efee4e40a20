"""What a tagger's answers are worth: scores, what it finds of each kind, known words against new, the worst sentences."""

import html
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from lightning.pytorch.loggers import Logger

from unroll.data.tagged_spec import normal
from unroll.data.tagged_text import TaggedText
from unroll.entities import Entity, Found, count, entities, single_words
from unroll.insight.classification import draw_confusion
from unroll.insight.difficulty import draw_difficulty, group_by_difficulty, write_difficulty
from unroll.insight.pictures import BLUE, GREEN, ORANGE, new_figure, save_figure
from unroll.insight.showing import show
from unroll.writing import write_csv, written_whole

_WORST = 100  # sentences of the table
_SHOWN = 40  # of them, those on the page
_MOST_CONFUSED = 20  # tags of a confusion matrix, the most frequent
_MOST_KINDS = 25  # that a picture shows, the most frequent
_TINTS = ("#9ecae1", "#fdae6b", "#a1d99b", "#e7a6c8", "#c7b8e0", "#f2dc8a", "#c9c9c9", "#a8dadc")


@dataclass(frozen=True)
class TagAnswers:
    """What was answered to a split, a sentence each.

    Attributes:
        wanted: the right tags.
        answered: those that were given.
        of_entities: whether tags say where entities begin and go on.
    """

    wanted: Sequence[Sequence[str]]
    answered: Sequence[Sequence[str]]
    of_entities: bool

    def things(self, tags: Sequence[str]) -> list[Entity]:
        """What is counted: entities, or words with their tags."""
        return entities(tags) if self.of_entities else single_words(tags)

    @cached_property
    def found(self) -> dict[str, Found]:
        """How much was found of each kind, and "" for all together."""
        return count(map(self.things, self.wanted), map(self.things, self.answered))

    def scores(self) -> dict[str, float]:
        """By standard names.

        Of entities f1, precision and recall, as conlleval counts them, of all kinds together; of other tags f1, the mean over
        the tags that there are (macro). accuracy: the share of words with the right tag.
        """
        words = [
            (a, b)
            for one, other in zip(self.wanted, self.answered, strict=True)
            for a, b in zip(one, other, strict=True)
        ]
        accuracy = sum(a == b for a, b in words) / len(words)
        if self.of_entities:
            total = self.found[""]
            return {"f1": total.f1, "precision": total.precision, "recall": total.recall, "accuracy": accuracy}
        each = [found.f1 for kind, found in self.found.items() if kind]
        return {"f1": sum(each) / len(each), "accuracy": accuracy}

    def score_of(self, some: np.ndarray) -> float:
        """F1 of entities, or the share of right tags, of those sentences where `some`, (count,) of bool, is true."""
        rows = np.flatnonzero(some).tolist()
        part = TagAnswers([self.wanted[row] for row in rows], [self.answered[row] for row in rows], self.of_entities)
        return part.found[""].f1

    def confusion(self, most: int) -> tuple[np.ndarray, list[str]]:
        """How often the words of each tag were given each tag, (tags, tags): row: what is right; column: what was answered;
        and the tags: the most frequent, by their names."""
        counts = Counter(tag for tags in self.wanted for tag in tags)
        names = sorted(tag for tag, _ in counts.most_common(most))
        pairs = Counter(
            pair for tags in zip(self.wanted, self.answered, strict=True) for pair in zip(*tags, strict=True)
        )
        return np.array([[pairs[right, given] for given in names] for right in names]), names

    def errors(self, row: int) -> int:
        """What is wrong in a sentence: things that are missed, and things that are not there."""
        return len(set(self.things(self.wanted[row])) ^ set(self.things(self.answered[row])))


def most_frequent_tags(data: TaggedText, splits: str) -> tuple[list[list[str]], list[list[str]]]:
    """The right tags of some splits, and what one gets by giving each word the tag that it has most often in train; one that
    is not there, that which words that stand there once have most often."""
    train = data.sentences["train"]
    tags: dict[str, Counter[str]] = {}
    for row in range(len(train.given)):
        for word, tag in zip(train.words(row), train.tags(row), strict=True):
            tags.setdefault(normal(word, data.lowercase), Counter())[tag] += 1
    rare: Counter[str] = Counter()
    for counts in tags.values():
        if counts.total() == 1:
            rare.update(counts)
    of_rare = _first(rare or sum(tags.values(), Counter()))
    most = {word: _first(counts) for word, counts in tags.items()}
    wanted, answered = [], []
    for split in splits.split("+"):
        sentences = data.sentences[split]
        for row in range(len(sentences.given)):
            wanted.append(sentences.tags(row))
            answered.append([most.get(normal(word, data.lowercase), of_rare) for word in sentences.words(row)])
    return wanted, answered


def _first(counts: Counter[str]) -> str:
    return min(counts, key=lambda tag: (-counts[tag], tag))


def report_tags(
    answers: TagAnswers, data: TaggedText, splits: str, folder: Path, loggers: Sequence[Logger]
) -> list[str]:
    """Put tables and pictures of it into a run's folder.

    Args:
        answers: of the evaluation, in the order of the splits.
        data: has the words.
        splits: a split, or several joined by +.
        folder: the run's.
        loggers: they get what they can show.

    Returns:
        Lines that tell where what is.
    """
    sentences = [
        data.sentences[split].words(row)
        for split in splits.split("+")
        for row in range(len(data.sentences[split].given))
    ]
    tables, figures = folder / "evaluation", folder / "figures"
    thing = "entities" if answers.of_entities else "words"
    header = ["kind", "precision", "recall", "f1", thing]
    kinds = [
        [kind or "all", *(round(value, 4) for value in (found.precision, found.recall, found.f1)), found.there]
        for kind, found in answers.found.items()
    ]
    write_csv(tables / f"{splits}_kinds.csv", header, kinds)
    known = _known_and_new(answers, sentences, data)
    write_csv(tables / f"{splits}_known.csv", ["which", "recall", thing], known)
    _write_columns(tables / f"{splits}_tags.conll", sentences, answers)
    order = sorted(range(len(sentences)), key=lambda row: (-answers.errors(row), row))
    worst = [row for row in order[:_WORST] if answers.errors(row)]
    mistakes = [
        [
            answers.errors(row),
            *(_marked(sentences[row], answers.things(tags[row])) for tags in (answers.wanted, answers.answered)),
        ]
        for row in worst
    ]
    columns = ["errors", "right", "answered"]
    write_csv(tables / f"{splits}_worst.csv", columns, mistakes)
    with written_whole(tables / f"{splits}_worst.html") as unfinished:
        unfinished.write_text(_page(answers, sentences, worst[:_SHOWN], splits), encoding="utf-8")
    lengths = np.array([len(words) for words in sentences])
    score = "F1 of entities" if answers.of_entities else "accuracy"
    difficulty = group_by_difficulty("length of the sentence (words)", score, 1.0, None, lengths, answers.score_of)
    write_difficulty(difficulty, tables / f"{splits}_difficulty.json")
    pictures = {"kinds": figures / f"kinds_{splits}.png", "difficulty": figures / f"difficulty_{splits}.png"}
    _draw_kinds(answers, thing, pictures["kinds"])
    draw_difficulty({"this model": difficulty}, pictures["difficulty"])
    if not answers.of_entities:
        pictures["confusion"] = figures / f"confusion_{splits}.png"
        draw_confusion(*answers.confusion(_MOST_CONFUSED), pictures["confusion"])
    show(loggers, pictures, {"kinds": (header, kinds), "worst": (columns, mistakes)}, splits)
    told = "; ".join(f"{which}: {recall:.1%} of {there:,}" for which, recall, there in known if there)
    return [
        f"{splits:<10} found of {told}",
        f"{splits:<10} {tables}/{splits}_kinds.csv, {splits}_worst.html, {splits}_tags.conll; figures/",
    ]


def _known_and_new(
    answers: TagAnswers, sentences: Sequence[Sequence[str]], data: TaggedText
) -> list[tuple[str, float, int]]:
    """How much was found of what stands in train, and of what does not: entities by all their words, words by themselves."""

    def written(words: Sequence[str], thing: Entity) -> str:
        return " ".join(normal(word, data.lowercase) for word in words[thing.start : thing.end])

    train = data.sentences["train"]
    seen = {
        written(train.words(row), thing) for row in range(len(train.given)) for thing in answers.things(train.tags(row))
    }
    there, right = Counter[bool](), Counter[bool]()
    for words, wanted, answered in zip(sentences, answers.wanted, answers.answered, strict=True):
        given = set(answers.things(answered))
        for thing in answers.things(wanted):
            is_known = written(words, thing) in seen
            there[is_known] += 1
            right[is_known] += thing in given
    things = "entities" if answers.of_entities else "words"
    names = {True: f"{things} that stand in train", False: f"{things} that do not"}
    return [(name, right[known] / max(there[known], 1), there[known]) for known, name in names.items()]


def _write_columns(path: Path, sentences: Sequence[Sequence[str]], answers: TagAnswers) -> None:
    """Word, right tag and answered tag, a word a line: what conlleval reads."""
    with written_whole(path) as unfinished, unfinished.open("w", encoding="utf-8") as file:
        for words, wanted, answered in zip(sentences, answers.wanted, answers.answered, strict=True):
            file.writelines("\t".join(columns) + "\n" for columns in zip(words, wanted, answered, strict=True))
            file.write("\n")


def _marked(words: Sequence[str], things: Sequence[Entity]) -> str:
    """A sentence with its entities in brackets; the first of those that begin at a word."""
    parts: list[str] = []
    position = 0
    for start, end, kind in things:
        parts += words[position:start]
        parts.append(f"[{kind} {' '.join(words[start:end])}]")
        position = end
    return " ".join([*parts, *words[position:]])


def _draw_kinds(answers: TagAnswers, thing: str, picture: Path) -> None:
    """Precision, recall and F1 of the most frequent kinds, with how many of each there are."""
    kinds = sorted((kind for kind in answers.found if kind), key=lambda kind: -answers.found[kind].there)[:_MOST_KINDS]
    figure, axes = new_figure(7.5, 1.5 + 0.42 * len(kinds))
    places = np.arange(len(kinds))
    for shift, (name, colour) in zip(
        (-0.26, 0, 0.26), (("precision", BLUE), ("recall", ORANGE), ("f1", GREEN)), strict=True
    ):
        values = [getattr(answers.found[kind], name) for kind in kinds]
        axes.barh(places + shift, values, 0.24, color=colour, label="F1" if name == "f1" else name)
    names = [kind if len(kind) <= 24 else kind[:23] + "…" for kind in kinds]
    labels = [f"{name} ({answers.found[kind].there:,})" for name, kind in zip(names, kinds, strict=True)]
    axes.set_yticks(places, labels, parse_math=False)
    axes.invert_yaxis()
    axes.set_xlim(0, 1)
    axes.set_xlabel(f"share of {thing}")
    axes.grid(axis="x", alpha=0.3)
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    save_figure(figure, picture)


def _page(answers: TagAnswers, sentences: Sequence[Sequence[str]], rows: Sequence[int], splits: str) -> str:
    """The worst sentences in colours, as they should be and as they were answered: a page that needs nothing else."""
    kinds = [kind for kind in answers.found if kind]
    tint = {kind: _TINTS[number % len(_TINTS)] for number, kind in enumerate(kinds)}

    def line(words: Sequence[str], tags: Sequence[str], other: Sequence[str]) -> str:
        parts: list[str] = []
        position = 0
        elsewhere = set(answers.things(other))
        for thing in answers.things(tags):
            if not answers.of_entities and thing in elsewhere:  # of tagged words only the wrong ones
                continue
            parts += map(html.escape, words[position : thing.start])
            inside = html.escape(" ".join(words[thing.start : thing.end]))
            kind = html.escape(thing.kind)
            wrong = "" if thing in elsewhere else ' class="wrong"'
            parts.append(f'<mark{wrong} style="background:{tint[thing.kind]}">{inside} <small>{kind}</small></mark>')
            position = thing.end
        return " ".join([*parts, *map(html.escape, words[position:])])

    sections = "\n".join(
        f"<tr><th>right</th><td>{line(sentences[row], answers.wanted[row], answers.answered[row])}</td></tr>\n"
        f"<tr class=given><th>answered</th><td>{line(sentences[row], answers.answered[row], answers.wanted[row])}</td></tr>"
        for row in rows
    )
    more = "" if answers.of_entities else " Words with the right tag are not marked."
    title = html.escape(f"The worst sentences: {splits}")
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>
body {{ font: 16px/1.7 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #000;
  background: #fff; overflow-wrap: anywhere }}
h1 {{ font-size: 1.4rem }} table {{ border-collapse: collapse }} th {{ font-weight: normal; color: #555; text-align: left;
  vertical-align: top; padding: .2rem 1rem .2rem 0 }} td {{ padding: .2rem 0 }}
tr.given {{ border-bottom: 1px solid #ddd }} mark {{ border-radius: .2em; padding: .1em .25em }}
mark.wrong {{ outline: 2px solid #D55E00 }} small {{ color: #333 }}
</style></head><body>
<h1>{title}</h1>
<p>Framed: on one side only, so missed or wrong.{more}</p>
<table>
{sections}
</table>
</body></html>
"""
