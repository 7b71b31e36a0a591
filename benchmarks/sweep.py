"""Does `watch` work on models that others wrote, and does it change nothing? Models of torchvision, timm and transformers.

    make sweep          # installs the libraries into .bench/ and runs this

Of torchvision all models, of timm the smallest of each kind of name, of transformers all types whose models a small configuration builds.
Each model, with random weights and in training mode, makes one forward and one backward pass twice, from copies of one state: bare, and
watched. Everything must be the same to the last bit: outputs, loss, gradients, parameters, buffers, random states. What must have been
recorded is known from the bare run, without a hook: there, `Module.__call__` itself is wrapped. No network is used, and no data.
Results go to benchmarks/sweep.json, where those of other models stay; the exit status is 1 if fewer than 99 % of the models pass.
"""
import argparse
import gc
import hashlib
import io
import json
import os
import random
import re
import signal
import sys
import time
import warnings
from collections import Counter
from collections.abc import Mapping
from contextlib import contextmanager, redirect_stdout
from copy import deepcopy
from dataclasses import fields, is_dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

os.environ.setdefault('OMP_NUM_THREADS', '1')
os.environ.update(HF_HUB_OFFLINE='1', TRANSFORMERS_VERBOSITY='error')
HERE = Path(__file__).parent
sys.path.append(str(HERE.parent/'.bench'))  # behind everything: what is installed wins

import numpy as np
import torch
from torch import nn

import actstats
from sweep_models import CASES

NO_FLOAT = 'its output holds neither floating-point nor whole numbers'


# ---- what is the same, and what was called ----

def tensors(x):
    "All tensors in what a model gives, depth first"
    if isinstance(x, torch.Tensor): return [x]
    if isinstance(x, Mapping): x = x.values()
    elif is_dataclass(x): x = [getattr(x, f.name) for f in fields(x)]
    elif not isinstance(x, (tuple, list)): return []
    return [t for v in x for t in tensors(v)]

def floats(x): return [t for t in tensors(x) if t.is_floating_point()]

def digest(x):
    "Of the bits of a tensor; one NaN is as good as another"
    if not isinstance(x, torch.Tensor): return repr(x)
    x = x.detach().to_dense()
    if x.is_floating_point(): x = x.masked_fill(x.isnan(), torch.nan)
    bits = x.resolve_conj().resolve_neg().contiguous().flatten().view(torch.uint8)
    return f'{x.dtype} {tuple(x.shape)} {hashlib.sha1(bits.numpy()).hexdigest()}'

def random_states():
    return {'random state of torch': torch.get_rng_state(), 'random state of numpy': str(np.random.get_state(legacy=False)), 'random state of python': random.getstate()}

def set_seed(seed):
    for f in (random.seed, np.random.seed, torch.manual_seed): f(seed)

def leaves(model):
    "Names and modules without children, each once; attention counts as one, and what reparametrizes a weight does not count"
    res, inside = {}, set()
    for name,m in model.named_modules():
        if m in inside: continue
        if isinstance(m, nn.MultiheadAttention) or not set(dict(m.named_children())) - {'parametrizations'}:
            res[name] = m
            inside.update(set(m.modules()) - {m})
    return res

@contextmanager
def counting(model):
    "Counts without a hook: how many values each leaf has given, which ones gave something without any, and which nothing"
    names, original = {m:k for k,m in leaves(model).items()}, nn.Module.__call__
    calls = dict(values=Counter(), without=set(), never=set(names.values()))
    def call(self, *args, **kwargs):
        out = original(self, *args, **kwargs)
        if self in names: count(names[self], floats(out))
        return out
    def count(name, xs):
        calls['never'].discard(name)
        if xs: calls['values'][name] += xs[0].numel()
        else: calls['without'].add(name)
    nn.Module.__call__ = call
    try: yield calls
    finally: nn.Module.__call__ = original

def hooks(model):
    "What hangs on the modules and parameters of `model`, and on all modules"
    everywhere = {k:dict(v) for k,v in vars(nn.modules.module).items() if k.startswith('_global_') and isinstance(v, dict)}
    on_modules = {f'{name}.{k}': dict(v) for name,m in model.named_modules() for k,v in vars(m).items() if 'hook' in k and isinstance(v, dict)}
    on_parameters = {f'{k}._backward_hooks': dict(p._backward_hooks or {}) for k,p in model.named_parameters()}
    return {k:v for k,v in (everywhere | on_modules | on_parameters).items() if v}


