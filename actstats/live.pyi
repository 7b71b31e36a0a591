# Written by .ci/stubs.py: `make export`
from .recording import Recording
from collections.abc import Iterator
from typing import Any

__all__ = ['FindingTable', 'TerminalView', 'NotebookView', 'Live']

class FindingTable:
    findings: list
    def __init__(self, findings: Any) -> None: ...
    def __rich_console__(self, console: Any, options: Any) -> Iterator[Any]: ...

class TerminalView:
    most: int
    console: Any
    live: Any
    newest: Any
    def __init__(self, most: int=16, console: Any=None) -> None: ...
    def __call__(self, rec: Recording, done: bool) -> Any: ...
    def close(self) -> None: ...
    def page(self, rec: Recording, done: bool) -> Any: ...

class NotebookView:
    most: int
    handle: Any
    newest: Any
    def __init__(self, most: int=16) -> None: ...
    def __call__(self, rec: Recording, done: bool) -> None: ...
    def page(self, rec: Recording, done: bool) -> str: ...

class Live:
    rec: Recording
    view: Any
    seconds: float
    steps: int
    share: float
    due: Any
    last: Any
    took: float
    drawn: int
    def __init__(self, rec: Recording, view: Any, seconds: float=2.0, steps: int=1, share: float=0.05) -> None: ...
    def __call__(self, begins: Any) -> Any: ...
    def draw(self, done: bool=False) -> None: ...
