"""What can be known of a report before it is begun: whether its data have what is asked of them."""

from __future__ import annotations

from collections.abc import Sequence

from core.data import Dataset, check_context, no_segments
from core.errors import UserError, closest

MOST_VALUES = 20  # of a column: one with more says nothing of groups


def check(data: Dataset, context: Sequence[str], by: Sequence[str], whole_only: bool) -> None:
    """Masks are read until all names that are asked for were seen.

    Args:
        context: names of segments. by: columns of the manifest. whole_only: pictures without masks are tested as such.

    Raises:
        UserError: no mask can be used, or a name of the context or a column is in none.
    """
    _check_columns(data, by)
    read, names, problem = False, set(), ""
    for item in data.items:
        if item.segments is no_segments:
            continue
        try:
            _, segments = item.load()
        except UserError as error:
            problem = problem or str(error).rstrip(".")
            continue
        read = read or segments is not None
        names.update(segments.names if segments else ())
        if any(names) and names.issuperset(context):
            return
    named = list(filter(None, names))
    if named:
        check_context(context, named)
    if names:
        raise UserError(f"The masks of {data.name} have no names; give them some with `satchel name`.")
    if problem:
        raise UserError(f"No picture of {data.name} can be used with its masks ({problem}); mend them.")
    if whole_only and not context:
        return
    if read:
        raise UserError(f"The masks of {data.name} are empty; check that segments.json names the values in them.")
    raise UserError(f"{data.name} has no masks; give a folder of named masks with --segments.")


def columns_of(data: Dataset, by: Sequence[str]) -> dict[str, dict[str, str]]:
    """Each picture's value in these columns of the manifest, where it has one."""
    columns = {name: {item.id: item.columns.get(name, "") for item in data.items} for name in by}
    return {name: {image: value for image, value in values.items() if value} for name, values in columns.items()}


def _check_columns(data: Dataset, by: Sequence[str]) -> None:
    known = sorted({name for item in data.items for name in item.columns})
    for name, values in columns_of(data, by).items():
        if name not in known:
            told = closest(name, known) if known else "it has none besides labels."
            raise UserError(f"The manifest of {data.name} has no column {name!r}; {told}")
        if (count := len(set(values.values()))) > MOST_VALUES:
            raise UserError(f"The column {name!r} has {count} values; give one that has at most {MOST_VALUES}.")
