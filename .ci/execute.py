"Export the modules and their stubs, run notebooks from top to bottom, store what their cells put out, and clean."
import os
import subprocess
import sys
import time
from pathlib import Path

os.environ.setdefault('OMP_NUM_THREADS', '1')  # before torch is loaded: repeatable, and no waiting for a core that is busy

from nbdev.clean import nbdev_clean
from nbdev.doclinks import nbdev_export

import cells
import frameworks

root = frameworks.root


def apart(path):
    "In .frameworks, which is built if it is not there"
    if not frameworks.there(): subprocess.run(['make', '-s', f'{frameworks.folder}/.installed'], cwd=root, check=True)
    with frameworks.environment() as env: return subprocess.run([frameworks.python, root/'.ci/cells.py', path, '--store'], env=env).returncode


def here(path):
    "In a process of its own, which has loaded the tools already"
    pid = os.fork()
    if not pid:
        if error := cells.run(path, store=True): print(error, file=sys.stderr, flush=True)
        os._exit(bool(error))
    return os.waitpid(pid, 0)[1]


if __name__ == '__main__':
    if 'ACTSTATS_DATA' in os.environ: os.environ['ACTSTATS_DATA'] = str(Path(os.environ['ACTSTATS_DATA']).resolve())
    os.chdir(root)
    nbdev_export.__wrapped__()
    subprocess.run([sys.executable, str(root/'.ci/stubs.py')], check=True)
    for p in map(Path, sys.argv[1:] or sorted((root/'nbs').glob('*.ipynb'))):
        began = time.time()
        if (apart if frameworks.needed(p) else here)(p.resolve()): sys.exit(f'{p} failed')
        print(f'{p.name}: {time.time() - began:.0f} s', flush=True)
    nbdev_clean.__wrapped__()
