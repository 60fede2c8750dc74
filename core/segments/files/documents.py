"""JSON and XML from elsewhere, distrusted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NoReturn
from xml.etree import ElementTree
from xml.parsers import expat

from core.errors import UserError


def read_json(path: Path) -> Any:
    """What a JSON file holds.

    Raises:
        UserError: it cannot be read, is cut off, nested beyond measure or not in UTF-8.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise _unreadable(path, error) from error
    except RecursionError as error:
        raise UserError(f"{path} is nested too deeply for an annotation file; export it again.") from error
    except ValueError as error:
        raise UserError(f"{path} is no whole JSON file ({error}); export it again.") from error


def read_xml(path: Path) -> ElementTree.Element:
    """The root of an XML file. Entities are never expanded: a file that declares any is refused.

    Raises:
        UserError: it cannot be read, is cut off, in an unknown encoding or has a document type declaration.
    """
    builder = ElementTree.TreeBuilder()
    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = lambda *_: _refuse(path)
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.data
    try:
        parser.Parse(path.read_bytes(), True)
        return builder.close()
    except OSError as error:
        raise _unreadable(path, error) from error
    except UserError:
        raise
    except (expat.ExpatError, ValueError, LookupError) as error:  # the last two: encodings that expat does not know
        raise UserError(f"{path} is no whole XML file ({error}); export it again, in UTF-8.") from error


def _refuse(path: Path) -> NoReturn:
    raise UserError(f"{path} declares a document type, which annotation files have no need of; remove the declaration.")


def _unreadable(path: Path, error: OSError) -> UserError:
    if isinstance(error, FileNotFoundError):
        return UserError(f"There is no file {path}; check the path.")
    return UserError(f"{path} cannot be read ({error.strerror}); check its permissions.")
