"""Runs of some hundreds of batches, wholly watched, in which something breaks after step 150, or changes and does no harm.

    python benchmarks/failures/store.py late 120 -late     # train 120 of them, for tuning

Eight small tasks, each with a network of its own, in a loop of its own. A faulty run is trained twice, with its fault and
without: the two share every random number up to the step at which the fault begins, so the difference is its doing.
"""
from dataclasses import asdict
from functools import lru_cache
from types import SimpleNamespace
import math
import time

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

import actstats
from store import Config


# ---- tasks: data and networks ----

def _gen(seed): return torch.Generator().manual_seed(seed)

def accuracy(out, y): return float((out.argmax(-1) == y).float().mean())
def explained(out, y): return 1 - float((out - y).square().sum()/(y - y.mean(0)).square().sum())

class Recurrent(nn.Module):
    "The tokens' last state, read off"
    def __init__(self, n_in, n_out, n=32):
        super().__init__()
        self.emb, self.rnn, self.mix, self.act, self.head = nn.Embedding(n_in, 16), nn.GRU(16, n, batch_first=True), nn.Linear(n, n), nn.ReLU(), nn.Linear(n, n_out)
    def forward(self, x): return self.head(self.act(self.mix(self.rnn(self.emb(x))[0][:, -1])))

class Attention(nn.Module):
    def __init__(self, n, heads=2):
        super().__init__()
        self.heads, self.norm, self.qkv, self.out = heads, nn.LayerNorm(n), nn.Linear(n, 3*n), nn.Linear(n, n)
    def forward(self, x):
        b, t, n = x.shape
        q, k, v = self.qkv(self.norm(x)).view(b, t, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        return x + self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, t, n))

class Feed(nn.Module):
    def __init__(self, n, k=2, p=0., act=nn.GELU):
        super().__init__()
        self.norm, self.up, self.act, self.drop, self.down = nn.LayerNorm(n), nn.Linear(n, k*n), act(), nn.Dropout(p), nn.Linear(k*n, n)
    def forward(self, x): return x + self.down(self.drop(self.act(self.up(self.norm(x)))))

class Reader(nn.Module):
    "Two blocks of a transformer; the answer is read at the last token"
    def __init__(self, n_in, n_out, length, n=32):
        super().__init__()
        self.emb, self.pos = nn.Embedding(n_in, n), nn.Parameter(.1*torch.randn(length, n))
        self.a1, self.f1, self.a2, self.f2, self.head = Attention(n), Feed(n), Attention(n), Feed(n), nn.Linear(n, n_out)
    def forward(self, x): return self.head(self.f2(self.a2(self.f1(self.a1(self.emb(x) + self.pos))))[:, -1])

class Context(nn.Module):
    "The embeddings of four tokens, side by side, through two layers with dropout"
    def __init__(self, n_in, n=64, p=.1):
        super().__init__()
        self.emb, self.one, self.act1, self.drop1 = nn.Embedding(n_in, 16), nn.Linear(64, n), nn.ReLU(), nn.Dropout(p)
        self.two, self.act2, self.drop2, self.head = nn.Linear(n, n), nn.ReLU(), nn.Dropout(p), nn.Linear(n, n_in)
    def forward(self, x):
        h = self.drop1(self.act1(self.one(self.emb(x).flatten(1))))
        return self.head(self.drop2(self.act2(self.two(h))))

def teacher():
    g = _gen(1)
    x, w, v = torch.randn(6000, 24, generator=g), torch.randn(24, 40, generator=g)/24**.5, torch.randn(40, 6, generator=g)
    y = (torch.tanh(2*x@w)@v).argmax(1)
    net = lambda: nn.Sequential(nn.Linear(24, 64), nn.ReLU(), nn.Dropout(.05), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 6))
    return x, y, net, F.cross_entropy, accuracy, dict(lr=.05, opt='sgd')

def digits():
    from sklearn.datasets import load_digits
    d = load_digits()
    x, y = (torch.tensor(d.images).float()[:, None] - 4.88)/6.02, torch.tensor(d.target)
    net = lambda: nn.Sequential(nn.Conv2d(1, 8, 3, 1, 1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 16, 3, 2, 1), nn.BatchNorm2d(16), nn.ReLU(), nn.Flatten(), nn.Linear(256, 32), nn.ReLU(), nn.Linear(32, 10))
    return x, y, net, F.cross_entropy, accuracy, dict(lr=.02, opt='sgd')

