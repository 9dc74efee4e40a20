"""A grammar of English, French and German that says the same sentence in each: a tree is drawn, then put into words."""

import functools
import random
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, NamedTuple

from unroll.data.builtin.phrasebook_lexicon import (
    ADJECTIVES,
    COMPANIONS,
    FREQUENCIES,
    MANNERS,
    NEVER,
    NOUNS,
    PLACE_ADVERBS,
    PREPOSITIONS,
    TIMES,
    TOO,
    VERBS,
    VERY,
    Adjective,
    Adverb,
    Noun,
    Preposition,
    Tense,
    Verb,
    french_s,
)

LANGUAGES = ("en", "fr", "de")


class Phrase(NamedTuple):
    """One sentence in each language, and which of its content words stand together."""

    texts: dict[str, str]  # by language
    pairs: frozenset[tuple[str, str]]  # (adjective, noun) and (verb, object noun), by their English lemma


# The tree ------------------------------------------------------------------------------------------------------------

Determiner = Literal["the", "a", "this", "my", "our", "your"]
Case = Literal["nominative", "accusative", "dative"]
Person = Literal["I", "he", "we", "you", "they"]  # with what the verb agrees: "he" all singulars, "they" all plurals


class Pronoun(NamedTuple):
    """A subject of one word. What French cannot show in the pronoun (je, nous, vous) is masculine."""

    en: str
    fr: str
    de: str
    person: Person
    fr_gender: str = "m"
    plural: bool = False


class AdjectivePhrase(NamedTuple):
    """An adjective, with "very" or "too" before it or nothing."""

    adjective: Adjective
    degree: Adverb | None = None


class NounPhrase(NamedTuple):
    """A noun and what belongs to it. "a" in the plural has no article in English; with a number there is none at all."""

    noun: Noun
    determiner: Determiner = "the"
    plural: bool = False
    number: int | None = None
    adjectives: tuple[AdjectivePhrase, ...] = ()  # one that French has before the noun, then one that it has after
    relative: "Clause | None" = None  # without its subject, or else without its object

    @property
    def person(self) -> Person:
        return "they" if self.plural else "he"

    @property
    def fr_gender(self) -> str:
        return self.noun.fr_gender

    @property
    def de_gender(self) -> str:
        """Or "plural", in which German knows no gender."""
        return "plural" if self.plural else self.noun.de_gender


class PrepositionalPhrase(NamedTuple):
    """A preposition and its noun phrase: a place, or with or for whom."""

    preposition: Preposition
    noun_phrase: NounPhrase


class Adverbial(NamedTuple):
    """A subordinate clause that stands before or after its main clause."""

    conjunction: Adverb
    clause: "Clause"
    first: bool = False


class Clause(NamedTuple):
    """A subject and what is said of it; without a verb it is the copula.

    What follows a noun phrase with a relative clause would belong to that one: only the subject and the last part of a
    clause may have one.
    """

    subject: NounPhrase | Pronoun | None
    verb: Verb | None = None
    tense: Tense = "present"
    negated: bool = False
    frequency: Adverb | None = None
    object: NounPhrase | None = None
    predicate: AdjectivePhrase | None = None
    manner: Adverb | None = None
    companion: PrepositionalPhrase | None = None
    places: tuple[PrepositionalPhrase | Adverb, ...] = ()
    time: Adverb | None = None
    time_first: bool = False
    complement: "Clause | None" = None  # with "that"
    adverbial: Adverbial | None = None


class Sentence(NamedTuple):
    """Main clauses and what links each to the one before; or a question of one clause."""

    clauses: tuple[Clause, ...]
    links: tuple[Adverb, ...] = ()
    question: Adverb | None = None


WHO = Pronoun("who", "qui", "wer", "he")
PRONOUNS = (
    Pronoun("I", "je", "ich", "I"),
    Pronoun("he", "il", "er", "he"),
    Pronoun("she", "elle", "sie", "he", "f"),
    Pronoun("we", "nous", "wir", "we", plural=True),
    Pronoun("you", "vous", "Sie", "you"),
)

BECAUSE, WHILE = Adverb("because", "parce que", "weil"), Adverb("while", "pendant que", "während")
WHEN_PAST, IF = Adverb("when", "quand", "als"), Adverb("if", "si", "wenn")
CONJUNCTIONS: dict[Tense, tuple[Adverb, ...]] = {  # in the present German has "wenn" for both "if" and "when"
    "present": (BECAUSE, WHILE, IF),
    "past": (BECAUSE, WHEN_PAST),
}
IN = PREPOSITIONS[0]
AND, BUT = Adverb("and", "et", "und"), Adverb("but", "mais", "aber")

YES_OR_NO = Adverb("", "est-ce que", "")
WHO_DOES = Adverb("", "", "")  # the subject itself asks, in the order of a statement
WHAT = Adverb("what", "qu'est-ce que", "was")
WHERE, WHEN, WHY = (
    Adverb("where", "où est-ce que", "wo"),
    Adverb("when", "quand est-ce que", "wann"),
    Adverb("why", "pourquoi est-ce que", "warum"),
)


