# Written by .ci/stubs.py: `make export`
from .activations import WatchCB
from typing import Any

__all__ = ['AbandonCB']

class AbandonCB(WatchCB):
    def __init__(self, above: float=0.8, **kwargs: Any) -> None: ...
    @property
    def diagnosis(self) -> Any: ...
