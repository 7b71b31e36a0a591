"""What it costs to watch: the time of a training step with and without, for actstats and for its peers, side by side.

    make bench          # installs the peers into .bench/ and runs this

Everything runs in one process, interleaved: each watched step stands between two bare ones, and its time is divided by theirs
at once, so that a machine that is slow for a while is slow for all. Medians of many rounds. Peers see the same leaf modules,
at every step; wandb.watch, which knows no activations, logs its histograms of gradients and parameters.
Results go to benchmarks/overhead.json, which the chapter on costs reads; a run of some parts replaces these.
"""
import argparse
import json
import os
import platform
import random
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from copy import deepcopy
from importlib.metadata import version
from pathlib import Path

os.environ.setdefault('OMP_NUM_THREADS', '1')
HERE = Path(__file__).parent
sys.path.append(str(HERE.parent/'.bench'))  # behind everything: what is installed wins

import torch
import torch.nn.functional as F
from torch import nn

import actstats
from actstats.hooks import choose_modules


# ---- models ----

class Block(nn.Module):
    "A block of a GPT, pre-norm"
    def __init__(self, d, heads):
        super().__init__()
        self.heads = heads
        self.ln1, self.qkv, self.out = nn.LayerNorm(d), nn.Linear(d, 3*d), nn.Linear(d, d)
        self.ln2, self.up, self.act, self.down = nn.LayerNorm(d), nn.Linear(d, 4*d), nn.GELU(), nn.Linear(4*d, d)

    def forward(self, x):
        q, k, v = (o.unflatten(-1, (self.heads, -1)).transpose(1, 2) for o in self.qkv(self.ln1(x)).chunk(3, -1))
        x = x + self.out(F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2))
        return x + self.down(self.act(self.up(self.ln2(x))))


class GPT(nn.Module):
    def __init__(self, vocab=256, d=256, layers=4, heads=4, length=256):
        super().__init__()
        self.tok, self.pos = nn.Embedding(vocab, d), nn.Embedding(length, d)
        self.blocks, self.ln, self.head = nn.Sequential(*[Block(d, heads) for _ in range(layers)]), nn.LayerNorm(d), nn.Linear(d, vocab)

    def forward(self, x): return self.head(self.ln(self.blocks(self.tok(x) + self.pos.weight[:x.shape[1]]))).flatten(0, 1)


def cnn():
    from actstats.activations import CNN
    return CNN(), torch.randn(1024, 1, 28, 28), torch.randint(10, (1024,))

def resnet():
    from torchvision.models import resnet18
    return resnet18(), torch.randn(16, 3, 112, 112), torch.randint(1000, (16,))

def gpt():
    x = torch.randint(256, (8, 257))
    return GPT(), x[:, :-1], x[:, 1:].flatten()

MODELS = {'CNN, batch 1024': cnn, 'ResNet-18, 16x3x112x112': resnet, 'GPT, 4 layers, width 256, 8x256': gpt}


# ---- ways of watching: each attaches to the leaf modules and gives what is to be called after a step ----

@contextmanager
def bare(model): yield lambda: None

def ours(**kwargs):
    @contextmanager
    def way(model):
        with actstats.watch(model, **kwargs): yield lambda: None
    return way

@contextmanager
def fastai(model):
    from fastai.callback.hook import ActivationStats, Hooks
    cb, stored = ActivationStats(with_hist=True), []
    hooks = Hooks(list(choose_modules(model).values()), cb.hook, cb.is_forward, cb.detach, cb.cpu)
    try: yield lambda: stored.append(hooks.stored)
    finally: hooks.remove()

@contextmanager
def lists(model):
    "What the lessons of miniai and SlowAI keep of each layer: mean, standard deviation, 40 bins of the absolute value"
    def hook(m, args, out):
        x = out.detach().cpu()
        stats[m].append((x.mean(), x.std(), x.abs().histc(40, 0, 10)))
    stats = {m:[] for m in choose_modules(model).values()}
    handles = [m.register_forward_hook(hook) for m in stats]
    try: yield lambda: None
    finally:
        for h in handles: h.remove()

@contextmanager
def tensorboard(model):
    from torch.utils.tensorboard import SummaryWriter
    with tempfile.TemporaryDirectory() as folder, SummaryWriter(folder) as w:
        step = [0]
        handles = [m.register_forward_hook(lambda m, args, out, name=name: w.add_histogram(name, out.detach(), step[0])) for name,m in choose_modules(model).items()]
        def after(): step[0] += 1
        try: yield after
        finally:
            for h in handles: h.remove()

@contextmanager
def wandb_watch(model):
    import wandb
    with tempfile.TemporaryDirectory() as folder:
        run = wandb.init(mode='offline', dir=folder, settings=wandb.Settings(silent=True, console='off'))
        wandb.watch(model, log='all', log_freq=1)
        try: yield lambda: run.log({'step': 1})
        finally:
            wandb.unwatch(model)
            run.finish()

WAYS = {'actstats': ours(), 'actstats, sample=16384': ours(sample=16384), 'lists (miniai, SlowAI)': lists, 'fastai ActivationStats': fastai,
        'TensorBoard': tensorboard, 'wandb.watch (no activations)': wandb_watch}


# ---- measuring ----

def available(ways):
    "Those whose package is installed"
    need = {'fastai ActivationStats': 'fastai', 'TensorBoard': 'tensorboard', 'wandb.watch (no activations)': 'wandb'}
    def there(name):
        try: return bool(version(need[name])) if name in need else True
        except Exception: return print(f'not installed, left out: {name}') or False
    return {k:f for k,f in ways.items() if there(k)}

