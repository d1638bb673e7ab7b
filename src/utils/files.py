"""Files that appear whole or not at all, and the folders they go to."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from src.errors import UserError


def writable_folder(path: Path) -> Path:
    """`path`, made if needed; UserError if that is not possible."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"folder {path} cannot be made: {error.strerror}") from None
    return path


def write_text(path: Path, text: str) -> None:
    """Write a text such that at every moment `path` is the whole old file or the whole new one."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.write_text(text, encoding="utf-8")
        os.replace(part, path)
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror}") from None
    finally:
        part.unlink(missing_ok=True)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write JSON atomically, into a folder made if needed; a float that is not finite becomes null."""
    writable_folder(path.parent)
    write_text(path, json.dumps(_finite(content), indent=2, ensure_ascii=False) + "\n")


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, float) and not abs(value) < float("inf"):
        return None
    return value
