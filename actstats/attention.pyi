# Written by .ci/stubs.py: `make export`
from typing import Any

__all__ = ['MASKED', 'PIECE', 'attention_modules', 'Attention']
MASKED: float
PIECE: Any

def attention_modules(model: Any) -> dict: ...

class Attention:
    modules: Any
    every: Any
    heads: bool
    queries: Any
    def __init__(self, modules: Any=None, every: int=1, queries: int | None=64, heads: bool=False) -> None: ...
    def attach(self, w: Any) -> list: ...