def relative_pronoun(head: NounPhrase, case: Case) -> Pronoun:
    """What stands for the head as the subject or the object of its relative clause."""
    nominative = case == "nominative"
    return Pronoun(
        "who" if nominative and head.noun.kind == "p" else "that",
        "qui" if nominative else "que",
        _DER[case][head.de_gender],
        head.person,
        head.fr_gender,
        head.plural,
    )


def _with_relative_pronoun(head: NounPhrase) -> tuple[Clause, Pronoun | None]:
    """The relative clause, in which a missing subject is filled, and the pronoun for a missing object."""
    clause = head.relative
    assert clause is not None
    if clause.subject is None:
        return clause._replace(subject=relative_pronoun(head, "nominative")), None
    return clause, relative_pronoun(head, "accusative")


def _is_negative(clause: Clause) -> bool:
    return clause.negated or clause.frequency == NEVER


def realize(sentence: Sentence) -> dict[str, str]:
    """The sentence in each language."""
    return {"en": _english(sentence), "fr": _french(sentence), "de": _german(sentence)}


def _text(words: Iterable[str], mark: str) -> str:
    text = ""
    for word in words:
        if word != ",":
            text += f" {word}" if text else word
        elif not text.endswith(","):
            text += ","
    text = text.removesuffix(",")
    return text[0].upper() + text[1:] + mark


def _words(*parts: str | list[str] | None) -> list[str]:
    """All the words; parts that are empty or None vanish."""
    words: list[str] = []
    for part in parts:
        if part:
            words += part.split() if isinstance(part, str) else part
    return words


# English -------------------------------------------------------------------------------------------------------------

_BE: dict[Tense, dict[Person, str]] = {
    "present": {"I": "am", "he": "is", "we": "are", "you": "are", "they": "are"},
    "past": {"I": "was", "he": "was", "we": "were", "you": "were", "they": "were"},
}
_ONES = _words(
    "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen "
    "nineteen"
)
_TENS = _words("twenty thirty forty fifty sixty seventy eighty ninety")


def english_number(number: int) -> str:
    """From 1 to 99."""
    if number < 20:
        return _ONES[number - 1]
    tens, ones = divmod(number, 10)
    return _TENS[tens - 2] + (f"-{_ONES[ones - 1]}" if ones else "")


def _english(sentence: Sentence) -> str:
    if sentence.question:
        inverted = sentence.question != WHO_DOES
        return _text(_words(sentence.question.en, _english_clause(sentence.clauses[0], inverted)), "?")
    words = _english_clause(sentence.clauses[0])
    for link, clause in zip(sentence.links, sentence.clauses[1:], strict=True):
        words += _words(",", link.en, _english_clause(clause))
    return _text(words, ".")


def _english_clause(clause: Clause, inverted: bool = False) -> list[str]:
    subject = clause.subject
    assert subject is not None
    if clause.verb is None:
        auxiliary, verb = _BE[clause.tense][subject.person], ""
    else:
        third = subject.person == "he"
        if inverted or clause.negated:
            auxiliary, verb = "did" if clause.tense == "past" else "does" if third else "do", clause.verb.en
        else:
            present = clause.verb.en_third if third else clause.verb.en
            auxiliary, verb = "", clause.verb.en_past if clause.tense == "past" else present
    subject_words = [subject.en] if isinstance(subject, Pronoun) else _english_noun_phrase(subject)
    time = clause.time and clause.time.en
    adverbial = clause.adverbial
    subordinate = _words(adverbial.conjunction.en, _english_clause(adverbial.clause)) if adverbial else []
    return _words(
        [*subordinate, ","] if adverbial and adverbial.first else [],
        time if clause.time_first else "",
        *((auxiliary, subject_words) if inverted else (subject_words, auxiliary)),
        "not" if clause.negated else "",
        clause.frequency and clause.frequency.en,
        verb,
        clause.object and _english_noun_phrase(clause.object),
        clause.predicate and _english_adjective(clause.predicate),
        clause.manner and clause.manner.en,
        clause.companion and _english_adjunct(clause.companion),
        *(_english_adjunct(place) for place in clause.places),
        "" if clause.time_first else time,
        clause.complement and _words("that", _english_clause(clause.complement)),
        [] if adverbial and adverbial.first else subordinate,
    )


def _english_noun_phrase(phrase: NounPhrase) -> list[str]:
    words = _words(
        english_number(phrase.number) if phrase.number else "",
        *(_english_adjective(adjective) for adjective in phrase.adjectives),
        phrase.noun.en_plural if phrase.plural else phrase.noun.en,
    )
    determiner: str = phrase.determiner
    if determiner == "a":
        determiner = "" if phrase.plural else "an" if words[0][0] in "aeiou" else "a"
    elif determiner == "this" and phrase.plural:
        determiner = "these"
    relative = []
    if phrase.relative:
        clause, moved = _with_relative_pronoun(phrase)
        relative = _words(moved and moved.en, _english_clause(clause))
    return _words(determiner, words, relative)


