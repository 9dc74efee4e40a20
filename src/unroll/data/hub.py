"""Datasets of the Hugging Face Hub, from there or from a local folder in the same layout."""

import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from unroll.data.base import SPLITS, Data
from unroll.errors import UserError, did_you_mean, one_line

_SECRET = -1  # what the Hub's datasets have in place of a class that is not public


class OnHub(Data):
    """Data that lies on the Hub, or in a local folder in the same layout: a first base, beside the format's.

    Args:
        hub_id: name on the Hub; null where only a local folder will do.
        revision: commit of the Hub's repository; null for the newest.
        config_name: the dataset's configuration; null for its default.
        path: a local folder in the Hub's layout, read in place of the Hub.
        **of_format: see the format.
    """

    instead: str
    """What works without a network, for messages."""

    def __init__(
        self, hub_id: str | None, revision: str | None, config_name: str | None, path: str | None, **of_format: Any
    ) -> None:
        super().__init__(**of_format)
        self.hub_id = hub_id
        self.revision = revision
        self.config_name = config_name
        self.path = path

    @property
    def source(self) -> str:
        return self.path or str(self.hub_id)

    def load(
        self,
        needed: Collection[str] = ("train",),
        preferred: Sequence[str] = (),
        config_name: str | None = None,
    ) -> dict[str, Any]:
        """The splits that there are of ours, in our order, as `datasets.Dataset`s; see `load_splits`."""
        path = Path(self.path) if self.path else None
        config_name = config_name or self.config_name
        splits = load_splits(self.hub_id, self.revision, config_name, path, needed, self.instead, preferred)
        return {split: splits[split] for split in SPLITS if split in splits}

    def names_of(self, rows: Any, split: str, column: str, config_name: str | None) -> list[str] | None:
        """What the numbers of a column of classes, or of lists of them, mean in a split; None where they are no numbers.

        The library reads the numbers of every split by the names of the first one: a split's own may differ.
        """
        feature = rows.features[column]
        names = getattr(feature, "names", None) or getattr(getattr(feature, "feature", None), "names", None)
        return names and (class_names(self.source, self.revision, config_name, split, column) or names)

    def classes_of(self, rows: Any, split: str, column: str, config_name: str | None) -> list[Any] | None:
        """The class of each row: its name where classes are numbered, else what stands there; None of a test split whose
        classes are not public.

        Raises:
            UserError: a number that none of the classes has.
        """
        names, values = self.names_of(rows, split, column, config_name), rows[column][:]
        if split == "test" and values and all(value == _SECRET for value in values):
            return None
        for number, value in enumerate(values, start=1):
            if names and value is not None and not 0 <= value < len(names):
                raise UserError(
                    f"{self.source}, {split}, row {number}, column {column}: label {value} is none of 0 to {len(names) - 1} "
                    f"({', '.join(names)})"
                )
        return [value if value is None else names[value] for value in values] if names else values


def check_column(rows: Any, key: str, column: str, source: str) -> None:
    """Is there such a column?

    Args:
        rows: of a split.
        key: the option that names it.
        column: its name.
        source: the split's.

    Raises:
        UserError: there is none.
    """
    if column not in rows.column_names:
        valid = did_you_mean(column, rows.column_names)
        raise UserError(f"{source}: there is no column {column}; name another by {key}: {valid}")