def waves():
    g = _gen(2)
    y = torch.randint(5, (4000,), generator=g)
    t, phase, f = torch.linspace(0, 1, 48), 6.3*torch.rand(4000, 1, generator=g), (2. + y[:, None])
    x = torch.sin(2*math.pi*f*t + phase) + .9*torch.randn(4000, 48, generator=g)
    block = lambda i, o: [nn.Conv1d(i, o, 5, 2, 2), nn.BatchNorm1d(o), nn.ReLU()]
    net = lambda: nn.Sequential(*block(1, 12), *block(12, 16), *block(16, 16), nn.AdaptiveAvgPool1d(2), nn.Flatten(), nn.Linear(32, 5))
    return x[:, None], y, net, F.cross_entropy, accuracy, dict(lr=2e-3, opt='adam')

def surface():
    g = _gen(3)
    x = 2*torch.rand(5000, 8, generator=g) - 1
    y = (torch.sin(3*x[:, 0]) + 2*x[:, 1]*x[:, 2] + x[:, 3].square()*2 + x[:, 4])[:, None]
    y = 4*(y - y.mean()) + .3*torch.randn(5000, 1, generator=g)
    net = lambda: nn.Sequential(nn.Linear(8, 32), Feed(32, act=nn.ReLU), Feed(32, act=nn.ReLU), nn.LayerNorm(32), nn.Linear(32, 1))
    return 1.7*x, y, net, F.mse_loss, explained, dict(lr=2e-3, opt='adamw')

def tally():
    g = _gen(4)
    x = torch.randint(10, (5000, 10), generator=g)
    y = ((x == 3).sum(1) - (x == 7).sum(1)).clamp(-2, 2) + 2
    return x, y, lambda: Recurrent(10, 5), F.cross_entropy, accuracy, dict(lr=4e-3, opt='adam', clip=1.)

def recall():
    g = _gen(5)
    x = torch.randint(8, (8000, 9), generator=g)
    at = torch.randint(8, (8000,), generator=g)
    x[:, 8] = 8 + at   # the question: which token stands at this place?
    y = x[torch.arange(8000), at]
    return x, y, lambda: Reader(16, 8, 9), F.cross_entropy, accuracy, dict(lr=3e-3, opt='adamw', clip=1.)

def curves():
    g = _gen(6)
    z, t = torch.randn(5000, 5, generator=g), torch.linspace(0, 3, 40)
    basis = torch.stack([t.sin(), (2*t).cos(), (3*t).sin(), (t - 1.5).square() - 1, (5*t).cos()])
    x = z@basis + .5*(z[:, :1]*z[:, 1:2])*t.cos() + .1*torch.randn(5000, 40, generator=g)
    net = lambda: nn.Sequential(nn.Linear(40, 48), nn.ELU(), nn.Linear(48, 6), nn.Linear(6, 48), nn.ELU(), nn.Linear(48, 40))
    return x, None, net, F.mse_loss, explained, dict(lr=2e-3, opt='adam')

def markov():
    g = _gen(7)
    table = (2.2*torch.randn(14, 14, 14, generator=g)).softmax(-1)
    s = torch.randint(14, (6000, 2), generator=g)
    for _ in range(7): s = torch.cat([s, torch.multinomial(table[s[:, -2], s[:, -1]], 1, generator=g)], 1)
    return s[:, 4:8], s[:, 8], lambda: Context(14), F.cross_entropy, accuracy, dict(lr=3e-3, opt='adamw')

ARCHS = dict(teacher=teacher, digits=digits, waves=waves, surface=surface, tally=tally, recall=recall, curves=curves, markov=markov)
IDS, NORMS, UNITS, DROPS = ('tally', 'recall', 'markov'), ('digits', 'waves'), ('teacher', 'digits', 'waves', 'surface', 'tally', 'markov'), ('teacher', 'markov', 'surface')
NAMED = ('teacher', 'digits', 'waves', 'tally', 'recall', 'markov') # have classes

@lru_cache
def task(arch): return ARCHS[arch]()


# ---- a run ----