def _english_adjective(phrase: AdjectivePhrase) -> list[str]:
    return _words(phrase.degree and phrase.degree.en, phrase.adjective.en)


def _english_adjunct(adjunct: PrepositionalPhrase | Adverb) -> list[str]:
    if isinstance(adjunct, Adverb):
        return adjunct.en.split()
    return _words(adjunct.preposition.en, _english_noun_phrase(adjunct.noun_phrase))


# French --------------------------------------------------------------------------------------------------------------

_PERSONS: tuple[Person, ...] = ("I", "he", "we", "you", "they")
_AVOIR = ("ai", "a", "avons", "avez", "ont")
_ETRE: dict[Tense, tuple[str, ...]] = {
    "present": ("suis", "est", "sommes", "êtes", "sont"),
    "past": ("étais", "était", "étions", "étiez", "étaient"),
}
_FRENCH_DETERMINERS = {  # masculine, feminine, plural
    "the": ("le", "la", "les"),
    "a": ("un", "une", "des"),
    "this": ("ce", "cette", "ces"),
    "my": ("mon", "ma", "mes"),
    "our": ("notre", "notre", "nos"),
    "your": ("votre", "votre", "vos"),
}
_FRENCH_ONES = _words(
    "un deux trois quatre cinq six sept huit neuf dix onze douze treize quatorze quinze seize dix-sept dix-huit dix-neuf"
)
_FRENCH_TENS = _words("vingt trente quarante cinquante soixante soixante quatre-vingt quatre-vingt")
_ELIDED = ("le", "la", "de", "que", "ne", "je")


def french_number(number: int, feminine: bool) -> str:
    """From 1 to 99, "un" and what ends with it agreeing."""
    if number < 20:
        return "une" if number == 1 and feminine else _FRENCH_ONES[number - 1]
    tens, ones = divmod(number, 10)
    word = _FRENCH_TENS[tens - 2]
    if tens in (7, 9):  # sixty, ten; four times twenty, ten
        ones += 10
    if not ones:
        return word + "s" if tens == 8 else word
    if ones in (1, 11) and tens < 8:
        return f"{word} et {french_number(ones, feminine)}"
    return f"{word}-{french_number(ones, feminine)}"


def _starts_with_vowel(word: str) -> bool:
    """Is it elided before this word? Every h of the lexicon is mute, but for that of "huit"."""
    return word[0] in "aeiouhàâéèêîôœ" and word not in ("huit", "onze")


def _french(sentence: Sentence) -> str:
    words = _words(sentence.question and sentence.question.fr, _french_clause(sentence.clauses[0]))
    for link, clause in zip(sentence.links, sentence.clauses[1:], strict=True):
        words += _words(",", link.fr, _french_clause(clause))
    return _text(_elided(words), " ?" if sentence.question else ".")


def _elided(words: Sequence[str]) -> Iterator[str]:
    """The words with elision (l'arbre, qu'il) and contraction (du, des)."""
    left = [*words, " ", " "]
    while (word := left.pop(0)) != " ":
        following, next_but_one = left[0], left[1]
        if word == "de" and following == "les":
            left[0] = "des"
        elif word == "de" and following == "le" and not _starts_with_vowel(next_but_one):
            left[0] = "du"
        elif (word in _ELIDED and _starts_with_vowel(following)) or (word == "si" and following == "il"):
            left[0] = f"{word[:-1]}'{following}"
        else:
            yield word


def _french_clause(clause: Clause, moved: Pronoun | None = None) -> list[str]:
    subject = clause.subject
    assert subject is not None
    person = _PERSONS.index(subject.person)
    participle = ""
    if clause.verb is None:
        finite = _ETRE[clause.tense][person]
    elif clause.tense == "present":
        finite = clause.verb.fr.present[person]
    else:
        with_etre = clause.verb.fr.with_etre
        finite = _ETRE["present"][person] if with_etre else _AVOIR[person]
        agrees_with = subject if with_etre else moved
        participle = clause.verb.fr.participle
        if agrees_with:
            participle = _agreeing(participle, participle + "e", agrees_with.fr_gender, agrees_with.plural)
    negative = _is_negative(clause)
    time = clause.time and clause.time.fr
    adverbial = clause.adverbial
    subordinate = _words(adverbial.conjunction.fr, _french_clause(adverbial.clause)) if adverbial else []
    return _words(
        [*subordinate, ","] if adverbial and adverbial.first else [],
        _words(time, ",") if clause.time_first else [],
        [subject.fr] if isinstance(subject, Pronoun) else _french_noun_phrase(subject),
        "ne" if negative else "",
        finite,
        "pas" if clause.negated else "",
        clause.frequency and clause.frequency.fr,
        participle,
        clause.object and _french_noun_phrase(clause.object, negative),
        clause.predicate and _french_adjective(clause.predicate, subject.fr_gender, subject.plural),
        clause.manner and clause.manner.fr,
        clause.companion and _french_adjunct(clause.companion),
        *(_french_adjunct(place) for place in clause.places),
        "" if clause.time_first else time,
        clause.complement and _words("que", _french_clause(clause.complement)),
        [] if adverbial and adverbial.first else subordinate,
    )


