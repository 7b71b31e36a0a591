__version__ = "0.1.0"

from actstats.stats import FloatBins, LinearBins
from actstats.hooks import Hook, Hooks
from actstats.recording import Recording
from actstats.watching import watch
import actstats.files
import actstats.report  # and with it plots and diagnosis: they give a recording its pictures and words, and load matplotlib when it is used

__all__ = ['watch', 'Recording', 'Hook', 'Hooks', 'FloatBins', 'LinearBins']