def layers(model)->dict: return {n: m for n,m in model.named_modules() if isinstance(m, (nn.Linear, nn.Conv1d, nn.Conv2d))}
def parts(model, *names)->list: return [*names, *(p for n in names for p,_ in model.named_parameters() if p.rpartition('.')[0] == n)]

def setup(arch:str, seed:int)->SimpleNamespace:
    x, y, net, loss, metric, how = task(arch)
    draw = np.random.default_rng([seed, 77])
    s = SimpleNamespace(arch=arch, loss=loss, metric=metric, draw=draw, own=_gen(seed + 10**6), clip=how.get('clip', 0), micro=1, keep_grads=False)
    if y is None: y = x
    order = torch.randperm(len(x), generator=_gen(seed))
    held = len(x)//4
    s.x, s.y, s.held = x[order[held:]], y[order[held:]], (x[order[:held]], y[order[:held]])
    s.chance = float(s.y.bincount().max())/len(s.y) if metric is accuracy else 0.
    torch.manual_seed(seed)
    s.model = net()
    s.steps, s.batch = int(draw.integers(500, 901)), int(draw.choice([48, 64, 96]))
    lr = how['lr']*draw.choice([.7, 1., 1.4])
    if how['opt'] == 'sgd': s.opt = torch.optim.SGD(s.model.parameters(), lr=lr, momentum=.9, weight_decay=5e-4)
    elif how['opt'] == 'adam': s.opt = torch.optim.Adam(s.model.parameters(), lr=lr)
    else: s.opt = torch.optim.AdamW(s.model.parameters(), lr=lr, weight_decay=.01)
    shape = draw.choice(['constant', 'constant', 'cosine', 'warm'])
    n = s.steps
    s.rate = dict(constant=lambda i: 1., cosine=lambda i: .02 + .49*(1 + math.cos(math.pi*i/n)), warm=lambda i: min((i + 1)/40, 1 - .8*i/n))[shape]
    s.valid_every = int(draw.choice([0, 0, 25, 40]))
    s.pool = lambda i: len(s.x)       # how many samples there are to draw from
    s.feed = lambda x, y, i: (x, y)   # what is made of a batch
    s.each, s.after, s.penalty = [], [], None # what is done before a step, and after one
    s.in_eval = lambda i: []          # modules that are in evaluation mode
    return s

def place(s)->str:
    "A layer at random, but not the first nor the last"
    names = list(layers(s.model))
    return names[int(s.draw.integers(1, max(2, len(names) - 1)))]

def loop(s, rec=None)->list:
    losses, rates, every = [], [g['lr'] for g in s.opt.param_groups], s.valid_every
    for i in range(s.steps):
        s.model.train()
        for m in s.in_eval(i): m.eval()
        for g,lr in zip(s.opt.param_groups, rates): g['lr'] = lr*s.rate(i)
        for f in s.each: f(i)
        k = torch.randint(s.pool(i), (s.batch_at(i),), generator=s.order)
        xb, yb = s.feed(s.x[s.pick(k, i)], s.y[s.pick(k, i)], i)
        if not s.keep_grads: s.opt.zero_grad()
        n = s.micro_at(i)
        total = 0.
        for xm, ym in zip(xb.chunk(n), yb.chunk(n)):
            loss = s.loss_at(i)(s.model(xm), ym)
            if s.penalty: loss = loss + s.penalty(i)
            if loss.requires_grad: (loss/n).backward()
            total = total + loss.detach()/n
        clip = s.clip_at(i)
        if clip: torch.nn.utils.clip_grad_norm_(s.model.parameters(), clip)
        for f in s.before_step: f(i)
        s.opt.step()
        for f in s.after: f(i)
        losses.append(float(total))
        if rec is not None: rec.log(loss=total)
        if every and i % every == every - 1:
            v = validate(s)
            s.valid.append((i, v))
            if rec is not None: rec.log(valid_loss=v)
    return losses

def validate(s, n=256)->float:
    s.model.eval()
    with torch.no_grad(): v = float(s.loss(s.model(s.held[0][:n]), s.held[1][:n]))
    return v

def measure(s)->float:
    s.model.eval()
    with torch.no_grad(): out = s.model(s.held[0])
    return s.metric(out, s.held[1]) if bool(out.isfinite().all()) else math.nan


# ---- faults: s, severity 0 to 1, first step; they return the right places and the right remedies ----

FAULTS, CONTROLS, WHERE = {}, {}, {}