def _agreeing(masculine: str, feminine: str, gender: str, plural: bool) -> str:
    form = feminine if gender == "f" else masculine
    return french_s(form) if plural else form


def _french_noun_phrase(phrase: NounPhrase, negated_object: bool = False) -> list[str]:
    noun = phrase.noun.fr_plural if phrase.plural else phrase.noun.fr
    before: list[str] = []
    after: list[str] = []
    for adjective in phrase.adjectives:
        precedes = adjective.adjective.fr_precedes
        words = _french_adjective(adjective, phrase.fr_gender, phrase.plural, noun if precedes else "")
        before, after = (words, after) if precedes else (before, words)
    feminine = phrase.fr_gender == "f"
    words = _words(french_number(phrase.number, feminine) if phrase.number else "", before, noun, after)
    determiner = _FRENCH_DETERMINERS[phrase.determiner][2 if phrase.plural else feminine]
    if phrase.determiner == "a" and phrase.number:
        determiner = ""
    elif phrase.determiner == "a" and (negated_object or (phrase.plural and before)):
        determiner = "de"
    elif _starts_with_vowel(words[0]):
        determiner = {"ce": "cet", "ma": "mon"}.get(determiner, determiner)
    relative = []
    if phrase.relative:
        clause, moved = _with_relative_pronoun(phrase)
        relative = _words(moved and moved.fr, _french_clause(clause, moved))
    return _words(determiner, words, relative)


def _french_adjective(phrase: AdjectivePhrase, gender: str, plural: bool, following: str = "") -> list[str]:
    adjective = phrase.adjective
    form = _agreeing(adjective.fr, adjective.fr_feminine, gender, plural)
    if following and form == adjective.fr and not plural and _starts_with_vowel(following):
        form = adjective.fr_before_vowel
    return _words(phrase.degree and phrase.degree.fr, form)


def _french_adjunct(adjunct: PrepositionalPhrase | Adverb) -> list[str]:
    if isinstance(adjunct, Adverb):
        return adjunct.fr.split()
    return _words(adjunct.preposition.fr, _french_noun_phrase(adjunct.noun_phrase))


# German --------------------------------------------------------------------------------------------------------------

Order = Literal["second", "first", "last"]  # where the finite verb stands

_DER: dict[Case, dict[str, str]] = {
    "nominative": {"m": "der", "f": "die", "n": "das", "plural": "die"},
    "accusative": {"m": "den", "f": "die", "n": "das", "plural": "die"},
    "dative": {"m": "dem", "f": "der", "n": "dem", "plural": "den"},
}
_ENDINGS: dict[Case, dict[str, str]] = {
    "nominative": {"m": "er", "f": "e", "n": "es", "plural": "e"},
    "accusative": {"m": "en", "f": "e", "n": "es", "plural": "e"},
    "dative": {"m": "em", "f": "er", "n": "em", "plural": "en"},
}
_EIN_WORDS = {"a": "ein", "my": "mein", "our": "unser", "your": "Ihr"}
_HABEN: dict[Person, str] = {"I": "habe", "he": "hat", "we": "haben", "you": "haben", "they": "haben"}
_SEIN: dict[Tense, dict[Person, str]] = {
    "present": {"I": "bin", "he": "ist", "we": "sind", "you": "sind", "they": "sind"},
    "past": {"I": "war", "he": "war", "we": "waren", "you": "waren", "they": "waren"},
}
_GERMAN_ONES = _words(
    "ein zwei drei vier fünf sechs sieben acht neun zehn elf zwölf dreizehn vierzehn fünfzehn sechzehn siebzehn achtzehn "
    "neunzehn"
)
_GERMAN_TENS = _words("zwanzig dreißig vierzig fünfzig sechzig siebzig achtzig neunzig")


def german_number(number: int) -> str:
    """From 2 to 99."""
    if number < 20:
        return _GERMAN_ONES[number - 1]
    tens, ones = divmod(number, 10)
    return (f"{_GERMAN_ONES[ones - 1]}und" if ones else "") + _GERMAN_TENS[tens - 2]


def _german(sentence: Sentence) -> str:
    if sentence.question:
        order: Order = "second" if sentence.question == WHO_DOES else "first"
        return _text(_words(sentence.question.de, _german_clause(sentence.clauses[0], order)), "?")
    words = _german_clause(sentence.clauses[0], "second")
    for link, clause in zip(sentence.links, sentence.clauses[1:], strict=True):
        words += _words(",", link.de, _german_clause(clause, "second"))
    return _text(words, ".")


