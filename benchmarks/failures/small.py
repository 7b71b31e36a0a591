"""The origin "small": sixteen small networks on digits, sequences and two regressions; healthy, odd or with one of 35 faults."""
import math
import time

import numpy as np
import torch

import actstats
from small_faults import CONTROLS, CURES, REGISTRY, Setup, _cut, setup
from small_tasks import MODELS
from store import WATCHED, Config, asdict


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


def draw(seed:int)->Config:
    "A run at random"
    rng = np.random.default_rng([seed, 7])
    arch = str(rng.choice(list(MODELS)))
    u = rng.random()
    if u < .15: return Config(arch, 'healthy', '', 0., seed)
    if u < .38: return Config(arch, 'control', str(rng.choice(list(CONTROLS))), 0., seed)
    s = setup(arch, seed)
    what = str(rng.choice([k for k,f in REGISTRY.items() if f.applies(s)]))
    return Config(arch, 'fault', what, float(rng.random()), seed)


def right(c:Config)->tuple:
    "What somebody would do who knew the fault: remedy and factor"
    known = dict(lr_too_high=10**(.3 + 3.2*c.severity), lr_too_low=10**(.3 + 4.7*c.severity), lr_decays_too_soon=1., momentum=100., epsilon=1000., clipped_to_nothing=10**(.5 + 4.5*c.severity))
    return REGISTRY[c.what].cure, known.get(c.what, 10.)
