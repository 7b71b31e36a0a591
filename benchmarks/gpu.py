"""Everything that needs an NVIDIA GPU, checked and measured by one command.

    make gpu                                         # under ten minutes; results go to benchmarks/gpu.json
    make gpu ARGS="backend graphs"                   # some parts; the results of the others stay
    python benchmarks/gpu.py --device cpu --quick    # a rehearsal without a GPU: tiny sizes, results are only printed

Each part runs in a process of its own, with a time limit: those that check side by side, those that measure one after the other. A part
writes what it has found as it goes on, so a failure or a limit costs only the rest of it. A failure is printed and stored with its
traceback, and the next check goes on; the exit status is then 1. Results hold no names of hosts, users or folders.
"""
import __future__
import argparse
import faulthandler
import gc
import io
import json
import math
import os
import platform
import random
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from concurrent.futures import ThreadPoolExecutor
from collections import Counter
from contextlib import contextmanager, nullcontext, redirect_stdout, suppress
from copy import deepcopy
from importlib.metadata import version
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
ALL = 585  # seconds, of all parts together
LIMITS = {'backend': 150, 'chapters': 150, 'graphs: torch.compile': 170, 'memory': 150, 'no_sync': 90, 'graphs: capture': 60, 'fsdp': 75, 'streams': 60,
          'cost: kernels': 30, 'cost: ResNet-50': 45, 'cost: ResNet-50, channels last': 45, 'cost: ViT-B/16': 45, 'cost: GPT, 124 M': 60, 'cost: GPT, 124 M, compiled': 120}
PARTS = ['backend', 'chapters', 'no_sync', 'graphs', 'fsdp', 'streams', 'memory', 'cost']


# ---- results ----

class NeedsGPU(Exception): "This check makes no sense without a GPU"

def needs_gpu(a):
    if a.device != 'cuda': raise NeedsGPU

def scrub(o):
    "`o` for JSON: no folders, no hosts, no numbers that JSON lacks"
    if isinstance(o, dict): return {str(k): scrub(v) for k,v in o.items()}
    if isinstance(o, (list, tuple)): return [scrub(v) for v in o]
    if isinstance(o, float): return o if math.isfinite(o) else str(o)
    if not isinstance(o, str): return o if isinstance(o, (int, bool, type(None))) else scrub(str(o))
    o = o.replace(f'{ROOT}/', '')
    for name,stands in ((str(Path.home()), '~'), (socket.gethostname(), 'HOST')): o = o.replace(name, stands) if len(name) > 3 else o
    return re.sub(r'(?<![\w./])/(?:[^\s/\'":,]+/)+(?=[^\s/\'":,])', lambda m: m[0].partition('-packages/')[2], o)

class Results:
    "What a part has found, written each time there is more"
    def __init__(self, path): self.path, self.found, self.failed = Path(path), {}, {}

    def write(self):
        tmp = self.path.with_suffix('.tmp')
        tmp.write_text(json.dumps(scrub(dict(found=self.found, failed=self.failed))))
        os.replace(tmp, self.path)

    def put(self, key, value, most=400):
        self.found[key] = value
        self.write()
        text = json.dumps(scrub(value))
        print(f'  {key}: {text if len(text) < most else text[:most] + " ..."}', flush=True)

    def fail(self, key, text):
        self.failed[key] = text
        self.write()
        print(f'  {key}: FAILED\n{scrub(text)}', flush=True)

    def attempt(self, key, f, *args):
        "Call `f`, which returns what it has found; `Wrong` says what was found to be wrong. The next attempt goes on whatever happens"
        try: self.put(key, f(*args))
        except NeedsGPU: self.put(key, 'needs a GPU')
        except Wrong as e:
            self.put(key, e.found, 4000)
            self.fail(key, str(e))
        except Exception: self.fail(key, traceback.format_exc())
        gc.collect()

class Wrong(Exception):
    def __init__(self, why, found): super().__init__(why); self.found = found

def right(found:dict, **checks):
    "`found`, if all of these are true"
    bad = [k for k,ok in checks.items() if not ok]
    if bad: raise Wrong(f'not so: {", ".join(bad)}', found)
    return found

def short(v): return float(f'{v:.3g}')


# ---- what parts share; torch is imported where it is used, since the process that starts the parts needs none ----

def sync(device):
    import torch
    if device == 'cuda': torch.cuda.synchronize()

@contextmanager
def noted_errors():
    "The tracebacks of exceptions that a recording notes instead of raising them"
    from actstats.recording import Recording
    note, found = Recording.note, Counter()
    def keep(self, where, what):
        if isinstance(what, Exception): found[f'{where}: ' + ''.join(traceback.format_exception(what))[-2500:]] += 1
        return note(self, where, what)
    Recording.note = keep
    try: yield found
    finally: Recording.note = note

def compare(a, b):
    "How two recordings differ: keys, counts, the largest share of a histogram that lies in other bins, moments relative to the spread"
    import numpy as np
    out = dict(missing=[str(k) for k in {*a.keys()} ^ {*b.keys()}], counts=[], moved=0., moments=0.)
    for k in a.keys():
        if k not in b: continue
        g, h = a[k], b[k]
        if len(g) != len(h) or any(not np.array_equal(getattr(g, c), getattr(h, c)) for c in ('step', 'n_steps', 'n_total', 'n', 'n_nan', 'n_posinf', 'n_neginf', 'units')):
            out['counts'].append(f'{k}: steps {g.step[:4]} and {h.step[:4]}, n {g.n[:4]} and {h.n[:4]}')
            continue
        moved = np.abs(g.hist - h.hist).sum(1)/2/np.maximum(g.hist.sum(1), 1)
        scale = np.maximum(np.maximum(np.abs(g.mean), np.nan_to_num(g.std)), 1e-30)
        gaps = [np.nan_to_num(np.abs(x - y)/scale) for x,y in ((g.mean, h.mean), (g.std, h.std))]
        out['moved'] = max(out['moved'], short(moved.max(initial=0)))
        out['moments'] = max(out['moments'], *(short(o.max(initial=0)) for o in gaps))
    out['counts'] = out['counts'][:5]
    return out

def gap(xs, ys):
    "The largest difference of tensors, relative to the largest value"
    pairs = [(x.detach().double(), y.detach().double()) for x,y in zip(xs, ys, strict=True)]
    return max(short(float((x - y).abs().max()/x.abs().max().clamp(min=1e-30))) for x,y in pairs)

def deterministic():
    import torch
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = torch.backends.cudnn.benchmark = False
    torch.use_deterministic_algorithms(True, warn_only=True)

def mlp(d=64, depth=3):
    from torch import nn
    return nn.Sequential(*[m for _ in range(depth) for m in (nn.Linear(d, d), nn.LayerNorm(d), nn.GELU())], nn.Linear(d, 10))