def _german_clause(clause: Clause, order: Order) -> list[str]:
    subject = clause.subject
    assert subject is not None
    finite, particle = _german_verb(clause, subject.person)
    time = clause.time and clause.time.de
    indefinite = clause.object is not None and clause.object.determiner == "a"
    kein = clause.negated and indefinite
    object_words = clause.object and _german_noun_phrase(clause.object, "accusative", kein)
    adverb = "nicht" if clause.negated and not kein else clause.frequency and clause.frequency.de
    middle = _words(
        "" if clause.time_first else time,
        "" if indefinite else object_words,
        adverb,
        *(place.de for place in clause.places if isinstance(place, Adverb)),
        object_words if indefinite else "",
        clause.manner and clause.manner.de,
        clause.companion and _german_prepositional_phrase(clause.companion),
        *(_german_prepositional_phrase(place) for place in clause.places if isinstance(place, PrepositionalPhrase)),
        clause.predicate and _german_adjective(clause.predicate),
    )
    # A relative clause at the end stands after what closes the verb.
    after = _words(
        *(_german_relative(phrase) for phrase in _noun_phrases(clause) if phrase is not subject),
        clause.complement and _words(",", "dass", _german_clause(clause.complement, "last"), ","),
    )
    before = []
    if clause.adverbial:
        words = _words(clause.adverbial.conjunction.de, _german_clause(clause.adverbial.clause, "last"), ",")
        if clause.adverbial.first:
            before = words
        else:
            after += [",", *words]
    if isinstance(subject, Pronoun):
        subject_words = [subject.de]
    else:
        subject_words = _german_noun_phrase(subject, "nominative") + _german_relative(subject)
    if order == "last":
        verbs = particle + finite if clause.tense == "present" else f"{particle} {finite}"
        return _words(subject_words, middle, verbs, after)
    if clause.time_first:
        before = _words(time)
    start = (before, finite, subject_words) if before or order == "first" else (subject_words, finite)
    return _words(*start, middle, particle, after)


def _german_verb(clause: Clause, person: Person) -> tuple[str, str]:
    """The finite verb and what closes the clause: a prefix in the present, a participle in the past."""
    if clause.verb is None:
        return _SEIN[clause.tense][person], ""
    verb = clause.verb.de
    if clause.tense == "past":
        return (_SEIN["present"] if verb.with_sein else _HABEN)[person], verb.participle
    ich, er = verb.present
    return {"I": ich, "he": er}.get(person, verb.infinitive), verb.prefix


def _german_noun_phrase(phrase: NounPhrase, case: Case, kein: bool = False) -> list[str]:
    """Without the relative clause, which may have its place further on."""
    gender = phrase.de_gender
    ending = _ENDINGS[case][gender]  # which either the determiner or the adjective shows
    bare = phrase.determiner == "a" and phrase.plural
    weak = "e" if not phrase.plural and case != "dative" and ending != "en" else "en"
    if phrase.determiner == "the":
        determiner, adjective_ending = _DER[case][gender], weak
    elif phrase.determiner == "this":
        determiner, adjective_ending = "dies" + ending, weak
    else:
        determiner, adjective_ending = ("k" if kein else "") + _EIN_WORDS[phrase.determiner] + ending, weak
        if bare:
            determiner, adjective_ending = "", ending
        elif ending in ("er", "es") and case != "dative":  # ein alter Hund, ein altes Haus
            determiner, adjective_ending = determiner.removesuffix(ending), ending
    noun = phrase.noun.de_plural if phrase.plural else phrase.noun.de
    if phrase.plural and case == "dative" and not noun.endswith(("n", "s")):
        noun += "n"
    return _words(
        determiner,
        german_number(phrase.number) if phrase.number else "",
        *(_german_adjective(adjective, adjective_ending) for adjective in phrase.adjectives),
        noun,
    )


def _german_relative(phrase: NounPhrase) -> list[str]:
    if not phrase.relative:
        return []
    clause, moved = _with_relative_pronoun(phrase)
    return _words(",", moved and moved.de, _german_clause(clause, "last"), ",")


def _german_adjective(phrase: AdjectivePhrase, ending: str = "") -> list[str]:
    adjective = phrase.adjective
    return _words(phrase.degree and phrase.degree.de, adjective.de_stem + ending if ending else adjective.de)


def _german_prepositional_phrase(phrase: PrepositionalPhrase) -> list[str]:
    words = _words(phrase.preposition.de, _german_noun_phrase(phrase.noun_phrase, phrase.preposition.case))
    return ["im", *words[2:]] if words[:2] == ["in", "dem"] else words


# What stands together ------------------------------------------------------------------------------------------------


