"Export the modules and their stubs, run notebooks from top to bottom, store what their cells put out, and clean."
import os
import subprocess
import sys
import time
from pathlib import Path

os.environ.setdefault('OMP_NUM_THREADS', '1')  # before torch is loaded: repeatable, and no waiting for a core that is busy

from execnb.shell import CaptureShell
from fastcore.xtras import working_directory
from nbdev.clean import nbdev_clean
from nbdev.doclinks import nbdev_export

root = Path(__file__).resolve().parents[1]


def skip(cell): return '#| eval: false' in cell.source or 'nbdev_export()' in cell.source


def execute(path):
    began, shell = time.time(), CaptureShell(path, mpl_format='png')
    with working_directory(path.parent):
        try: shell.execute(path.name, path.name, exc_stop=True, preproc=skip)
        except Exception: sys.exit(shell.prettytb(fname=path))
    if 'joblib' in sys.modules:  # its workers would outlive this process
        from joblib.externals.loky import get_reusable_executor
        get_reusable_executor().shutdown(wait=True)
    print(f'{path.name}: {time.time() - began:.0f} s', flush=True)


if __name__ == '__main__':
    if 'ACTSTATS_DATA' in os.environ: os.environ['ACTSTATS_DATA'] = str(Path(os.environ['ACTSTATS_DATA']).resolve())
    os.chdir(root)
    nbdev_export.__wrapped__()
    subprocess.run([sys.executable, str(root/'.ci/stubs.py')], check=True)
    for p in sys.argv[1:] or sorted(map(str, (root/'nbs').glob('*.ipynb'))):
        pid = os.fork()  # each notebook in a process of its own
        if not pid: execute(Path(p).resolve()), os._exit(0)
        if os.waitpid(pid, 0)[1]: sys.exit(f'{p} failed')
    nbdev_clean.__wrapped__()
