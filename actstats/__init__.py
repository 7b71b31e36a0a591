__version__ = "0.1.0"

from actstats.bins import FloatBins, LinearBins
from actstats.hooks import Hook, Hooks
from actstats.recording import Recording
from actstats.watching import watch
import actstats.files, actstats.twins, actstats.live, actstats.report  # they give a recording its files, pictures, words and views; what those need is loaded when they are used

__all__ = ['watch', 'Recording', 'Hook', 'Hooks', 'FloatBins', 'LinearBins']