def _noun_phrases(clause: Clause) -> Iterator[NounPhrase]:
    """Those of the clause itself, not of the clauses in it."""
    for phrase in (clause.subject, clause.object, clause.companion, *clause.places):
        if isinstance(phrase, NounPhrase):
            yield phrase
        elif isinstance(phrase, PrepositionalPhrase):
            yield phrase.noun_phrase


def _pairs(clause: Clause, head: NounPhrase | None = None) -> Iterator[tuple[str, str]]:
    """Each adjective with its noun and each verb with its object; the head is that of a relative clause."""
    subject = clause.subject or head
    thing = clause.object or (head if clause.subject else None)
    if clause.verb and thing:
        yield clause.verb.en, thing.noun.en
    if clause.predicate and isinstance(subject, NounPhrase):
        yield clause.predicate.adjective.en, subject.noun.en
    for phrase in _noun_phrases(clause):
        for adjective in phrase.adjectives:
            yield adjective.adjective.en, phrase.noun.en
        if phrase.relative:
            yield from _pairs(phrase.relative, phrase)
    for inner in (clause.complement, clause.adverbial and clause.adverbial.clause):
        if inner:
            yield from _pairs(inner)


# Drawing -------------------------------------------------------------------------------------------------------------

_SHORTEST, _LONGEST = 4, 32  # words in English, about
_ANIMATE, _INANIMATE, _ANY = "pa", "ewtfl", "paewtfl"
_DEFINITE: tuple[Determiner, ...] = ("the", "the", "the", "this", "my", "our", "your")
_DETERMINERS: tuple[Determiner, ...] = (*_DEFINITE, "a", "a", "a")
_TENSES: tuple[Tense, ...] = ("present", "past")
_PARTS = ("frequency", "time", "manner", "companion", "place", "place")
_CLAUSE_VERBS = tuple(verb for verb in VERBS if verb.takes_clause)
_INTRANSITIVE = tuple(verb for verb in VERBS if not verb.takes_clause and not verb.objects)


@functools.cache
def _nouns(kinds: str) -> tuple[Noun, ...]:
    return tuple(noun for noun in NOUNS if noun.kind in kinds)


@functools.cache
def _transitive(kinds: str) -> tuple[Verb, ...]:
    """Verbs that may have an object of one of the kinds."""
    return tuple(verb for verb in VERBS if set(verb.objects) & set(kinds))


@functools.cache
def _adjectives(kind: str, precedes: bool) -> tuple[Adjective, ...]:
    return tuple(word for word in ADJECTIVES if kind in word.kinds and word.fr_precedes == precedes)


@functools.cache
def _times(tense: Tense) -> tuple[Adverb, ...]:
    return tuple(time.word for time in TIMES if tense in time.tenses)


class _Room:
    """The words that a clause may still have."""

    def __init__(self, draw: random.Random, words: int) -> None:
        self.draw = draw
        self.words = words

    def spend(self, words: int, chance: float = 1.0) -> bool:
        """Take some, if there are so many and by chance."""
        if self.words < words or self.draw.random() >= chance:
            return False
        self.words -= words
        return True


def phrase(draw: random.Random) -> Phrase:
    """One sentence; about as many have four to eight English words as have eight to sixteen."""
    words = int(_SHORTEST * ((_LONGEST + 1) / _SHORTEST) ** draw.random())
    sentence = _question(draw, words) if draw.random() < 0.2 else _statement(draw, words)
    pairs = frozenset(pair for clause in sentence.clauses for pair in _pairs(clause))
    return Phrase(realize(sentence), pairs)


def _statement(draw: random.Random, words: int) -> Sentence:
    count = 1
    if words >= 10 and draw.random() < (0.35 if words < 18 else 0.6):
        count = 3 if words >= 21 and draw.random() < 0.3 else 2
    room = _Room(draw, words - count + 1)
    clauses = []
    for after in reversed(range(count)):
        share = draw.randint(4, room.words - 4 * after) if after else room.words
        room.spend(share)
        clauses.append(_main_clause(draw, share, embedding=(0.6, 0.4, 0.0)[count - 1]))
    return Sentence(tuple(clauses), tuple(draw.sample((AND, BUT), count - 1)))


def _question(draw: random.Random, words: int) -> Sentence:
    question = draw.choice((YES_OR_NO, YES_OR_NO, WHO_DOES, WHAT, WHERE, WHEN, WHY))
    tense = draw.choice(_TENSES)
    if question == YES_OR_NO and words >= 12 and draw.random() < 0.7:
        share = draw.randint(5, words - 5)
        clause = _clause(draw, share, tense, asked=question)
        adverbial = _adverbial(draw, words - share, tense)._replace(first=False)
        return Sentence((clause._replace(adverbial=adverbial),), (), question)
    return Sentence((_clause(draw, words - 1, tense, asked=question),), (), question)