def trained(model, data, opt=None, watched=None, forward=None, begin=lambda: None):
    "Train `model` on pairs of inputs and targets; its outputs, and the gradients of the last step"
    import torch
    from torch.nn import functional as F
    opt = opt or torch.optim.SGD(model.parameters(), lr=.01)
    outs = []
    with (watched(model, opt) if watched else nullcontext()) as rec:
        for x,y in data:
            begin()
            opt.zero_grad()
            out = (model if forward is None else forward)(x)
            loss = F.cross_entropy(out.float(), y)
            loss.backward()
            opt.step()
            if rec is not None: rec.log(loss=loss)
            outs.append(out.detach().clone())
    return outs, [p.grad.clone() for p in model.parameters()], rec

def batches(n, device, d=64, size=16, seed=0):
    import torch
    g = torch.Generator().manual_seed(seed)
    return [(torch.randn(size, d, generator=g).to(device), torch.randint(10, (size,), generator=g).to(device)) for _ in range(n)]


# ---- backend: Triton's rows beside those of the reference ----

def values(quick):
    import torch
    g = torch.Generator().manual_seed(0)
    def normal(*size): return torch.randn(size, generator=g)
    special = torch.tensor([0., -0., 1e-45, -1e-45, 1e-38, 3e38, -3e38, math.inf, -math.inf, math.nan])
    out = dict(normal=normal(40, 70), special=special[torch.randint(10, (40, 70), generator=g)], whole=torch.randint(400, (40, 70), generator=g).float(),
               relu=normal(40, 70).relu(), far=normal(40, 70) + 1e4, tiny=normal(40, 70)*1e-12, zeros=torch.zeros(40, 70), odd=torch.full((40, 70), math.nan),
               images=normal(2, 3, 40, 5), one=normal(1, 1), scalar=normal(), empty=normal(0, 5))
    return {k: out[k] for k in ('normal', 'special', 'one', 'empty')} if quick else out