def fault(*archs):
    def keep(f): FAULTS[f.__name__], WHERE[f.__name__] = f, archs or tuple(ARCHS)
    return keep

def control(*archs):
    def keep(f): CONTROLS[f.__name__], WHERE[f.__name__] = f, archs or tuple(ARCHS)
    return keep

def _faster(s, k):
    before = s.rate
    s.rate = lambda i: before(i)*k(i)

def _fed(s, f):
    before = s.feed
    s.feed = lambda x, y, i: f(*before(x, y, i), i)

REAL = tuple(a for a in ARCHS if a not in IDS)

@fault()
def rate_jumps(s, sev, b):
    _faster(s, lambda i: 10**(.6 + 1.4*sev) if i >= b else 1.)
    return ['optimizer'], ['lower_lr']

@fault()
def rate_climbs(s, sev, b):
    _faster(s, lambda i: min((1.01 + .04*sev)**(i - b), 1e3) if i >= b else 1.)
    return ['optimizer'], ['lower_lr']

@fault()
def rate_dies(s, sev, b):
    low = 0. if s.draw.random() < .4 else 10**(-1.5 - 2*sev)
    _faster(s, lambda i: low if i >= b else 1.)
    return ['optimizer'], ['raise_lr']

@fault(*REAL)
def inputs_scaled(s, sev, b):
    k = 10**(.3 + 1.2*sev)
    if s.draw.random() < .4: k = 1/k
    _fed(s, lambda x, y, i: (x*k, y) if i >= b else (x, y))
    return ['input'], ['clean_data', 'normalise_inputs']

@fault(*REAL)
def inputs_shifted(s, sev, b):
    k = (.7 + 4*sev)*float(s.x.std())
    _fed(s, lambda x, y, i: (x + k, y) if i >= b else (x, y))
    return ['input'], ['clean_data', 'normalise_inputs']

@fault()
def inputs_blank(s, sev, b):
    def blank(x, y, i):
        if i < b: return x, y
        gone = torch.rand(len(x), generator=s.own) < .4 + .6*sev
        return x.masked_fill(gone.view(-1, *[1]*(x.ndim - 1)), 0), y
    _fed(s, blank)
    return ['input'], ['clean_data', 'normalise_inputs']

@fault()
def inputs_other(s, sev, b):
    "Features in another order, or tokens with other numbers; the values are alike"
    n = s.x.shape[-1]
    if s.arch in IDS:
        new = torch.randperm(int(s.x.max()) + 1, generator=s.own)
        _fed(s, lambda x, y, i: (new[x], y) if i >= b else (x, y))
    else:
        some = torch.randperm(n, generator=s.own)[:max(2, int(n*(.3 + .7*sev)))]
        to = some.roll(1)
        def mixed(x, y, i):
            if i < b: return x, y
            x, out = x.clone(), x
            x[..., to] = out[..., some]
            return x, y
        _fed(s, mixed)
    return ['input'], ['clean_data', 'normalise_inputs']

@fault(*[a for a in REAL if a != 'curves'])
def inputs_noise(s, sev, b):
    def noisy(x, y, i):
        if i < b: return x, y
        gone = (torch.rand(len(x), generator=s.own) < .4 + .6*sev).view(-1, *[1]*(x.ndim - 1))
        return torch.where(gone, torch.randn(x.shape, generator=s.own)*s.x.std()*s.noise_size, x), y
    s.noise_size = float(s.draw.choice([1., 2.]))
    _fed(s, noisy)
    return ['input'], ['clean_data', 'normalise_inputs']

@fault()
def batches_repeat(s, sev, b):
    few = max(1, round(6*(1 - sev)))
    s.pick = lambda k, i: k if i < b else (torch.arange(len(k)) + (i % few)*len(k)) % len(s.x)
    return ['input'], ['clean_data', 'early_stopping']

@fault()
def labels_loose(s, sev, b):
    def loose(x, y, i):
        if i < b: return x, y
        some = torch.rand(len(y), generator=s.own) < .4 + .6*sev
        new = y[torch.randperm(len(y), generator=s.own)]
        return x, torch.where(some.view(-1, *[1]*(y.ndim - 1)), new, y)
    _fed(s, loose)
    return ['loss'], ['clean_data', 'fix_loss']

