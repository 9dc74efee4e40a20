"""Word vectors from a file: what is found, and what is refused."""

import gzip

import numpy as np
import pytest

from unroll.data.vectors import read_vectors
from unroll.errors import UserError


def test_vectors_are_found_by_word_and_small_letters(tmp_path):
    path = tmp_path / "v.txt"
    path.write_text("4 3\ngood 1 2 3\nBad 9 9 9\nnew york 4 5 6\nother 0 0 0\nparis 7 8 9\n")
    found = read_vectors(path, {"good": 2, "bad": 3, "Paris": 4, "new york": 5}, 3)
    assert found.tokens.tolist() == [2, 4, 5]
    assert found.vectors.tolist() == [[1, 2, 3], [7, 8, 9], [4, 5, 6]]
    # A word of its own in the file comes before that in small letters, wherever it stands.
    found = read_vectors(path, {"Good": 2, "good": 3, "Bad": 4, "bad": 5}, 3)
    assert dict(zip(found.tokens.tolist(), found.vectors.tolist(), strict=True)) == {
        2: [1, 2, 3],
        3: [1, 2, 3],
        4: [9, 9, 9],
    }
    found = read_vectors(path, {"good": 2}, 3)
    with gzip.open(tmp_path / "v.txt.gz", "wb") as file:
        file.write(path.read_bytes())
    assert np.array_equal(read_vectors(tmp_path / "v.txt.gz", {"good": 2}, 3).vectors, found.vectors[:1])


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (
            "good 1 2 3 4\n",
            "v.txt, line 1: has 4 numbers where task.embedding_size=3 are wanted: set task.embedding_size=4",
        ),
        ("good 1 2 3\nbad 1 2\n", "v.txt, line 2: has 2 numbers where task.embedding_size=3"),
        (
            "a 1 2 3\nb 1 2 3\nc 1\n",
            "v.txt, line 3: has 1 numbers where task.embedding_size=3 are wanted: is the file whole",
        ),
        ("good 1 x 3\n", "v.txt, line 1: what follows the word 'good' are not all numbers"),
        ("good 1 nan 3\n", "v.txt, line 1: the vector of 'good' is not finite"),
        ("", "v.txt: the file is empty (0 bytes)"),
    ],
)
def test_vectors_that_are_broken(tmp_path, content, said):
    (tmp_path / "v.txt").write_text(content)
    with pytest.raises(UserError) as error:
        read_vectors(tmp_path / "v.txt", {"good": 2}, 3)
    assert said in str(error.value)


def test_cut_off_gzip_is_told(tmp_path):
    whole = gzip.compress(b"word 1 2 3\n" * 1000)
    (tmp_path / "v.gz").write_bytes(whole[:-12])
    with pytest.raises(UserError, match="cannot be read on"):
        read_vectors(tmp_path / "v.gz", {"good": 2}, 3)