def _main_clause(draw: random.Random, words: int, embedding: float) -> Clause:
    """A clause that may stand alone, with another in it so often."""
    tense = draw.choice(_TENSES)
    if words < 9 or draw.random() >= embedding:
        return _clause(draw, words, tense, fronting=True)
    if draw.random() < 0.35:
        return _with_complement(draw, words)
    share = draw.randint(4, words - 4)
    adverbial = _adverbial(draw, words - share, tense)
    return _clause(draw, share, tense, fronting=not adverbial.first)._replace(adverbial=adverbial)


def _adverbial(draw: random.Random, words: int, tense: Tense) -> Adverbial:
    conjunction = draw.choice(CONJUNCTIONS[tense])
    return Adverbial(conjunction, _clause(draw, words - 1, tense), draw.random() < 0.4)


def _with_complement(draw: random.Random, words: int) -> Clause:
    """Somebody says that something is so: in the present, for French has another tense for what was said in the past."""
    share = draw.randint(1, min(4, words - 6))
    subject: NounPhrase | Pronoun = draw.choice(PRONOUNS)
    if share > 1:
        subject = _extended(_Room(draw, share - 2), _bare(draw, "p"))
    complement = _clause(draw, words - share - 2, draw.choice(_TENSES))
    return Clause(subject, draw.choice(_CLAUSE_VERBS), complement=complement)


def _clause(
    draw: random.Random,
    words: int,
    tense: Tense,
    *,
    fronting: bool = False,
    asked: Adverb | None = None,
    head: NounPhrase | None = None,
    gap: Literal["subject", "object"] | None = None,
    nesting: int = 2,
) -> Clause:
    """A clause of about so many words.

    Args:
        fronting: may the time stand first?
        asked: the question word, for what the clause lacks.
        head: what it belongs to, if it is a relative clause.
        gap: what it lacks, if it is a relative clause.
        nesting: how many relative clauses there may be, one in the other.
    """
    clause = Clause(None, tense=tense)
    if gap == "object" or asked == WHAT:
        clause = clause._replace(verb=draw.choice(_transitive(head.noun.kind if head else _INANIMATE)))
    elif asked == WHERE:
        clause = clause._replace(verb=draw.choice([verb for verb in _INTRANSITIVE if verb.place != "-"]))
    elif draw.random() < 0.8 and (head is None or head.noun.kind in _ANIMATE):
        if words >= 4 and draw.random() < 0.65:
            thing = _bare(draw, _ANY)
            clause = clause._replace(object=thing, verb=draw.choice(_transitive(thing.noun.kind)))
        else:
            clause = clause._replace(verb=draw.choice(_INTRANSITIVE))

    if asked == WHO_DOES:
        clause = clause._replace(subject=WHO)
    elif gap != "subject":
        subject = _bare(draw, _ANIMATE if clause.verb else _ANY)
        while gap and head and _alike_in_german(head, subject):
            subject = _bare(draw, _ANIMATE)
        pronoun = words < 4 or draw.random() < 0.3
        clause = clause._replace(subject=draw.choice(PRONOUNS) if pronoun else subject)

    parts = (clause.subject, clause.verb, clause.object)
    room = _Room(draw, max(0, words - sum(2 if isinstance(part, NounPhrase) else 1 for part in parts if part)))
    if clause.verb is None:
        clause = _with_predicate(room, clause, clause.subject or head)
    if room.spend(2, chance=0.2):
        clause = clause._replace(negated=True)
    clause = _with_adjuncts(room, clause, asked)
    if fronting and clause.time and draw.random() < 0.5:
        clause = clause._replace(time_first=True)
    return _with_noun_phrases(room, clause, nesting, in_relative=gap is not None)


def _alike_in_german(head: NounPhrase, subject: NounPhrase) -> bool:
    """Would "die Frau, die die Katze sieht" leave open which of them sees the other?"""
    return head.plural == subject.plural and "m" not in (head.de_gender, subject.de_gender)


def _with_predicate(room: _Room, clause: Clause, subject: NounPhrase | Pronoun | None) -> Clause:
    """Where the subject is, or what it is like."""
    room.spend(1)
    kind = subject.noun.kind if isinstance(subject, NounPhrase) else "p"
    if kind != "l" and room.spend(2, chance=0.35):
        return clause._replace(places=(_place(room.draw, PREPOSITIONS),))
    adjective = room.draw.choice(_adjectives(kind, True) + _adjectives(kind, False))
    degree = room.draw.choice((VERY, TOO)) if room.spend(1, chance=0.3) else None
    return clause._replace(predicate=AdjectivePhrase(adjective, degree))