# ---- one model ----

class TooLong(BaseException): "Not an Exception: no model catches it"

@contextmanager
def time_limit(seconds):
    def stop(*args): raise TooLong(f'took more than {seconds:g} seconds')
    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try: yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)

def loss_of(out):
    "The model's own loss, or losses, if it gives any"
    if isinstance(out, Mapping) and isinstance(out.get('loss'), torch.Tensor): return out['loss']
    if isinstance(out, dict) and all(isinstance(x, torch.Tensor) and x.ndim == 0 for x in out.values()): return sum(out.values())
    return sum(x.float().square().mean() for x in floats(out) if x.requires_grad)

def step(start, observe, seconds):
    "A training step of a copy of `start`: digests of all there is after it, what `observe` saw, warnings"
    with time_limit(seconds), warnings.catch_warnings(record=True) as told:
        warnings.simplefilter('always')
        model, args, kwargs = deepcopy(start)
        before = hooks(model)
        set_seed(1)
        with observe(model) as seen:
            out = model(*args, **kwargs)
            loss = loss_of(out)
            loss.backward()
        after = {'loss': loss, **{f'output {i}': x for i,x in enumerate(tensors(out))}, **random_states(), **{f'buffer {k}': x for k,x in model.named_buffers()}}
        for k,p in model.named_parameters(): after |= {f'parameter {k}': p, f'gradient of {k}': p.grad}
        return {k:digest(v) for k,v in after.items()}, seen, {str(w.message) for w in told}, different(before, hooks(model))

def different(a, b): return sorted(k for k in a.keys() | b.keys() if a.get(k) != b.get(k))

def few(names): return ', '.join(map(repr, sorted(names)[:3])) + (f' and {len(names) - 3} more' if len(names) > 3 else '')

def faults(rec, calls, warned, left):
    "What is wrong with the recording `rec`, given the calls of the bare run; warnings that came only when watched; hooks that are not as before"
    values = {k:int(rec[k].n_total.sum()) for k in rec.layers}
    problems = {p.split(': ')[0] for p in rec.problems if NO_FLOAT in p}
    odd = [f'{name} {kind}' for name,kind in rec for h in [rec[name, kind]] if (h.hist.sum(1) != h.n + h.n_posinf + h.n_neginf).any()]
    found = {'missing': calls['values'].keys() - values.keys(), 'recorded, but not called': values.keys() - calls['values'].keys(),
             'other number of values': {k for k in values.keys() & calls['values'].keys() if values[k] != calls['values'][k]},
             'other ones never called': calls['never'] ^ set(rec.never_called), 'not told': calls['without'] - problems, 'told in vain': problems - calls['without'],
             'problems': [p for p in rec.problems if NO_FLOAT not in p], 'histogram without its values': odd,
             'warned': [w for w in warned if not (rec.problems and w.startswith('actstats: not everything was recorded'))], 'other hooks than before': left}
    return [f'{k}: {few(v)}' for k,v in found.items() if v]

def compare(start, bare, seconds):
    "Does a watched step do what the bare one did? (ok, reason, recording); ok is None if the model does not even do what it did itself"
    digests, calls, told, _ = bare
    watched, rec, told_watched, left = step(start, partial(actstats.watch, grads=True), seconds)
    wrong = faults(rec, calls, told_watched - told, left)
    if diff := different(digests, watched):
        again = step(start, counting, seconds)[0]  # a model may keep something outside of itself from its first call on
        if again != digests and again != watched: return None, f'not deterministic by itself: {few(different(digests, again))}', rec
        if again != watched: wrong.insert(0, f'differs: {few(diff)}')
    return not wrong, '; '.join(wrong), rec

def started(way, seconds):
    "A model in training mode with its inputs, and the bare step that shows that it runs"
    with time_limit(seconds), warnings.catch_warnings(), redirect_stdout(io.StringIO()):  # what others have to say while they build
        warnings.simplefilter('ignore')
        set_seed(0)
        model, *inputs = way()
    start = model.train(), *inputs
    return start, step(start, counting, seconds)

def said(e): return f'{type(e).__name__}: {" ".join(str(e).split())[:200]}'

