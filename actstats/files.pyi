# Written by .ci/stubs.py: `make export`
from pathlib import Path
from typing import Any

__all__ = ['check_writable', 'write_bytes']

def check_writable(path: Any) -> Path: ...

def write_bytes(path: Any, data: bytes) -> Path: ...
