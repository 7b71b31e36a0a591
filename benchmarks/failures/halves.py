"""Trainings in half precision, of which some lose their updates to rounding, each beside its twin in float32.

    python benchmarks/failures/store.py halves 160     # draw, train, store
    python benchmarks/failures/halves.py               # a trial: what each rate does in float32, nothing stored

Six small tasks, four optimizers, rates from usual ones down to a three-hundredth (in longer runs). The twin of a run shares its seed and thus its weights, its batches,
its rates; it is trained in float32 alone. A run is harmed if its score relative to the twin's is below .9.
"""
from dataclasses import asdict, dataclass, field
from functools import lru_cache, partial
from pathlib import Path
import math
import os
import time

os.environ.setdefault('OMP_NUM_THREADS', '1')  # before torch is loaded

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

import actstats
from store import WATCHED, Config

BF16, FP16 = torch.bfloat16, torch.float16
OPTIMIZERS = 'sgd', 'momentum', 'adamw', 'rmsprop'


# ---- tasks: data, networks, usual rates ----

@dataclass(frozen=True)
class Task:
    x:torch.Tensor
    y:torch.Tensor
    held:tuple # x, y
    net:object # a function that builds the network
    rates:tuple # usual ones, as in OPTIMIZERS
    chance:float
    batch:int
    steps:tuple = (200, 301)
    slow:float = 1. # how far rates can go down, in decades relative to other tasks: float32 still learns
    patience:float = 1. # how many times as many batches low rates may take

def _parted(x, y, held:int):
    i = torch.from_numpy(np.random.default_rng(3).permutation(len(x)))
    return x[i[held:]], y[i[held:]], (x[i[:held]], y[i[:held]])

def numerals():
    from sklearn.datasets import load_digits
    d = load_digits()
    x, y = torch.tensor(d.data).float(), torch.tensor(d.target)
    net = lambda: nn.Sequential(nn.Linear(64, 96), nn.ReLU(), nn.Linear(96, 96), nn.ReLU(), nn.Linear(96, 10))
    return Task(*_parted((x - x.mean())/x.std(), y, 450), net, (.15, .03, 2e-3, 1e-3), .1, 48, patience=3.)

def _clothes(n:int, held:int):
    "The first pictures of Fashion-MNIST, and labels: from the folder ACTSTATS_DATA, or from the hub"
    if 'ACTSTATS_DATA' not in os.environ:
        from actstats.datasets import fashion_mnist
        s = fashion_mnist().splits['train']
        x, y = s.x[:n, 0].float(), torch.as_tensor(s.y[:n])
    else:
        import pyarrow.parquet as pq
        from io import BytesIO
        from PIL import Image
        file = sorted((Path(os.environ['ACTSTATS_DATA'])/'fashion_mnist').glob('train*.parquet'))[0]
        rows = next(pq.ParquetFile(file).iter_batches(n)).to_pylist()
        pixels = [np.array(Image.open(BytesIO(r['image']['bytes']))) for r in rows]
        x, y = torch.from_numpy(np.stack(pixels)).float(), torch.tensor([r['label'] for r in rows])
    return _parted(((x - x.mean())/x.std())[:, None], y, held)

class Residual(nn.Module):
    "x plus what a layer makes of it, normalised first"
    def __init__(self, n:int, k:int=2):
        super().__init__()
        self.norm, self.up, self.act, self.down = nn.LayerNorm(n), nn.Linear(n, k*n), nn.GELU(), nn.Linear(k*n, n)
    def forward(self, x): return x + self.down(self.act(self.up(self.norm(x))))

@lru_cache
def _pixels(): return _clothes(4000, 600)

def clothes():
    net = lambda: nn.Sequential(nn.Conv2d(1, 12, 3, 2, 1), nn.ReLU(), nn.Conv2d(12, 24, 3, 2, 1), nn.ReLU(), nn.Conv2d(24, 32, 3, 2, 1), nn.ReLU(),
                                nn.Flatten(), nn.Linear(512, 10))
    return Task(*_pixels(), net, (.15, .03, 3e-3, 1e-3), .1, 32, (180, 261), .7)