def try_out(case, seconds):
    "The entry of a model in the results"
    res = dict(library=case.library, version=version(case.library), family=case.family, model=case.model, ok=None, reason='', layers=0, never_called=0, values=0)
    why = []
    for way in case.ways:
        try: start, bare = started(way, seconds)
        except (Exception, TooLong) as e:
            why.append(said(e))
            if isinstance(e, TooLong): break
            continue
        try: ok, reason, rec = compare(start, bare, seconds)
        except (Exception, TooLong) as e: return res | dict(ok=False, reason=f'raised when watched: {said(e)}')
        return res | dict(ok=ok, reason=reason, layers=len(rec.layers), never_called=len(rec.never_called), values=int(sum(rec[k].n_total.sum() for k in rec.layers)))
    return res | dict(reason='could not be run: ' + ' | '.join(dict.fromkeys(why)))


# ---- the sweep ----

def limit_memory(share=.8):
    "A model that is too large is to raise, and not to end the sweep"
    import resource
    total = int(share*os.sysconf('SC_PAGE_SIZE')*os.sysconf('SC_PHYS_PAGES'))
    resource.setrlimit(resource.RLIMIT_DATA, (total, resource.getrlimit(resource.RLIMIT_DATA)[1]))

def verdict(r): return 'ok' if r['ok'] else 'FAILED' if r['ok'] is False else 'not deterministic' if r['layers'] else 'not run'

def available(library):
    try: return bool(version(library))
    except PackageNotFoundError: return False

def sweep(args):
    "Try the chosen cases one after the other"
    for library in [args.only] if args.only else CASES:
        if not available(library):
            print(f'not installed, left out: {library}')
            continue
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            cases = [c for c in CASES[library]() if re.search(args.match, f'{c.library}/{c.family}/{c.model}')]
        for case in cases[:args.limit]:
            began = time.perf_counter()
            res = try_out(case, args.seconds_per_model)
            gc.collect()
            print(f'{verdict(res):17} {case.library}/{case.family}/{case.model}: {res["layers"]} layers, {time.perf_counter() - began:.1f} s{". " * bool(res["reason"])}{res["reason"]}', flush=True)
            yield res

def table(results):
    "Prints how many were what, a row for each library; returns the share of passes"
    kinds = 'ok', 'FAILED', 'not deterministic', 'not run'
    print(f'\n{"":14}{"".join(f"{k:>19}" for k in kinds)}{"families":>10}{"layers":>10}')
    for library in [*CASES, 'all']:
        rs = [r for r in results if library in (r['library'], 'all')]
        n = Counter(map(verdict, rs))
        ran = [r for r in rs if r['layers']]
        print(f'{library:14}{"".join(f"{n[k]:19}" for k in kinds)}{len({(r["library"], r["family"]) for r in ran}):10}{sum(r["layers"] for r in ran):10,}')
    return n['ok'] / max(1, n['ok'] + n['FAILED'])

def write(results, path):
    "What was not run again stays, if the versions are the same"
    key, order, new = lambda r: (r['library'], r['family'], r['model']), list(CASES).index, {}
    new['versions'] = {k:version(k) for k in ('actstats', 'torch', 'numpy', *(k for k in CASES if available(k)))}
    new['models'] = [r for r in results if verdict(r) != 'not run']
    new['not_run'] = [{k:r[k] for k in ('library', 'family', 'model', 'reason')} for r in results if verdict(r) == 'not run']
    before, again = json.loads(path.read_text()) if path.exists() else {}, set(map(key, results))
    if before.get('versions') == new['versions']:
        for k in ('models', 'not_run'): new[k] = sorted([r for r in before[k] if key(r) not in again] + new[k], key=lambda r: (order(r['library']), key(r)))
    lines = lambda rs: '[\n' + ',\n'.join(map(json.dumps, rs)) + '\n]'  # a model a line, so that differences can be read
    path.write_text(f'{{"versions": {json.dumps(new["versions"])},\n"models": {lines(new["models"])},\n"not_run": {lines(new["not_run"])}}}\n')

def main():
    p = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    p.add_argument('--only', choices=list(CASES))
    p.add_argument('--match', default='', help='a regular expression on library/family/model')
    p.add_argument('--limit', type=int, help='at most so many models of each library')
    p.add_argument('--out', type=Path, default=HERE/'sweep.json')
    p.add_argument('--seconds-per-model', type=float, default=120, help='for each of its steps')
    args = p.parse_args()
    torch.set_num_threads(1)
    limit_memory()
    results = list(sweep(args))
    share = table(results)
    write(results, args.out)
    sys.exit(share < .99)


if __name__ == '__main__': main()
