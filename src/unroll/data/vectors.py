"""Word vectors that were trained elsewhere, from a file in GloVe's or word2vec's text format."""

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from unroll.data.tables import check_file
from unroll.errors import UserError


class WordVectors(NamedTuple):
    """The vectors of those words that were looked for.

    Attributes:
        tokens: (found,) of int: the token of each.
        vectors: (found, width) of float32.
    """

    tokens: np.ndarray
    vectors: np.ndarray


def read_vectors(path: Path, vocabulary: dict[str, int], width: int) -> WordVectors:
    """Read the vectors of a vocabulary's words; the file may be of any size, and gzipped.

    Args:
        path: a word and `width` numbers a line, apart by spaces; a first line of two numbers (word2vec's) is passed over.
        vocabulary: word -> token. A word that is not in the file is looked for in small letters too.
        width: numbers a vector.

    Raises:
        UserError: no such file, an empty one, another width, a line that is broken.
    """
    check_file(path)
    small: dict[str, list[int]] = {}
    for word, token in vocabulary.items():
        small.setdefault(word.lower(), []).append(token)
    found: dict[int, np.ndarray] = {}
    exact: set[int] = set()
    for number, line in _lines(path):
        fields = line.rstrip().split(" ")
        if number == 1 and len(fields) == 2:
            continue
        if len(fields) < width + 1 or (len(fields) > width + 1 and _is_number(fields[1]) and width > 1):
            hint = "is the file whole, and are its fields apart by spaces?"
            if number < 3 and len(fields) > 2:
                hint = f"set task.embedding_size={len(fields) - 1}"
            raise UserError(
                f"{path}, line {number}: has {len(fields) - 1} numbers where task.embedding_size={width} are wanted: "
                + hint
            )
        word = " ".join(fields[:-width])  # some files have words with spaces in them
        known = vocabulary.get(word)
        wanted = [token for token in small.get(word, []) if token not in exact]
        if known is not None:
            wanted.append(known)
        if not wanted:
            continue
        try:
            with np.errstate(over="ignore"):  # what does not fit becomes infinite, which is told below
                vector = np.array(fields[-width:], np.float32)
        except ValueError:
            raise UserError(f"{path}, line {number}: what follows the word {word!r} are not all numbers") from None
        if not np.isfinite(vector).all():
            raise UserError(f"{path}, line {number}: the vector of {word!r} is not finite")
        found.update(dict.fromkeys(wanted, vector))
        if known is not None:
            exact.add(known)
    tokens = np.array(sorted(found), np.int64)
    return WordVectors(
        tokens, np.stack([found[token] for token in tokens]) if found else np.zeros((0, width), np.float32)
    )


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    with (gzip.open if path.suffix == ".gz" else open)(path, "rt", encoding="utf-8") as file:
        number = 0
        try:
            for line in file:
                number += 1
                if line.strip():
                    yield number, line
        except UnicodeDecodeError:
            raise UserError(f"{path}, line {number + 1}: is not UTF-8; is it a text file of vectors?") from None
        except (OSError, EOFError, zlib.error) as error:
            raise UserError(f"{path}, line {number + 1}: cannot be read on: {error}") from None


def _is_number(written: str) -> bool:
    try:
        float(written)
    except ValueError:
        return False
    return True


def start_from(weight: Tensor, path: Path, vocabulary: dict[str, int]) -> np.ndarray:
    """Let an embedding start from the vectors of a file; words that it lacks start as large as those that it has.

    Args:
        weight: (tokens, width), the embedding's.
        path, vocabulary: see `read_vectors`.

    Returns:
        (found,) of int: the tokens that it has.

    Raises:
        UserError: see `read_vectors`.
    """
    found = read_vectors(path, vocabulary, weight.shape[1])
    with torch.no_grad():
        if len(found.tokens):
            vectors = torch.from_numpy(found.vectors)
            weight.normal_(std=float(vectors.std(correction=0)) or 1.0)
            weight[torch.from_numpy(found.tokens)] = vectors
    return found.tokens
