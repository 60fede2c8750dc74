"""Parameters as frozen dataclasses: bounds, step, default and help stand once, and sliders, options and docs follow."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self, TypeVar, get_type_hints

from core.errors import UserError, closest


def parameter(
    default: Any,
    help: str,  # noqa: A002 - the word every option parser uses
    *,
    low: float | None = None,
    high: float | None = None,
    step: float | None = None,
    choices: tuple[str, ...] | None = None,
) -> Any:
    """A dataclass field with bounds (both included) or choices, and one line of help."""
    meta = {"help": help, "low": low, "high": high, "step": step, "choices": choices}
    return dataclasses.field(default=default, metadata=meta)


@dataclass(frozen=True)
class ParameterSpec:
    """One parameter as an interface sees it: `kind` is "int", "float", "bool" or "choice"."""

    name: str
    kind: str
    default: Any
    help: str
    low: float | None
    high: float | None
    step: float | None
    choices: tuple[str, ...] | None

    @property
    def label(self) -> str:
        return self.name.replace("_", " ")

    def coerce(self, value: Any) -> Any:
        """From a slider or the text of an option to the field's own type.

        Raises:
            UserError: not of the kind, out of bounds or not among the choices.
        """
        if self.kind == "choice":
            if value not in (self.choices or ()):
                raise UserError(f"{self.name} must be one of {', '.join(self.choices or ())}, got {value!r}.")
            return value
        if self.kind == "bool":
            return self._bool(value)
        try:
            number = float(value)
        except (TypeError, ValueError) as error:
            raise UserError(f"{self.name} must be a number, got {value!r}.") from error
        if not math.isfinite(number) or (self.kind == "int" and number != int(number)):
            raise UserError(f"{self.name} must be a {'whole ' if self.kind == 'int' else ''}number, got {value!r}.")
        below = self.low is not None and number < self.low
        above = self.high is not None and number > self.high
        if below or above:
            raise UserError(f"{self.name} must lie between {self.low:g} and {self.high:g}, got {value}.")
        return int(number) if self.kind == "int" else number

    def _bool(self, value: Any) -> bool:
        if isinstance(value, bool):
            return value
        text = str(value).lower()
        if text in ("true", "yes", "on", "1"):
            return True
        if text in ("false", "no", "off", "0"):
            return False
        raise UserError(f"{self.name} must be true or false, got {value!r}.")


@dataclass(frozen=True)
class Parameters:
    """Base of every explainer's and metric's parameters; made wrong, it raises UserError."""

    def __post_init__(self) -> None:
        for spec in self.specs():
            object.__setattr__(self, spec.name, spec.coerce(getattr(self, spec.name)))

    @classmethod
    def specs(cls) -> tuple[ParameterSpec, ...]:
        """What an interface needs to draw the controls."""
        hints = get_type_hints(cls)
        out = []
        for field in dataclasses.fields(cls):
            meta = field.metadata
            kind = "choice" if meta.get("choices") else {int: "int", float: "float", bool: "bool"}[hints[field.name]]
            bounds = (meta.get("low"), meta.get("high"), meta.get("step"))
            out.append(ParameterSpec(field.name, kind, field.default, meta["help"], *bounds, meta.get("choices")))
        return tuple(out)

    @classmethod
    def parse(cls, options: Mapping[str, Any]) -> Self:
        """From option names to values, text or typed.

        Raises:
            UserError: an unknown name or a bad value.
        """
        known = [spec.name for spec in cls.specs()]
        for name in options:
            if name not in known:
                hint = closest(name, known) if known else "it has none."
                raise UserError(f"There is no parameter {name!r}; {hint}")
        return cls(**options)

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


class Parametrised(Protocol):
    """Anything on a list by name that has parameters of its own: an explainer, a metric, a segmenter."""

    @property
    def parameters(self) -> type[Parameters]: ...


Named = TypeVar("Named", bound=Parametrised)


def parse_named(text: str, get: Callable[[str], Named], prefixes: tuple[str, ...] = ()) -> tuple[Named, Parameters]:
    """From the text of an option, such as "insertion:fill=blur".

    Args:
        text: a name, and after a colon what differs from its defaults.
        get: name -> the thing of that name; raises UserError where there is none.
        prefixes: beginnings of names that hold a colon themselves.

    Raises:
        UserError: an unknown name or parameter, one given twice, a bad value, or not of that form.
    """
    name, given = named_options(text, prefixes)
    found = get(name)
    return found, parsed(name, found, given)


def named_options(text: str, prefixes: tuple[str, ...] = ()) -> tuple[str, dict[str, str]]:
    """The name and the options of "name:key=value,key=value", as texts. Arguments as of `parse_named`.

    Raises:
        UserError: not of that form, or an option is given twice.
    """
    prefix = next((prefix for prefix in prefixes if text.strip().startswith(prefix)), "")
    name, _, options = text.strip().removeprefix(prefix).partition(":")
    name = prefix + name.strip()
    given: dict[str, str] = {}
    for part in filter(None, (part.strip() for part in options.split(","))):
        key, equals, value = part.partition("=")
        if not equals:
            raise UserError(f"{part!r} in {text!r} has no value; write {name}:key=value,key=value.")
        if (key := key.strip()) in given:
            raise UserError(f"{name}: {key} is given twice; give it once.")
        given[key] = value.strip()
    return name, given


def parsed(name: str, of: Parametrised, given: Mapping[str, Any]) -> Parameters:
    """Parameters of what has this name.

    Raises:
        UserError: unknown, or a bad value; with the name in front.
    """
    try:
        return of.parameters.parse(given)
    except UserError as error:
        raise UserError(f"{name}: {error}") from error


def separated(texts: Sequence[str]) -> list[str]:
    """Names with parameters from the values of an option, where a comma stands between names and between parameters.

    A part such as "key=value" belongs to the name before it: ["a:x=1,y=2,b", "c"] -> ["a:x=1,y=2", "b", "c"].
    """
    found: list[str] = []
    for text in texts:
        names: list[str] = []
        for part in filter(None, (part.strip() for part in text.split(","))):
            if names and "=" in part and ":" not in part:
                names[-1] += ("," if ":" in names[-1] else ":") + part
            else:
                names.append(part)
        found += names
    return found
