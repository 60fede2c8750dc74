"""Tables that need not fit into memory, read from their shards in groups or in part."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd

from core.errors import UserError
from core.runtime.whole_files import whole_file

ROWS = 100_000  # at once
GROUP = 8192  # rows of a merged file that are read or passed over together
MEMORY = "2GB"  # while shards are merged; what is more goes onto the disk


def streamed(folders: Sequence[Path], by: str) -> Iterator[tuple[Any, pd.DataFrame]]:
    """(value of the column `by`, its rows) one after the other, sorted by it, rows in the order they were written.

    Raises:
        UserError: a shard is damaged.
    """
    import duckdb

    files = _files(folders)
    if not files:
        return
    parts: list[pd.DataFrame] = []
    key: Any = None
    try:
        with duckdb.connect() as connection:
            found = connection.sql(
                f"select * exclude (filename, file_row_number) from read_parquet(?, union_by_name=true, filename=true, "
                f'file_row_number=true) order by "{by}", filename, file_row_number',
                params=[files],
            )
            for batch in found.to_arrow_reader(ROWS):
                frame = batch.to_pandas()
                for value, part in frame.groupby(by, sort=False):
                    if parts and value != key:
                        yield key, pd.concat(parts, ignore_index=True)
                        parts = []
                    key = value
                    parts.append(part)
    except duckdb.Error as error:
        names = " or ".join(str(folder) for folder in folders)
        said = str(error).splitlines()[0]
        raise UserError(f"A file in {names} is damaged ({said}); begin again in another folder.") from error
    if parts:
        yield key, pd.concat(parts, ignore_index=True)


def _files(folders: Sequence[Path]) -> list[str]:
    """Those that hold anything, in an order that their names give."""
    return [str(path) for folder in sorted(folders) for path in sorted(folder.glob("*.parquet")) if rows_in(path)]


def merged(folders: Sequence[Path], into: Path, by: Sequence[str]) -> None:
    """Many shards as one file, sorted by some columns, so that a few rows are found in it without reading all.

    Raises:
        UserError: a shard is damaged, or there is no room.
    """
    import duckdb

    files, keys = _files(folders), ", ".join(f'"{name}"' for name in by)
    order = ", ".join(filter(None, (keys, "filename, file_row_number")))
    with whole_file(into) as part, TemporaryDirectory(dir=into.parent) as aside:
        try:
            with duckdb.connect(config={"memory_limit": MEMORY, "temp_directory": aside}) as connection:
                connection.execute(
                    f"copy (select * exclude (filename, file_row_number) from read_parquet(?, union_by_name=true, "
                    f"filename=true, file_row_number=true) order by {order}) "
                    f"to '{str(part).replace(chr(39), 2 * chr(39))}' (format parquet, row_group_size {GROUP})",
                    [files],
                )
        except duckdb.Error as error:
            said = str(error).splitlines()[0]
            raise UserError(f"{into} cannot be put together ({said}); free some room and run again.") from error


def selected(place: Path, wanted: Mapping[str, Sequence[Any]]) -> pd.DataFrame:
    """The rows of which each column in `wanted` has one of these values, in the order they were written.

    Args:
        place: a folder of shards, or a file.

    Raises:
        ValueError: a shard cannot be read.
    """
    if place.is_file():
        return _of_one(place, wanted)
    import duckdb

    files = [str(path) for path in sorted(place.glob("*.parquet")) if path.is_file() and not _is_empty(path)]
    if not files:
        return pd.DataFrame()
    among = {column: ", ".join("?" * len(values)) for column, values in wanted.items()}
    where = [f'"{column}" in ({places})' if places else "false" for column, places in among.items()]
    given = [value for values in wanted.values() for value in values]
    try:
        with duckdb.connect() as connection:
            query = f"select * from read_parquet(?, union_by_name=true) where {' and '.join(where) or 'true'}"
            return connection.execute(query, [files, *given]).df()
    except duckdb.Error as error:
        raise ValueError(str(error)) from error


def _of_one(path: Path, wanted: Mapping[str, Sequence[Any]]) -> pd.DataFrame:
    """From one file: of one that is sorted by those columns, hardly more is read than what is wanted. DuckDB takes
    twice as long, and a page that only looks at a report need not load it."""
    import pyarrow
    import pyarrow.parquet

    whole = {pyarrow.bool_(): pd.BooleanDtype(), pyarrow.int32(): pd.Int32Dtype(), pyarrow.int64(): pd.Int64Dtype()}
    try:
        with pyarrow.parquet.ParquetFile(path, pre_buffer=False) as file:
            groups, names = range(file.num_row_groups), file.metadata.schema.names
            for column, values in wanted.items():
                if column not in names:
                    raise ValueError(f"{path} lacks the column {column}")
                at = names.index(column)
                groups = [n for n in groups if _may_hold(file.metadata.row_group(n).column(at), values)]
            # one after the other and by one thread: what is read to be passed over is hardly held, and soon free again
            parts = [_kept(file.read_row_group(n, use_threads=False), wanted) for n in groups]
            found = pyarrow.concat_tables([file.schema_arrow.empty_table(), *parts])
        found.validate(full=True)  # that text is Unicode
        frame = found.to_pandas(use_threads=False)
        for name in found.column_names:  # numbers with gaps stay what they are, as DuckDB has it
            if found[name].null_count and found[name].type in whole:
                frame[name] = found[name].to_pandas(types_mapper=whole.get)
        return frame
    except (OSError, pyarrow.ArrowException) as error:
        raise ValueError(str(error)) from error


def _kept(rows: Any, wanted: Mapping[str, Sequence[Any]]) -> Any:
    """Of an Arrow table, the rows that are wanted."""
    import pyarrow
    import pyarrow.compute

    for column, values in wanted.items():
        among = pyarrow.array(values, rows.schema.field(column).type)
        rows = rows.filter(pyarrow.compute.is_in(rows[column], among))  # ty: ignore[missing-attribute]
    return rows


def _may_hold(part: Any, values: Sequence[Any]) -> bool:
    """Whether a column of some rows (its metadata) can have any of these values, from the least and the most in it."""
    known = part.statistics
    if known is None or not known.has_min_max:
        return True
    return any(not isinstance(known.min, type(value)) or known.min <= value <= known.max for value in values)


def _is_empty(path: Path) -> bool:
    """One that says so; a file without columns cannot be queried."""
    with suppress(UserError):
        return not rows_in(path)
    return False


def rows_in(path: Path) -> int:
    """How many rows a Parquet file says that it holds.

    Raises:
        UserError: it is damaged.
    """
    import pyarrow
    import pyarrow.parquet

    try:
        return pyarrow.parquet.read_metadata(path).num_rows
    except (OSError, pyarrow.ArrowException) as error:
        others = f"remove every {path.name} in the folders of {path.parent.parent}, and run the same command again"
        raise UserError(f"{path} is damaged ({error}); {others}.") from error