LAYOUTS = dict(contiguous=lambda x: x, permuted=lambda x: x.transpose(0, -1), holes=lambda x: x[..., ::2], expanded=lambda x: x[:1].expand(40, *x.shape[1:]),
               unaligned=lambda x: x.flatten()[1:1 + (x.numel() - 1)//10*10].unflatten(0, (-1, 10)), reversed=lambda x: x.flip(0).transpose(0, -1))

def both(x, bins, sample, calls=2, odd_row=False):
    "The largest relative difference of a moment, and what else differs, between the reference and Triton"
    import torch
    from actstats import triton
    from actstats.backends import Reference
    from actstats.rows import INTS, empty_rows, field, std
    dim, found = min(1, x.ndim - 1) if x.ndim else 0, []
    for R in (Reference.Recorder, triton.Recorder):
        row = empty_rows(2, bins=bins, device=x.device)[int(odd_row)]  # an odd number of columns: the second one begins elsewhere
        alive = torch.zeros(x.shape[dim] if x.ndim else 0, dtype=torch.bool, device=x.device)
        recorder = R(row, alive, bins, sample)
        for k in range(calls):
            y = x if k == 0 or x.element_size() == 1 else x*(k + 1)
            recorder(y.float() if R is Reference.Recorder and y.element_size() == 1 else y, dim)  # of float8 the reference knows no extremes
        found.append((row.cpu(), alive.cpu()))
    (a, one), (b, two) = found
    differ = [k for k in (*INTS, 'min', 'max', 'hist') if not torch.equal(field(a, k), field(b, k))] + ([] if torch.equal(one, two) else ['alive'])
    mean, m2 = float(field(a, 'mean')), float(field(a, 'm2'))
    scale = max(abs(mean), float(std(a).nan_to_num()))
    gaps = abs(mean - float(field(b, 'mean')))/scale if scale else 0., abs(float(field(b, 'm2'))/m2 - 1) if m2 else abs(float(field(b, 'm2')))
    return max(gaps), differ

def cases(a):
    import torch
    from actstats.bins import FloatBins, LinearBins
    dtypes = [d for k in ('float32', 'bfloat16', 'float64', 'float16', 'float8_e4m3fn', 'float8_e5m2') if (d := getattr(torch, k, None))]
    bins = dict(default=FloatBins(), small=FloatBins().of('small'), linear=LinearBins(), whole=FloatBins().of('whole'))
    if a.quick: dtypes, bins = [dtypes[0], dtypes[1], dtypes[-1]], {k: bins[k] for k in ('default', 'linear')}
    for dtype in dtypes:
        for bname,b in bins.items():
            for vname,v in values(a.quick).items():
                many = v.ndim > 1 and v.numel() > 100 and (vname in ('normal', 'special', 'images') or not a.quick)
                for lname,lay in LAYOUTS.items() if many and dtype == torch.float32 else [('contiguous', lambda x: x)]:
                    if a.quick and (bname == 'linear' and lname != 'contiguous'): continue
                    for sample in (0, 1000) if many else (0,):
                        x = v.to(dtype).to(a.device)  # CPU first: one rounding for both
                        yield f'{dtype} {bname} {vname} {lname} sample={sample}'.replace('torch.', ''), lay(x), b, sample

def agree(a):
    worst, n, bad, complete = (0., ''), 0, [], True
    for i,(name,x,b,sample) in enumerate(cases(a)):
        try: error, differ = both(x, b, sample, odd_row=name.startswith('float32 default normal'))
        except Exception as e: error, differ = 0., [f'{type(e).__name__}: {e}'[:300]]
        n, worst = n + 1, max(worst, (error, name))
        if differ or not error < 1e-6: bad.append(f'{name}: {differ or error}')
        if time.perf_counter() > a.until - 25: complete = False; break
    return right(dict(cases=n, complete=complete, wrong=len(bad), first=bad[:20], worst=[short(worst[0]), worst[1]]), all_agree=not bad, all_tried=complete)

def ten_million(a):
    import torch
    from actstats import triton
    from actstats.bins import FloatBins, LinearBins
    from actstats.rows import empty_rows
    x, out = torch.randn(2500, 4000 if a.device == 'cuda' else 2, device=a.device), {}
    for dtype in (torch.float32, torch.bfloat16):
        for b in (FloatBins(), LinearBins()):
            for sample in (0, 1000):
                error, differ = both(x.to(dtype), b, sample, calls=1)
                out[f'{dtype} {b} sample={sample}'.replace('torch.', '')] = differ or short(error)
    rows = []
    for _ in range(2):
        row = empty_rows(bins=FloatBins(), device=a.device)
        triton.Recorder(row, torch.zeros(x.shape[1], dtype=torch.bool, device=a.device), FloatBins())(x, 1)
        rows.append(row.cpu())
    out['the same bits twice'] = torch.equal(*rows)
    return right(out, all_agree=all(not isinstance(v, list) and (v is True or v is not False and v < 1e-6) for v in out.values()))

def chosen(a):
    "Does `watch` choose Triton, and does the reference agree between GPU and CPU?"
    import torch
    from actstats.backends import backend
    from actstats.rows import INTS, field
    from actstats.stats import summarise
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter('always')
        found = getattr(backend(a.device), '__name__', '')
    bad = [k for k,v in values(a.quick).items() for f in (*INTS, 'hist') if not torch.equal(field(summarise(v), f), field(summarise(v.to(a.device)).cpu(), f))]
    out = dict(backend=found, warnings=[str(w.message) for w in said if 'actstats' in str(w.message)], reference_differs=bad)
    return right(out, chosen='triton' in found or a.device == 'cpu', reference=not bad)

def in_deterministic_mode(a):
    import torch
    import actstats
    torch.use_deterministic_algorithms(True)
    try:
        with noted_errors() as errors:
            rec = trained(mlp().to(a.device), batches(3, a.device), watched=lambda m, o: actstats.watch(m, o, grads=True))[2]
            with actstats.watch(m64 := mlp().double().to(a.device), optimizer=None) as rec64: m64(batches(1, a.device)[0][0].double())
        return right(dict(steps=len(rec), problems=rec.problems + rec64.problems, errors=list(errors)), no_problems=not (rec.problems or rec64.problems))
    finally: torch.use_deterministic_algorithms(False)

def per_call(f, n=20):
    "Microseconds a call: on the device, and until the call returns"
    import torch
    for _ in range(3): f()
    torch.cuda.synchronize()
    a, b = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    began = time.perf_counter()
    a.record()
    for _ in range(n): f()
    b.record()
    host = time.perf_counter() - began
    torch.cuda.synchronize()
    return dict(us=short(a.elapsed_time(b)*1e3/n), host_us=short(host*1e6/n))

def speed(a):
    needs_gpu(a)
    import torch
    from actstats import triton
    from actstats.bins import FloatBins
    from actstats.rows import empty_rows
    from actstats.tracks import Track
    out, bins = {}, FloatBins()
    for dtype in (torch.float32, torch.bfloat16):
        for n in (2**10, 2**16, 2**20, 2**26):
            x, name = torch.randn(n//64, 64, device='cuda').to(dtype), f'{str(dtype)[6:]}, {n:,} values'
            out[f'{name}, sum'] = per_call(lambda: x.sum())
            for sample in (0, 10_000):
                r = triton.Recorder(empty_rows(bins=bins, device='cuda'), torch.zeros(64, dtype=torch.bool, device='cuda'), bins, sample)
                out[f'{name}, sample={sample}'] = per_call(lambda: r(x, 1))
    for keys in (1, 100):
        t, steps, x = Track(bins, 1024, 'cuda'), count(), torch.randn(4, 64, device='cuda')
        def close():
            t.at(step := next(steps), step)
            for k in range(keys): t.latest[k] = step
        t.at(-1, -1)
        for k in range(keys): t.put(k, x, 1)
        out[f'closing a step of {keys} rows'] = per_call(close)  # with sending and packing pages
    for name in ('_scan', '_merge'):  # how many variants have been compiled
        try: out[f'compiled {name}'] = sum(len(c[0]) for c in getattr(triton, name).device_caches.values())
        except Exception: pass
    return out

def backend_part(r, a):
    r.attempt('chosen', chosen, a)
    r.attempt('ten million values', ten_million, a)
    r.attempt('deterministic mode', in_deterministic_mode, a)
    r.attempt('agreement', agree, a)


# ---- chapters ----

def cells(name):
    "Pairs (id, source) of the code cells that tests run"
    for c in json.loads((ROOT/'nbs'/f'{name}.ipynb').read_text())['cells']:
        source = ''.join(c['source'])
        flags = set(re.findall(r'^#\|\s*(\w+)', source, re.M))
        if c['cell_type'] != 'code' or 'nbdev_export(' in source or flags & {'slow', 'fashion', 'browser'} or re.search(r'^#\|\s*eval:\s*false', source, re.M): continue
        yield c['id'], source

def chapter(name, a, default=None):
    "Run a chapter's cells; `default` is the device on which its tensors are made"
    import torch
    names, bad, n, skipped, light = {'__name__': '__main__'}, {}, 0, 0, a.quick or default is not None
    flags = 0
    os.environ['IN_TEST'] = '1'
    os.chdir(ROOT/'nbs')
    torch.manual_seed(0)
    if default: torch.set_default_device(default)
    try:
        with tempfile.TemporaryDirectory() as folder:
            for k,source in cells(name):
                heavy = re.search(r'subprocess\.run|for how in|both\(|rank|copytree' + '|again and again'*a.quick, source)
                if light and heavy and not re.search(r'^#\|\s*exports?\b', source, re.M):
                    skipped += 1
                    continue
                path = Path(folder, f'{k}.py')  # kernels are compiled from files
                path.write_text(source)
                flags |= ('from __future__ import annotations' in source)*__future__.annotations.compiler_flag
                try:
                    with redirect_stdout(io.StringIO()): exec(compile(source, str(path), 'exec', flags, True), names)
                    n += 1
                except Exception as e:
                    if torch.cuda.is_available(): torch.cuda.set_sync_debug_mode('default')
                    if light and isinstance(e, NameError) and skipped: skipped += 1  # it reads what was left out
                    else: bad[k] = traceback.format_exc()[-2000:]
    finally:
        torch.set_default_device(None)
        os.chdir(ROOT)
    return right(dict(cells=n, left_out=skipped, failed=bad), all_pass=not bad)

def chapters_part(r, a):
    r.attempt('14_triton', chapter, '14_triton', a)
    r.attempt('04n_blackbox', chapter, '04n_blackbox', a)
    if a.device == 'cuda': r.attempt('04n_blackbox, tensors on the GPU', chapter, '04n_blackbox', a, a.device)


# ---- no_sync ----

def language_model(d=64, vocab=96):
    "Attention, a mixture of experts without any data-dependent shape, and a norm"
    import torch
    from torch import nn
    from overhead import Block
    class Mixture(nn.Module):
        def __init__(self):
            super().__init__()
            self.router, self.experts, self.top_k = nn.Linear(d, 4, bias=False), nn.ModuleList(nn.Linear(d, d) for _ in range(4)), 2
        def forward(self, x):
            p = self.router(x).softmax(-1)
            chosen = torch.zeros_like(p).scatter(-1, p.topk(2, -1).indices, 1.)
            return x + sum((p*chosen)[..., i:i+1]*e(x) for i,e in enumerate(self.experts))
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.tok, self.attn, self.moe, self.norm, self.head = nn.Embedding(vocab, d), Block(d, 4), Mixture(), nn.LayerNorm(d), nn.Linear(d, vocab)
        def forward(self, x): return self.head(self.norm(self.moe(self.attn(self.tok(x)))))
    return Model()

def lenses_for(model):
    "The lenses that there are and that suit the model, and why others were left out"
    import actstats
    found, without = [], {}
    for name in ('Attention', 'Experts', 'Outliers'):
        if not hasattr(actstats, name): without[name] = 'not in this version'
        else:
            lens = getattr(actstats, name)
            try:
                watched = actstats.watch(model, lenses=[lens()])
                watched.start()
                watched.stop(tell=False)
                found.append(lens)
            except Exception as e: without[name] = f'{type(e).__name__}: {e}'
    return found, without

def silent(mode, a, watched=True, warm=4):
    "Train with PyTorch's search for synchronisation on: stacks of what it finds, with how often and at which steps"
    import torch
    import actstats
    from torch.nn import functional as F
    torch.manual_seed(0)
    model, found, steps = language_model().to(a.device), {}, 40 if a.quick else 80
    lenses, without = lenses_for(model) if watched else ([], {})
    opt = torch.optim.AdamW(model.parameters(), lr=1e-3)
    x, y, at = torch.randint(96, (4, 32), device=a.device), torch.randint(96, (128,), device=a.device), [0]
    def show(message, *args):
        if 'called a synchronizing' not in str(message): return
        stack = [f'{Path(f.filename).name}:{f.lineno} {f.name}: {f.line}' for f in traceback.extract_stack()[:-1]]
        found.setdefault('\n'.join(stack[-9:]), []).append(at[0])
    old = warnings.showwarning
    way = actstats.watch(model, opt, grads=True, params=True, max_rows=32, recent=16, lenses=[f() for f in lenses]) if watched else nullcontext()
    with noted_errors() as errors, way as rec, warnings.catch_warnings():
        warnings.simplefilter('always')
        warnings.showwarning = show
        try:
            for at[0] in range(steps):
                if at[0] == warm and a.device == 'cuda': torch.cuda.set_sync_debug_mode(mode)
                loss = F.cross_entropy(model(x).flatten(0, 1), y)
                opt.zero_grad()
                loss.backward()
                opt.step()
                if rec is not None: rec.log(loss=loss)
        finally:
            if a.device == 'cuda': torch.cuda.set_sync_debug_mode('default')
            warnings.showwarning = old
    out = dict(waits=[dict(stack=k, times=len(v), steps=v[:6]) for k,v in found.items()], raised=[dict(traceback=k, times=n) for k,n in errors.items()])
    if watched: out |= dict(lenses=[f.__name__ for f in lenses], without=without, rows=len(rec.keys()), steps=len(rec), problems=rec.problems)
    return right(out, none_waits=not found, none_raised=not errors, **(dict(no_problems=not rec.problems, all_steps=len(rec) == steps) if watched else {}))

def no_sync_part(r, a):
    if a.device != 'cuda': r.put('search for synchronisation', 'needs a GPU; here the steps run without it')
    r.attempt('the loop alone', silent, 'warn', a, False)
    r.attempt('watched, places that wait', silent, 'warn', a)
    r.attempt('watched, waiting raises', silent, 'error', a)


# ---- graphs ----

def captured(a, whole, numbered):
    """Three steps, a capture, five replays, two steps: forward and backward passes in a CUDA graph, or (`whole`) the optimizer's step too;
    `numbered`: the loop says which step begins. Rows beside those of the same steps without a graph"""
    needs_gpu(a)
    import numpy as np
    import torch
    import actstats
    from torch.nn import functional as F
    data, warm, last = batches(10, 'cuda'), 3, 8
    def run(watched):
        torch.manual_seed(0)
        model, (x, y) = mlp().cuda(), (o.clone() for o in data[0])
        opt = torch.optim.SGD(model.parameters(), lr=.01)
        w = actstats.watch(model, opt, grads=True) if watched else None
        def at(i):
            if w is not None and numbered: w.at(i)
        def passes(x, y):
            opt.zero_grad(set_to_none=False)
            out = model(x)
            F.cross_entropy(out, y).backward()
            if whole: opt.step()
            return out
        def step(i):
            at(i)
            out = passes(*data[i])
            if not whole: opt.step()
            return out.detach().clone()
        with w or nullcontext() as rec:
            side = torch.cuda.Stream()
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side): outs = [step(i) for i in range(warm)]
            torch.cuda.current_stream().wait_stream(side)
            g = torch.cuda.CUDAGraph()
            with torch.cuda.graph(g): out = passes(x, y)
            for i in range(warm, last):
                x.copy_(data[i][0]), y.copy_(data[i][1])
                at(i)
                g.replay()
                if not whole: opt.step()
                outs.append(out.detach().clone())
            outs += [step(i) for i in range(last, 10)]
        after = torch.cuda.memory_allocated()
        g.replay()   # records nothing: the watch has ended
        torch.cuda.synchronize()
        return outs, rec, torch.cuda.memory_allocated() - after
    with noted_errors() as errors: (plain, *_), (seen, rec, grown) = run(False), run(True)
    torch.manual_seed(0)
    eager = trained(mlp().cuda(), data, watched=lambda m, o: actstats.watch(m, o, grads=True))[2]
    h, e = rec['0'], eager['0']
    steps = [int(s) for s in h.step]
    # without numbers, replays of a whole step are not known as steps, and the first replay of a part comes before its row begins
    expected = list(range(10)) if numbered else [0, 1, 2, 3, 4] if whole else [0, 1, 2, 4, 5, 6, 7, 8, 9]
    of_data = [0, 1, 2, 8, 9] if whole and not numbered else expected
    moved = float(np.abs(h.hist - e.hist[of_data]).sum()/2/e.hist[of_data].sum()) if steps == expected else None
    out = dict(outputs_differ=gap(plain, seen), problems=rec.problems, steps=steps, moved=moved, n=[int(v) for v in h.n], errors=list(errors)[:5])
    noted = any('CUDA graph' in p for p in rec.problems)
    return right(out, same_outputs=out['outputs_differ'] == 0, steps=steps == expected, rows=moved is not None and moved < 1e-3, counts=set(out['n']) == {int(e.n[0])},
                 notes=noted if whole else not rec.problems, grown=grown == 0)

def compiled(mode, a):
    "Outputs, gradients and rows of a compiled model, watched and not"
    import torch
    import actstats
    from torch._dynamo.utils import counters
    kwargs = dict(mode=mode) if a.device == 'cuda' else dict(backend='aot_eager')
    begin = getattr(torch.compiler, 'cudagraph_mark_step_begin', lambda: None) if a.device == 'cuda' else lambda: None
    data = batches(6, a.device)
    def run(watched, compile=True):
        torch.compiler.reset()
        counters.clear()
        torch.manual_seed(0)
        model = mlp(depth=2).to(a.device)
        forward = torch.compile(model, **kwargs) if compile else model
        began = time.perf_counter()
        found = trained(model, data, watched=watched, forward=forward, begin=begin)
        return *found, time.perf_counter() - began, {k: n for k,n in counters['inductor'].items() if 'cudagraph' in k}
    def watched(m, o): return actstats.watch(m, o, grads=True)
    plain, grads, _, seconds, graphs = run(None)
    again = run(None)
    with noted_errors() as errors: seen, seen_grads, rec, more, graphs_seen = run(watched)
    eager = run(watched, compile=False)[2]
    out = dict(repeatable=gap(plain, again[0]) == 0, outputs_differ=gap(plain, seen), gradients_differ=gap(grads, seen_grads), against_eager=compare(eager, rec), steps=len(rec),
               seconds=[short(seconds), short(more)], cudagraphs=dict(bare=graphs, watched=graphs_seen), problems=rec.problems, errors=list(errors)[:5])
    return right(out, outputs=out['outputs_differ'] < 1e-5, gradients=out['gradients_differ'] < 1e-4, keys=not out['against_eager']['missing'], rows=not out['against_eager']['counts'], steps=len(rec) == 6, no_problems=not rec.problems)

def graphs_part(r, a):
    deterministic()
    if a.case in ('', 'capture'):
        for what,whole in (('passes', False), ('whole step', True)):
            for how,numbered in (('', False), (', numbered', True)): r.attempt(f'{what} in a CUDA graph{how}', captured, a, whole, numbered)
    if a.case == 'capture': return
    for mode in ('default', 'reduce-overhead', 'max-autotune-no-cudagraphs') if a.device == 'cuda' else ('default',):
        r.attempt(f'torch.compile, {mode}' if a.device == 'cuda' else 'torch.compile, aot_eager', compiled, mode, a)


# ---- fsdp ----

@contextmanager
def alone(a):
    "A process group of one process"
    import torch.distributed as dist
    try: dist.init_process_group('nccl' if a.device == 'cuda' else 'gloo', store=dist.HashStore(), rank=0, world_size=1)
    except Exception:
        from torch.testing._internal.distributed.fake_pg import FakeStore
        dist.init_process_group('fake', store=FakeStore(), rank=0, world_size=1)
    try: yield dist.get_backend()
    finally: dist.destroy_process_group()

def wrapped(wrap, a):
    "Outputs and rows of a model in a wrapper for many ranks, beside the same model without"
    import torch
    import actstats
    def watched(m, o): return actstats.watch(m, o, grads=True, params=True)
    def run(wrap, watched):
        torch.manual_seed(0)
        model = wrap(mlp().to(a.device))
        outs, grads, rec = trained(model, batches(5, a.device), watched=watched)
        return outs, [g.full_tensor() if hasattr(g, 'full_tensor') else g for g in grads], rec
    with alone(a) as group, noted_errors() as errors:
        outs, grads, rec = run(lambda m: m, watched)
        bare, bare_grads, _ = run(wrap, None)
        seen, seen_grads, wrapped = run(wrap, watched)
        out = dict(group=group, outputs_differ=gap(bare, seen), gradients_differ=gap(bare_grads, seen_grads), from_plain=gap(outs, seen), rows=len(wrapped.keys()),
                   recordings=compare(rec, wrapped), problems=wrapped.problems, errors=list(errors)[:5])
    same = out['recordings']
    return right(out, same_outputs=out['outputs_differ'] == 0, same_gradients=out['gradients_differ'] == 0, keys=not same['missing'], counts=not same['counts'],
                 histograms=same['moved'] <= (1e-3 if out['from_plain'] else 0), moments=same['moments'] < (1e-4 if out['from_plain'] else 1e-6), no_problems=not wrapped.problems)

def sharded(model):
    from torch import nn
    from torch.distributed.fsdp import fully_shard
    for m in model:
        if isinstance(m, nn.Linear): fully_shard(m)
    return fully_shard(model)

def fsdp_part(r, a):
    deterministic()
    def ddp(m):
        from torch.nn.parallel import DistributedDataParallel
        return DistributedDataParallel(m, device_ids=[0] if a.device == 'cuda' else None)
    r.attempt('FSDP2', wrapped, sharded, a)
    r.attempt('DDP', wrapped, ddp, a)


# ---- streams ----

def two_streams(a):
    "Two branches at once, on streams of their own, beside one after the other; the side stream is kept busy, so that an order that is missing shows"
    needs_gpu(a)
    import torch
    import actstats
    from torch import nn
    d = 1024
    class Two(nn.Module):
        def __init__(self, side):
            super().__init__()
            self.a, self.b = (nn.Sequential(nn.Linear(d, d), nn.ReLU(), nn.Linear(d, d), nn.ReLU()) for _ in range(2))
            self.head, self.side, self.busy = nn.Linear(d, 10), side, torch.ones(2048, 2048, device='cuda')
        def forward(self, x):
            if self.side is None: return self.head(self.a(x) + self.b(x))
            here = torch.cuda.current_stream()
            self.side.wait_stream(here)
            with torch.cuda.stream(self.side):
                for _ in range(8): self.busy @ self.busy
                b = self.b(x)
            x.record_stream(self.side)
            a = self.a(x)
            here.wait_stream(self.side)
            b.record_stream(here)
            return self.head(a + b)
    def run(side):
        torch.manual_seed(0)
        return trained(Two(side).cuda(), batches(24, 'cuda', d=d, size=512), watched=lambda m, o: actstats.watch(m, o, grads=True))
    (outs, _, one), (seen, _, two) = run(None), run(torch.cuda.Stream())
    wrong = {}
    for k in one.keys():
        g, h = one[k], two[k]
        bad = [int(s) for i,s in enumerate(g.step) if i >= len(h) or g.n_total[i] != h.n_total[i] or g.hist[i].sum() != h.hist[i].sum()]
        if bad: wrong[str(k)] = bad
    out = dict(outputs_differ=gap(outs, seen), recordings=compare(one, two), steps_with_wrong_counts=wrong, problems=two.problems)
    same = out['recordings']
    return right(out, counts=not (wrong or same['counts'] or same['missing']), histograms=same['moved'] < 1e-3, no_problems=not two.problems)

def black_box(a, what):
    "Is the step known at which something went wrong, and was it told in time? The answers come back while the loop goes on"
    import torch
    import actstats
    torch.manual_seed(0)
    steps, at = (90, 50) if a.quick else (300, 200)
    model, seen = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.ReLU(), torch.nn.Linear(16, 2)).to(a.device), None
    opt = torch.optim.SGD(model.parameters(), lr=.01)
    with actstats.watch(model, opt, max_rows=32, recent=32) as rec:
        for i in range(steps):
            state = {k: v.clone() for k,v in model.state_dict().items()}
            x = torch.randn(16, 8, device=a.device)
            if i == at: x.fill_(math.inf if what == 'not finite' else 300.)
            loss = model(x).square().mean()
            opt.zero_grad()
            loss.backward()
            opt.step()
            if i == at: model.load_state_dict(state)
            rec.log(loss=loss)
            if seen is None and rec.meta.get('moments'): seen = i
    h = rec.recent['0']
    out = dict(moments=rec.meta.get('moments'), noticed_after=None if seen is None else seen - at, problems=rec.problems, rows=len(h),
               nonfinite=[int(s) for s in h.step[h.n_nonfinite > 0]], log=[short(float(v)) for v in rec.recent['loss', 'log'].mean[-2:]])
    return right(out, moment=out['moments'] == [dict(step=at, why=what)], rows_apart=int(h.n_steps.max()) == 1, in_time=seen is not None and seen - at <= 64,
                 the_step_is_kept=out['nonfinite'] == ([at] if what == 'not finite' else []) and at in h.step, no_problems=not rec.problems)

def streams_part(r, a):
    r.attempt('two streams', two_streams, a)
    r.attempt('black box, a value that is not finite', black_box, a, 'not finite')
    r.attempt('black box, a loss that jumps', black_box, a, 'loss')


# ---- memory ----

def memory_part(r, a):
    import numpy as np
    import torch
    import actstats
    from torch.nn import functional as F
    steps, first, each, max_rows = (240, 120, 10, 32) if a.quick else (10_000, 2_000, 100, 1024)
    def allocated(): return torch.cuda.memory_allocated() if a.device == 'cuda' else 0
    def resident(): return int(Path('/proc/self/statm').read_text().split()[1])*os.sysconf('SC_PAGE_SIZE') if Path('/proc/self/statm').exists() else 0
    def run():
        torch.manual_seed(0)
        model = mlp(32, 2).to(a.device)
        opt, (x, y), marks = torch.optim.SGD(model.parameters(), lr=1e-3), batches(1, a.device, d=32)[0], []
        with actstats.watch(model, opt, grads=True, max_rows=max_rows) as rec:
            for i in range(steps):
                loss = F.cross_entropy(model(x), y)
                opt.zero_grad()
                loss.backward()
                opt.step()
                rec.log(loss=loss)
                if i % each == each - 1:
                    marks.append((i + 1, allocated(), rec.nbytes, resident()))
                    if time.perf_counter() > a.until - 10: break
        m = np.array([o for o in marks if o[0] >= first], float)
        def told(j): return dict(first=int(m[0, j]), last=int(m[-1, j]), most=int(m[:, j].max()), bytes_a_step=short(np.polyfit(m[:, 0], m[:, j], 1)[0]))
        out = dict(steps=marks[-1][0], after=first, rows=len(rec.keys()), max_rows=max_rows, device=told(1), nbytes=told(2), resident=told(3), problems=rec.problems)
        if a.device == 'cuda': out['peak'] = torch.cuda.max_memory_allocated()
        return right(out, flat=out['device']['last'] - out['device']['first'] < 2**17, rows_flat=out['nbytes']['most'] < 1.25*out['nbytes']['first'], all_steps=marks[-1][0] == steps,
                     no_problems=not rec.problems)
    r.attempt('many steps', run)


# ---- cost ----

class TooSlow(Exception): pass

def make_resnet(a, batch, last=False):
    import torch
    from torchvision.models import resnet50
    side = 32 if a.quick else 224
    model, x = resnet50().to(a.device), torch.randn(batch, 3, side, side, device=a.device)
    if last: model, x = model.to(memory_format=torch.channels_last), x.to(memory_format=torch.channels_last)
    return model, x, torch.randint(1000, (batch,), device=a.device)

def make_vit(a, batch):
    import torch
    from torchvision.models import VisionTransformer, vit_b_16
    model, side = (VisionTransformer(32, 16, 2, 2, 32, 64), 32) if a.quick else (vit_b_16(), 224)
    return model.to(a.device), torch.randn(batch, 3, side, side, device=a.device), torch.randint(1000, (batch,), device=a.device)

def make_gpt(a, batch):
    import torch
    from overhead import GPT
    vocab, length = (256, 32) if a.quick else (50_257, 1024)
    model = GPT(vocab, 32, 2, 2, length) if a.quick else GPT(vocab, 768, 12, 12, length)
    model.head.weight = model.tok.weight
    torch.nn.init.normal_(model.tok.weight, std=.02)
    x = torch.randint(vocab, (batch, length + 1), device=a.device)
    return model.to(a.device), x[:, :-1], x[:, 1:].flatten()

def stepper(model, opt, x, y, a, forward=None):
    import torch
    from torch.nn import functional as F
    half = torch.bfloat16 if a.device != 'cuda' or torch.cuda.get_device_capability() >= (8, 0) else torch.float16
    def step():
        with torch.autocast(a.device, half): out = (model if forward is None else forward)(x)
        F.cross_entropy(out.float(), y).backward()
        opt.step()
        opt.zero_grad()
    return step

def ours(**kwargs):
    def way(model, opt):
        import actstats
        return actstats.watch(model, opt, **kwargs)
    return way

WAYS = {'exact': ours(params=False), 'sample=10_000': ours(params=False, sample=10_000), 'with gradients and parameters': ours(params=True, grads=True),
        'with gradients and parameters, sample=10_000': ours(params=True, grads=True, sample=10_000)}

def took(step, n, device):
    "Seconds a step: between two events on the GPU, and on the clock of the wall"
    import torch
    sync(device)
    began = time.perf_counter()
    if device == 'cuda': a, b = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    if device == 'cuda': a.record()
    for _ in range(n): step()
    if device == 'cuda': b.record()
    sync(device)
    wall = (time.perf_counter() - began)/n
    return (a.elapsed_time(b)/1e3/n if device == 'cuda' else wall), wall

def warmed(step, model, a):
    "Warm up, and measure: bytes that stay (weights too) and that a step takes on top"
    import torch
    if a.device != 'cuda': return step()
    torch.cuda.synchronize()
    base = torch.cuda.memory_allocated()
    for _ in range(3): step()
    torch.cuda.synchronize()
    stays = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    step()
    torch.cuda.synchronize()
    weights = sum(p.nbytes for p in model.parameters())
    return dict(MB_that_stay=round((weights + stays - base)/2**20, 1), MB_of_a_step=round((torch.cuda.max_memory_allocated() - stays)/2**20, 1))

def quartiles(v): return [round(q, 4) for q in statistics.quantiles(v, n=4)] if len(v) > 1 else [round(o, 4) for o in v*3]

def new_optimizer(model):
    import torch
    return torch.optim.AdamW(model.parameters(), lr=1e-5)

def interleaved(r, key, a, model, x, y):
    "Ratios to the bare step: each way watches a copy of its own, in random order, between two bare measurements"
    from contextlib import ExitStack
    from actstats.hooks import choose_modules
    began, budget, rounds, rng = time.perf_counter(), a.until - time.perf_counter() - 20, 1 if a.quick else 15, random.Random(0)
    opt = new_optimizer(model)
    bare, out = stepper(model, opt, x, y, a), dict(batch=len(x), layers=len(choose_modules(model)))
    out['bare'] = dict(memory=warmed(bare, model, a))
    n = max(1, min(1 if a.quick else 20, math.ceil(.1/took(bare, 2, a.device)[1])))
    with ExitStack() as stack, noted_errors() as errors:
        steps, recs, pairs, bares = {}, {}, {}, []
        for k,way in WAYS.items():
            try:
                copy = deepcopy(model)
                opt_copy = new_optimizer(copy)
                steps[k], recs[k], pairs[k] = stepper(copy, opt_copy, x, y, a), stack.enter_context(way(copy, opt_copy)), ([], [])
                out[k] = dict(memory=warmed(steps[k], copy, a))
            except Exception as e:
                if 'out of memory' not in str(e).lower(): raise
                out[k] = 'out of memory beside the others'
                for d in (steps, recs, pairs): d.pop(k, None)
        before, done = took(bare, n, a.device), 0
        for _ in range(rounds + 1):
            for k in rng.sample(list(steps), len(steps)):
                seen, now = took(steps[k], n, a.device), took(bare, n, a.device)
                if done:
                    for j in (0, 1): pairs[k][j].append(2*seen[j]/(before[j] + now[j]))
                    bares.append(now)
                before = now
            done += 1
            if time.perf_counter() - began > budget: break
        out['bare'] |= dict(event_ms=round(1e3*statistics.median(b[0] for b in bares or [before]), 3), wall_ms=round(1e3*statistics.median(b[1] for b in bares or [before]), 3))
        for k in steps:
            out[k] |= dict(ratio_event=quartiles(pairs[k][0] or [math.nan]), ratio_wall=quartiles(pairs[k][1] or [math.nan]), rows_MB=round(recs[k].nbytes/2**20, 1), rows=len(recs[k].keys()), problems=recs[k].problems)
        out |= dict(rounds=done - 1, steps_each=n, errors=list(errors)[:5])
    r.put(key, out)
    return out

def one_by_one(r, key, a, model, x, y):
    "As `interleaved` for compiled models: starting to watch discards compiled code, so one way comes after the other, and the bare one again at the end"
    import torch
    out, ways = dict(batch=len(x)), {'bare': None, **{k: WAYS[k] for k in ('exact', 'sample=10_000')}, 'bare, again': None}
    kwargs = {} if a.device == 'cuda' else dict(backend='aot_eager')
    for k,way in ways.items():
        if time.perf_counter() > a.until - (30 if a.device == 'cuda' else 3): out[k] = 'no time left'; continue
        torch.compiler.reset()
        copy = deepcopy(model)
        opt, began = new_optimizer(copy), time.perf_counter()
        with (way(copy, opt) if way else nullcontext()) as rec:
            step = stepper(copy, opt, x, y, a, torch.compile(copy, **kwargs))
            out[k] = dict(memory=warmed(step, copy, a), seconds_to_compile=short(time.perf_counter() - began))
            n = max(1, min(1 if a.quick else 20, math.ceil(.2/took(step, 2, a.device)[1])))
            each = [took(step, n, a.device) for _ in range(2 if a.quick else 8)]
        out[k] |= dict(event_ms=quartiles([1e3*e[0] for e in each]), wall_ms=quartiles([1e3*e[1] for e in each]))
        if way: out[k] |= dict(ratio_event=short(out[k]['event_ms'][1]/out['bare']['event_ms'][1]), ratio_wall=short(out[k]['wall_ms'][1]/out['bare']['wall_ms'][1]), problems=rec.problems)
        r.put(key, out)
        del copy, opt, step
        gc.collect()
    return out

@contextmanager
def tensorboard(model, until):
    "add_histogram in a hook of each leaf"
    from torch.utils.tensorboard import SummaryWriter
    from actstats.hooks import choose_modules
    with tempfile.TemporaryDirectory() as folder, SummaryWriter(folder) as w:
        def hook(name, out):
            if time.perf_counter() > until: raise TooSlow
            if hasattr(out, 'detach'): w.add_histogram(name, out.detach().float())
        handles = [m.register_forward_hook(lambda m, args, out, name=name: hook(name, out)) for name,m in choose_modules(model).items()]
        try: yield lambda: None
        finally:
            for h in handles: h.remove()

@contextmanager
def wandb_watch(model, until):
    import wandb
    with tempfile.TemporaryDirectory() as folder:
        run = wandb.init(mode='offline', dir=folder, settings=wandb.Settings(silent=True, console='off', init_timeout=15))
        wandb.watch(model, log='all', log_freq=1)
        try: yield lambda: run.log({'step': 1})
        finally:
            wandb.unwatch(model)
            run.finish(exit_code=0)

def peers(r, key, a, model, x, y):
    "TensorBoard's histograms of outputs, and wandb.watch, which knows no outputs: a few steps each, or part of one"
    opt, out = new_optimizer(model), {}
    step = stepper(model, opt, x, y, a)
    step()
    bare = took(step, 1 if a.quick else 6, a.device)[1]
    for name,way in (('TensorBoard add_histogram', tensorboard), ('wandb.watch (no outputs)', wandb_watch)):
        package = 'tensorboard' if 'Board' in name else 'wandb'
        try: version(package)
        except Exception:
            out[name] = 'not installed'
            continue
        left = a.until - time.perf_counter() - 12
        if left < 3:
            out[name] = 'no time left'
            continue
        began = time.perf_counter()
        try:
            with way(model, began + min(6, left)) as after:
                began, n = time.perf_counter(), 0  # without starting up
                while n < (1 if a.quick else 3) and time.perf_counter() - began < 4:
                    step()
                    after()
                    sync(a.device)
                    n += 1
            out[name] = dict(ratio_wall=short((time.perf_counter() - began)/n/bare), steps=n)
        except TooSlow: out[name] = dict(ratio_wall_more_than=short((time.perf_counter() - began)/(n + 1)/bare), steps='stopped in step %d' % n)
        except Exception as e: out[name] = f'{type(e).__name__}: {e}'
        opt.zero_grad()
        r.put(key, out)
    r.put(key, out)

def cost_part(r, a):
    import torch
    free = torch.cuda.mem_get_info()[0]/2**30 if a.device == 'cuda' else 1
    made = {'ResNet-50': (make_resnet, 64, 20), 'ResNet-50, channels last': (lambda a, b: make_resnet(a, b, True), 64, 20), 'ViT-B/16': (make_vit, 64, 24),
            'GPT, 124 M': (make_gpt, 8, 40), 'GPT, 124 M, compiled': (make_gpt, 8, 40)}
    if a.case in ('', 'kernels'): r.attempt('kernels', speed, a)
    for name in ([a.case] if a.case else made) if a.case != 'kernels' else ():
        make, batch, needs = made[name]
        while batch > 1 and free < needs: batch, needs = batch//2, needs/2
        batch = 2 if a.quick else batch
        for _ in range(4):
            torch.manual_seed(0)
            try:
                model, x, y = make(a, batch)
                if name.endswith('compiled'): one_by_one(r, name, a, model, x, y)
                else:
                    interleaved(r, name, a, model, x, y)
                    peers(r, f'{name}, peers', a, model, x, y)
                break
            except ImportError as e: r.put(name, f'left out: {e}')
            except Exception as e:
                if 'out of memory' not in str(e).lower() or batch < 2: r.fail(name, traceback.format_exc())
                else:
                    batch, model, x, y = batch//2, None, None, None
                    gc.collect()
                    torch.cuda.empty_cache()
                    continue
            break
        model = x = y = None
        gc.collect()
        if a.device == 'cuda': torch.cuda.empty_cache()


# ---- one part, in a process of its own ----

def machine_part(r, a):
    import torch
    def installed(p):
        try: return version(p)
        except Exception: return None
    out = {p: v for p in ('torch', 'triton', 'torchvision', 'numpy', 'numba', 'tensorboard', 'wandb') if (v := installed(p))}
    import actstats
    out |= dict(actstats=actstats.__version__, python=platform.python_version(), system=platform.system(), cores=os.cpu_count(), cuda=torch.version.cuda, cuda_there=torch.cuda.is_available())
    if torch.cuda.is_available():
        p = torch.cuda.get_device_properties(0)
        out |= dict(gpu=p.name, GB=round(p.total_memory/2**30, 1), free_GB=round(torch.cuda.mem_get_info()[0]/2**30, 1), capability=f'{p.major}.{p.minor}', processors=p.multi_processor_count, cudnn=torch.backends.cudnn.version())
    r.put('machine', out)

def child(a):
    faulthandler.dump_traceback_later(max(5, a.seconds - 5))  # where it hangs, if it does
    a.until = time.perf_counter() + a.seconds
    sys.path.insert(0, str(ROOT))
    sys.path.append(str(ROOT/'.bench'))
    r, (part, _, a.case) = Results(a.result), a.unit.partition(': ')
    try: globals()[f'{part}_part'](r, a)
    except Exception: r.fail(part, traceback.format_exc())
    r.found['finished'] = True
    r.write()
    sys.stdout.flush()
    os._exit(0)  # no waiting for threads of others

LIVE = set()  # processes that run

def ended(p):
    "End a process and those that it has started"
    with suppress(ProcessLookupError): os.killpg(p.pid, signal.SIGKILL)
    p.wait()
    LIVE.discard(p)

def run_unit(unit, seconds, a):
    "What the process of a part has found, and what it has printed"
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        result, began = Path(folder, 'found.json'), time.perf_counter()
        paths = filter(None, [str(ROOT), os.environ.get('PYTHONPATH')])
        env = os.environ | dict(WANDB_SILENT='true', WANDB_DIR=folder, PYTHONPATH=os.pathsep.join(paths))
        if not unit.startswith('cost'): env |= dict(CUBLAS_WORKSPACE_CONFIG=':4096:8')  # matrix products that can be repeated
        if a.device == 'cpu': env |= dict(TRITON_INTERPRET='1', CUDA_VISIBLE_DEVICES='')
        args = [sys.executable, '-u', '-W', 'ignore', __file__, '--unit', unit, '--result', str(result), '--seconds', str(seconds), '--device', a.device, *['--quick']*a.quick]
        with open(Path(folder, 'out'), 'w+') as out, open(Path(folder, 'err'), 'w+') as err:
            p = subprocess.Popen(args, env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=err, start_new_session=True)
            LIVE.add(p)
            try: status = p.wait(seconds)
            except subprocess.TimeoutExpired: status = 'limit'
            finally: ended(p)
            for f in (out, err): f.seek(0)
            printed, said = out.read(), err.read()[-3000:]
        found = json.loads(result.read_text()) if result.exists() else dict(found={}, failed={})
    if not found['found'].pop('finished', False):
        why = f'stopped at its limit of {seconds:.0f} s' if status == 'limit' else f'ended with status {status}'
        found['failed']['process'] = scrub(f'{why}; it said:\n{said}')
        printed += f'  {found["failed"]["process"]}\n'
    seconds = round(time.perf_counter() - began, 1)
    print(f'{unit}: {"ok" if not found["failed"] else "FAILED: " + ", ".join(found["failed"])}, {seconds} s\n{printed}', flush=True)
    return dict(seconds=seconds, **found)

def units(a):
    if a.quick and a.device == 'cpu': return [(p, 100) for p in a.parts]  # one process for all costs: torch is loaded once
    return [(u, s) for u,s in LIMITS.items() if u.partition(':')[0] in a.parts]

def main():
    p = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    p.add_argument('parts', nargs='*', metavar='PART', help=f'some of {", ".join(PARTS)}; default: all')
    p.add_argument('--device', choices=('cuda', 'cpu'), default='cuda', help='cpu: a rehearsal, whose results are not kept')
    p.add_argument('--quick', action='store_true', help='tiny sizes; results are not kept')
    p.add_argument('--out', type=Path, default=HERE/'gpu.json')
    for name,kind in (('unit', str), ('result', str), ('seconds', float)): p.add_argument(f'--{name}', type=kind, help=argparse.SUPPRESS)
    a = p.parse_args()
    if a.unit: return child(a)
    if odd := [o for o in a.parts if o not in PARTS]: p.error(f'no part is called {", ".join(odd)}; there are {", ".join(PARTS)}')
    if a.device == 'cpu' and not a.quick: p.error('without a GPU there is only the rehearsal: add --quick')
    began, a.parts = time.perf_counter(), a.parts or PARTS
    machine = run_unit('machine', 120, a)['found'].get('machine', {})
    if a.device == 'cuda' and not machine.get('cuda_there'):
        sys.exit(f'gpu: this PyTorch ({machine.get("torch")}, CUDA {machine.get("cuda")}) finds no NVIDIA GPU; a rehearsal without one: python benchmarks/gpu.py --device cpu --quick')
    def run(unit, limit):
        left = ALL - (time.perf_counter() - began)
        return run_unit(unit, min(limit, left), a) if left > 15 else dict(seconds=0, found={}, failed=dict(process='no time left'))
    found, todo = {k: dict(ok=True, seconds=0, found={}, failed={}) for k in a.parts}, units(a)
    checks, costs = ([u for u in todo if u[0].startswith('cost') is yes] for yes in (False, True))
    try:
        with ThreadPoolExecutor(max(1, min(3, os.cpu_count()//2))) as pool: done = [*pool.map(lambda u: run(*u), checks)]
        done += [run(*u) for u in costs]  # alone, for their times
    except KeyboardInterrupt:
        for p in [*LIVE]: ended(p)
        raise
    for (unit, _), one in zip([*checks, *costs], done, strict=True):
        whole = found[unit.partition(':')[0]]
        whole['seconds'] = round(whole['seconds'] + one['seconds'], 1)
        whole['found'] |= one['found']
        whole['failed'] |= {f'{unit}, {k}' if ':' in unit else k: v for k,v in one['failed'].items()}
        whole['ok'] = not whole['failed']
    kept, result = a.device == 'cuda' and not a.quick, dict(machine={k: v for k,v in machine.items() if k not in ('cuda_there', 'free_GB')})
    before = json.loads(a.out.read_text()) if kept and a.out.exists() else {}
    same = before.get('machine') == result['machine']
    result['parts'] = (before.get('parts', {}) if same else {}) | found
    text = json.dumps(scrub(result), indent=1) + '\n'
    if kept: a.out.write_text(text)
    else: print(text)
    bad = {k: list(v['failed']) for k,v in found.items() if not v['ok']}
    print(f'{time.perf_counter() - began:.0f} s', f'written to benchmarks/{a.out.name}' if kept else 'a rehearsal: nothing is kept', f'failed: {bad}' if bad else 'all as it should be', sep='; ')
    sys.exit(bool(bad))


if __name__ == '__main__': main()