def _with_adjuncts(room: _Room, clause: Clause, asked: Adverb | None) -> Clause:
    """With adverbs, places and the like, as far as there is room."""
    draw, verb = room.draw, clause.verb
    for part in draw.sample(_PARTS, len(_PARTS)):
        if draw.random() < 0.5:
            continue
        if (
            part == "frequency"
            and not (clause.negated or clause.time or clause.manner or asked == WHEN)
            and room.spend(1)
        ):
            clause = clause._replace(frequency=draw.choice(FREQUENCIES))
        elif part == "time" and not (clause.frequency or asked == WHEN) and room.spend(2):
            clause = clause._replace(time=draw.choice(_times(clause.tense)))
        elif part == "manner" and verb and not clause.frequency and room.spend(1):
            clause = clause._replace(manner=draw.choice(MANNERS))
        elif part == "companion" and verb and verb.companions and room.spend(3):
            preposition = COMPANIONS[draw.choice(verb.companions)]
            clause = clause._replace(companion=PrepositionalPhrase(preposition, _bare(draw, preposition.kinds)))
        elif part == "place" and verb and verb.place != "-" and asked != WHERE:
            if verb.place == "any" and not clause.places and room.spend(1, chance=0.2):
                clause = clause._replace(places=(draw.choice(PLACE_ADVERBS),))
            elif not isinstance((*clause.places, None)[0], Adverb) and room.spend(3):
                allowed = PREPOSITIONS if verb.place == "any" or clause.places else (IN,)
                clause = clause._replace(places=(*clause.places, _place(draw, allowed)))
    return clause


def _place(draw: random.Random, prepositions: Sequence[Preposition]) -> PrepositionalPhrase:
    preposition = draw.choice(prepositions)
    return PrepositionalPhrase(preposition, _bare(draw, preposition.kinds))


def _bare(draw: random.Random, kinds: str) -> NounPhrase:
    """A noun with nothing more than an article."""
    return NounPhrase(draw.choice(_nouns(kinds)), plural=draw.random() < 0.35)


def _with_noun_phrases(room: _Room, clause: Clause, nesting: int, in_relative: bool) -> Clause:
    """With more in the noun phrases, which share the words that are left."""
    draw = room.draw
    last: NounPhrase | None = None
    if not clause.time or clause.time_first:
        adjuncts = [adjunct for adjunct in (clause.companion, *clause.places) if adjunct]
        if adjuncts:
            last = adjuncts[-1].noun_phrase if isinstance(adjuncts[-1], PrepositionalPhrase) else None
        elif not clause.manner:
            last = clause.object
    phrases = list(_noun_phrases(clause))
    weights = [draw.random() ** 2 for _ in phrases]
    shares = draw.choices(range(len(phrases)), weights, k=room.words) if phrases else []
    extended = []
    for index, noun_phrase in enumerate(phrases):
        indefinites: Indefinites = "counted"
        if noun_phrase is clause.object:
            indefinites = "none" if clause.manner else "singular" if _is_negative(clause) else "all"
        deep = nesting if noun_phrase is last else 0
        if noun_phrase is clause.subject and not in_relative:
            deep = min(nesting, 1)
        extended.append(_extended(_Room(draw, shares.count(index)), noun_phrase, indefinites, deep))
    in_order = iter(extended)
    return clause._replace(
        subject=next(in_order) if isinstance(clause.subject, NounPhrase) else clause.subject,
        object=next(in_order) if clause.object else None,
        companion=clause.companion._replace(noun_phrase=next(in_order)) if clause.companion else None,
        places=tuple(
            place._replace(noun_phrase=next(in_order)) if isinstance(place, PrepositionalPhrase) else place
            for place in clause.places
        ),
    )


Indefinites = Literal["none", "singular", "counted", "all"]  # "counted": in the plural with a number only


def _extended(room: _Room, phrase: NounPhrase, indefinites: Indefinites = "counted", nesting: int = 0) -> NounPhrase:
    """With another determiner, and a number, adjectives and a relative clause as far as there is room."""
    draw = room.draw
    number = draw.randint(2, draw.choice((12, 99))) if phrase.plural and room.spend(1, chance=0.4) else None
    determiner = draw.choice(_DEFINITE if indefinites == "none" else _DETERMINERS)
    if determiner == "a" and phrase.plural and indefinites != "all" and not (indefinites == "counted" and number):
        determiner = "the"
    phrase = phrase._replace(determiner=determiner, number=number)
    if nesting and room.words > 2 and (indefinites != "singular" or determiner != "a") and draw.random() < 0.8:
        share = draw.randint(3, room.words)
        room.spend(share)
        gap: Literal["subject", "object"] = "object" if draw.random() < 0.45 else "subject"
        relative = _clause(draw, share - 1, draw.choice(_TENSES), head=phrase, gap=gap, nesting=nesting - 1)
        phrase = phrase._replace(relative=relative)
    adjectives: list[AdjectivePhrase] = []
    for precedes in (True, False):
        if room.spend(1, chance=0.6):
            adjective = draw.choice(_adjectives(phrase.noun.kind, precedes))
            adjectives.append(AdjectivePhrase(adjective, VERY if room.spend(1, chance=0.2) else None))
    return phrase._replace(adjectives=tuple(adjectives))
