"""Run the cells of a notebook in its folder, as nbdev_test does; or all that can be run, and store what they put out.

On execnb alone, which works with either version of fastcore, as nbdev does not. Newer versions of execnb run cells in a
thread of its own, where no signal can be handled: there frameworks are not what they are elsewhere.
"""
import argparse
import os
import re
import sys
import time
from itertools import takewhile
from pathlib import Path

os.environ.setdefault('OMP_NUM_THREADS', '1')  # before torch is loaded: repeatable, and no waiting for a core that is busy

from execnb.nbio import read_nb, write_nb
from execnb.shell import CaptureShell

import frameworks

FLAGS = {*frameworks.cfg['tst_flags'].split()}  # cells that are left out unless they are asked for


def directives(source):
    "The `#|` lines that a cell begins with: the first word of each, and the rest"
    lines = takewhile(lambda l: not l.strip() or l.startswith('#|'), source.splitlines())
    return {k.rstrip(':'): rest.strip() for l in lines if l.strip() for k, _, rest in [l[2:].strip().partition(' ')]}


def left_out(cell, flags):
    found = directives(cell.source)
    return 'nbdev_export(' in cell.source or found.get('eval', '').lower() == 'false' or bool((FLAGS - flags) & found.keys())


def tables(nb): return [[''.join(o.data['text/markdown']) for o in c.get('outputs', ()) if 'text/markdown' in o.get('data', ())] for c in nb.cells]


def run(path, flags=FLAGS, store=False, same=False):
    "Run until the first error, and return it as text; with `same`, also the first Markdown that is not what is stored"
    os.chdir(path.parent)
    shell, nb = CaptureShell(path, mpl_format='png'), read_nb(path)
    stored = tables(nb)
    try: shell.run_all(nb, exc_stop=True, preproc=lambda cell: left_out(cell, {*flags}))
    except BaseException:
        if not shell.exc: raise
        return shell.prettytb(fname=path)
    finally: end_workers()
    if store: write_nb(nb, path)
    if same: return first_difference(stored, tables(nb))


def first_difference(old, new):
    for i, (a, b) in enumerate(zip(old, new)):
        if a == b: continue
        lines = [l for l in '\n'.join(b).splitlines() if l not in '\n'.join(a).splitlines()]
        return f'cell {i} gives what is not stored: {(lines or ["less"])[0][:200]}'


def end_workers():
    "Those of joblib would outlive this process"
    if 'joblib' not in sys.modules: return
    from joblib.externals.loky import get_reusable_executor
    get_reusable_executor().shutdown(wait=True)


if __name__ == '__main__':
    a = argparse.ArgumentParser()
    a.add_argument('path', type=lambda p: Path(p).resolve())
    a.add_argument('--flags', default='', help='flagged cells to run too')
    a.add_argument('--store', action='store_true', help='run all cells and store what they put out')
    a.add_argument('--same', action='store_true', help='is the Markdown that cells put out what is stored?')
    a = a.parse_args()
    if not a.store: os.environ['IN_TEST'] = '1'
    sys.path.insert(0, str(frameworks.root))
    sys.exit(run(a.path, FLAGS if a.store or a.same else a.flags.split(), a.store, a.same))
