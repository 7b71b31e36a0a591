# Written by .ci/stubs.py: `make export`
from .changes import Changes
from typing import Any

__all__ = ['Steps']

class Steps:
    paused: bool
    step: Any
    first: Any
    stepped: dict[Any, Any]
    idle: bool
    numbered: bool
    counting: bool
    met: Any
    changes: Changes
    hooks: Any
    @property
    def others_stepped(self) -> bool: ...
    def before_step(self, grads: bool=True) -> None: ...
    def after_step(self) -> None: ...
    def skipped(self) -> None: ...
    def at(self, step: int) -> None: ...