def load_splits(
    hub_id: str | None,
    revision: str | None,
    config_name: str | None,
    path: Path | None,
    needed: Collection[str],
    offline: str,
    preferred: Sequence[str] = (),
) -> Mapping[str, Any]:
    """The splits of a dataset, as `datasets.Dataset`s that lie on the disk.

    Args:
        hub_id: name on the Hub.
        revision: commit of its repository.
        config_name: its configuration; None takes the first of `preferred` that there is, else the default one.
        path: a local folder, read in place of the Hub.
        needed: splits that it must have.
        offline: what works without a network, for the message.
        preferred: see config_name.

    Raises:
        UserError: no such folder, no network, no such configuration, a split that is missing.
    """
    # A folder that is not there would be taken for a name on the Hub: look first.
    if path is not None and not path.is_dir():
        raise UserError(
            f"{path}: there is no such folder (seen from {Path.cwd()}); set data.path to a dataset's folder"
        )
    if path is None and hub_id is None:
        raise UserError("this dataset is on no hub that may pass it on: set data.path to a folder that holds it")
    import datasets
    from datasets.utils.logging import CRITICAL, disable_progress_bar, set_verbosity

    set_verbosity(CRITICAL)  # what goes wrong is raised, and told once
    disable_progress_bar()
    source = str(path) if path is not None else str(hub_id)
    # A bare name may be one of the library's own readers, which take whatever files they find: pickles among them.
    if path is None and "/" not in source:
        raise UserError(f"data.hub_id={source}: is no name of the Hub: those are of the form OWNER/NAME")
    if path is None and not datasets.config.HF_HUB_OFFLINE and not _hub_answers():
        datasets.config.HF_HUB_OFFLINE = True  # a copy in its cache still serves; without one it fails at once
    pinned = revision if path is None else None
    try:
        names = datasets.get_dataset_config_names(source, revision=pinned)
        if config_name is not None and config_name not in names:
            raise UserError(f"{source}: there is no data.config_name={config_name}; {did_you_mean(config_name, names)}")
        if config_name is None:
            config_name = next((name for name in preferred if name in names), None)
        splits = datasets.load_dataset(source, config_name, revision=pinned)
    except (ConnectionError, datasets.exceptions.DatasetNotFoundError) as error:
        if path is None:
            raise UserError(
                f"{hub_id}: cannot be had from the Hugging Face Hub ({_reason(error)}); without a network, set "
                f"data.path to a local folder in the same layout, or take {offline}"
            ) from None
        raise UserError(f"{path}: {_reason(error)}") from None
    except UserError:
        raise
    except Exception as error:  # of many kinds: a folder may hold anything
        broken = _broken_file(path) if path is not None else None
        raise UserError(f"{broken or source}: cannot be read as a dataset: {_reason(error)}") from None
    for split in needed:
        if split not in splits:
            raise UserError(f"{source}: there is no split {split}; it has: {', '.join(splits)}")
    return splits


def class_names(
    source: str, revision: str | None, config_name: str | None, split: str, column: str
) -> list[str] | None:
    """The names of a split's classes as its own Parquet files have them; None where they do not say.

    Raises:
        UserError: two files of the split disagree.
    """
    import datasets
    import fsspec
    import pyarrow.parquet

    found: dict[str, list[str]] = {}
    try:
        pinned = None if Path(source).is_dir() else revision
        files = datasets.load_dataset_builder(source, config_name, revision=pinned).config.data_files or {}
        for file in files.get(split, []):
            with fsspec.open(str(file), "rb") as opened:
                metadata = pyarrow.parquet.read_schema(opened).metadata or {}
            features = json.loads(metadata.get(b"huggingface", b"{}")).get("info", {}).get("features", {})
            feature = features.get(column, {})
            if names := feature.get("names") or feature.get("feature", {}).get("names"):  # of a list of classes, too
                found[str(file)] = names
    except (OSError, ValueError, pyarrow.ArrowException, ConnectionError):  # other formats; a cache without a network
        return None
    if len({tuple(names) for names in found.values()}) > 1:
        raise UserError(f"{source}, {split}: its files number the classes of {column} differently: {found}")
    return next(iter(found.values()), None)


def _reason(error: BaseException) -> str:
    """What lies behind an error of the library's, which may say no more than that there was one."""
    import datasets

    while error.__cause__ is not None:
        error = error.__cause__
    if isinstance(error, datasets.table.CastError):
        one, other = (", ".join(names) for names in (error.table_column_names, error.requested_column_names))
        return f"its files have different columns: {one}, and {other}"
    # It lists all suffixes that it knows.
    told = one_line(error).split(" with any supported extension")[0]
    return f"a column has different types in its files: {told}" if isinstance(error, TypeError) else told


def _broken_file(folder: Path) -> Path | None:
    """A Parquet file in it that is none, if that is what is wrong."""
    import pyarrow.parquet

    for file in sorted(folder.rglob("*.parquet")):
        try:
            pyarrow.parquet.read_schema(file)
        except (OSError, pyarrow.ArrowException):
            return file
    return None


def _hub_answers() -> bool:
    import socket
    from urllib.parse import urlsplit
    from urllib.request import getproxies

    from huggingface_hub import constants

    if getproxies():
        return True  # whether a proxy leads there only a request can tell
    address = urlsplit(constants.ENDPOINT)
    try:
        socket.create_connection((address.hostname, address.port or 443), timeout=3).close()
    except OSError:
        return False
    return True
