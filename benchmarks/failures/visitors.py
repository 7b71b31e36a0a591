"""Visitors: a second exam. Nothing was fitted to these trainings or tuned with them.

Fourteen scripts of the kinds people run: a small ResNet with one cycle, an MLP-Mixer with averaged weights,
torch's own TransformerEncoder with padding, a packed LSTM, a contrastive pair of towers, a normalising flow,
a sequence to sequence with attention, a small GPT, three tables, a graph network, a Q-network, a distilled student.
The faults are those which surveys of real ones count (Zhang et al. 2018, Islam et al. 2019, Humbatova et al. 2020)
and which checkers look for (UMLAUT, AUTOTRAINER, DeepFD).

    python benchmarks/failures/store.py visitors 4        # trial
    python benchmarks/failures/store.py visitors 3 -late
"""
from collections import defaultdict
from dataclasses import asdict
from functools import lru_cache, partial
from pathlib import Path
import copy
import math
import os
import time

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

import actstats
from store import Config, WATCHED


# ------------------------------------------------------------------------------------------------ data

def T(a):
    a = np.asarray(a)
    return torch.tensor(a.astype('f')) if a.dtype.kind == 'f' else torch.tensor(a)

def split(*arrays, held, seed=3):
    "The same random rows of each array, for training and held out"
    order = np.random.default_rng(seed).permutation(len(arrays[0]))
    return tuple(T(a)[order[held:]] for a in arrays), tuple(T(a)[order[:held]] for a in arrays)

def standard(x, rows): return (x - x[:rows].mean(0))/(x[:rows].std(0) + 1e-8)

@lru_cache
def images(name, first, n):
    "Rows of MNIST or Fashion-MNIST, 14x14, standardised as a whole"
    from actstats.datasets import _HUB, _from_hub, _from_mirror, column
    mirror = os.environ.get('ACTSTATS_DATA')
    sets = _from_mirror(Path(mirror)/name) if mirror else _from_hub(_HUB[name])
    def part(which, rows):
        d = sets[which].select(rows)
        return F.avg_pool2d(column(d, 'image').float()/255, 2), column(d, 'label').long()
    (x, y), (xv, yv) = part('train', range(first, first + n)), part('test', range(1200))
    m, sd = x.mean(), x.std()
    return ((x - m)/sd, y), ((xv - m)/sd, yv)

@lru_cache
def garments(): return images('fashion_mnist', 6000, 6000)

@lru_cache
def numerals(): return images('mnist', 4000, 6000)

@lru_cache
def taught_numerals():
    "Numerals with a label and the logits of a teacher: ridge regression on random features"
    (x, y), (xv, yv) = images('mnist', 20000, 5000)
    w = torch.randn(196, 700, generator=torch.Generator().manual_seed(0))/10
    def features(x): return torch.relu(x.flatten(1) @ w)
    a = features(x)
    beta = torch.linalg.solve(a.T @ a + 200*torch.eye(700), a.T @ (F.one_hot(y, 10).float() - .1))
    def both(x, y): return torch.cat([y[:, None].float(), 9*features(x) @ beta], 1)
    return (x, both(x, y)), (xv, both(xv, yv))

@lru_cache
def chains():
    "Strings of nine symbols, 8 to 18 long, padded: which of five machines wrote them?"
    r, n, longest = np.random.default_rng(31), 4000, 18
    moves = np.stack([np.stack([r.dirichlet(np.full(9, .5)) for _ in range(9)]) for _ in range(5)]).cumsum(-1)
    y, length, x = r.integers(5, size=n), r.integers(8, longest + 1, size=n), np.zeros((n, longest), int)
    x[:, 0] = r.integers(9, size=n)
    for t in range(1, longest): x[:, t] = (r.random((n, 1)) > moves[y, x[:, t-1]]).sum(1).clip(0, 8)
    empty = np.arange(longest) >= length[:, None]
    return split(np.where(empty, 0, x + 1), empty, y, held=800)

@lru_cache
def strokes():
    "A pen's movements, 10 to 22 readings, padded: a line, a circle, a zigzag, a spiral, a square or a wave?"
    r, n, longest = np.random.default_rng(32), 2400, 22
    y, length = r.integers(6, size=n), r.integers(10, longest + 1, size=n)
    t = np.arange(longest)[None]/length[:, None]
    start, size = r.uniform(0, 6.28, (n, 1)), r.uniform(.7, 1.4, (n, 1))
    turn = r.choice([-1, 1], (n, 1))*r.uniform(.8, 1.2, (n, 1))
    angles = np.stack([0*t, 6.3*t, 1.3*np.sign(np.sin(16*t)), 9*t**2, 1.57*np.floor(4*t), 1.2*np.sin(9*t)])
    angle = start + turn*angles[y, np.arange(n)]
    speed = size*np.where(y[:, None] == 3, .3 + 1.2*t, 1.)
    x = np.stack([speed*np.cos(angle), speed*np.sin(angle)], -1) + r.normal(0, .15, (n, longest, 2))
    x[np.arange(longest) >= length[:, None]] = 0
    return split(x, length, y, held=500)

@lru_cache
def spectra():
    "Peaks of a mixture's spectrum, and a sheet that says which substances are in it, both noisy"
    r, n = np.random.default_rng(33), 4000
    sheet = r.gamma(.8, 1., (n, 8))
    place, width = r.uniform(0, 1, (8, 3, 1)), r.uniform(.01, .05, (8, 3, 1))
    shape = (r.uniform(.3, 1, (8, 3, 1))*np.exp(-((np.linspace(0, 1, 40) - place)/width)**2)).sum(1)
    x = sheet @ shape + r.normal(0, .08, (n, 40))
    sheet = np.log1p(sheet) + r.normal(0, .05, sheet.shape)
    return split(standard(x, n), standard(sheet, n), held=640)

@lru_cache
def moons():
    from sklearn.datasets import make_moons
    x, _ = make_moons(5000, noise=.07, random_state=0)
    return split(standard(x, len(x)), held=1000)

PAD, GO = 10, 11
@lru_cache
def unsorted():
    "Three to seven digits, padded; the same digits in order"
    r, n, longest = np.random.default_rng(35), 6000, 7
    x, length = r.integers(10, size=(n, longest)), r.integers(3, longest + 1, size=n)
    x[np.arange(longest) >= length[:, None]] = PAD
    y = np.sort(x, 1)
    return split(x, np.concatenate([np.full((n, 1), GO), y[:, :-1]], 1), y, held=800)

