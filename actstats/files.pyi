# Written by .ci/stubs.py: `make export`
from .recording import Recording
from pathlib import Path
from typing import Any

__all__ = ['check_writable', 'write_bytes', 'is_folder', 'file_of_rank']

def check_writable(path: Any) -> Path: ...

def write_bytes(path: Any, data: bytes) -> Path: ...

def is_folder(path: Any) -> bool: ...

def file_of_rank(rec: Recording, folder: Any) -> Path: ...
