"""Where runs are kept: one JSON with how a run ended, one recording of its first hundred batches.

    python benchmarks/failures/store.py ORIGIN 400       # train 400 runs of an origin, unless that has been done
    python benchmarks/failures/store.py ORIGIN 60 -late  # and 60 of those whose faults begin late

An origin is a module of this folder with `draw`, `train` and `right`, and maybe `draw_late` and `train_late`. Origins share nothing but this file.
"""
from dataclasses import asdict, dataclass, replace
from importlib import import_module
from pathlib import Path
import json
import os
import sys
import time
import warnings

os.environ.setdefault('OMP_NUM_THREADS', '1')  # before torch is loaded
HERE = Path(__file__).parent
STORE = HERE.parent.parent/'.runs'
WATCHED = 100 # batches
if str(HERE) not in sys.path: sys.path.insert(0, str(HERE))


@dataclass(frozen=True)
class Config:
    "A run before it is trained: all else follows from the seed"
    arch:str # a task with a network
    kind:str # healthy, control (healthy and odd to look at) or fault
    what:str # which control or fault
    severity:float # 0, mostly harmless, to 1, mostly fatal
    seed:int
    cures:tuple = () # pairs: remedy, factor

    @property
    def name(self): return f'{self.seed:06d}' + ''.join(f'+{c}{f:.2g}' for c,f in self.cures)

    def cured(self, remedy:str, factor:float)->'Config': return replace(self, cures=((remedy, round(factor, 2)),))


def origin(name:str):
    "The module of an origin"
    return import_module(name.removesuffix('-late'))

def keep(c:Config, folder:str)->dict|None:
    "Train, unless that has been done, and store; what came out, or None if it raised. Runs with cures are kept without recordings"
    import torch
    torch.set_num_threads(1)
    warnings.simplefilter('ignore')
    where = STORE/folder/'cured' if c.cures else STORE/folder
    told = where/f'{c.name}.json'
    if told.exists(): return json.loads(told.read_text())
    where.mkdir(parents=True, exist_ok=True)
    module = origin(folder)
    try: res, rec = (module.train_late if folder.endswith('-late') else module.train)(c)
    except Exception as e:
        print(f'{folder} {c}: {type(e).__name__}: {e}', file=sys.stderr, flush=True)
        return
    if rec is not None and not c.cures: rec.save(where/f'{c.name}.actstats')
    told.write_text(json.dumps(res))
    return res

def several(cs:list, folder:str, jobs:int=-1)->list:
    from joblib import Parallel, delayed
    return Parallel(n_jobs=jobs, verbose=0, batch_size=2)(delayed(keep)(c, folder) for c in cs)

def configs(folder:str, n:int, first:int=0)->list:
    module = origin(folder)
    draw = module.draw_late if folder.endswith('-late') else module.draw
    return [draw(first + i) for i in range(n)]


if __name__ == '__main__':
    folder, n = sys.argv[1] + ('-late' if '-late' in sys.argv else ''), int(sys.argv[2])
    first = int(sys.argv[3]) if len(sys.argv) > 3 and sys.argv[3].isdigit() else 0
    start = time.time()
    several(configs(folder, n, first), folder)
    print(f'{folder}: {n} runs in {time.time() - start:.0f} s')