@fault(*NAMED)
def labels_renamed(s, sev, b):
    k = int(s.y.max()) + 1
    _fed(s, lambda x, y, i: (x, (y + 1) % k) if i >= b else (x, y))
    return ['loss'], ['clean_data', 'fix_loss']

@fault()
def labels_constant(s, sev, b):
    def constant(x, y, i):
        if i < b: return x, y
        some = torch.rand(len(y), generator=s.own) < .4 + .6*sev
        return x, torch.where(some.view(-1, *[1]*(y.ndim - 1)), s.y[:1], y)
    _fed(s, constant)
    return ['loss'], ['clean_data', 'fix_loss']

@fault('surface', 'curves')
def targets_scaled(s, sev, b):
    k = 10**(.3 + sev)
    _fed(s, lambda x, y, i: (x, y*k) if i >= b else (x, y))
    return ['loss'], ['clean_data', 'fix_loss', 'normalise_inputs']

@fault()
def loss_sign(s, sev, b):
    before = s.loss
    s.loss_at = lambda i: before if i < b else lambda out, y: -before(out, y)
    return ['loss'], ['fix_loss', 'lower_lr']

@fault()
def weights_grow(s, sev, b):
    name, k = place(s), 1 + 10**(-2.5 + 1.3*sev)
    mine = layers(s.model)[name]
    def grow(i):
        if i >= b:
            with torch.no_grad(): mine.weight.mul_(k)
    s.after.append(grow)
    return parts(s.model, name), ['lower_weight_decay', 'lower_lr', 'clip_gradients', 'fix_loss']

class Cast(nn.Module):
    def __init__(self, dtype): super().__init__(); self.dtype = dtype
    def forward(self, x): return x.to(self.dtype)

@fault('teacher', 'digits', 'waves', 'curves')
def overflow(s, sev, b):
    "One layer's output in float16, and growing"
    name, k = place(s), 1 + 10**(-1.7 + .9*sev)
    mine, i = layers(s.model)[name], int(name)
    s.model[i] = nn.Sequential(mine, Cast(torch.float16), Cast(torch.float32))
    def grow(i):
        if i >= b and float(mine.weight.abs().max()) < 1e30:
            with torch.no_grad(): mine.weight.mul_(k), mine.bias.mul_(k)
    s.after.append(grow)
    return [name, *parts(s.model, f'{name}.0'), f'{name}.1', f'{name}.2'], ['higher_precision', 'lower_lr', 'lower_weight_decay', 'clip_gradients']

@fault(*UNITS)
def units_die(s, sev, b):
    "The biases before a ReLU sink"
    before, last = [], None
    for n,m in s.model.named_modules():
        if isinstance(m, nn.ReLU) and last: before.append((last, n))
        if getattr(m, 'bias', None) is not None and isinstance(m, (nn.Linear, nn.BatchNorm1d, nn.BatchNorm2d, nn.Conv1d, nn.Conv2d)): last = n
    name, act = before[int(s.draw.integers(len(before)))]
    mine, d = s.model.get_submodule(name), 10**(-2.2 + 1.4*sev)
    def sink(i):
        if i >= b:
            with torch.no_grad(): mine.bias.sub_(d*torch.rand(len(mine.bias), generator=s.own))
    s.after.append(sink)
    return [act, *parts(s.model, name)], ['reinit', 'lower_lr', 'fix_loss', 'clip_gradients']

@fault()
def layer_stops(s, sev, b):
    names = list(layers(s.model))
    name = names[int(s.draw.integers(len(names)))] if sev < .6 else place(s)
    mine = s.model.get_submodule(name)
    how = s.draw.choice(['frozen', 'not given', 'detached', 'silent'])
    if how == 'frozen':
        def stop(i):
            if i == b: mine.requires_grad_(False); [setattr(p, 'grad', None) for p in mine.parameters()]
        s.each.append(stop)
    elif how == 'not given':
        def skip(i):
            if i >= b: [setattr(p, 'grad', None) for p in mine.parameters()]
        s.before_step.append(skip)
    else:
        s.now = 0
        s.each.append(lambda i: setattr(s, 'now', i))
        mine.register_forward_hook(lambda m, a, out: out if s.now < b else out.detach() if how == 'detached' else torch.zeros_like(out))
    earlier = names[:names.index(name) + 1] if how == 'detached' else [name]
    return parts(s.model, *earlier), ['unfreeze', 'fix_loss', 'reinit']

