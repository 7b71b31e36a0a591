"""Train small models that are healthy, look odd or have a fault; keep the recording of the first hundred batches, and how well it ended.

    python benchmarks/failures/runs.py dev 1200      # the runs that thresholds are set with
    python benchmarks/failures/runs.py test 1200     # the runs that they are judged by
"""
from dataclasses import asdict, dataclass
from pathlib import Path
import json
import math
import os
import sys
import time
import warnings

os.environ.setdefault('OMP_NUM_THREADS', '1')
HERE = Path(__file__).parent
sys.path[:0] = [str(HERE)]

import numpy as np
import torch

import actstats
from faults import CONTROLS, CURES, REGISTRY, Setup, _cut, setup
from tasks import MODELS

STORE = HERE.parent.parent/'.runs'
WATCHED = 100 # batches


@dataclass(frozen=True)
class Config:
    arch:str
    kind:str # healthy, control or fault
    what:str # which control or fault
    severity:float
    seed:int
    cures:tuple = () # pairs: remedy, factor

    @property
    def name(self): return f'{self.seed:06d}' + ''.join(f'+{c}{f:.2g}' for c,f in self.cures)


def prepare(c:Config)->Setup:
    s = setup(c.arch, c.seed)
    s.before, s.freeze = 0, lambda: None
    if c.kind == 'fault': REGISTRY[c.what].f(s, c.severity)
    if c.kind == 'control': CONTROLS[c.what](s)
    for name,factor in c.cures: CURES[name](s, factor)
    return s


def optimizer(s:Setup):
    groups = [dict(params=[p], lr=s.lr*s.scaled_lrs.get(p, 1.)) for p in s.model.parameters() if p.requires_grad and p not in s.left_out]
    if s.spec.opt == 'sgd': return torch.optim.SGD(groups, lr=s.lr, momentum=s.momentum, weight_decay=s.wd)
    return torch.optim.AdamW(groups, lr=s.lr, eps=s.eps, weight_decay=s.wd)


def steps(s:Setup, opt, n:int, rec=None, stop=None):
    "Train; yields the loss of each batch"
    x, y = s.task.train
    rates, half = [g['lr'] for g in opt.param_groups], s.precision is not torch.float32
    for i in range(n):
        for g,lr in zip(opt.param_groups, rates): g['lr'] = lr*s.rate(i)
        k = torch.randint(s.pool, (min(s.batch, s.pool),))
        xb, yb = s.corrupt(s.prep(x[k]), s.prep_y(y[k]))
        if half and xb.is_floating_point(): xb = xb.to(s.precision)
        s.model.train()
        for m in s.eval_modules: m.eval()
        out = s.model(xb)
        loss = s.loss(out.float() if half else out, yb)
        if s.weights is not None: loss = loss*s.weights()
        if i % s.zero_every == 0: opt.zero_grad()
        if loss.requires_grad: (loss*s.scale).backward()
        if s.scale != 1:
            for p in s.model.parameters():
                if p.grad is not None: p.grad /= s.scale
        if s.clip: torch.nn.utils.clip_grad_norm_(s.model.parameters(), s.clip)
        opt.step()
        yield i, loss.detach()


def score(s:Setup)->float:
    "The metric on clean data that was not trained on"
    s.model.float().eval()
    x, y = s.task.valid
    with torch.no_grad(): out = s.model(s.prep(x))
    v = s.task.metric(out, s.prep_y(y)) if out.isfinite().all() else math.nan
    return v if math.isfinite(v) else math.nan


def train(c:Config, grads=False)->tuple: # what came out, and the recording
    s = prepare(c)
    if s.before:
        for _ in steps(s, torch.optim.AdamW(s.model.parameters(), lr=2e-3), s.before): pass
        s.freeze()
    if s.cut: _cut(s, s.cut)
    if s.precision is not torch.float32: s.model.to(s.precision)
    opt, losses, start = optimizer(s), [], time.perf_counter()
    watcher = actstats.watch(s.model, opt, total_steps=s.steps, grads=grads)
    rec = watcher.start()
    for i,loss in steps(s, opt, s.steps):
        losses.append(loss)
        if i < WATCHED: rec.log(loss=loss)
        if i == WATCHED - 1: watcher.stop(tell=False)
    losses = torch.stack(losses).double()
    return dict(**asdict(c), steps=s.steps, metric=score(s), chance=s.task.chance, losses=[round(v, 6) if math.isfinite(v) else None for v in losses.tolist()], seconds=time.perf_counter() - start), rec


def draw(seed:int, held_out:bool)->Config:
    "A run at random; `held_out`: also of the architectures and faults that are kept apart"
    rng = np.random.default_rng([seed, 7])
    arch = str(rng.choice([k for k,m in MODELS.items() if held_out or not m.held_out]))
    u = rng.random()
    if u < .12: return Config(arch, 'healthy', '', 0., seed)
    if u < .35: return Config(arch, 'control', str(rng.choice(list(CONTROLS))), 0., seed)
    s = setup(arch, seed)
    what = str(rng.choice([k for k,f in REGISTRY.items() if (held_out or not f.held_out) and f.applies(s)]))
    return Config(arch, 'fault', what, float(rng.random()), seed)


def keep(c:Config, folder:str)->dict:
    "Train, unless that has been done, and store; what came out"
    torch.set_num_threads(1)
    warnings.simplefilter('ignore')
    path = STORE/folder/c.name
    if path.with_suffix('.json').exists(): return json.loads(path.with_suffix('.json').read_text())
    path.parent.mkdir(parents=True, exist_ok=True)
    res, rec = train(c)
    if rec is not None and folder != 'cured': rec.save(path.with_suffix('.actstats'))
    path.with_suffix('.json').write_text(json.dumps(res))
    return res


SETS = dict(dev=(0, False), test=(500_000, True))

def configs(which:str, n:int)->list:
    base, held_out = SETS[which]
    return [draw(base + i, held_out) for i in range(n)]

def several(cs:list, folder:str, jobs:int=-1)->list:
    from joblib import Parallel, delayed
    return Parallel(n_jobs=jobs, verbose=0, batch_size=4)(delayed(keep)(c, folder) for c in cs)


if __name__ == '__main__':
    which, n = sys.argv[1], int(sys.argv[2])
    start = time.time()
    several(configs(which, n), which)
    print(f'{n} runs in {time.time() - start:.0f} s')