@lru_cache
def docstrings():
    "24 bytes of numpy's docstrings; the next ones"
    names = sorted(k for k in dir(np) if callable(getattr(np, k)) and not k.startswith('_'))
    text = ' '.join(' '.join((getattr(np, k).__doc__ or '').split()) for k in names if not isinstance(getattr(np, k), type))[:120_000]
    letters = sorted(set(text), key=text.count, reverse=True)[:63]
    ids = np.array([letters.index(c) + 1 if c in letters else 0 for c in text])
    rows = ids[:len(ids)//25*25].reshape(-1, 25)
    return split(rows[:, :-1], rows[:, 1:], held=400)

@lru_cache
def diabetes():
    "How ill a year later, in the units of the study (25 to 346)"
    from sklearn.datasets import load_diabetes
    d = load_diabetes()
    return split(standard(d.data, 442), d.target, held=142)

@lru_cache
def wines():
    from sklearn.datasets import load_wine
    d = load_wine()
    return split(standard(d.data, 178), d.target, held=58)

@lru_cache
def molecules():
    "Graphs of twelve atoms of three sorts: how many bonds between the first sort and the second break?"
    r, n, k = np.random.default_rng(38), 3000, 12
    sort = r.integers(3, size=(n, k))
    up = np.triu(r.random((n, k, k)) < r.uniform(.15, .6, (n, 1, 1)), 1)
    bonds = (up | up.swapaxes(1, 2)).astype('f')
    one, two, three = ((sort == c).astype('f') for c in range(3))
    weak = np.einsum('ni,nij,nj->n', one, bonds, two)
    y = r.poisson(np.exp(.4 + .22*weak - .12*three.sum(1)))
    return split(np.stack([one, two, three], -1), bonds, y.astype('f'), held=600)

@lru_cache
def flats():
    "Eight numbers and two categories of a flat: a grade from 0 to 4, and the logarithm of its rent"
    r, n = np.random.default_rng(39), 4000
    x, c = r.normal(size=(n, 8)), r.integers(6, size=(n, 2))
    a, b = r.normal(0, .7, 6), r.normal(0, .7, 6)
    good = np.tanh(x[:, 0] + x[:, 1]*x[:, 2]) + .6*np.abs(x[:, 3]) + a[c[:, 0]] + r.normal(0, .25, n)
    rent = .7*x[:, 4] + .5*x[:, 5]*(c[:, 1] > 2) + b[c[:, 1]] + .4*good + .2*r.standard_t(3, n)
    grade = np.digitize(good, np.quantile(good, [.2, .4, .6, .8]))
    return split(x, c, np.stack([grade, rent], 1), held=700)

SIDE, DISCOUNT = 6, .9
@lru_cache
def maze():
    "What each of four moves does on a board of 6x6: where to, and the reward; 1 at the goal, -1 in three pits"
    where, pits, goal = np.arange(SIDE**2), (8, 21, 26), 35
    i, j = where//SIDE, where % SIDE
    to = np.stack([np.clip(i + a, 0, SIDE - 1)*SIDE + np.clip(j + b, 0, SIDE - 1) for a,b in ((0, 1), (1, 0), (0, -1), (-1, 0))], 1)
    over = np.isin(to, (*pits, goal))
    return to, np.where(to == goal, 1., np.where(over, -1., -.02)), over

def seen(cell): return np.concatenate([np.eye(SIDE)[cell//SIDE], np.eye(SIDE)[cell % SIDE]], -1)*2.4 - .4

@lru_cache
def transitions():
    "A replay memory that a random player filled: what he saw; move, reward, over, what he saw then"
    r, n = np.random.default_rng(40), 4000
    to, reward, over = maze()
    cell, move = r.integers(SIDE**2, size=n), r.integers(4, size=n)
    y = np.concatenate([np.stack([move, reward[cell, move], over[cell, move]], 1), seen(to[cell, move])], 1)
    return (T(seen(cell)), T(y)), (T(seen(np.arange(SIDE**2))), T(np.zeros(SIDE**2)))

def worth(policy):
    "The mean value of a policy, a table of probabilities, solved exactly"
    to, reward, over = maze()
    go = np.zeros((SIDE**2, SIDE**2))
    np.add.at(go, (np.arange(SIDE**2)[:, None].repeat(4, 1), to), policy*~over)
    return float(np.linalg.solve(np.eye(SIDE**2) - DISCOUNT*go, (policy*reward).sum(1)).mean())


# ------------------------------------------------------------------------------------------------ networks, whose last layer is always called head

class Residual(nn.Module):
    def __init__(self, a, b, stride=1):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(a, b, 3, stride, 1, bias=False), nn.BatchNorm2d(b)
        self.conv2, self.bn2 = nn.Conv2d(b, b, 3, 1, 1, bias=False), nn.BatchNorm2d(b)
        self.short = nn.Sequential() if a == b else nn.Conv2d(a, b, 1, stride, bias=False)
        self.act1, self.act2 = nn.ReLU(), nn.ReLU()
    def forward(self, x):
        h = self.bn2(self.conv2(self.act1(self.bn1(self.conv1(x)))))
        return self.act2(h + self.short(x))

class ResNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU())
        self.layer1, self.layer2 = Residual(16, 16), Residual(16, 32, 2)
        self.head = nn.Linear(32, 10)
    def forward(self, x): return self.head(self.layer2(self.layer1(self.stem(x))).mean((2, 3)))

class Mixing(nn.Module):
    def __init__(self, tokens, dim):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.across = nn.Sequential(nn.Linear(tokens, 32), nn.GELU(), nn.Linear(32, tokens))
        self.within = nn.Sequential(nn.Linear(dim, 64), nn.GELU(), nn.Dropout(.05), nn.Linear(64, dim))
    def forward(self, x):
        x = x + self.across(self.norm1(x).transpose(1, 2)).transpose(1, 2)
        return x + self.within(self.norm2(x))

class Mixer(nn.Module):
    def __init__(self, dim=40):
        super().__init__()
        self.patches = nn.Conv2d(1, dim, 4, 4, padding=1)
        self.mix1, self.mix2 = Mixing(16, dim), Mixing(16, dim)
        self.norm, self.head = nn.LayerNorm(dim), nn.Linear(dim, 10)
    def forward(self, x):
        x = self.patches(x).flatten(2).transpose(1, 2)
        return self.head(self.norm(self.mix2(self.mix1(x))).mean(1))

class Dense(nn.Module):
    "Each layer's maps are put beside all earlier ones"
    def __init__(self, grow=10):
        super().__init__()
        self.stem = nn.Conv2d(1, 10, 5, 2, 2)
        self.layers = nn.ModuleList(nn.Sequential(nn.BatchNorm2d(10 + grow*i), nn.ReLU(), nn.Conv2d(10 + grow*i, grow, 3, 1, 1)) for i in range(3))
        self.norm, self.act = nn.BatchNorm2d(10 + 3*grow), nn.ReLU()
        self.pool, self.drop, self.head = nn.AvgPool2d(2, ceil_mode=True), nn.Dropout(.1), nn.Linear((10 + 3*grow)*16, 10)
    def forward(self, x):
        x = self.stem(x)
        for l in self.layers: x = torch.cat([x, l(x)], 1)
        return self.head(self.drop(self.pool(self.act(self.norm(x))).flatten(1)))

class Encoder(nn.Module):
    "torch's own; its mask is true where nothing is"
    def __init__(self, dim=32):
        super().__init__()
        self.words, self.places = nn.Embedding(10, dim), nn.Embedding(18, dim)
        layer = nn.TransformerEncoderLayer(dim, 4, 64, dropout=.1, batch_first=True)
        self.encoder, self.head = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False), nn.Linear(dim, 5)
    def forward(self, x, empty):
        h = self.encoder(self.words(x) + self.places.weight[:x.shape[1]], src_key_padding_mask=empty)
        there = (~empty).to(h.dtype)[..., None]
        return self.head((h*there).sum(1)/there.sum(1).clamp_min(1))

class PackedLSTM(nn.Module):
    def __init__(self, dim=36):
        super().__init__()
        self.rnn, self.drop, self.head = nn.LSTM(2, dim, batch_first=True), nn.Dropout(.1), nn.Linear(dim, 6)
    def forward(self, x, length):
        packed = nn.utils.rnn.pack_padded_sequence(x, length, batch_first=True, enforce_sorted=False)
        return self.head(self.drop(self.rnn(packed)[1][0][-1]))

class Towers(nn.Module):
    "Each spectrum against each sheet: cosines, times a factor that is learnt as well"
    def __init__(self, dim=20):
        super().__init__()
        self.spectrum = nn.Sequential(nn.Unflatten(1, (1, 40)), nn.Conv1d(1, 8, 5, 2, 2), nn.LeakyReLU(.1),
            nn.Flatten(), nn.Linear(160, 48), nn.LeakyReLU(.1), nn.Linear(48, dim))
        self.sheet = nn.Sequential(nn.Linear(8, 48), nn.LeakyReLU(.1), nn.Linear(48, 48), nn.LeakyReLU(.1), nn.Linear(48, dim))
        self.temperature = nn.Parameter(torch.tensor(math.log(8.)))
    def forward(self, a, b): return self.temperature.exp()*F.normalize(self.spectrum(a), dim=1) @ F.normalize(self.sheet(b), dim=1).T

class Coupling(nn.Module):
    def __init__(self, which, width=32):
        super().__init__()
        self.which = which
        self.net = nn.Sequential(nn.Linear(1, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh(), nn.Linear(width, 2))
    def forward(self, x):
        kept, moved = x[:, [self.which]], x[:, [1 - self.which]]
        scale, shift = self.net(kept).chunk(2, 1)
        scale = 2*torch.tanh(scale/2)
        moved = moved*scale.exp() + shift
        return torch.cat([kept, moved] if self.which == 0 else [moved, kept], 1), scale[:, 0]

class Flow(nn.Module):
    "RealNVP; the output is each sample's log-likelihood"
    def __init__(self, n=5):
        super().__init__()
        self.couplings = nn.ModuleList(Coupling(i % 2) for i in range(n))
        self.head = Coupling(n % 2)
    def forward(self, x):
        total = 0.
        for c in (*self.couplings, self.head):
            x, d = c(x)
            total = total + d
        return total - .5*(x**2).sum(1) - math.log(2*math.pi)

class Sorter(nn.Module):
    "A recurrent encoder, a recurrent decoder that attends to it"
    def __init__(self, dim=48):
        super().__init__()
        self.words, self.said = nn.Embedding(12, 24), nn.Embedding(12, 24)
        self.encoder, self.decoder = nn.GRU(24, dim//2, batch_first=True, bidirectional=True), nn.GRU(24, dim, batch_first=True)
        self.query, self.join, self.act, self.head = nn.Linear(dim, dim), nn.Linear(2*dim, dim), nn.Tanh(), nn.Linear(dim, 11)
    def forward(self, x, before):
        keys, last = self.encoder(self.words(x))
        state, _ = self.decoder(self.said(before), torch.cat([last[0], last[1]], 1)[None].contiguous())
        look = self.query(state) @ keys.transpose(1, 2)/keys.shape[-1]**.5
        look = look.masked_fill((x == PAD)[:, None], -1e4).softmax(-1)
        return self.head(self.act(self.join(torch.cat([state, look @ keys], -1))))

class GPTBlock(nn.Module):
    causal = True
    def __init__(self, dim, heads):
        super().__init__()
        self.heads, self.ln1, self.ln2 = heads, nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.qkv, self.proj = nn.Linear(dim, 3*dim, bias=False), nn.Linear(dim, dim, bias=False)
        self.up, self.act, self.down = nn.Linear(dim, 3*dim, bias=False), nn.GELU(), nn.Linear(3*dim, dim, bias=False)
        self.drop = nn.Dropout(.05)
    def forward(self, x):
        n, t, d = x.shape
        q, k, v = self.qkv(self.ln1(x)).view(n, t, 3, self.heads, d//self.heads).permute(2, 0, 3, 1, 4)
        a = F.scaled_dot_product_attention(q, k, v, is_causal=self.causal).transpose(1, 2).reshape(n, t, d)
        x = x + self.proj(a)
        return x + self.drop(self.down(self.act(self.up(self.ln2(x)))))

class GPT(nn.Module):
    def __init__(self, dim=40):
        super().__init__()
        self.wte, self.wpe = nn.Embedding(64, dim), nn.Embedding(24, dim)
        self.h, self.ln, self.head = nn.Sequential(GPTBlock(dim, 4), GPTBlock(dim, 4)), nn.LayerNorm(dim), nn.Linear(dim, 64, bias=False)
        for p in self.parameters():
            if p.dim() > 1: nn.init.normal_(p, std=.05)
    def forward(self, x): return self.head(self.ln(self.h(self.wte(x) + self.wpe.weight[:x.shape[1]])))

class Table(nn.Module):
    def __init__(self, n_in, n_out, width, act, start=None):
        super().__init__()
        self.fc1, self.act1, self.drop = nn.Linear(n_in, width), act(), nn.Dropout(.1)
        self.fc2, self.act2, self.head = nn.Linear(width, width), act(), nn.Linear(width, n_out)
        if start is not None: self.head.bias.data.copy_(start)
    def forward(self, x): return self.head(self.act2(self.fc2(self.drop(self.act1(self.fc1(x))))))

class GraphNet(nn.Module):
    "Neighbours are added up by the adjacency matrix, three times"
    def __init__(self, dim=24):
        super().__init__()
        self.embed = nn.Linear(3, dim)
        self.own, self.from_others = (nn.ModuleList(nn.Linear(dim, dim) for _ in range(2)) for _ in range(2))
        self.acts = nn.ModuleList(nn.ReLU() for _ in range(3))
        self.read, self.head = nn.Linear(dim, dim), nn.Linear(dim, 1)
    def forward(self, x, bonds):
        h = self.embed(x)
        for own, others, act in zip(self.own, self.from_others, self.acts): h = act(own(h) + others(bonds @ h)/3)
        return self.head(self.acts[2](self.read(h)).mean(1))[:, 0]

class TwoHeads(nn.Module):
    def __init__(self, dim=48):
        super().__init__()
        self.cats = nn.ModuleList(nn.Embedding(6, 4) for _ in range(2))
        self.trunk = nn.Sequential(nn.Linear(16, dim), nn.LayerNorm(dim), nn.SiLU(), nn.Dropout(.05), nn.Linear(dim, dim), nn.LayerNorm(dim), nn.SiLU())
        self.grade, self.head = nn.Linear(dim, 4), nn.Linear(dim, 1)
    def forward(self, x, c):
        h = self.trunk(torch.cat([x, self.cats[0](c[:, 0]), self.cats[1](c[:, 1])], 1))
        return torch.cat([self.grade(h), self.head(h)], 1)


# ------------------------------------------------------------------------------------------------ projects

def linear_warmup(share): return lambda i, n: min(1., (i + 1)/(share*n))
def cosine(i, n): return .5 + .5*math.cos(math.pi*i/n)
def one_cycle(i, n): return .05 + .95*(i/(.3*n)) if i < .3*n else .5 + .5*math.cos(math.pi*(i - .3*n)/(.7*n))
def warmup_cosine(i, n): return min(1., (i + 1)/(.1*n))*(.1 + .9*cosine(i, n))
def drop_at_end(i, n): return 1. if i < .7*n else .2
def steady(i, n): return 1.

class Project:
    "A script's settings; `loss` gives one number a sample"
    optimizer, options, lr, wd = torch.optim.Adam, {}, 1e-3, 0.
    bs, steps, late_steps, late_bs = 48, 250, 0, 0
    schedule, clip, accumulate, average, reduction = staticmethod(steady), 0., 1, 0., 'mean'
    groups = () # (start of names, factor of the rate, factor of the decay); all others come last
    traits, chance = '', 0.
    cuts, relus = (), () # modules behind which a gradient may be cut; modules just before a ReLU
    def inputs(self, batch): return batch[:-1]

class Classes(Project):
    def loss(self, s, o, batch): return F.cross_entropy(o, batch[-1], reduction='none')
    def score(self, o, batch): return (o.argmax(1) == batch[-1]).double().mean().item()

class FashionResNet(Classes):
    data, build, traits, chance = staticmethod(garments), ResNet, 'classes floats batchnorm', .1
    optimizer, options, lr, wd, schedule = torch.optim.SGD, dict(momentum=.9, nesterov=True), .15, 5e-4, staticmethod(one_cycle)
    bs, steps, late_steps = 32, 180, 500
    cuts, relus = ('stem', 'layer1', 'layer2'), ('stem.1', 'layer1.bn1', 'layer1.bn2', 'layer2.bn1', 'layer2.bn2')

class NumeralMixer(Classes):
    data, build, traits, chance = staticmethod(numerals), Mixer, 'classes floats layernorm dropout', .1
    optimizer, lr, wd, schedule, average, bs, steps = torch.optim.AdamW, 4e-3, .05, staticmethod(warmup_cosine), .97, 48, 250
    groups = (('norm', 1., 0.),)
    cuts = ('patches', 'mix1', 'mix2')

class ChainEncoder(Classes):
    data, build, traits, chance = staticmethod(chains), Encoder, 'classes tokens padded dropout', .2
    lr, schedule, clip, bs, steps, late_steps = 3e-3, staticmethod(linear_warmup(.1)), 1., 32, 200, 0
    cuts, relus = ('encoder.layers.0', 'encoder.layers.1'), ('encoder.layers.0.linear1', 'encoder.layers.1.linear1')

class StrokeLSTM(Classes):
    data, build, traits, chance = staticmethod(strokes), PackedLSTM, 'classes floats padded dropout recurrent', 1/6
    optimizer, lr, clip, bs, steps = torch.optim.RMSprop, 8e-3, 1., 32, 220
    late_steps, late_bs = 500, 16
    schedule, cuts = staticmethod(drop_at_end), ('drop',)

class SpectrumTowers(Project):
    data, build, traits, chance = staticmethod(spectra), Towers, 'floats pairs', 1/64
    lr, bs, steps, late_steps, groups = 2e-3, 64, 250, 600, (('temperature', .5, 0.),)
    cuts = ('spectrum.2', 'spectrum.5', 'sheet.1', 'sheet.3')
    def inputs(self, batch): return batch
    def loss(self, s, o, batch):
        i = torch.arange(len(o))
        return .5*F.cross_entropy(o, i, reduction='none') + .5*F.cross_entropy(o.T, i, reduction='none')
    def score(self, o, batch): # found among 64?
        blocks = [o[k:k + 64, k:k + 64] for k in range(0, len(o), 64)]
        return float(np.mean([(b.argmax(1) == torch.arange(len(b))).double().mean() for b in blocks]))

class MoonFlow(Project):
    data, build, traits = staticmethod(moons), Flow, 'floats density'
    lr, clip, schedule, bs, steps, late_steps = 6e-3, 5., staticmethod(cosine), 96, 320, 500
    cuts = ('couplings.0.net', 'couplings.1.net', 'couplings.2.net', 'couplings.3.net')
    chance = -2.716 # a Gaussian's, with the mean and covariance of the data
    def inputs(self, batch): return batch
    def loss(self, s, o, batch): return -o
    def score(self, o, batch): return o.double().mean().item()

class DigitSorter(Project):
    data, build, traits = staticmethod(unsorted), Sorter, 'tokens padded recurrent sequence'
    lr, clip, bs, steps, cuts = 6e-3, 2., 48, 280, ('words', 'query', 'join')
    def loss(self, s, o, batch):
        y = batch[-1]
        each = F.cross_entropy(o.flatten(0, 1), y.flatten(), ignore_index=PAD, reduction='none').view(y.shape)
        return each.sum(1)/(y != PAD).sum(1)
    def score(self, o, batch): return ((o.argmax(-1) == batch[-1]) & (batch[-1] != PAD)).double().sum().item()/(batch[-1] != PAD).sum().item()
    chance = .246 # the digit that is most frequent at each place

class DocstringGPT(Project):
    data, build, traits = staticmethod(docstrings), GPT, 'tokens layernorm dropout sequence gpt'
    optimizer, options, lr, wd, clip = torch.optim.AdamW, dict(betas=(.9, .95)), 5e-3, .1, 1.
    groups, schedule, bs, accumulate, steps = (('wpe', 1., 0.), ('wte', 1., 0.)), staticmethod(warmup_cosine), 20, 1, 220
    cuts, chance = ('wte', 'h.0'), -3.372 # how often each letter comes, and no more
    def loss(self, s, o, batch): return F.cross_entropy(o.transpose(1, 2), batch[-1], reduction='none').mean(1)
    def score(self, o, batch): return -F.cross_entropy(o.double().transpose(1, 2), batch[-1]).item()

LEVELS = torch.tensor([.1, .5, .9])
class DiabetesQuantiles(Project):
    data, traits, optimizer, options = staticmethod(diabetes), 'floats real table dropout', torch.optim.SGD, dict(momentum=.9)
    lr, wd, schedule, bs, steps, cuts = .1, 1e-4, staticmethod(cosine), 32, 200, ('fc1', 'fc2')
    def build(self): return Table(10, 3, 32, nn.Tanh, torch.tensor([70., 140., 260.]))
    def loss(self, s, o, batch):
        off = batch[-1][:, None] - o
        return torch.maximum(LEVELS*off, (LEVELS - 1)*off).sum(1)
    def score(self, o, batch): # relative to the quantiles of all
        y, plain = batch[-1], torch.quantile(diabetes()[0][-1], LEVELS)[None]
        return 1 - self.loss(None, o, (y,)).mean().item()/self.loss(None, plain, (y,)).mean().item()

class WineSum(Classes):
    data, traits, chance = staticmethod(wines), 'classes floats table dropout', 1/3
    optimizer, lr, reduction, bs, steps, late_steps = torch.optim.Adagrad, .02, 'sum', 16, 160, 500
    cuts, relus = ('fc1', 'fc2'), ('fc1', 'fc2')
    def build(self): return Table(13, 3, 24, nn.ReLU)

class MoleculeCounts(Project):
    data, build, traits = staticmethod(molecules), GraphNet, 'floats real counts'
    lr, bs, steps, late_steps, schedule = 4e-3, 48, 280, 600, staticmethod(drop_at_end)
    cuts, relus = ('embed', 'acts.0', 'acts.1'), ('read',)
    def loss(self, s, o, batch): return F.poisson_nll_loss(o, batch[-1], reduction='none')
    def score(self, o, batch): # share of the deviance that is explained
        y = batch[-1].double()
        def deviance(m): return 2*(torch.xlogy(y, y/m) - y + m).mean().item()
        return 1 - deviance(o.double().clamp(-30, 30).exp())/deviance(molecules()[0][-1].double().mean())

class FlatsTwoHeads(Project):
    data, build, traits = staticmethod(flats), TwoHeads, 'floats real table layernorm dropout'
    optimizer, lr, wd, bs, steps, late_steps = torch.optim.Adadelta, 1., 1e-4, 40, 280, 600
    groups, cuts = (('cats', 1., 0.),), ('trunk.0', 'trunk.4')
    def loss(self, s, o, batch):
        above = (batch[-1][:, :1] > torch.arange(4)).to(o.dtype)
        return F.binary_cross_entropy_with_logits(o[:, :4], above, reduction='none').sum(1) + F.huber_loss(o[:, 4], batch[-1][:, 1], reduction='none')
    def score(self, o, batch):
        y, (grade, rent) = batch[-1], flats()[0][-1].T
        a = ((o[:, :4] > 0).sum(1) - y[:, 0]).abs().mean()/(grade.median() - y[:, 0]).abs().mean()
        b = F.huber_loss(o[:, 4], y[:, 1])/F.huber_loss(rent.mean().expand(len(y)), y[:, 1])
        return 1 - .5*(a + b).item()

class MazeQ(Project):
    data, traits, optimizer, options = staticmethod(transitions), 'floats real q', torch.optim.RMSprop, dict(alpha=.95)
    lr, clip, schedule, bs, steps, cuts, relus = 3e-3, 10., staticmethod(drop_at_end), 64, 360, ('0', '2'), ('0', '2')
    @staticmethod
    def build():
        net = nn.Sequential(nn.Linear(12, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU())
        net.add_module('head', nn.Linear(64, 4))
        return net
    def loss(self, s, o, batch):
        y = batch[-1]
        with torch.no_grad(): ahead = s.slow(*s.feed([y[:, 3:]])).float().max(1).values
        aim = y[:, 1] + DISCOUNT*(1 - y[:, 2])*ahead
        return F.smooth_l1_loss(o.gather(1, y[:, :1].long().clamp(0, 3))[:, 0], aim, reduction='none', beta=.1)
    def score(self, o, batch): return worth(.85*np.eye(4)[o.argmax(1).numpy()] + .15/4) # now and then a random move: no corner holds forever
    chance = worth(np.full((SIDE**2, 4), .25))

class NumeralStudent(Project):
    data, build, traits, chance = staticmethod(taught_numerals), Dense, 'classes floats batchnorm dropout distilled', .1
    optimizer, options, lr, wd, schedule = torch.optim.SGD, dict(momentum=.9), .03, 1e-4, staticmethod(cosine)
    bs, steps, temperature = 32, 200, 3.
    cuts, relus = ('stem', 'pool'), ('layers.0.0', 'layers.1.0', 'layers.2.0', 'norm')
    def loss(self, s, o, batch):
        y, t = batch[-1], self.temperature
        soft = F.kl_div((o/t).log_softmax(1), (y[:, 1:]/t).softmax(1), reduction='none').sum(1)
        return .3*F.cross_entropy(o, y[:, 0].long(), reduction='none') + .7*t*t*soft
    def score(self, o, batch): return (o.argmax(1) == batch[-1][:, 0]).double().mean().item()

PROJECTS = {k.__name__: k for k in (FashionResNet, NumeralMixer, ChainEncoder, StrokeLSTM, SpectrumTowers, MoonFlow, DigitSorter,
    DocstringGPT, DiabetesQuantiles, WineSum, MoleculeCounts, FlatsTwoHeads, MazeQ, NumeralStudent)}
LATE = [k for k,p in PROJECTS.items() if p.late_steps]


# ------------------------------------------------------------------------------------------------ a script, and how it runs

class Script:
    "A training before it runs: numbers, and lines put in at places. A cure takes out the lines that carry its name"
    def __init__(s, arch, seed, late=False):
        p = s.project = PROJECTS[arch]()
        torch.manual_seed(101 + 7*seed)
        s.seed, s.net, (s.train, s.valid) = seed, p.build(), p.data()
        s.dice = torch.Generator().manual_seed(5 + 3*seed)
        s.lr, s.wd, s.bs, s.clip, s.accumulate, s.average, s.reduction = p.lr, p.wd, p.bs, p.clip, p.accumulate, p.average, p.reduction
        if late and p.late_bs: s.bs = p.late_bs
        s.steps, s.optimizer, s.options, s.groups = p.late_steps if late else p.steps, p.optimizer, dict(p.options), list(p.groups)
        s.schedule, s.constant, s.dtype, s.looks = p.schedule, False, torch.float32, 0
        s.lines, s.slow = defaultdict(list), None

    def put(s, place, f, cured_by=''): s.lines[place].append((cured_by, f))
    def at(s, place): return [f for _,f in s.lines[place]]
    def take_out(s, remedy): s.lines = defaultdict(list, {k: [l for l in v if l[0] != remedy] for k,v in s.lines.items()})
    def has(s, *traits): return any(t in s.project.traits.split() for t in traits)

    def rate(s, i):
        factor = 1. if s.constant else s.schedule(i, s.steps)
        for f in s.at('rate'): factor = f(i, factor)
        return factor

    def parameter_groups(s):
        named, out, taken = [(n, p) for n,p in s.net.named_parameters() if all(f(n) for f in s.at('passed'))], [], set()
        for start, k, decay in (*s.groups, ('', 1., 1.)):
            these = [(n, p) for n,p in named if n.startswith(start) and n not in taken]
            taken |= {n for n,_ in these}
            if these: out.append(dict(params=[p for _,p in these], lr=s.lr*k, weight_decay=s.wd*decay, factor=k))
        return out

    def make_optimizer(s): return s.optimizer(s.parameter_groups(), lr=s.lr, **s.options)

    def batch(s, i, n):
        k = None
        for f in s.at('pick'): k = f(i, n) if k is None else k
        if k is None: k = torch.randint(len(s.train[0]), (n,), generator=s.dice)
        b = tuple(a[k] for a in s.train)
        for f in s.at('batch'): b = f(i, b)
        return b

    def feed(s, xs):
        "What comes into the network, in training and in use: whole scripts have the same preparation"
        for f in s.at('input'): xs = [f(k, x) if x.is_floating_point() else x for k,x in enumerate(xs)]
        return [x.to(s.dtype) if x.is_floating_point() else x for x in xs]

    def outputs(s, b): return s.net(*s.feed(s.project.inputs(b)))

    def loss(s, i, b):
        o = s.outputs(b).float()
        each = None
        for f in s.at('loss'): each = f(i, o, b) if each is None else each
        if each is None: each = s.project.loss(s, o, b)
        for f in s.at('each'): each = f(i, each)
        return getattr(each, s.reduction)()

def run(s, watched=WATCHED):
    "Losses, and the recording of the first batches"
    for f in s.at('data'): s.train = f(s.train)
    for f in s.at('net'): f(s.net)
    s.net.to(s.dtype)
    if s.has('q'): s.slow = copy.deepcopy(s.net)
    mean = copy.deepcopy(s.net) if s.average else None
    opt, losses, rec = s.make_optimizer(), [], None
    if watched:
        watcher = actstats.watch(s.net, opt, total_steps=s.steps)
        rec = watcher.start()
    for i in range(s.steps):
        s.net.train()
        for f in s.at('begin'): f(i, opt)
        for g in opt.param_groups: g['lr'] = s.lr*g['factor']*s.rate(i)
        if not any(f(i) for f in s.at('keep')): opt.zero_grad()
        total = 0.
        for _ in range(s.accumulate):
            loss = s.loss(i, s.batch(i, max(1, s.bs//s.accumulate)))
            for f in s.at('backward'): f(i, loss)
            if loss.requires_grad: (loss/s.accumulate).backward()
            total = total + loss.detach()/s.accumulate
        ps = [p for g in opt.param_groups for p in g['params'] if p.grad is not None]
        for f in s.at('gradients'): f(i, ps)
        if s.clip: nn.utils.clip_grad_norm_(ps, s.clip)
        opt.step()
        for f in s.at('stepped'): f(i, opt)
        if s.slow is not None: follow(s.slow, s.net, .9)
        if mean is not None: follow(mean, s.net, min(s.average, (1 + i)/(5 + i)))
        losses.append(total)
        if i < watched: rec.log(loss=total)
        if s.looks and i % s.looks == s.looks - 1:
            v = held_out_loss(s)
            if i < watched: rec.log(valid_loss=v)
        if i == watched - 1: watcher.stop(tell=False)
    if mean is not None: s.net.load_state_dict(mean.state_dict())
    return torch.stack([torch.as_tensor(l) for l in losses]).double().tolist(), rec

@torch.no_grad()
def follow(slow, net, keep):
    for a,b in zip(slow.state_dict().values(), net.state_dict().values()):
        if a.is_floating_point(): a.mul_(keep).add_(b, alpha=1 - keep)
        else: a.copy_(b)

@torch.no_grad()
def held_out_loss(s):
    "Of the first samples; `run` sets the mode back"
    if s.has('q'): return math.nan
    s.net.eval()
    b = tuple(a[:128] for a in s.valid)
    return s.project.loss(s, s.outputs(b).float(), b).mean().item()

@torch.no_grad()
def judge(s):
    "The metric of clean, held-out data; nan where an output is not finite"
    for f in s.at('judge'): f(s.net)
    s.net.eval()
    o = s.outputs(s.valid).float()
    return s.project.score(o, s.valid) if o.isfinite().all() else math.nan


# ------------------------------------------------------------------------------------------------ faults

FAULTS, CONTROLS, LATE_FAULTS, LATE_CONTROLS = {}, {}, {}, {}

def fault(remedy, factor=1., where=lambda p: True):
    "Register f(script, severity, begin, random numbers); a factor may depend on the severity and the project"
    def add(f): FAULTS[f.__name__] = f, remedy, factor, where
    return add

def late_fault(*remedies, where=lambda p: True):
    "The same for what begins late; f returns the names that answer \"where?\""
    def add(f): LATE_FAULTS[f.__name__] = f, remedies, where
    return add

def control(where=lambda p: True):
    def add(f): CONTROLS[f.__name__] = f, where
    return add

def late_control(where=lambda p: True):
    def add(f): LATE_CONTROLS[f.__name__] = f, where
    return add

def any_of(*traits): return lambda p: bool(set(traits) & set(p.traits.split()))
def none_of(*traits): return lambda p: not set(traits) & set(p.traits.split())
def by(*optimizers): return lambda p: p.optimizer.__name__ in optimizers
def tens(lo, hi): return lambda u, p=None: 10**(lo + (hi - lo)*u)
def after(b, f): return lambda i, x: f(x) if i >= b else x
def answers(b, y): return (*b[:-1], y)
def changed(f): return lambda b: (f(b[0]), *b[1:]) # the first input
def often(share, r):
    "True at that share of the steps"
    dice = np.random.default_rng(int(r.integers(2**31)))
    return lambda: dice.random() < share

def children(net): return [n for n,m in net.named_children() if any(True for _ in m.parameters())]
def matrices(net): return [(n, p) for n,p in net.named_parameters() if p.dim() > 1]
def both(names): return [*names, *(n.rpartition('.')[0] for n in names if '.' in n)] # a parameter, and the layer it is of
def sort_key(y): return y if y.dim() == 1 else y[:, 0]

def swap_modules(net, kinds, new):
    "Replace modules of some kinds; how many there were"
    found = [(m, k) for m in net.modules() for k,c in m.named_children() if isinstance(c, kinds)]
    for m,k in found: m._modules[k] = new()
    return len(found)

ACTS = nn.ReLU, nn.GELU, nn.SiLU, nn.Tanh, nn.LeakyReLU
NORMS = nn.BatchNorm2d, nn.LayerNorm

# rates and optimizers

@fault('lower_lr', tens(.3, 2.8))
def rate_of_another_optimizer(s, u, b, r): # SGD's habitual rate for Adam, or one more zero
    s.lr *= tens(.3, 2.8)(u)

@fault('raise_lr', tens(.5, 4))
def rate_with_too_many_zeros(s, u, b, r): s.lr /= tens(.5, 4)(u)

@fault('lower_lr', lambda u, p: tens(.7, 4)(u)**.7)
def one_part_races(s, u, b, r): # the new layer gets a rate of its own: here it is far too high
    s.groups.insert(0, (str(r.choice(children(s.net))), tens(.7, 4)(u), 1.))

@fault('unfreeze')
def body_crawls(s, u, b, r): # a rate for fine-tuning, in a network that starts from nothing
    s.groups = [(n, tens(-.5, -5)(u), 1.) for n in children(s.net)[:-1]]

@fault('raise_lr')
def schedule_too_short(s, u, b, r): # its length in epochs, or that of a test run; the rate is zero from there on
    n = max(2, s.steps*tens(-.2, -2)(u))
    s.put('rate', lambda i, k: k*cosine(i, n) if i < n else 0., 'raise_lr')

@fault('raise_lr')
def warmup_without_end(s, u, b, r): # 10,000 steps, as for the large model
    s.put('rate', lambda i, k: k*min(1., (i + 1)/(s.steps*tens(-.2, 3)(u))), 'raise_lr')

@fault('lower_lr', tens(.5, 3.3))
def rate_explodes(s, u, b, r): # ExponentialLR with gamma above 1, until somebody's limit
    b = b or int(r.integers(15, 75))
    s.put('rate', lambda i, k: k*tens(.5, 3.3)(u)**min(1., max(0, i - b)/12))

@fault('lower_lr', tens(.3, 3), by('SGD'))
def momentum_near_one(s, u, b, r): s.options['momentum'] = 1 - .1*tens(-.3, -3)(u)

@fault('lower_lr', 3., by('Adam', 'AdamW'))
def betas_swapped(s, u, b, r): # (0.999, 0.9)
    s.options['betas'] = 1 - .1*tens(0, -3)(u), 1 - tens(-2.5, -.7)(u)

@fault('raise_lr', tens(.5, 3), lambda p: p.optimizer is not torch.optim.SGD)
def epsilon_of_another_scale(s, u, b, r): s.options['eps'] = tens(-4, 2)(u)

def anew(u, p): return {'SGD': 5., 'Adadelta': 100.}.get(p.optimizer.__name__, 5.)
@fault(lambda p: 'raise_lr' if p.optimizer.__name__ in ('SGD', 'Adadelta') else 'lower_lr', anew)
def optimizer_made_anew(s, u, b, r): # inside of the loop: it never remembers anything
    yes = often(u**.5, r)
    s.put('begin', lambda i, opt: opt.state.clear() if i >= b and yes() else None)

# the loop

@fault('zero_grad')
def gradients_not_zeroed(s, u, b, r): # or once in a while only
    n = tens(.3, 3)(u)
    s.put('keep', lambda i: i >= b and i % int(n) != 0, 'zero_grad')

@fault('zero_grad')
def step_before_backward(s, u, b, r): # zero_grad, step, backward: nothing is left for the step, in most of the rounds
    yes = often(1 - tens(-.3, -3.5)(u), r)
    def wipe(i, ps):
        if i >= b and yes():
            for p in ps: p.grad = None
    s.put('gradients', wipe, 'zero_grad')

@fault('fix_loss', where=lambda p: p.optimizer is torch.optim.SGD)
def sum_of_everything(s, u, b, r): # the loss is a sum over samples, letters, pixels: a factor that nobody meant, and SGD obeys
    s.put('each', after(b, lambda each: each*tens(.7, 3.7)(u)), 'fix_loss')

@fault('fix_loss', where=lambda p: len(p.cuts) > 0)
def detached(s, u, b, r): # .data, .numpy() or .detach() on the way
    cuts = s.project.cuts
    name, clock = cuts[min(len(cuts) - 1, int(u*len(cuts)))], [0]
    def tick(i, opt): clock[0] = i
    s.put('begin', tick)
    def cut(net): net.get_submodule(name).register_forward_hook(lambda m, x, o: o.detach() if clock[0] >= b else o)
    s.put('net', cut, 'fix_loss')

@fault('unfreeze')
def part_is_not_passed(s, u, b, r): # Adam(model.head.parameters()); or a plain list of layers
    names = children(s.net)
    out = tuple(n + '.' for n in names[:max(1, round(u*(len(names) - 1)))])
    s.put('passed', lambda n: not n.startswith(out), 'unfreeze')

@fault('unfreeze')
def frozen_from_nothing(s, u, b, r): # requires_grad_(False), copied with the rest of a recipe for fine-tuning
    ps = [p for _,p in matrices(s.net)]
    def freeze(net):
        for p in ps[:max(1, round(u*(len(ps) - .5)))]: p.requires_grad_(False)
    s.put('net', freeze, 'unfreeze')

@fault('fix_loss')
def some_weights_are_negative(s, u, b, r): # samples are weighted by an advantage, a margin, a difference of prices
    g = torch.Generator().manual_seed(int(r.integers(2**31)))
    s.put('each', after(b, lambda each: each*(1.1 - 1.5*u + torch.randn(each.shape, generator=g))), 'fix_loss')

@fault('raise_lr', tens(.5, 3.3))
def average_is_trained_on(s, u, b, r): # the averaged weights are copied back, after each step
    old = {}
    def keep(i, opt): old.update({n: p.detach().clone() for n,p in s.net.named_parameters()})
    @torch.no_grad()
    def back(i, opt):
        if i < b: return
        for n,p in s.net.named_parameters(): p.copy_(old[n].lerp(p, 1/tens(.5, 3.3)(u)))
    s.put('begin', keep)
    s.put('stepped', back)

@fault('clip_gradients')
def clipped_to_nothing(s, u, b, r): # max_norm from a paper with sums and a rate of 100
    s.clip = tens(-.5, -3.5)(u) if s.optimizer is torch.optim.SGD else tens(-3, -10)(u)

@fault('train_mode', where=any_of('batchnorm'))
def eval_mode_stays(s, u, b, r): # model.eval() for the first look at the validation set
    b = b or int(12*(1 - u))
    s.put('begin', lambda i, opt: s.net.eval() if i >= b else None, 'train_mode')

@fault('higher_precision', where=lambda p: p not in (StrokeLSTM, DigitSorter))
def all_in_half_precision(s, u, b, r): # model.half(), without a master copy of the weights
    s.dtype = torch.bfloat16 if u < .6 else torch.float16
    if s.has('pairs'): s.dtype = torch.float16

@fault('bigger_batch')
def tiny_batches(s, u, b, r): # all that fits into memory, at the rate of large ones
    s.bs, s.accumulate = max(2 if s.has('batchnorm', 'pairs') else 1, round(7*(1 - u))), 1

# losses

@fault('fix_loss', where=lambda p: issubclass(p, Classes) or p is DocstringGPT)
def softmax_over_the_batch(s, u, b, r): # dim=0: samples compete for a class
    def loss(i, o, batch):
        if i < b: return
        alike, y = o.log_softmax(0), batch[-1]
        return F.nll_loss(alike, y, reduction='none') if y.dim() == 1 else F.nll_loss(alike.transpose(1, 2), y, reduction='none').mean(1)
    s.put('loss', loss, 'fix_loss')

@fault('fix_loss', where=none_of('density'))
def activation_before_the_loss(s, u, b, r): # in front of a loss that wants logits, or a number of either sign
    def sharp(o): return o.softmax(-1).softmax(-1)
    acts = (partial(F.log_softmax, dim=-1), torch.sigmoid, F.relu6, partial(F.softmax, dim=-1), sharp)
    if s.has('real'): acts = F.leaky_relu, F.relu, torch.tanh, torch.sigmoid, partial(F.softmax, dim=-1)
    f = acts[min(4, int(5*u))]
    if s.has('counts') and u >= .8: f = torch.sigmoid # there is one number
    s.put('net', lambda net: net.register_forward_hook(lambda m, x, o: f(o)), 'fix_loss')

@fault('fix_loss', where=any_of('real'))
def everybody_with_everybody(s, u, b, r): # (n,) against (n, 1) makes (n, n), in one of the branches
    yes = often(min(1., .4 + u), r)
    def loss(i, o, batch):
        if i < b or not yes(): return
        k = torch.arange(len(o))
        return torch.stack([s.project.loss(s, o, answers(batch, batch[-1][(k + d) % len(o)])) for d in range(0, len(o), 4)]).mean(0)
    s.put('loss', loss, 'fix_loss')

@fault('fix_loss', where=any_of('sequence'))
def answer_is_seen(s, u, b, r): # no causal mask; the answers are not shifted: what is asked stands in the input
    yes = often(min(1., .3 + u), r)
    if s.has('gpt'):
        s.put('begin', lambda i, opt: look_ahead(s.net, i >= b and yes()), 'fix_loss')
        s.put('judge', lambda net: look_ahead(net, False))
        return
    s.put('batch', after(b, lambda t: (t[0], t[2], t[2]) if yes() else t), 'fix_loss')

def look_ahead(net, yes):
    for m in net.modules():
        if isinstance(m, GPTBlock): m.causal = not yes

# data

@fault('clean_data', where=none_of('density'))
def answers_of_others(s, u, b, r): # two tables are joined by the wrong column, in part of the files
    g = torch.Generator().manual_seed(int(r.integers(2**31)))
    def mix(train):
        k, y = torch.randperm(len(train[-1]), generator=g)[:int(min(1., .3 + .8*u)*len(train[-1]))], train[-1].clone()
        y[k] = y[k[torch.randperm(len(k), generator=g)]]
        return (*train[:-1], y)
    s.put('data', mix, 'clean_data')

@fault('clean_data', where=none_of('density', 'pairs', 'sequence'))
def not_shuffled(s, u, b, r): # a sorted table, and shuffle=False
    y = sort_key(s.train[-1]).double()
    y = y.argsort().argsort().double()/len(y) + (1 - u)**2*torch.rand(len(y), generator=s.dice, dtype=torch.float64)
    order, at = y.argsort(), [0]
    def next_ones(i, n):
        at[0] += n
        return order[torch.arange(at[0] - n, at[0]) % len(order)]
    s.put('pick', next_ones, 'clean_data')

@fault('clean_data')
def hardly_any_samples(s, u, b, r): # data[:100] from a test of the script; a filter that keeps next to nothing
    n = max(2, int(tens(2.3, .3)(u)))
    k = torch.randperm(len(s.train[0]), generator=s.dice)[:n]
    s.put('pick', lambda i, size: k[torch.randint(n, (size,), generator=s.dice)] if i >= b else None, 'clean_data')

@fault('clean_data', where=none_of('pairs', 'density'))
def one_input_for_many(s, u, b, r): # a cache whose key is too short: many samples have the same input
    k = torch.rand(len(s.train[0]), generator=s.dice) < min(1., .4 + .7*u)
    def copies(train):
        x = train[0].clone()
        x[k] = x[0].clone()
        return (x, *train[1:])
    s.put('data', copies, 'clean_data')

@fault('clean_data', where=lambda p: 'floats' in p.traits and p is not MoonFlow)
def clipped_inputs(s, u, b, r): # clamp(0, 1), or a cast to uint8, of what is standardised already
    lo = -1.5 + 4.5*u
    s.put('input', lambda k, x: x.clamp(lo, lo + 1), 'clean_data')

@fault('normalise_inputs', where=lambda p: 'floats' in p.traits and p is not MoonFlow)
def raw_inputs(s, u, b, r): # 0 to 255, dollars, milliseconds: each column in a unit of its own, in tables
    size, offset = tens(.3, 3)(u), float(r.choice([0., 1., 3.]))
    def raw(k, x):
        if x.dim() > 2: return size*(x + offset)
        g = torch.Generator().manual_seed(k)
        return (x + offset*torch.rand(x.shape[1], generator=g))*size**(2*torch.rand(x.shape[1], generator=g) - .3)
    s.put('input', raw)

@fault('clean_data', where=lambda p: p in (ChainEncoder, StrokeLSTM))
def padding_is_read(s, u, b, r): # the mask says the opposite; lengths belong to other samples
    yes, most = often(min(1., .5 + u), r), round(8 - 7*u)
    def wrong(t):
        if s.has('tokens'): return (t[0], ~t[1] if yes() else t[1], t[2])
        return (t[0], t[1].clamp_max(most), t[2])
    s.put('batch', after(b, wrong), 'clean_data')

@fault('clean_data', where=any_of('floats'))
def zero_by_zero(s, u, b, r): # each sample is divided by its own deviation, which is zero in a few
    share, g = tens(-5.5, -2.5)(u), torch.Generator().manual_seed(int(r.integers(2**31)))
    def divide(x):
        bad = torch.rand(len(x), generator=g) < share
        return torch.where(bad.view(-1, *[1]*(x.dim() - 1)), math.nan, x)
    s.put('batch', after(b, changed(divide)), 'clean_data')

@fault('clean_data', where=any_of('floats'))
def outliers(s, u, b, r): # a broken sensor: a few samples are far out
    share, size, g = .05, tens(.7, 4.7)(u), torch.Generator().manual_seed(int(r.integers(2**31)))
    def spoil(x):
        bad = torch.rand(len(x), generator=g) < share
        return torch.where(bad.view(-1, *[1]*(x.dim() - 1)), size*x, x)
    s.put('batch', after(b, changed(spoil)), 'clean_data')

# networks

@fault('reinit')
def weights_of_a_wrong_size(s, u, b, r): # normal_(0, 1); a gain where a deviation was meant; 1e-4 "to be on the safe side"
    k = tens(.3, 2)(u) if r.random() < .5 else tens(-.3, -4)(u)
    @torch.no_grad()
    def scale(net):
        for _,p in matrices(net): p.mul_(k)
    s.put('net', scale, 'reinit')

@fault('reinit')
def weights_alike(s, u, b, r): # constant_(0.01), zeros_; the lucky have a little noise
    @torch.no_grad()
    def fill(net):
        for _,p in matrices(net): p.mul_(.3*(1 - u)**3).add_(float(p.std())*.5 if u < .7 else 0.)
    s.put('net', fill, 'reinit')

@fault('reinit', where=lambda p: len(p.relus) > 0)
def born_dead(s, u, b, r): # biases so low that a ReLU never opens
    @torch.no_grad()
    def sink(net):
        for n in s.project.relus: net.get_submodule(n).bias.sub_(tens(-.5, 1.3)(u))
    s.put('net', sink, 'reinit')

@fault('none', where=lambda p: p not in (StrokeLSTM, ChainEncoder))
def other_activations(s, u, b, r): # none at all, or a sigmoid everywhere
    new = nn.Identity if u < .5 else nn.Sigmoid
    s.put('net', lambda net: swap_modules(net, ACTS, new))

@fault('reinit', where=any_of('batchnorm', 'layernorm'))
def norms_are_missing(s, u, b, r): # lost in a port from another framework; the weights have its scale
    @torch.no_grad()
    def scale(net):
        for _,p in matrices(net): p.mul_(tens(0, .9)(u))
    s.put('net', lambda net: swap_modules(net, NORMS, nn.Identity))
    s.put('net', scale, 'reinit')

@fault('lower_dropout', where=any_of('dropout'))
def far_too_much_dropout(s, u, b, r): # keep_prob, in a framework where p is what goes
    def drown(net):
        for m in net.modules():
            if isinstance(m, nn.Dropout): m.p = 1 - tens(-.3, -2.7)(u)
    s.put('net', drown, 'lower_dropout')

@fault('lower_weight_decay')
def far_too_much_decay(s, u, b, r): # Adam's decay for AdamW or the reverse; 5e-1 for 5e-4
    decoupled = s.optimizer in (torch.optim.SGD, torch.optim.AdamW)
    s.wd = tens(-3, -.5)(u)/s.lr if decoupled else tens(-3, 1)(u)


# ------------------------------------------------------------------------------------------------ controls: healthy, and odd to look at

@control()
def long_warm_up(s, b, r): s.put('rate', lambda i, k: k*min(1., (i + 1)/(.45*s.steps)))

@control()
def rate_of_zero_at_first(s, b, r): # the schedule's first step comes late
    s.put('rate', lambda i, k: 0. if i < .08*s.steps else k)

@control()
def square_root_decay(s, b, r): s.put('rate', lambda i, k: k/math.sqrt(1 + 6*i/s.steps))

@control()
def sawtooth(s, b, r): # cycles of 40 batches
    s.put('rate', lambda i, k: k*(1.4 - 1.2*(i % 40)/40))

@control(lambda p: issubclass(p, Classes) and p is not NumeralStudent)
def smoothed_labels(s, b, r):
    s.put('loss', lambda i, o, batch: F.cross_entropy(o, batch[-1], reduction='none', label_smoothing=.15))

@control(lambda p: p in (FashionResNet, NumeralMixer))
def cut_and_paste(s, b, r): # CutMix: the loss is a mixture as well
    now = {}
    def mix(batch):
        x, y = batch
        now['k'], cut = torch.randperm(len(x), generator=s.dice), int(torch.randint(3, 8, (1,), generator=s.dice))
        x, now['share'] = x.clone(), 1 - cut*cut/196
        x[..., :cut, :cut] = x[now['k'], ..., :cut, :cut]
        return x, y
    s.put('batch', lambda i, batch: mix(batch))
    def loss(i, o, batch):
        a, c = (F.cross_entropy(o, y, reduction='none') for y in (batch[-1], batch[-1][now['k']]))
        return now['share']*a + (1 - now['share'])*c
    s.put('loss', loss)

@control(none_of('pairs', 'batchnorm'))
def micro_batches(s, b, r): s.accumulate = 4

@control()
def averaged_weights(s, b, r): s.average = .95

@control()
def strict_clipping(s, b, r): # half of what gradients have at their beginning, say; a sum is larger
    s.clip = {'SGD': 2. if s.has('classes') else 20.}.get(s.optimizer.__name__, .3)

@control(lambda p: issubclass(p, Classes) and p is not WineSum)
def only_the_head_is_new(s, b, r): # a body that was trained before, and does not move
    other = Script(type(s.project).__name__, s.seed + 500_000)
    other.steps = int(.8*other.steps)
    def load(net):
        run(other, watched=0)
        net.load_state_dict(other.net.state_dict())
        net.head.reset_parameters()
        for n,p in net.named_parameters(): p.requires_grad_(n.startswith('head'))
    s.put('net', load)

@control(none_of('batchnorm', 'pairs'))
def small_batches(s, b, r): s.bs, s.lr, s.steps = max(8, s.bs//4), s.lr*(1. if s.reduction == 'sum' else .5), int(1.2*s.steps)

@control(none_of('density', 'pairs'))
def head_of_zeros(s, b, r): # a plateau, until the body gets a gradient
    @torch.no_grad()
    def zero(net):
        for p in net.head.parameters(): p.mul_(0.)
    s.put('net', zero)

@control(lambda p: p.optimizer not in (torch.optim.SGD, torch.optim.Adadelta) and not p.clip)
def loss_in_other_units(s, b, r): # cents, which an adaptive optimizer does not mind
    s.put('each', lambda i, each: 1000*each)

@control(by('SGD'))
def sum_and_a_rate_for_it(s, b, r): # divided by the size of a batch
    s.reduction, s.lr, s.wd = 'sum', s.lr/s.bs, s.wd*s.bs

@control()
def other_optimizer(s, b, r): # a sister of the one that was chosen, with the rate that suits
    name = s.optimizer.__name__
    new, k = {'Adam': ('NAdam', 1.), 'AdamW': ('RAdam', 1.5), 'RMSprop': ('Adam', 1.5), 'Adagrad': ('Adam', .3), 'Adadelta': ('Adamax', .006),
        'SGD': ('SGD', 1.)}[name]
    s.optimizer, s.lr = getattr(torch.optim, new), s.lr*k
    if new != 'SGD': s.options = {}
    else: s.options, s.lr = dict(momentum=.8), 1.5*s.lr

@control(any_of('floats'))
def jittered_inputs(s, b, r): s.put('batch', lambda i, t: changed(lambda x: x + .1*torch.randn(x.shape, generator=s.dice))(t))

@control(lambda p: issubclass(p, Classes) and p is not NumeralStudent)
def a_few_wrong_labels(s, b, r):
    def wrong(train):
        y, k = train[-1].clone(), torch.rand(len(train[-1]), generator=s.dice) < .05
        y[k] = y[torch.randint(len(y), (int(k.sum()),), generator=s.dice)]
        return (*train[:-1], y)
    s.put('data', wrong)

@control(none_of('q'))
def a_layer_nobody_calls(s, b, r): # a projection for a later stage of the project
    s.put('net', lambda net: net.add_module('later', nn.Linear(16, 16)))

@control(lambda p: 'floats' in p.traits and p.clip)
def one_odd_batch(s, b, r): # and clipping, which holds it
    at = int(r.integers(20, 90))
    s.put('batch', lambda i, t: changed(lambda x: 4*x)(t) if i == at else t)

@control(none_of('q'))
def looks_often(s, b, r): s.looks = 10

@control(lambda p: 'dropout' in p.traits)
def more_dropout(s, b, r):
    for m in s.net.modules():
        if isinstance(m, nn.Dropout): m.p = .25


# ------------------------------------------------------------------------------------------------ faults that begin late

def lines_from(s, place, b, f, remedy=''): s.put(place, after(b, f), remedy)

@late_fault('lower_lr')
def rate_jumps(s, u, b, r): # resumed with another configuration
    s.put('rate', lambda i, k: k*tens(.7, 2.8)(u) if i >= b else k)
    return ['optimizer']

@late_fault('lower_lr')
def rate_climbs(s, u, b, r): # gamma is 1/0.97
    s.put('rate', lambda i, k: k*10**(tens(-.7, .5)(u)*max(0, i - b)/100))
    return ['optimizer']

@late_fault('normalise_inputs', 'clean_data', where=any_of('floats'))
def another_unit(s, u, b, r): # newer files are in other units, and somewhere else
    size, offset = tens(.4, 2.3)(u), float(r.choice([0., 2.]))
    lines_from(s, 'batch', b, changed(lambda x: size*(x + offset)))
    return ['input']

@late_fault('clean_data', where=any_of('floats'))
def sensor_is_dark(s, u, b, r):
    share = .5 + .5*u
    lines_from(s, 'batch', b, changed(lambda x: x*(torch.rand(len(x), generator=s.dice) >= share).view(-1, *[1]*(x.dim() - 1))))
    return ['input']

@late_fault('clean_data', where=any_of('floats'))
def another_distribution(s, u, b, r): # a new camera: inverted, or with its columns in another order
    share, k = min(1., .4 + .8*u), torch.randperm(s.train[0].shape[-1], generator=s.dice)
    def other(x):
        some = (torch.rand(len(x), generator=s.dice) < share).view(-1, *[1]*(x.dim() - 1))
        return torch.where(some, -x if x.dim() > 2 else x[:, k], x)
    lines_from(s, 'batch', b, changed(other))
    return ['input']

@late_fault('clean_data')
def few_samples_again_and_again(s, u, b, r): # the loader's file list has shrunk: what is left is learnt by heart
    k = torch.randperm(len(s.train[0]), generator=s.dice)[:max(2, int(tens(1.7, .3)(u)))]
    s.put('pick', lambda i, n: k[torch.randint(len(k), (n,), generator=s.dice)] if i >= b else None)
    return []

@late_fault('clean_data', 'lower_lr')
def overfitting(s, u, b, r): # from here on a small part of the data, no dropout, no decay, a larger rate
    k = torch.randperm(len(s.train[0]), generator=s.dice)[:max(6, int(tens(2, 1)(u)))]
    s.looks = s.looks or 25
    s.put('pick', lambda i, n: k[torch.randint(len(k), (n,), generator=s.dice)] if i >= b else None)
    def free(i, opt):
        if i != b: return
        for g in opt.param_groups: g['weight_decay'] = 0.
        for m in s.net.modules():
            if isinstance(m, nn.Dropout): m.p = 0.
    s.put('begin', free)
    s.put('rate', lambda i, k: 2*k if i >= b else k)
    return []

@late_fault('clean_data', 'fix_loss', where=none_of('density'))
def answers_come_loose(s, u, b, r): # inputs are shuffled by a new worker, answers are not
    share = min(1., .3 + .9*u)
    def mix(t):
        k = torch.arange(len(t[-1]))
        some = k[torch.rand(len(k), generator=s.dice) < share]
        k[some] = some[torch.randperm(len(some), generator=s.dice)]
        return answers(t, t[-1][k])
    lines_from(s, 'batch', b, mix)
    return ['loss']

@late_fault('clean_data', where=none_of('density', 'pairs', 'sequence'))
def one_kind_of_answer(s, u, b, r): # the last files hold one class, or the largest values
    order = sort_key(s.train[-1]).argsort()
    part = order[-int(len(order)*tens(-.3, -1)(u)):]
    s.put('pick', lambda i, n: part[torch.randint(len(part), (n,), generator=s.dice)] if i >= b else None)
    return ['loss']

@late_fault('fix_loss')
def loss_changes_its_sign(s, u, b, r): # a term is subtracted, and it wins
    lines_from(s, 'each', b, lambda each: each*(.3 - 1.3*u))
    return ['loss']

@late_fault('reinit', 'lower_weight_decay')
def a_layer_grows(s, u, b, r): # a constraint with its sign turned
    n, p = matrices(s.net)[int(r.integers(len(matrices(s.net))))]
    grow = 1 + tens(-3, -1.2)(u)
    s.put('stepped', lambda i, opt: p.data.mul_(grow) if i >= b else None)
    return both([n])

@late_fault('higher_precision')
def weights_are_rounded(s, u, b, r): # kept with a few bits from here on: most updates are lost
    bits = int(10 - 9*u)
    @torch.no_grad()
    def short(i, opt):
        if i < b: return
        for p in s.net.parameters():
            m, e = torch.frexp(p)
            p.copy_(torch.ldexp((m*2**bits).round()/2**bits, e))
    s.put('stepped', short)
    return []

@late_fault('higher_precision')
def scale_grows_until_infinity(s, u, b, r): # gradients in float16, and their scale doubles; nobody skips such steps
    every = max(3, int(30 - 24*u))
    def scaled(i, ps):
        if i < b: return
        k = 2.**(8 + (i - b)//every)
        for p in ps: p.grad = (p.grad*k).half().float()/k
    s.put('gradients', scaled)
    return ['optimizer']

@late_fault('reinit', 'lower_lr', where=lambda p: len(p.relus) > 0)
def units_die_one_by_one(s, u, b, r):
    name = s.project.relus[int(r.integers(len(s.project.relus)))]
    bias, speed = s.net.get_submodule(name).bias, max(1, int(tens(1.6, 0)(u)))
    order = torch.randperm(len(bias), generator=s.dice)
    @torch.no_grad()
    def kill(i, opt):
        if i >= b: bias[order[:(i - b)//speed]] = -60.
    s.put('stepped', kill)
    return both([name + '.bias'])

@late_fault('unfreeze')
def part_stops(s, u, b, r): # frozen "for the last phase", which begins too soon
    names = [n for n,_ in matrices(s.net)]
    out = set(names[:max(1, round(u*len(names)))])
    def freeze(i, opt):
        if i == b:
            for n,p in s.net.named_parameters():
                if n in out: p.requires_grad_(False)
    s.put('begin', freeze)
    return both(sorted(out))

@late_fault('fix_loss', 'reinit', where=lambda p: len(p.cuts) > 0)
def layer_gives_nothing(s, u, b, r): # multiplied by a gate, which closes
    name, now = s.project.cuts[int(r.integers(len(s.project.cuts)))], [0]
    s.put('begin', lambda i, opt: now.__setitem__(0, i))
    gate = tens(-.2, -3)(u)
    s.put('net', lambda net: net.get_submodule(name).register_forward_hook(lambda m, x, o: gate*o if now[0] >= b else o))
    return [name]

@late_fault('fix_loss', 'unfreeze', where=lambda p: len(p.cuts) > 0)
def cut_off(s, u, b, r): # .detach() in the branch of the second phase
    cuts, now = s.project.cuts, [0]
    name = cuts[min(len(cuts) - 1, int(u*len(cuts)))]
    s.put('begin', lambda i, opt: now.__setitem__(0, i))
    s.put('net', lambda net: net.get_submodule(name).register_forward_hook(lambda m, x, o: o.detach() if now[0] >= b else o))
    return [name]

@late_fault('zero_grad')
def gradients_pile_up(s, u, b, r):
    n = int(tens(.5, 2.8)(u))
    s.put('keep', lambda i: i >= b and i % n != 0)
    return []

@late_fault('train_mode', where=any_of('batchnorm'))
def norms_stay_in_eval(s, u, b, r):
    def still(i, opt):
        for m in s.net.modules():
            if i >= b and isinstance(m, nn.BatchNorm2d): m.eval()
    s.put('begin', still)
    s.put('rate', lambda i, k: k*(1 + 3*u) if i >= b else k)
    return [n for n,m in s.net.named_modules() if isinstance(m, nn.BatchNorm2d)]

@late_fault('lower_dropout', where=any_of('dropout'))
def dropout_of_a_new_phase(s, u, b, r):
    found = {n: m for n,m in s.net.named_modules() if isinstance(m, nn.Dropout)}
    def set_p(i, opt):
        if i == b:
            for m in found.values(): m.p = 1 - tens(-.3, -2.5)(u)
    s.put('begin', set_p)
    return list(found)

@late_fault('lower_weight_decay')
def decay_of_a_new_phase(s, u, b, r):
    keep = 1 - tens(-3, -.8)(u)
    @torch.no_grad()
    def shrink(i, opt):
        if i < b: return
        for _,p in matrices(s.net): p.mul_(keep)
    s.put('stepped', shrink)
    return ['optimizer']

@late_fault('reinit')
def corrupted(s, u, b, r): # a checkpoint with holes in it, a bit that flipped
    n, p = matrices(s.net)[int(r.integers(len(matrices(s.net))))]
    how, g = r.choice(['bit', 'noise', 'nan'], p=[.4, .5, .1]), torch.Generator().manual_seed(int(r.integers(2**31)))
    @torch.no_grad()
    def spoil(i, opt):
        if i != b: return
        if how == 'nan': p.view(-1)[0] = math.nan
        elif how == 'bit': p.view(-1)[int(torch.randint(p.numel(), (1,), generator=g))] = tens(0, 6)(u)
        else: p.copy_(torch.randn(p.shape, generator=g)*tens(-.3, 1)(u))
    s.put('begin', spoil)
    return both([n])


# ------------------------------------------------------------------------------------------------ and late changes that do no harm

@late_control()
def rate_halved(s, b, r): s.put('rate', lambda i, k: .4*k if i >= b else k)

@late_control()
def warmed_up_again(s, b, r): s.put('rate', lambda i, k: k*min(1., .05 + max(0, i - b)/40) if i >= b else k)

@late_control()
def rests_for_a_while(s, b, r): # a rate of zero for 30 steps: somebody waits for a disk
    s.put('rate', lambda i, k: 0. if b <= i < b + 30 else k)

@late_control()
def batches_doubled(s, b, r):
    def double(i, opt):
        if i == b: s.bs, s.lr = 2*s.bs, s.lr*(.5 if s.reduction == 'sum' else 1.)
    s.put('begin', double)

@late_control()
def other_files(s, b, r): # of the same kind
    order = torch.randperm(len(s.train[0]), generator=s.dice)
    first, second = order[:len(order)//2], order[len(order)//2:]
    def pick(i, n):
        part = first if i < b else second
        return part[torch.randint(len(part), (n,), generator=s.dice)]
    s.put('pick', pick)

@late_control(any_of('floats'))
def slight_noise(s, b, r): lines_from(s, 'batch', b, changed(lambda x: x + .08*torch.randn(x.shape, generator=s.dice)))

@late_control()
def clipped_from_here(s, b, r):
    def on(i, opt):
        if i == b: s.clip = 5. if s.reduction == 'sum' else 1.
    s.put('begin', on)

@late_control()
def averaged_from_the_start(s, b, r): s.average = .98

@late_control(lambda p: p is not WineSum)
def front_waits(s, b, r): # gradual unfreezing
    first = matrices(s.net)[0][1]
    s.put('begin', lambda i, opt: first.requires_grad_(i >= min(b, 200)))

@late_control(any_of('dropout'))
def slightly_more_dropout(s, b, r):
    def set_p(i, opt):
        for m in s.net.modules():
            if i == b and isinstance(m, nn.Dropout): m.p = .2
    s.put('begin', set_p)

@late_control()
def saved_and_loaded(s, b, r): # everything is stored and comes back as it was
    def again(i, opt):
        if i == b:
            s.net.load_state_dict(copy.deepcopy(s.net.state_dict()))
            opt.load_state_dict(copy.deepcopy(opt.state_dict()))
    s.put('begin', again)

@late_control(lambda p: p.optimizer.__name__ not in ('SGD', 'Adagrad', 'Adadelta') and not p.clip)
def loss_gets_a_weight(s, b, r): lines_from(s, 'each', b, lambda each: 3*each)


# ------------------------------------------------------------------------------------------------ cures, by somebody who knows the advice alone

def cure(s, remedy, factor):
    s.take_out(remedy)
    if remedy == 'lower_lr': s.lr /= factor
    if remedy == 'raise_lr':
        s.lr, s.constant, s.lines['rate'] = s.lr*factor, True, []
    if remedy == 'clip_gradients': s.clip = 1.
    if remedy == 'reinit': s.put('net', default_weights)
    if remedy == 'normalise_inputs': standardise(s)
    if remedy == 'unfreeze':
        s.groups = []
        s.put('net', lambda net: net.requires_grad_(True))
    if remedy == 'lower_weight_decay': s.wd /= 1000
    if remedy == 'lower_dropout': s.put('net', less_dropout)
    if remedy == 'fix_loss': s.reduction = s.project.reduction
    if remedy == 'higher_precision': s.dtype = torch.float32
    if remedy == 'bigger_batch': s.bs = max(64, s.bs)

def default_weights(net):
    for m in net.modules():
        f = getattr(m, 'reset_parameters', None) or getattr(m, '_reset_parameters', None)
        if f: f()

def less_dropout(net):
    for m in net.modules():
        if isinstance(m, nn.Dropout): m.p = min(m.p, .1)

def standardise(s):
    "Columns of tables, all else as a whole, by what comes in"
    earlier, stats = list(s.at('input')), {}
    def before(k, x):
        for f in earlier: x = f(k, x)
        return x
    inputs = s.project.inputs(s.train)
    for k,x in enumerate(inputs):
        if not x.is_floating_point(): continue
        x = before(k, x[:3000])
        dims = 0 if x.dim() == 2 else tuple(range(x.dim()))
        stats[k] = x.mean(dims), x.std(dims) + 1e-8
    s.put('input', lambda k, x: (x - stats[k][0])/stats[k][1])


# ------------------------------------------------------------------------------------------------ the contract

def lottery(seed, archs, healthy, harmless, controls, faults, salt):
    "Shares of healthy runs and of controls; all others have a fault"
    r = np.random.default_rng([salt, seed])
    p, archs = r.random(), sorted(archs)
    arch = archs[int(r.integers(len(archs)))]
    def one_of(found): # what few projects can have comes more often there
        where = {k: sum(v[-1](p) for p in PROJECTS.values()) for k,v in sorted(found.items()) if v[-1](PROJECTS[arch])}
        odds = np.array([n**-.7 for n in where.values()])
        return str(r.choice(list(where), p=odds/odds.sum()))
    if p < healthy: return Config(arch, 'healthy', '', 0., seed)
    if p < healthy + harmless: return Config(arch, 'control', one_of(controls), 0., seed)
    return Config(arch, 'fault', one_of(faults), round(float(r.random()), 4), seed)

def draw(seed:int)->Config:
    "A run at random; each fifth is healthy, and these take turns"
    if seed % 5 == 0: return Config(sorted(PROJECTS)[seed//5 % len(PROJECTS)], 'healthy', '', 0., seed)
    return lottery(seed, PROJECTS, 0., .25/.8, CONTROLS, FAULTS, 61)

def right(c:Config)->tuple:
    "What somebody does who knows the fault: remedy and factor"
    if c.kind != 'fault': return 'none', 1.
    _, remedy, factor, _ = FAULTS[c.what]
    p = PROJECTS[c.arch]
    return remedy(p) if callable(remedy) else remedy, float(factor(c.severity, p) if callable(factor) else factor)

def script(c:Config)->Script:
    s, r = Script(c.arch, c.seed), np.random.default_rng([62, c.seed])
    b = int(r.integers(15, 75)) if r.random() < .3 else 0
    if c.kind == 'fault': FAULTS[c.what][0](s, c.severity, b, r)
    if c.kind == 'control': CONTROLS[c.what][0](s, b, r)
    for remedy,factor in c.cures: cure(s, remedy, factor)
    torch.manual_seed(9 + c.seed)
    return s

def told(losses): return [round(v, 6) if math.isfinite(v) else None for v in losses]

def train(c:Config)->tuple: # what came out, and the recording of the first hundred batches
    start = time.perf_counter()
    s = script(c)
    losses, rec = run(s)
    return dict(**asdict(c), steps=s.steps, metric=judge(s), chance=s.project.chance, losses=told(losses), seconds=time.perf_counter() - start), rec

def draw_late(seed:int)->Config:
    "One in eight healthy, a quarter controls, all others with a fault that begins after step 150"
    return lottery(seed, LATE, .125, .25, LATE_CONTROLS, LATE_FAULTS, 63)

def late_script(c:Config, sound=False)->tuple: # the script, when its change begins, and where
    s, r = Script(c.arch, c.seed, late=True), np.random.default_rng([64, c.seed])
    b, s.looks, layers = int(r.integers(151, int(.65*s.steps))), int(r.choice([0, 0, 0, 25, 30, 50])), []
    if c.kind == 'fault' and not sound: layers = LATE_FAULTS[c.what][0](s, c.severity, b, r)
    if c.kind == 'control' and not sound: LATE_CONTROLS[c.what][0](s, b, r)
    torch.manual_seed(9 + c.seed)
    return s, b, layers

def train_late(c:Config)->tuple: # what came out, and the recording of all batches
    start = time.perf_counter()
    s, b, layers = late_script(c)
    losses, rec = run(s, watched=s.steps)
    metric = twin = judge(s)
    if c.kind != 'healthy':
        other, _, _ = late_script(c, sound=True)
        run(other, watched=0)
        twin = judge(other)
    chance = s.project.chance
    harmed = not math.isfinite(metric) or (metric - chance)/(twin - chance) < .9
    return dict(**asdict(c), steps=s.steps, begins=b if c.kind == 'fault' else -1, metric=metric, chance=chance, twin=twin, harmed=bool(harmed),
        layers=list(layers), remedies=list(LATE_FAULTS[c.what][1]) if c.kind == 'fault' else [], losses=told(losses), seconds=time.perf_counter() - start), rec
