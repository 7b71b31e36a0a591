# Written by .ci/stubs.py: `make export`
from typing import Any

__all__ = ['peaks', 'Outliers']
peaks: Any

class Outliers:
    modules: Any
    every: Any
    times: float
    def __init__(self, modules: Any=None, every: int=10, times: float=6.0) -> None: ...
    def attach(self, w: Any) -> list: ...