@fault()
def grads_kept(s, sev, b):
    s.each.append(lambda i: setattr(s, 'keep_grads', i >= b))
    return ['optimizer'], ['zero_grad']

@fault(*NORMS, 'teacher', 'markov')
def left_in_eval(s, sev, b):
    all_of_it = s.arch not in NORMS or s.draw.random() < .6
    mine = list(s.model.modules()) if all_of_it else [m for m in s.model.modules() if 'Norm' in type(m).__name__]
    s.in_eval = lambda i: mine if i >= b else []
    return [n for n,m in s.model.named_modules() if m in mine], ['train_mode']

@fault(*DROPS)
def dropout_high(s, sev, b):
    mine = {n: m for n,m in s.model.named_modules() if isinstance(m, nn.Dropout)}
    def change(i):
        if i == b: [setattr(m, 'p', .7 + .28*sev) for m in mine.values()]
    s.each.append(change)
    return list(mine), ['lower_dropout']

@fault()
def decay_high(s, sev, b):
    share = 10**(-2.6 + 1.5*sev)
    def decay(i):
        if i >= b:
            for g in s.opt.param_groups: g['weight_decay'] = share/max(g['lr'], 1e-9) * (.1 if isinstance(s.opt, torch.optim.SGD) else 1.)
    if isinstance(s.opt, torch.optim.Adam) and not isinstance(s.opt, torch.optim.AdamW):
        def decay(i):
            if i >= b:
                for g in s.opt.param_groups: g['weight_decay'] = 10**(-1 + 2*sev)
    s.each.append(decay)
    return ['optimizer', *(n for n,_ in s.model.named_parameters()), *layers(s.model)], ['lower_weight_decay']

@fault()
def weight_broken(s, sev, b):
    name, how = place(s), s.draw.choice(['bit', 'noise', 'zeros'])
    mine = layers(s.model)[name].weight
    def damage(i):
        if i != b: return
        with torch.no_grad():
            flat = mine.view(-1)
            if how == 'bit': flat[int(s.draw.integers(len(flat)))] = 10**(.7 + 3*sev)
            elif how == 'noise': mine.add_(torch.randn(mine.shape, generator=s.own)*mine.std()*(1 + 5*sev))
            else: mine.mul_(1 - sev)
    s.after.append(damage)
    return parts(s.model, name), ['reinit', 'none', 'higher_precision']

@fault('teacher', 'digits', 'waves', 'tally', 'recall', 'markov', 'surface')
def overfits(s, sev, b):
    few = int(40 + 160*(1 - sev))
    s.pool, s.valid_every, s.begins_late = (lambda i: few), 25, True
    for m in s.model.modules():
        if isinstance(m, nn.Dropout): m.p = 0.
    return ['loss', 'input'], ['early_stopping', 'clean_data', 'bigger_batch', 'none']


# ---- controls: what changes, and does no harm ----

@control()
def step_decay(s, b): _faster(s, lambda i: .1 if i >= b else 1.)

@control()
def restarts(s, b):
    n = int(s.draw.choice([120, 200]))
    s.rate = lambda i: .02 + .49*(1 + math.cos(math.pi*(i % n)/n)) if i < s.steps//n*n else .02

@control()
def cosine_to_zero(s, b): s.rate = lambda i: .5*(1 + math.cos(math.pi*i/s.steps))

@control()
def larger_batch(s, b):
    n = s.batch
    s.batch_at = lambda i: 4*n if i >= b else n

@control()
def new_shard(s, b):
    half = len(s.x)//2
    s.pick = lambda k, i: k % half if i < b else half + k % half

@control()
def clipping_on(s, b): s.clip_at = lambda i: .5 if i >= b else s.clip

@control()
def averaging_on(s, b):
    "An exponential moving average of the weights, used to evaluate"
    mean = {}
    def update(i):
        if i < b: return
        for n,p in s.model.named_parameters(): mean[n] = p.detach().clone() if n not in mean else mean[n].mul_(.95).add_(p.detach(), alpha=.05)
    s.after.append(update)

@control()
def unfrozen_late(s, b):
    first = next(iter(layers(s.model).values()))
    def thaw(i):
        if i in (0, b): first.requires_grad_(i == b)
    s.each.append(thaw)

