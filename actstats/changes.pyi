# Written by .ci/stubs.py: `make export`
from dataclasses import dataclass
from torch import Tensor
from typing import Any

__all__ = ['Change', 'Changes']

@dataclass
class Change:
    before: Tensor | None
    graded: bool
    who: object

class Changes:
    places: dict
    put: Any
    note: Any
    sample: int
    open: dict[Any, Any]
    def __init__(self, places: dict, put: Any, note: Any, sample: int=0) -> None: ...
    def begin(self, names: Any, grads: bool=True, who: Any=None, scale: Tensor | None=None) -> None: ...
    def finish(self, who: Any=None, idle: bool=True) -> None: ...
