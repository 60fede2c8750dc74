"""A hook of MkDocs: one page of the API a package of `core`, so that no list of modules has to be kept."""

from __future__ import annotations

from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
LEFT_OUT = "demo"  # renders the demo; nobody builds on it


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add `api/PACKAGE.md`, with all modules of the package that are not private."""
    folders = sorted({path.parent for path in (ROOT / "core").rglob("*.py")})
    for folder in folders:
        package = ".".join(folder.relative_to(ROOT).parts)
        modules = [f"{package}.{path.stem}" for path in sorted(folder.glob("[!_]*.py"))]
        if modules and LEFT_OUT not in folder.parts:
            content = "\n\n".join([f"# {package}", *(f"::: {module}" for module in modules)])
            files.append(File.generated(config, f"api/{package}.md", content=content))
    return files
