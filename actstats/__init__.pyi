# Written by .ci/stubs.py: `make export`
from .attention import Attention
from .bins import FloatBins, LinearBins
from .experts import Experts
from .hooks import Hook, Hooks
from .outliers import Outliers
from .recording import Recording
from .watching import watch

__version__: str
__all__ = ['watch', 'Recording', 'Hook', 'Hooks', 'FloatBins', 'LinearBins', 'Attention', 'Experts', 'Outliers']
