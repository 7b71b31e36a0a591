# Written by .ci/stubs.py: `make export`
from .internals import Unsaved
from torch import Tensor
from typing import Any

__all__ = ['GradTap', 'ViewTap', 'BaseTap', 'hook_grad']

class GradTap(Unsaved):
    owner: Any
    what: tuple[Any, ...]
    def __init__(self, owner: Any, *what: Any) -> None: ...
    def __call__(self, g: Any, part: Any=None) -> None: ...

class ViewTap(GradTap):
    like: Any
    version: int
    shape: Any
    strides: Any
    offset: Any
    base_shape: Any
    base_strides: Any
    def __init__(self, x: Any, base: Any, *args: Any) -> None: ...
    def changed(self) -> bool: ...
    def __call__(self, g: Any) -> None: ...
    def part(self, g: Any) -> Any: ...

class BaseTap(Unsaved):
    view: ViewTap
    def __init__(self, view: ViewTap) -> None: ...
    def __call__(self, g: Any) -> None: ...

def hook_grad(x: Tensor, owner: Any, *what: Any) -> None: ...