def timed(f):
    c, w = time.process_time(), time.perf_counter()
    f()
    return time.process_time() - c, time.perf_counter() - w

def quartiles(v): return [round(q, 6) for q in statistics.quantiles(v, n=4)] if len(v) > 1 else v*3

def compare(step_of, model, ways, rounds):
    "Ratios to the bare step, in CPU and wall-clock time: quartiles over `rounds`. Each way watches a copy of its own, in random order, and its steps stand between two bare ones"
    bare_step, pairs, bare_s, rng = step_of(model), {k:([], []) for k in ways}, [], random.Random(0)
    with ExitStack() as stack:
        steps = {}
        for k,way in ways.items():
            copy = deepcopy(model)
            step, after = step_of(copy), stack.enter_context(way(copy))
            steps[k] = lambda step=step, after=after: (step(), after())
        before = timed(bare_step)
        for r in range(rounds + 2):  # the first two warm up
            for k,step in rng.sample(list(steps.items()), len(steps)):
                watched, now = timed(step), timed(bare_step)
                if r > 1:
                    for j in (0, 1): pairs[k][j].append(2*watched[j] / (before[j] + now[j]))
                    bare_s.append(now[0])
                before = now
    return dict(bare_s=round(statistics.median(bare_s), 6), cpu={k:quartiles(v[0]) for k,v in pairs.items()}, wall={k:quartiles(v[1]) for k,v in pairs.items()})

def training_step(model, x, y):
    model.train()
    opt = torch.optim.SGD(model.parameters(), lr=1e-3)
    def step():
        F.cross_entropy(model(x), y).backward()
        opt.step()
        opt.zero_grad()
    return step

def per_layer(layers, n, ways, rounds, warm=100, seconds=.5):
    "Microseconds a layer a step, CPU time, of watching `layers` modules that put out `n` values each and do nothing: medians of `rounds`"
    model, x, res, rng = nn.Sequential(*[nn.Identity() for _ in range(layers)]), torch.randn(n//8, 8), {k:[] for k in ways}, random.Random(0)
    for _ in range(rounds):
        for k,way in rng.sample(list(ways.items()), len(ways)):
            with way(model) as after:
                def step(): model(x), after()
                once = timed(step)[1]
                for _ in range(min(warm, int(seconds/once))): step()
                steps = max(1, min(1000, int(seconds/once)))
                watched = timed(lambda: [step() for _ in range(steps)])[0]
            res[k].append((watched - timed(lambda: [model(x) for _ in range(steps)])[0]) / steps / layers * 1e6)
    return {k:round(statistics.median(v), 3) for k,v in res.items()}

def machine():
    cpu = next((l.split(':')[1].strip() for l in Path('/proc/cpuinfo').read_text().splitlines() if l.startswith('model name')), '') if Path('/proc/cpuinfo').exists() else platform.processor()
    vs = {p:version(p) for p in ('torch', 'numpy', 'numba', 'fastai', 'tensorboard', 'wandb') if _has(p)}
    return dict(cpu=cpu, cores=os.cpu_count(), system=platform.system(), python=platform.python_version(), **vs)

def _has(p):
    try: return bool(version(p))
    except Exception: return False

def main():
    p = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    p.add_argument('--rounds', type=int, default=30)
    p.add_argument('--threads', type=int, nargs='*', default=[1, 2])
    p.add_argument('--models', nargs='*', choices=list(MODELS), default=list(MODELS))
    p.add_argument('--ways', nargs='*', default=list(WAYS))
    p.add_argument('--size-rounds', type=int, default=5)
    p.add_argument('--no-sizes', action='store_true', help='leave out cost against size')
    p.add_argument('--out', type=Path, default=HERE/'overhead.json')
    args = p.parse_args()
    ways, out = available({k:f for k,f in WAYS.items() if k in args.ways}), dict(machine=machine(), rounds=args.rounds, models={})
    before = json.loads(args.out.read_text()) if args.out.exists() else {}
    if before.get('machine') == out['machine']: out = before  # what is not measured again stays
    for threads in args.threads:
        torch.set_num_threads(threads)
        for name in args.models:
            torch.manual_seed(0)
            model, x, y = MODELS[name]()
            res = compare(lambda m: training_step(m, x, y), model, ways, args.rounds*(3 if name.startswith('CNN') else 1))
            res['layers'] = len(choose_modules(model))
            out['models'][f'{name}, {threads} thread{"s" * (threads > 1)}'] = res
            print(f'\n{name}, {threads} thread(s): bare step {res["bare_s"]*1e3:.0f} ms, {res["layers"]} leaf modules', flush=True)
            for k in ways: print(f'  {k:30} CPU {res["cpu"][k][1]:.3f} ({res["cpu"][k][0]:.3f} to {res["cpu"][k][2]:.3f})   wall {res["wall"][k][1]:.3f}', flush=True)
    if not args.no_sizes:
        torch.set_num_threads(1)
        some = {k:f for k,f in ways.items() if not k.startswith('wandb')}
        for what,sizes in (('by_size', [(4, n) for n in (64, 4096, 2**18, 2**24)]), ('by_layers', [(layers, 64) for layers in (1, 10, 100, 1000)])):
            print(f'\n{what}, microseconds a layer a step')
            out[what] = []
            for layers,n in sizes:
                out[what].append(dict(layers=layers, n=n, us=per_layer(layers, n, some, args.size_rounds)))
                print(f'  {layers:,} layers of {n:,} values', {k:round(t, 2) for k,t in out[what][-1]['us'].items()}, flush=True)
    args.out.write_text(json.dumps(out, indent=1) + '\n')


if __name__ == '__main__': main()
