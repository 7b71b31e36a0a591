# Written by .ci/stubs.py: `make export`
from .diagnosis import Diagnosis
from .recording import Recording
from collections.abc import Iterator
from typing import Any

__all__ = ['loss_lines', 'verdict_lines', 'LossLines', 'page', 'SideBySide']

def loss_lines(rec: Recording, d: Diagnosis, width: int=48) -> list: ...

def verdict_lines(rec: Recording, d: Diagnosis) -> list: ...

class LossLines:
    rec: Recording
    d: Diagnosis
    def __init__(self, rec: Recording, d: Diagnosis) -> None: ...
    def __rich_console__(self, console: Any, options: Any) -> Iterator[Any]: ...

def page(rec: Recording, d: Diagnosis | None=None, most: int=16) -> list: ...

class SideBySide:
    names: list
    losses: list[Any]
    lines: list[Any]
    def __init__(self, runs: dict, more: dict | None=None) -> None: ...
    def curves(self, width: int) -> list: ...
    def __rich_console__(self, console: Any, options: Any) -> Iterator[Any]: ...