@control(*NAMED)
def smoothing_on(s, b):
    s.loss_at = lambda i: s.loss if i < b else lambda out, y: F.cross_entropy(out, y, label_smoothing=.1)

@control(*REAL)
def augmented(s, b):
    k = .25*float(s.x.std())
    _fed(s, lambda x, y, i: (x + k*torch.randn(x.shape, generator=s.own), y) if i >= b else (x, y))

@control('teacher', 'digits', 'waves', 'surface', 'tally')
def curriculum(s, b):
    b = min(b, int(.4*s.steps))
    order = s.y.float().abs().flatten(1).mean(1).argsort() if s.metric is explained else s.y.argsort(stable=True)
    easy = order[:int(.6*len(order))]
    s.pick = lambda k, i: easy[k % len(easy)] if i < b else k

@control()
def slow_start(s, b):
    with torch.no_grad():
        for m in layers(s.model).values(): m.weight.mul_(.3)

@control()
def accumulates(s, b): s.micro_at = lambda i: 2 if i >= b else 1

@control(*REAL)
def one_bad_batch(s, b): _fed(s, lambda x, y, i: (x*6, y) if i == b else (x, y))

@control()
def decay_mild(s, b):
    def decay(i):
        if i == b:
            for g in s.opt.param_groups: g['weight_decay'] = .02 if isinstance(s.opt, torch.optim.AdamW) else 1e-3
    s.each.append(decay)

@control('markov', 'teacher', 'surface')
def dropout_mild(s, b):
    def change(i):
        if i == b: [setattr(m, 'p', .2) for m in s.model.modules() if isinstance(m, nn.Dropout)]
    s.each.append(change)


# ---- draw and train ----

def draw_late(seed:int)->Config:
    g = np.random.default_rng([seed, 5])
    u = g.random()
    kind = 'healthy' if u < .2 else 'control' if u < .45 else 'fault'
    names = dict(healthy=['healthy'], control=list(CONTROLS), fault=list(FAULTS))[kind]
    what = names[int(g.integers(len(names)))]
    archs = WHERE.get(what, tuple(ARCHS))
    return Config(str(archs[int(g.integers(len(archs)))]), kind, what, round(float(g.random()), 3), seed)

def prepared(c:Config, changed:bool)->tuple:
    "A run, the step at which it changes, and where and what is right"
    s = setup(c.arch, c.seed)
    s.order, s.valid, s.before_step = _gen(c.seed + 3), [], []
    s.pick = lambda k, i: k
    s.batch_at, s.micro_at, s.loss_at, s.clip_at = (lambda i: s.batch), (lambda i: 1), (lambda i: s.loss), (lambda i: s.clip)
    s.begins_late, b = False, int(s.draw.integers(150, int(.75*s.steps)))
    if c.kind == 'fault' and c.what in ('rate_dies', 'layer_stops', 'left_in_eval'): b = int(s.draw.integers(150, 220))  # later on, nothing is left to be lost
    right = [], []
    if changed and c.kind == 'fault': right = FAULTS[c.what](s, c.severity, b)
    if changed and c.kind == 'control': CONTROLS[c.what](s, b)
    return s, b, *right

def train_late(c:Config)->tuple:
    start = time.time()
    s, b, where, remedies = prepared(c, True)
    with actstats.watch(s.model, s.opt, total_steps=s.steps) as rec: losses = loop(s, rec)
    metric, twin = measure(s), math.nan
    if c.kind == 'healthy': twin = metric
    else:
        t = prepared(c, False)[0]
        t.valid_every = 0
        loop(t)
        twin = measure(t)
    if s.begins_late and s.valid: # overfitting begins where the validation loss turns
        v = np.convolve([o for _,o in s.valid], np.ones(3)/3, 'same')[1:-1]
        b = max(150, s.valid[int(v.argmin()) + 1][0])
    score = (metric - s.chance)/(twin - s.chance)
    res = asdict(c) | dict(steps=s.steps, begins=b if c.kind == 'fault' else -1, changes=b if c.kind == 'control' else -1,
        metric=metric, chance=s.chance, twin=twin, harmed=not score >= .9, layers=where, remedies=remedies,
        losses=[v if math.isfinite(v) else None for v in losses], valid=s.valid, seconds=time.time() - start)
    return res, rec