def patches():
    "The same pictures at half the size, through blocks that add up"
    x, y, (hx, hy) = _pixels()
    small = lambda x: F.avg_pool2d(x, 2).flatten(1)
    net = lambda: nn.Sequential(nn.Linear(196, 64), Residual(64), Residual(64), nn.LayerNorm(64), nn.Linear(64, 10))
    return Task(small(x), y, (small(hx), hy), net, (.03, .01, 2e-3, 5e-4), .1, 48, patience=2.5)

class Attend(nn.Module):
    "Causal attention with two heads"
    def __init__(self, n:int):
        super().__init__()
        self.norm, self.qkv, self.out = nn.LayerNorm(n), nn.Linear(n, 3*n), nn.Linear(n, n)
    def forward(self, x):
        b, t, n = x.shape
        q, k, v = self.qkv(self.norm(x)).view(b, t, 3, 2, n//2).permute(2, 0, 3, 1, 4)
        a = (q@k.mT)*(n//2)**-.5
        a = a.masked_fill(torch.ones(t, t, dtype=torch.bool).triu(1), -1e4).softmax(-1)
        return x + self.out((a@v).transpose(1, 2).reshape(b, t, n))

class Characters(nn.Module):
    def __init__(self, many:int, length:int, n:int=32):
        super().__init__()
        self.emb, self.pos = nn.Embedding(many, n), nn.Parameter(.1*torch.randn(length, n))
        self.blocks, self.norm, self.head = nn.Sequential(Attend(n), Residual(n), Attend(n), Residual(n)), nn.LayerNorm(n), nn.Linear(n, many)
    def forward(self, x): return self.head(self.norm(self.blocks(self.emb(x) + self.pos)))

def source(length=24):
    "Python's own source: each character, and the one that follows it"
    text = ''.join((Path(os.__file__).parent/f'{n}.py').read_text() for n in ('argparse', 'ast', 'inspect', 'typing', 'doctest'))
    x = torch.tensor(list(text.encode())).clamp(max=127).unfold(0, length + 1, length)
    x, y, held = _parted(x[:, :-1], x[:, 1:], 250)
    often = torch.distributions.Categorical(held[1].flatten().bincount().double())
    return Task(x, y, held, lambda: Characters(128, length), (.3, .1, 3e-3, 2e-3), -often.entropy().item(), 16, (180, 241), .45)

class Listener(nn.Module):
    def __init__(self, many:int, n_out:int, n:int=32):
        super().__init__()
        self.emb, self.rnn, self.head = nn.Embedding(many, 16), nn.GRU(16, n, batch_first=True), nn.Linear(n, n_out)
    def forward(self, x): return self.head(self.rnn(self.emb(x))[0].mean(1))

def chains():
    "Which of five Markov chains has made these sixteen symbols?"
    g = torch.Generator().manual_seed(11)
    tables, y = (1.3*torch.randn(5, 8, 8, generator=g)).softmax(-1), torch.randint(5, (4000,), generator=g)
    s = [torch.randint(8, (4000,), generator=g)]
    for _ in range(15): s.append(torch.multinomial(tables[y, s[-1]], 1, generator=g)[:, 0])
    return Task(*_parted(torch.stack(s, 1), y, 800), lambda: Listener(8, 5), (.8, .2, 6e-3, 3e-3), .2, 48, (180, 241), .6)

def hills():
    "A smooth surface over six numbers, with noise"
    g = torch.Generator().manual_seed(12)
    x = torch.randn(5000, 6, generator=g)
    y = torch.sin(2*x[:, 0]) + .7*x[:, 1]*x[:, 2] + .5*x[:, 3].square() + .8*x[:, 4]
    y = (y - y.mean())/y.std() + .15*torch.randn(5000, generator=g)
    net = lambda: nn.Sequential(nn.Linear(6, 64), nn.SiLU(), nn.Linear(64, 64), nn.SiLU(), nn.Linear(64, 64), nn.SiLU(), nn.Linear(64, 1))
    return Task(*_parted(x, y[:, None], 1000), net, (.2, .05, 4e-3, 2e-3), 0., 64, (220, 321), .9, 3.)

ARCHS = dict(numerals=numerals, clothes=clothes, patches=patches, source=source, chains=chains, hills=hills)

@lru_cache
def task(arch:str)->Task: return ARCHS[arch]()

def loss_of(out, y): return F.mse_loss(out, y) if y.is_floating_point() else F.cross_entropy(out.flatten(0, -2), y.flatten())

def metric(arch:str, out, y)->float:
    "Share that is right, minus the nats a character, or the share of the variance that is explained: larger is better"
    if not out.isfinite().all(): return math.nan
    if arch == 'source': return -loss_of(out.double(), y).item()
    if arch == 'hills': return 1 - F.mse_loss(out, y).item()/y.var(unbiased=False).item()
    return (out.argmax(-1) == y).double().mean().item()


# ---- a run, before it is trained ----

@dataclass
class Setup:
    arch:str
    seed:int
    opt:str
    lr:float
    steps:int
    batch:int
    rate:object # factor of the rate at step i
    rng:object = field(repr=False)
    dtype:torch.dtype = torch.float32 # of the weights
    body:bool = False # is the last layer in float32?
    autocast:bool = False
    keeps:str = '' # what the optimizer keeps beside weights in 16 bits: '', 'master', 'stochastic' or 'kahan'
    slower:float = 1. # the rate of weights is that much too small for their size
    before:int = 0 # batches of another task, which come first, in float32
    clip:float = 0.

def _gen(seed:int): return torch.Generator().manual_seed(seed)

SHAPES = dict(constant=lambda s, i: 1., cosine=lambda s, i: .02 + .49*(1 + math.cos(math.pi*i/s.steps)), warm=lambda s, i: min(1, (i + 1)/30))

def setup(arch:str, seed:int)->Setup:
    t, rng = task(arch), np.random.default_rng([seed, 20])
    opt, shape = int(rng.integers(4)), str(rng.choice(['constant', 'constant', 'cosine', 'warm']))
    lr, steps = t.rates[opt]*float(rng.choice([.7, 1., 1.4])), int(rng.integers(*t.steps))
    s = Setup(arch, seed, OPTIMIZERS[opt], lr, steps, t.batch, None, rng)
    s.rate = partial(SHAPES[shape], s)
    return s

class WideLinear(nn.Linear):
    "A layer with weights `wide` times as large, and an output divided by that"
    def forward(self, x):
        out = F.linear(x, self.weight)/self.wide
        return out if self.bias is None else out + self.bias

class WideConv2d(nn.Conv2d):
    def forward(self, x): return self._conv_forward(x, self.weight, None)/self.wide + self.bias[:, None, None]

def widen(model, k:float):
    for m in model.modules():
        if type(m) not in (nn.Linear, nn.Conv2d): continue
        m.__class__, m.wide = (WideLinear if isinstance(m, nn.Linear) else WideConv2d), k
        with torch.no_grad(): m.weight.mul_(k)

def head(model): return [m for m in model.modules() if isinstance(m, nn.Linear)][-1]

class Halved(nn.Module):
    "A network in 16 bits, or all of it but its last layer: numbers are converted on their way in"
    def __init__(self, net, dtype, body:bool=False):
        super().__init__()
        self.net, self.dtype = net.to(dtype), dtype
        if body: head(net).float().register_forward_pre_hook(lambda m, a: (a[0].float(),))
    def forward(self, x): return self.net(x.to(self.dtype) if x.is_floating_point() else x).float()

def built(s:Setup):
    torch.manual_seed(s.seed)
    model = task(s.arch).net()
    if s.before:
        opt = optimizer(s, model.parameters(), 'adamw', task(s.arch).rates[2])
        for _ in batches(s, model, opt, s.before, _gen(s.seed + 10**6), lambda y: y if y.is_floating_point() else y.max() - y): pass
        head(model).reset_parameters()
    if s.slower != 1: widen(model, s.slower if s.opt in ('adamw', 'rmsprop') else s.slower**.5)
    return model if s.dtype is torch.float32 else Halved(model, s.dtype, s.body)


# ---- optimizers ----

def optimizer(s:Setup, params, name:str='', lr:float|None=None):
    name, lr = name or s.opt, lr or s.lr
    eps = 1e-4 if s.dtype is FP16 else 1e-8  # float16 has no 1e-8
    if name == 'adamw': return torch.optim.AdamW(params, lr, eps=eps, weight_decay=.01)
    if name == 'rmsprop': return torch.optim.RMSprop(params, lr, alpha=.95, eps=eps)
    return torch.optim.SGD(params, lr, momentum=.9 if name == 'momentum' else 0)

def stochastic(x, g):
    "float32 to bfloat16, up or down at random, so that the mean is right"
    return ((x.view(torch.int32) + torch.randint(65536, x.shape, generator=g, dtype=torch.int32)) & -65536).view(torch.float32).bfloat16()

class Keeper(torch.optim.Optimizer):
    "Steps in float32 for weights in bfloat16: from copies that it keeps, from what rounding left over (Kahan), or rounded at random"
    def __init__(self, params, make, how:str, seed:int):
        super().__init__(list(params), dict(lr=0.))
        self.how, self.mine, self.g = how, self.param_groups[0]['params'], _gen(seed)
        self.full = [p.detach().float() for p in self.mine]
        self.rest = [torch.zeros_like(p) for p in self.mine]
        self.float32 = make(self.full)
        self.param_groups[0]['lr'] = self.float32.param_groups[0]['lr']
    @torch.no_grad()
    def step(self, closure=None):
        for g in self.float32.param_groups: g['lr'] = self.param_groups[0]['lr']
        for p,m,r in zip(self.mine, self.full, self.rest):
            m.grad = p.grad.float()
            if self.how != 'master': m.copy_(p.float() + r.float())
        self.float32.step()
        for p,m,r in zip(self.mine, self.full, self.rest):
            p.copy_(stochastic(m, self.g) if self.how == 'stochastic' else m)
            if self.how == 'kahan': r.copy_(m - p.float())

def optimizer_of(s:Setup, model):
    if not s.keeps: return optimizer(s, model.parameters())
    return Keeper(model.parameters(), lambda full: optimizer(s, full), s.keeps, s.seed + 5)


# ---- the loop ----

def batches(s:Setup, model, opt, n:int, g, target=lambda y: y):
    "Train; yields the loss of each batch"
    t, scale = task(s.arch), 128. if s.dtype is FP16 else 1.
    for i in range(n):
        k = torch.randint(len(t.x), (s.batch,), generator=g)
        with torch.autocast('cpu', BF16, enabled=s.autocast): out = model(t.x[k])
        loss = loss_of(out.float(), target(t.y[k]))
        opt.zero_grad()
        (loss*scale).backward()
        if scale != 1:
            for p in model.parameters(): p.grad /= scale
        if s.clip: nn.utils.clip_grad_norm_(model.parameters(), s.clip)
        opt.step()
        yield i, loss.detach()

def go(s:Setup, watched:bool)->tuple: # metric, losses, recording
    model, rec = built(s), None
    opt, losses = optimizer_of(s, model), []
    if watched:
        watcher = actstats.watch(model, opt, total_steps=s.steps)
        rec = watcher.start()
    def rate(i): opt.param_groups[0]['lr'] = s.lr*s.rate(i)
    rate(0)
    for i,loss in batches(s, model, opt, s.steps, _gen(s.seed + 1)):
        losses.append(loss)
        if watched and i < WATCHED: rec.log(loss=loss)
        if watched and i == WATCHED - 1: watcher.stop(tell=False)
        rate(i + 1)
    held = task(s.arch).held
    model.float().dtype = torch.float32  # of what comes in, where it is `Halved`
    with torch.no_grad(): m = metric(s.arch, model(held[0]), held[1])
    return m, torch.stack(losses).double().tolist(), rec


# ---- what is drawn: s, severity 0 to 1 ----

FAULTS, CONTROLS, HEALTHY, WHERE = {}, {}, {}, {}

def among(kind:dict, *archs):
    def keep(f): kind[f.__name__], WHERE[f.__name__] = f, archs or tuple(ARCHS)
    return keep

fault, control, healthy = (lambda *archs, k=k: among(k, *archs) for k in (FAULTS, CONTROLS, HEALTHY))
MATRICES = tuple(a for a in ARCHS if a != 'chains') # networks of layers that can be widened
QUICK = 'numerals', 'patches', 'hills' # most often faulty: there is time to lose much to rounding
CHEAP = 'numerals', 'patches', 'chains', 'hills' # in float16, on a processor

def _slower(s, decades)->float:
    "How much slower a run is to be; it takes more batches then, as far as there is time"
    k = 10**(decades*task(s.arch).slow)
    s.steps = round(s.steps*min(k**.75, task(s.arch).patience))
    return k

def _low(s, decades):
    "The rate of somebody careful"
    s.lr /= _slower(s, decades)

@healthy()
def float32(s, sev): pass

@healthy()
def autocast(s, sev): s.autocast = True

@fault()
def low_rate(s, sev): s.dtype = BF16; _low(s, .5 + 2*sev)

@fault()
def plain_descent(s, sev):
    "No momentum: a step is a tenth of what it is with it"
    s.dtype, s.opt, s.lr = BF16, 'sgd', task(s.arch).rates[0]
    _low(s, .5 + 1.7*sev)

@fault()
def adam_low(s, sev):
    s.dtype, s.opt, s.lr = BF16, 'adamw', task(s.arch).rates[2]
    _low(s, .7 + 1.6*sev)

@fault()
def long_warm_up(s, sev):
    "Over all of the run, or half of it, to a rate that is rather low"
    s.dtype, share = BF16, float(s.rng.choice([.5, 1.]))
    _low(s, .4 + 1.4*sev)
    s.rate = lambda i: min(1, (i + 1)/(share*s.steps))

@fault()
def fast_decay(s, sev):
    "The rate falls by a factor of e in 25 to 90 batches"
    s.dtype, n = BF16, 90 - 65*sev
    s.rate = lambda i: math.exp(-i/n)

@fault(*MATRICES)
def wide_weights(s, sev):
    "Weights with a standard deviation of about 1, as some parametrizations have them, and rates for small ones"
    s.dtype, s.slower = BF16, _slower(s, .5 + 1.8*sev)

@fault()
def fine_tuned(s, sev):
    "A network that was trained before on other labels, with a new last layer"
    s.dtype, s.before = BF16, 80
    _low(s, .5 + 2*sev)

@fault()
def body_in_half(s, sev):
    "All but the last layer"
    s.dtype, s.body = BF16, True
    _low(s, .5 + 2*sev)

@fault('numerals', 'patches', 'hills')
def large_batch(s, sev):
    s.dtype, s.batch = BF16, 160
    _low(s, .6 + 1.8*sev)

@fault('numerals', 'patches', 'hills')
def wide_in_float16(s, sev): s.dtype, s.slower = FP16, _slower(s, .9 + 1.6*sev)

@fault(*CHEAP)
def low_rate_float16(s, sev): s.dtype = FP16; _low(s, .8 + 1.8*sev)

@control()
def bfloat16(s, sev): s.dtype = BF16

@control()
def larger_rate(s, sev): s.dtype = BF16; s.lr *= float(s.rng.choice([1.5, 2.]))

@control()
def master_copies(s, sev): s.dtype, s.keeps = BF16, 'master'; _low(s, sev)

@control()
def rounded_at_random(s, sev): s.dtype, s.keeps = BF16, 'stochastic'; _low(s, sev)

@control()
def kahan(s, sev): s.dtype, s.keeps = BF16, 'kahan'; _low(s, sev)

@control()
def warm_up_ends(s, sev):
    "A slow start: the usual rate from step 110 on"
    s.dtype, s.rate = BF16, lambda i: min(1., (i + 1)/110)

@control(*CHEAP)
def float16(s, sev): s.dtype = FP16

@control()
def autocast_low(s, sev): s.autocast = True; _low(s, sev)

@control()
def clipped(s, sev): s.dtype, s.clip = BF16, 1.

def draw(seed:int)->Config:
    "A run at random"
    g = np.random.default_rng([seed, 21])
    u = g.random()
    kind, all_of = ('healthy', HEALTHY) if u < .2 else ('control', CONTROLS) if u < .45 else ('fault', FAULTS)
    what = list(all_of)[int(g.integers(len(all_of)))]
    archs = [a for a in WHERE[what] for _ in range(3 if kind == 'fault' and a in QUICK else 1)]
    return Config(archs[int(g.integers(len(archs)))], kind, what, round(float(g.random()), 3), seed)

def right(c:Config)->tuple:
    "What somebody would do who knew the fault: remedy and factor"
    return 'higher_precision', 10.


# ---- remedies, applied by somebody who knows nothing else ----

def _constant(s, k):
    s.lr *= k
    s.rate = lambda i: 1.

CURES = dict(higher_precision=lambda s, k: plain(s), raise_lr=_constant, lower_lr=lambda s, k: setattr(s, 'lr', s.lr/k), clip_gradients=lambda s, k: setattr(s, 'clip', 1.),
             bigger_batch=lambda s, k: setattr(s, 'batch', max(s.batch, 64)), reinit=lambda s, k: (setattr(s, 'slower', 1.), setattr(s, 'before', 0)))

def plain(s):
    "float32, and nothing that is about 16 bits"
    s.dtype, s.autocast, s.keeps = torch.float32, False, ''

def prepared(c:Config)->Setup:
    s = setup(c.arch, c.seed)
    {**HEALTHY, **CONTROLS, **FAULTS}[c.what](s, c.severity)
    for name,factor in c.cures: CURES.get(name, lambda s, k: None)(s, factor)
    return s

def train(c:Config)->tuple: # what came out, and the recording
    start = time.process_time()
    s = prepared(c)
    m, losses, rec = go(s, True)
    seconds, twin = time.process_time() - start, m
    if c.what != 'float32':
        t = prepared(c)
        plain(t)
        twin = go(t, False)[0]
    chance = task(c.arch).chance
    score = (m - chance)/(twin - chance)
    return asdict(c) | dict(steps=s.steps, metric=m, chance=chance, twin=twin, harmed=not score >= .9, optimizer=s.opt, dtype=str(s.dtype).removeprefix('torch.'),
        keeps=s.keeps, rate=s.lr*s.rate(WATCHED - 1)/task(c.arch).rates[OPTIMIZERS.index(s.opt)], losses=[round(v, 6) if math.isfinite(v) else None for v in losses],
        seconds=round(seconds, 3), twin_seconds=round(time.process_time() - start - seconds, 3)), rec


if __name__ == '__main__':
    torch.set_num_threads(1)
    for arch in ARCHS:
        for k,opt in enumerate(OPTIMIZERS):
            told, start = [], time.process_time()
            for slower in (1, 3, 10, 30):
                s = setup(arch, 1)
                s.opt, s.lr, s.rate, s.steps = opt, task(arch).rates[k]/slower, lambda i: 1., task(arch).steps[0] + 20
                told.append(go(s, False)[0])
            print(f'{arch:9} {opt:9}', *(f'{v:7.3f}' for v in told), f'  chance {task(arch).chance:.2f}, {(time.process_time() - start)/4:.2f} s', flush=True)
