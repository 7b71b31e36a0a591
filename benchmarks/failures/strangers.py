"""Strangers: trainings that nothing was fitted to or tuned with. They are the exam, and they follow what people ask about in forums.

Fourteen projects, each with a habit of its own: a loss in the model, a closure, accumulation, two
parameter groups, an evaluation now and then.
The faults are those of surveys of real ones (Humbatova et al. 2020, Zhang et al. 2021, Karpathy's recipe):
a line in the wrong place, a wrong number, broken data.

    python benchmarks/failures/store.py strangers 4        # trial
    python benchmarks/failures/store.py strangers 3 -late
"""
from dataclasses import asdict
from functools import lru_cache
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


# ------------------------------------------------------------------------------------------------ what is measured

def hits(o, y): return (o.argmax(-1) == y).double().mean().item()

def explained(o, y):
    o, y = o.double(), y.double()
    return 1 - ((o - y)**2).mean().item()/((y - y.mean(0))**2).mean().item()

def auc(score, positive):
    from sklearn.metrics import roc_auc_score
    return float(roc_auc_score(positive.numpy(), score.double().numpy()))


# ------------------------------------------------------------------------------------------------ data

def tensors(*arrays): return tuple(torch.tensor(a, dtype=torch.float32 if np.asarray(a).dtype.kind == 'f' else torch.long) for a in arrays)

def parts(arrays, n_valid, seed=5):
    "Training and held-out rows of arrays that are aligned"
    k = torch.randperm(len(arrays[0]), generator=torch.Generator().manual_seed(seed))
    return tuple(a[k[n_valid:]] for a in arrays), tuple(a[k[:n_valid]] for a in arrays)

@lru_cache
def pictures(name, n=5000, n_valid=1000):
    "The first rows of MNIST or Fashion-MNIST, brought to 14x14, between 0 and 1"
    from actstats.datasets import _HUB, _from_hub, _from_mirror, column
    mirror = os.environ.get('ACTSTATS_DATA')
    dsd = _from_mirror(Path(mirror)/name) if mirror else _from_hub(_HUB[name])
    def half(split, n):
        rows = dsd[split].select(range(n))
        return F.avg_pool2d(column(rows, 'image').float()/255, 2), column(rows, 'label').long()
    return half('train', n), half('test', n_valid)

@lru_cache
def clothes():
    (x, y), (xv, yv) = pictures('fashion_mnist')
    m, s = x.mean(), x.std()
    return ((x - m)/s, y), ((xv - m)/s, yv)

@lru_cache
def pairs():
    "Two handwritten digits: the same number or not?"
    def pair(x, y, n, seed):
        r = np.random.default_rng(seed)
        a, same, by = r.integers(len(y), size=n), r.random(n) < .5, [np.flatnonzero(y.numpy() == c) for c in range(10)]
        b = np.array([r.choice(by[y[i]]) if s else r.choice(by[(y[i] + r.integers(1, 10)) % 10]) for i,s in zip(a, same)])
        return (x[a] - .1307)/.3081, (x[b] - .1307)/.3081, torch.tensor(same).float()
    train, valid = pictures('mnist', 3000, 600)
    return pair(*train, 6000, 0), pair(*valid, 1200, 1)

@lru_cache
def discs():
    "Coloured pictures with a disc and a square on a textured ground; the mask is the disc"
    r, n, w = np.random.default_rng(2), 1300, 24
    i, j = np.mgrid[:w, :w]
    x, mask = np.zeros((n, 3, w, w), 'f'), np.zeros((n, 1, w, w), 'f')
    for k in range(n):
        ground = r.random((3, 1, 1))*.5 + .1*np.sin(i*r.uniform(.2, 1) + j*r.uniform(.2, 1))
        a, b, s = r.integers(0, w - 7, size=2).tolist() + [r.integers(4, 8)]
        ground[:, a:a + s, b:b + s] = r.random((3, 1, 1))
        c, d, rad = r.uniform(5, w - 5), r.uniform(5, w - 5), r.uniform(3, 6)
        inside = (i - c)**2 + (j - d)**2 < rad**2
        x[k] = np.where(inside, r.random((3, 1, 1)), ground) + r.normal(0, .04, (3, w, w))
        mask[k, 0] = inside
    return parts(tensors((x - .4)/.28, mask), 260)

@lru_cache
def photo():
    "Where in a photograph, and which colour? scikit-learn's temple"
    from sklearn.datasets import load_sample_image
    im = torch.tensor(load_sample_image('china.jpg')).permute(2, 0, 1)[None].float()/255
    im = F.interpolate(im, size=(64, 96), mode='area')[0]
    i, j = torch.meshgrid(torch.linspace(-1, 1, 64), torch.linspace(-1, 1, 96), indexing='ij')
    return parts((torch.stack([i, j], -1).reshape(-1, 2), im.permute(1, 2, 0).reshape(-1, 3)), 1200)

@lru_cache
def weather():
    "Two days of temperatures, by the hour; the next six hours"
    r, n = np.random.default_rng(4), 9000
    t, slow, fast = np.arange(n), np.zeros(n), np.zeros(n)
    for k in range(1, n): slow[k], fast[k] = .995*slow[k-1] + r.normal(0, .5), .8*fast[k-1] + r.normal(0, .35)
    temp = 14 + 6*np.sin(2*np.pi*t/24)*(1 + .3*np.sin(2*np.pi*t/400)) + slow + fast
    z = ((temp - temp[:7000].mean())/temp[:7000].std()).astype('f')
    x = np.lib.stride_tricks.sliding_window_view(z, 54)
    x = torch.tensor(x[::2].copy())
    return (x[:3400, None, :48], x[:3400, 48:]), (x[3480:, None, :48], x[3480:, 48:])

@lru_cache
def pulses():
    "Signals with two pulses and a little noise"
    r, n = np.random.default_rng(6), 4000
    t = np.linspace(0, 1, 48)[None]
    x = sum(r.uniform(.5, 1.5, (n, 1))*np.exp(-((t - r.uniform(lo, lo + .4, (n, 1)))/r.uniform(.06, .1))**2) for lo in (.05, .55))
    x = ((x - x.mean())/x.std() + r.normal(0, .05, x.shape)).astype('f')
    return parts((*tensors(x),)*2, 600)

@lru_cache
def dirty_clothes():
    "Pictures with noise and a bar over them; the clean ones"
    def spoil(x, seed):
        g = torch.Generator().manual_seed(seed)
        noisy = (x + .25*torch.randn(x.shape, generator=g)).clamp(0, 1)
        for k,c in enumerate(torch.randint(12, (len(x),), generator=g).tolist()): noisy[k, :, :, c:c + 2] = 0
        return (noisy - .5)/.35, x
    (x, _), (xv, _) = pictures('fashion_mnist')
    return spoil(x, 0), spoil(xv, 1)

@lru_cache
def blobs():
    "How many bright spots does a picture have?"
    r, n, w = np.random.default_rng(8), 3000, 20
    i, j = np.mgrid[:w, :w]
    y, x = r.integers(0, 8, n), r.normal(0, .08, (n, 1, w, w))
    for k in range(n):
        for _ in range(y[k]): x[k, 0] += r.uniform(.7, 1.2)*np.exp(-((i - r.uniform(1, w - 1))**2 + (j - r.uniform(1, w - 1))**2)/3)
    return parts(tensors(x.astype('f')/.4, y.astype('f')[:, None]), 500)

@lru_cache
def ratings():
    "Which user, which film, how many stars?"
    r, n = np.random.default_rng(9), 16000
    u, f = r.normal(0, .8, (150, 4)), r.normal(0, .8, (100, 4))
    i, j = r.integers(150, size=n), r.integers(100, size=n)
    stars = 3.4 + r.normal(0, .6, 150)[i] + r.normal(0, .5, 100)[j] + (u[i]*f[j]).sum(1)*.5 + r.normal(0, .25, n)
    return parts(tensors(np.stack([i, j], 1), stars.astype('f')[:, None]), 2000)

@lru_cache
def manual():
    "The topics of Python's own documentation, as one text"
    from pydoc_data.topics import topics
    return {k: ' '.join(v.split()) for k,v in sorted(topics.items())}

ALPHABET = " etaoinsrhldcumfpgybwvkxjqz.,()'\"_-*=:;[]{}<>+/%|&#@!0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"

@lru_cache
def letters():
    "32 letters; the next ones"
    text = ''.join(manual()[k] for k in ('compound', 'formatstrings', 'customization', 'debugger', 'execmodel', 'assignment'))
    ids = torch.tensor([max(0, ALPHABET.find(c)) for c in text])
    rows = ids[:len(ids)//33*33].reshape(-1, 33)
    return parts((rows[:, :-1].contiguous(), rows[:, 1:].contiguous()), 400)

@lru_cache
def topic_words():
    "24 words; from which of six topics?"
    from zlib import crc32
    xs, ys, held = [], [], []
    for c,k in enumerate(('compound', 'formatstrings', 'string-methods', 'debugger', 'customization', 'execmodel')):
        ids = [1 + crc32(w.lower().encode()) % 1499 for w in manual()[k].split()[:3200]]
        for block in range(0, len(ids) - 120, 120):
            for a in range(block, block + 97, 4): xs.append(ids[a:a + 24]); ys.append(c); held.append(block//120 % 4 == 3)
    x, y, held = torch.tensor(xs), torch.tensor(ys), torch.tensor(held)
    return (x[~held], y[~held]), (x[held], y[held])

@lru_cache
def spirals():
    "Which of three arms?"
    r, n = np.random.default_rng(11), 3600
    y, t = r.integers(3, size=n), np.sqrt(r.random(n))
    angle = 2*np.pi*(y/3 + .9*t)
    x = np.stack([t*np.cos(angle), t*np.sin(angle)], 1) + r.normal(0, .02, (n, 2))
    return parts(tensors((x/.5).astype('f'), y), 600)

@lru_cache
def wearables():
    "Three channels of an accelerometer, 24 readings: which of five activities?"
    r, n = np.random.default_rng(12), 3000
    y, t = r.integers(5, size=n), np.arange(24)[None, :, None]
    speed = np.array([.0, .35, .55, .55, .9])[y][:, None, None]*r.uniform(.9, 1.1, (n, 1, 1))
    amp = np.array([.05, .6, 1., 1., .8])[y][:, None, None]*r.uniform(.7, 1.3, (n, 1, 3))
    jerk = np.array([0, 0, 0, .7, .2])[y][:, None, None]
    phase = r.uniform(0, 6.28, (n, 1, 1)) + np.array([0, 1.5, 3.])
    x = amp*np.sin(speed*t + phase) + jerk*amp*np.sin(2*speed*t + 1.3*phase) + r.normal(0, .3, (n, 24, 3)) + r.normal(0, .2, (n, 1, 3))
    return parts(tensors((x/.75).astype('f'), y), 600)

@lru_cache
def tumours():
    "Thirty measurements of a cell's nucleus: malignant? scikit-learn's Wisconsin table"
    from sklearn.datasets import load_breast_cancer
    d = load_breast_cancer()
    x = (d.data - d.data.mean(0))/d.data.std(0)
    return parts(tensors(x.astype('f'), d.target.astype('f')[:, None]), 190)


# ------------------------------------------------------------------------------------------------ networks

class Net(nn.Module):
    "What all have in common: some people put one more activation behind the last layer"
    act_out = None
    def end(self, o): return o if self.act_out is None else self.act_out(o)

class Separable(Net):
    "Depthwise convolutions, each followed by a pointwise one"
    def __init__(self, drop=.1, act=nn.Hardswish):
        super().__init__()
        def conv(a, b, k, stride=1, groups=1): return nn.Conv2d(a, b, k, stride, k//2, groups=groups, bias=False)
        def pair(a, b, stride): return [conv(a, a, 3, stride, a), conv(a, b, 1), nn.BatchNorm2d(b), act()]
        self.features = nn.Sequential(conv(1, 16, 3), nn.BatchNorm2d(16), act(),
            *pair(16, 32, 2), *pair(32, 32, 1), *pair(32, 64, 2))
        self.dropout, self.classifier = nn.Dropout(drop), nn.Linear(64, 10)
    def forward(self, x): return self.end(self.classifier(self.dropout(self.features(x).mean((2, 3)))))

class Siamese(Net):
    "Two pictures through one encoder; their distance"
    def __init__(self):
        super().__init__()
        self.tower = nn.ModuleDict(dict(c1=nn.Conv2d(1, 12, 3, 2, 1), c2=nn.Conv2d(12, 24, 3, 2, 1),
            fc=nn.Linear(384, 48), emb=nn.Linear(48, 12)))
    def embed(self, x):
        t = self.tower
        x = F.leaky_relu(t['c2'](F.leaky_relu(t['c1'](x), .1)), .1).flatten(1)
        return self.end(t['emb'](F.relu(t['fc'](x))))
    def forward(self, a, b): return (self.embed(a) - self.embed(b)).square().sum(1).add(1e-6).sqrt()

class TinyUNet(Net):
    def __init__(self):
        super().__init__()
        def block(a, b): return nn.Sequential(nn.Conv2d(a, b, 3, padding=1), nn.GroupNorm(4, b), nn.ReLU())
        self.down1, self.down2, self.middle = block(3, 12), block(12, 24), block(24, 24)
        self.up = nn.ConvTranspose2d(24, 12, 2, 2)
        self.merge, self.mask = block(24, 12), nn.Conv2d(12, 1, 1)
    def forward(self, x):
        skip = self.down1(x)
        deep = self.middle(self.down2(F.max_pool2d(skip, 2)))
        return self.end(self.mask(self.merge(torch.cat([skip, self.up(deep)], 1))))

class Segmenter(nn.Module):
    "The trainer's object, as some frameworks want it: the network is inside and the loss is its own"
    def __init__(self):
        super().__init__()
        self.backbone = TinyUNet()
    def training_step(self, x, mask):
        logits = self(x).float()
        p = logits.sigmoid()
        dice = 1 - (2*(p*mask).sum((1, 2, 3)) + 1)/(p.sum((1, 2, 3)) + mask.sum((1, 2, 3)) + 1)
        return F.binary_cross_entropy_with_logits(logits, mask) + dice.mean(), logits
    def forward(self, x): return self.backbone(x)

class Coordinates(Net):
    "Sines of many frequencies, then a plain network"
    def __init__(self, width=64):
        super().__init__()
        self.register_buffer('freq', torch.randn(2, 48)*4)
        self.body = nn.ModuleList([nn.Linear(96, width), nn.Linear(width, width), nn.Linear(width, width)])
        self.rgb = nn.Linear(width, 3)
    def forward(self, xy):
        h = xy @ self.freq
        h = torch.cat([h.sin(), h.cos()], -1)
        for layer in self.body: h = F.gelu(layer(h))
        return self.end(self.rgb(h))

class Causal(nn.Module):
    def __init__(self, a, b, dilation, drop):
        super().__init__()
        self.pad = 2*dilation
        self.conv = nn.utils.parametrizations.weight_norm(nn.Conv1d(a, b, 3, dilation=dilation))
        self.drop, self.skip = nn.Dropout(drop), nn.Conv1d(a, b, 1) if a != b else nn.Identity()
    def forward(self, x): return self.drop(F.relu(self.conv(F.pad(x, (self.pad, 0))))) + self.skip(x)

class TCN(Net):
    def __init__(self, c=24, drop=.05):
        super().__init__()
        self.blocks = nn.Sequential(*[Causal(1 if d == 1 else c, c, d, drop) for d in (1, 3, 9)])
        self.head = nn.Linear(c, 6)
    def forward(self, x): return self.end(self.head(self.blocks(x)[:, :, -1]))

class VAE(Net):
    def __init__(self, z=6):
        super().__init__()
        self.enc = nn.Sequential(nn.Linear(48, 64), nn.LayerNorm(64), nn.ELU(), nn.Linear(64, 32), nn.ELU())
        self.mu, self.logvar = nn.Linear(32, z), nn.Linear(32, z)
        self.dec = nn.Sequential(nn.Linear(z, 32), nn.ELU(), nn.Linear(32, 64), nn.LayerNorm(64), nn.ELU(), nn.Linear(64, 48))
    def forward(self, x):
        h = self.enc(x)
        mu, logvar = self.mu(h), self.logvar(h)
        z = mu + torch.randn_like(mu)*(.5*logvar).exp() if self.training else mu
        return self.end(self.dec(z)), mu, logvar

class Denoiser(Net):
    def __init__(self):
        super().__init__()
        self.squeeze = nn.Sequential(nn.Conv2d(1, 16, 4, 2, 1), nn.PReLU(), nn.Conv2d(16, 24, 3, 2, 1), nn.PReLU())
        self.code, self.decode = nn.Linear(24*16, 40), nn.Linear(40, 24*16)
        self.expand = nn.Sequential(nn.PReLU(), nn.ConvTranspose2d(24, 16, 3, 2, 1), nn.PReLU(), nn.ConvTranspose2d(16, 1, 4, 2, 1))
    def forward(self, x): return self.end(self.expand(self.decode(self.code(self.squeeze(x).flatten(1))).view(-1, 24, 4, 4)))

class Counter(Net):
    "The logarithm of an expected count"
    def __init__(self, drop=.1):
        super().__init__()
        self.conv1, self.conv2, self.conv3 = nn.Conv2d(1, 10, 3, 2, 1), nn.Conv2d(10, 20, 3, 2, 1), nn.Conv2d(20, 20, 3, 1, 1)
        self.fc1, self.fc2, self.dropout = nn.Linear(500, 48), nn.Linear(48, 1), nn.Dropout(drop)
    def forward(self, x):
        x = F.relu(self.conv1(x)); x = F.relu(self.conv2(x)); x = F.relu(self.conv3(x))
        return self.end(self.fc2(self.dropout(F.relu(self.fc1(x.flatten(1))))))

class Factors(Net):
    def __init__(self, k=8):
        super().__init__()
        self.emb = nn.ModuleDict(dict(user=nn.Embedding(150, k), film=nn.Embedding(100, k),
            user_bias=nn.Embedding(150, 1), film_bias=nn.Embedding(100, 1)))
        for e in self.emb.values(): nn.init.normal_(e.weight, 0, .1)
        self.mix = nn.Sequential(nn.Linear(2*k, 24), nn.Mish(), nn.Dropout(.05), nn.Linear(24, 1))
        self.mean = nn.Parameter(torch.tensor(3.))
    def forward(self, ij):
        u, f = self.emb['user'](ij[:, 0]), self.emb['film'](ij[:, 1])
        dot = (u*f).sum(1, keepdim=True) + self.emb['user_bias'](ij[:, 0]) + self.emb['film_bias'](ij[:, 1])
        return self.end(self.mean + dot + self.mix(torch.cat([u, f], 1)))

class Block(nn.Module):
    "Attention by hand, without a single bias"
    def __init__(self, d, heads):
        super().__init__()
        self.heads, self.n1, self.n2 = heads, nn.LayerNorm(d), nn.LayerNorm(d)
        self.qkv, self.proj, self.wide, self.back = (nn.Linear(a, b, bias=False) for a,b in ((d, 3*d), (d, d), (d, 3*d), (3*d, d)))
    def forward(self, x):
        b, t, d = x.shape
        q, k, v = self.qkv(self.n1(x)).view(b, t, 3, self.heads, d//self.heads).permute(2, 0, 3, 1, 4)
        a = (q @ k.transpose(-1, -2))/math.sqrt(d//self.heads)
        a = a.masked_fill(torch.ones(t, t, dtype=torch.bool).triu(1), -1e4).softmax(-1)
        x = x + self.proj((a @ v).transpose(1, 2).reshape(b, t, d))
        return x + self.back(F.silu(self.wide(self.n2(x))))

class LetterModel(Net):
    "Gives a dict, its loss among others, if it knows the labels"
    def __init__(self, d=48, layers=2):
        super().__init__()
        self.wte, self.wpe = nn.Embedding(len(ALPHABET), d), nn.Embedding(32, d)
        for e in (self.wte, self.wpe): nn.init.normal_(e.weight, std=.05)
        self.h, self.ln_f = nn.ModuleList([Block(d, 4) for _ in range(layers)]), nn.LayerNorm(d)
        self.lm_head = nn.Linear(d, len(ALPHABET), bias=False)
    def forward(self, ids, labels=None):
        x = self.wte(ids) + self.wpe.weight[:ids.shape[1]]
        for block in self.h: x = block(x)
        logits = self.end(self.lm_head(self.ln_f(x)))
        return dict(logits=logits, loss=None if labels is None else F.cross_entropy(logits.flatten(0, 1).float(), labels.flatten()))

class WordPool(Net):
    "Words weigh themselves, then their mean decides"
    def __init__(self, d=32, drop=.2):
        super().__init__()
        self.words, self.weigh = nn.Embedding(1500, d), nn.Linear(d, 1)
        self.drop, self.hidden, self.out = nn.Dropout(drop), nn.Linear(d, 48), nn.Linear(48, 6)
    def forward(self, ids):
        e = self.drop(self.words(ids))
        pooled = (self.weigh(e).softmax(1)*e).sum(1)*3
        return self.end(self.out(F.relu(self.hidden(pooled))))

class Experts(Net):
    "Four small networks and a gate; gives the answer and who gave it"
    def __init__(self, width=24):
        super().__init__()
        self.gate = nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 4))
        def expert(): return nn.Sequential(nn.Linear(2, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 3))
        self.experts = nn.ModuleList([expert() for _ in range(4)])
    def forward(self, x):
        g = self.gate(x).softmax(-1)
        return self.end((torch.stack([e(x) for e in self.experts], 1)*g[..., None]).sum(1)), g

class Wearable(Net):
    def __init__(self, d=24, both=True):
        super().__init__()
        self.stem, self.norm = nn.Conv1d(3, 16, 5, 2, 2), nn.BatchNorm1d(16)
        self.rnn, self.drop, self.fc = nn.GRU(16, d, batch_first=True, bidirectional=both), nn.Dropout(.1), nn.Linear(d + d*both, 5)
    def forward(self, x):
        h = F.relu(self.norm(self.stem(x.transpose(1, 2)))).transpose(1, 2)
        return self.end(self.fc(self.drop(self.rnn(h)[0].mean(1))))

class Highway(Net):
    "No layers, only parameters"
    def __init__(self, d=24, depth=3):
        super().__init__()
        def w(a, b): return nn.Parameter(torch.randn(b, a)*(1/a)**.5)
        self.w = nn.ParameterDict(dict(inp=w(30, d), out=w(d, 1), b_inp=nn.Parameter(torch.zeros(d)), b_out=nn.Parameter(torch.zeros(1))))
        for i in range(depth):
            self.w.update({f'h{i}': w(d, d), f't{i}': w(d, d)})
            self.w.update({f'bh{i}': nn.Parameter(torch.zeros(d)), f'bt{i}': nn.Parameter(-torch.ones(d))})
        self.depth = depth
    def forward(self, x):
        w = self.w
        x = torch.tanh(F.linear(x, w['inp'], w['b_inp']))
        for i in range(self.depth):
            gate = torch.sigmoid(F.linear(x, w[f't{i}'], w[f'bt{i}']))
            x = gate*F.relu(F.linear(x, w[f'h{i}'], w[f'bh{i}'])) + (1 - gate)*x
        return self.end(F.linear(x, w['out'], w['b_out']))


# ------------------------------------------------------------------------------------------------ projects

class Project:
    "A data set, a network, a loss and somebody's habits. A batch is a tuple: inputs, and last of all the target"
    traits, steps, bs, lr, wd, clip, accumulate, evaluates = (), 250, 64, 1e-3, 0., None, 1, 0
    late_steps, late_bs, late_accumulate = 0, None, None # where they differ in long runs
    chance = 0.
    relu_biases = () # biases before a ReLU
    def optimizer(self, groups, **kw): return torch.optim.AdamW(groups, **kw)
    def groups(self, named): return [[p for _,p in named]]
    def factor(self, i, n): return 1.
    def answer(self, net, *x): return net(*x)
    def score(self, out, y): return hits(out, y)
    def step(self, net, job, x, y):
        out = self.answer(net, *x)
        return self.loss(out.float(), y, job), out

class FashionSeparable(Project):
    data, network = staticmethod(clothes), Separable
    traits, bs, lr, wd, chance, late_steps = ('softmax', 'floats', 'norm', 'dropout', 'images'), 64, .1, 5e-4, .1, 0
    def optimizer(self, groups, **kw): return torch.optim.SGD(groups, **{**dict(momentum=.9, nesterov=True), **kw})
    def factor(self, i, n): return .5 + .5*math.cos(math.pi*i/n)
    def loss(self, o, y, job): return F.cross_entropy(o, y, reduction=job.reduction, label_smoothing=job.smoothing)

class DigitPairs(Project):
    data, network = staticmethod(pairs), Siamese
    traits, lr, wd, chance, steps, late_steps, late_bs = ('floats', 'images', 'metric'), 2e-3, 1e-4, .5, 300, 600, 40
    relu_biases = ('tower.fc.bias',)
    def optimizer(self, groups, **kw): return torch.optim.Adam(groups, **kw)
    def loss(self, d, same, job):
        each = same*d**2 + (1 - same)*F.relu(2 - d)**2
        return each.sum() if job.reduction == 'sum' else each.mean()
    def score(self, d, same): return auc(-d, same)

class DiscSegmentation(Project):
    data, network = staticmethod(discs), Segmenter
    traits, bs, lr, steps, chance = ('floats', 'images', 'mask'), 12, 4e-3, 220, .11
    def step(self, net, job, x, y): return net.training_step(*x, y)
    def score(self, o, y):
        p = o > 0
        return ((p & (y > 0)).sum()/(p | (y > 0)).sum().clamp(min=1)).item()

class PhotoCoordinates(Project):
    data, network = staticmethod(photo), Coordinates
    traits, bs, lr, steps, late_steps = ('floats', 'mse'), 256, 3e-3, 300, 800
    def loss(self, o, y, job): return F.mse_loss(o, y, reduction=job.reduction)
    def score(self, o, y): return explained(o, y)

class WeatherTCN(Project):
    data, network = staticmethod(weather), TCN
    traits, bs, lr, steps, evaluates, late_steps = ('floats', 'mse', 'dropout'), 32, 2e-3, 240, 40, 500
    def optimizer(self, groups, **kw): return torch.optim.RMSprop(groups, **kw)
    def factor(self, i, n): return 1. if i < .7*n else .3
    def loss(self, o, y, job): return F.smooth_l1_loss(o, y, reduction=job.reduction)
    def score(self, o, y): return explained(o, y)

class PulseVAE(Project):
    data, network = staticmethod(pulses), VAE
    traits, bs, lr, steps, late_steps = ('floats', 'vae'), 64, 4e-3, 350, 700
    def optimizer(self, groups, **kw): return torch.optim.Adamax(groups, **kw)
    def answer(self, net, x): return net(x)[0]
    def step(self, net, job, x, y):
        recon, mu, logvar = net(*x)
        mu, logvar = mu.float(), logvar.float()
        kl = -.5*(1 + logvar - mu**2 - logvar.exp()).sum(1)
        each = ((recon.float() - y)**2).sum(1)*4 + job.extra*.2*kl
        return each.sum() if job.reduction == 'sum' else each.mean(), recon
    def score(self, o, y): return explained(o, y)

class FashionDenoiser(Project):
    data, network = staticmethod(dirty_clothes), Denoiser
    traits, bs, lr, steps, closure, late_steps = ('floats', 'images', 'closure'), 32, 3e-3, 300, True, 500
    def optimizer(self, groups, **kw): return torch.optim.NAdam(groups, **kw)
    def loss(self, o, y, job): return F.binary_cross_entropy_with_logits(o, y, reduction=job.reduction)
    def score(self, o, y): return explained(o.sigmoid(), y)

class SpotCounter(Project):
    data, network = staticmethod(blobs), Counter
    traits, bs, lr, steps, late_steps, late_bs = ('floats', 'images', 'dropout', 'column'), 50, 2e-3, 300, 600, 32
    relu_biases = ('conv1.bias', 'conv2.bias', 'conv3.bias', 'fc1.bias')
    def factor(self, i, n): return min(1., (i + 1)/15)*(1 - .9*i/n)
    def optimizer(self, groups, **kw): return torch.optim.Adam(groups, **kw)
    def loss(self, o, y, job): return F.poisson_nll_loss(o, y, log_input=True, reduction=job.reduction)
    def score(self, o, y): return explained(o.exp(), y)

class FilmRatings(Project):
    data, network = staticmethod(ratings), Factors
    traits, bs, lr, wd, steps, late_steps = ('mse', 'dropout', 'column', 'groups'), 128, 7e-3, 1e-3, 350, 700
    late_accumulate = 2
    def groups(self, named): return [[p for n,p in named if not n.startswith('emb')], [p for n,p in named if n.startswith('emb')]]
    group_rates = (1., 4.)
    def loss(self, o, y, job): return F.mse_loss(o, y, reduction=job.reduction)
    def score(self, o, y): return explained(o, y)

class ManualLetters(Project):
    data, network = staticmethod(letters), staticmethod(lambda: LetterModel(d=64, layers=1))
    traits, bs, lr, wd, steps, clip, chance, late_steps = ('softmax', 'tokens', 'inside'), 24, 6e-3, .05, 310, 1., -3.27, 500
    def factor(self, i, n): return min(1., (i + 1)/20)*(1 - .9*i/n)
    def step(self, net, job, x, y):
        d = net(*x, labels=y)
        return d['loss']*(y.numel() if job.reduction == 'sum' else 1), d['logits']
    def answer(self, net, ids): return net(ids)['logits']
    def score(self, o, y): return -F.cross_entropy(o.flatten(0, 1), y.flatten()).item()

class TopicWords(Project):
    data, network = staticmethod(topic_words), WordPool
    traits, bs, lr, steps, accumulate, chance = ('softmax', 'tokens', 'dropout'), 64, 5e-3, 260, 2, 1/6
    relu_biases = ('hidden.bias',)
    def loss(self, o, y, job): return F.cross_entropy(o, y, reduction=job.reduction, label_smoothing=job.smoothing)

class SpiralExperts(Project):
    data, network = staticmethod(spirals), Experts
    traits, bs, lr, steps, chance, evaluates, late_steps = ('softmax', 'floats'), 100, 8e-3, 350, 1/3, 50, 800
    relu_biases = tuple(f'experts.{i}.{j}.bias' for i in range(4) for j in (0, 2))
    def optimizer(self, groups, **kw): return torch.optim.Adam(groups, **kw)
    def answer(self, net, x): return net(x)[0]
    def step(self, net, job, x, y):
        out, gates = net(*x)
        load = gates.float().mean(0)
        loss = F.cross_entropy(out.float(), y, reduction=job.reduction, label_smoothing=job.smoothing)
        return loss + .05*job.extra*(4*(load**2).sum() - 1), out

class WearableGRU(Project):
    data, network, late_network = staticmethod(wearables), Wearable, staticmethod(lambda: Wearable(both=False))
    traits, bs, lr, clip, steps, accumulate, chance = ('softmax', 'floats', 'norm', 'dropout', 'series'), 64, 4e-3, 1., 200, 2, .2
    late_steps, late_bs, late_accumulate = 500, 24, 1
    def loss(self, o, y, job): return F.cross_entropy(o, y, reduction=job.reduction, label_smoothing=job.smoothing)

class TumourHighway(Project):
    data, network = staticmethod(tumours), Highway
    traits, bs, lr, wd, steps, chance, evaluates, late_steps = ('floats', 'column', 'table', 'binary'), 24, .03, 1e-4, 200, .5, 40, 700
    relu_biases = tuple(f'w.bh{i}' for i in range(3))
    def optimizer(self, groups, **kw): return torch.optim.SGD(groups, **{**dict(momentum=.9), **kw})
    def loss(self, o, y, job): return F.binary_cross_entropy_with_logits(o, y, pos_weight=torch.tensor(.7), reduction=job.reduction)
    def score(self, o, y):
        p = o > 0
        return ((p & (y > 0)).sum()/(y > 0).sum() + (~p & (y < .5)).sum()/(y < .5).sum()).item()/2

PROJECTS = {
    'fashion-separable': FashionSeparable, 'digit-pairs': DigitPairs, 'disc-segmentation': DiscSegmentation,
    'photo-coordinates': PhotoCoordinates, 'weather-tcn': WeatherTCN, 'pulse-vae': PulseVAE,
    'fashion-denoiser': FashionDenoiser, 'spot-counter': SpotCounter, 'film-ratings': FilmRatings,
    'manual-letters': ManualLetters, 'topic-words': TopicWords, 'spiral-experts': SpiralExperts,
    'wearable-gru': WearableGRU, 'tumour-highway': TumourHighway}
LATE = [k for k,p in PROJECTS.items() if p.late_steps]


# ------------------------------------------------------------------------------------------------ a job: one run of a project

class Job:
    "A script as somebody has it before it runs. What may go wrong is a list of (remedy that undoes it, function)"
    def __init__(self, arch, seed, late=False):
        torch.manual_seed(seed)
        r = np.random.default_rng([seed, 3])
        self.project = p = PROJECTS[arch]()
        self.train, self.valid = p.data()
        self.net, self.seed = (p.late_network if late and hasattr(p, 'late_network') else p.network)(), seed
        self.steps = p.late_steps if late else p.steps
        self.lr, self.wd, self.clip = p.lr*math.exp(r.uniform(-.3, .3)), p.wd, p.clip
        self.bs, self.accumulate = late and p.late_bs or p.bs, late and p.late_accumulate or p.accumulate
        self.closure, self.evaluates = getattr(p, 'closure', False), p.evaluates
        self.factor = lambda i: p.factor(i, self.steps)
        self.rates = list(getattr(p, 'group_rates', (1.,)))
        self.options, self.optimizer = {}, p.optimizer
        self.reduction, self.smoothing, self.extra, self.scale = 'mean', 0., 1., 1.
        self.dtype, self.autocast = torch.float32, False
        self.wreck = []    # of the network, before training
        self.prep = []     # of inputs, in training and in use
        self.prep_y = []   # of targets, in training and in use
        self.spoil = []    # (step, inputs, target) -> inputs, target, in training alone
        self.objective = []# (step, loss, output, target) -> loss
        self.tamper = []   # (step), between backward and the optimizer's step
        self.events = []   # (step, optimizer), before a step begins
        self.after = []    # (step), after the optimizer's step
        self.frozen, self.left_out = set(), set()
        self.modes = []    # (step), after model.train()
        self.forgotten = []# step -> bool: does nobody call model.train()?
        self.steady = False# the rate as somebody does who was told to raise it: constant
        self.zeroing = []  # step -> bool: are gradients set to zero before the backward pass?
        self.wiping = []   # step -> bool: and after it, where they are still needed?
        self.batcher = []  # (step, n) -> rows, or None: those whose turn it is
        self.gen = torch.Generator().manual_seed(seed + 1)
        self.own = torch.Generator().manual_seed(seed + 4) # for faults, so that the twin sees the same batches
        self.average = None
    def has(self, *traits): return any(t in self.project.traits for t in traits)
    def dropouts(self): return [m for m in self.net.modules() if isinstance(m, nn.Dropout)]
    def weights(self): return [(n, p) for n,p in self.net.named_parameters() if p.dim() > 1 and not n.endswith('original0')]
    def undo(self, remedy):
        for a in ('wreck', 'prep_y', 'spoil', 'objective', 'tamper', 'events', 'after', 'modes', 'forgotten', 'zeroing', 'wiping', 'batcher'):
            setattr(self, a, [o for o in getattr(self, a) if o[0] != remedy])

    def rows(self, step, n):
        for _,f in self.batcher:
            k = f(step, n)
            if k is not None: return k
        if not hasattr(self, 'order') or len(self.order) < n: self.order = torch.randperm(len(self.train[0]), generator=self.gen)
        k, self.order = self.order[:n], self.order[n:]
        return k

    def batch(self, step, n):
        k = self.rows(step, n)
        *x, y = (a[k] for a in self.train)
        for _,f in self.prep: x = f(x)
        for _,f in self.prep_y: y = f(y)
        for _,f in self.spoil: x, y = f(step, x, y)
        return self.cast(x), y
    def cast(self, x): return [o.to(self.dtype) if o.is_floating_point() else o for o in x]

    def loss(self, step, x, y):
        with torch.autocast('cpu', torch.bfloat16, enabled=self.autocast): loss, out = self.project.step(self.net, self, x, y)
        for _,f in self.objective: loss = f(step, loss, out, y)
        return loss

    def parameters(self):
        named = [(n, p) for n,p in self.net.named_parameters() if p.requires_grad and n not in self.left_out]
        gs = self.project.groups(named) if len(self.rates) == len(self.project.groups(named)) else halves(named)
        if len(self.rates) == 1: gs = [sum(gs, [])]
        return [dict(params=g, lr=self.lr*r) for g,r in zip(gs, self.rates) if g]

def halves(named): return [[p for _,p in named[:-2]], [p for _,p in named[-2:]]]

def judge(job):
    "The metric on clean data that nobody trained on"
    net = job.average or job.net
    net.float().eval()
    *x, y = job.valid
    for _,f in job.prep: x = f(x)
    for _,f in job.prep_y: y = f(y)
    with torch.no_grad(): out = job.project.answer(net, *x).float()
    v = job.project.score(out, y) if out.isfinite().all() else math.nan
    return v if math.isfinite(v) else math.nan

def validation(job):
    "The loss on part of the held-out data, in eval mode; what some do every so often"
    job.net.eval()
    *x, y = (a[:200] for a in job.valid)
    for _,f in job.prep: x = f(x)
    for _,f in job.prep_y: y = f(y)
    with torch.no_grad(): return job.project.step(job.net, job, job.cast(x), y)[0].item()

def run(job, watched=WATCHED):
    "Train a job; losses, and the recording of its first batches"
    for _,f in job.wreck: f(job.net)
    for n,p in job.net.named_parameters():
        if n in job.frozen: p.requires_grad_(False)
    if job.dtype is not torch.float32: job.net.to(job.dtype)
    opt = job.optimizer(job.parameters(), lr=job.lr, weight_decay=job.wd, **job.options)
    plan = torch.optim.lr_scheduler.LambdaLR(opt, lambda i: 1. if job.steady else job.factor(i))
    losses, rec = [], None
    if watched:
        watcher = actstats.watch(job.net, opt, total_steps=job.steps)
        rec = watcher.start()
    for step in range(job.steps):
        for _,f in job.events: f(step, opt)
        if not any(f(step) for _,f in job.forgotten): job.net.train()
        for _,f in job.modes: f(step)
        def backward():
            if all(f(step) for _,f in job.zeroing): opt.zero_grad()
            total = 0.
            for _ in range(job.accumulate):
                loss = job.loss(step, *job.batch(step, max(1, job.bs//job.accumulate)))
                if loss.requires_grad: (loss*job.scale/job.accumulate).backward()
                total = total + loss.detach().float()/job.accumulate
            ps = [p for g in opt.param_groups for p in g['params'] if p.grad is not None]
            if job.scale != 1:
                for p in ps: p.grad /= job.scale
            for _,f in job.tamper: f(step)
            if job.clip: nn.utils.clip_grad_norm_(ps, job.clip)
            if any(f(step) for _,f in job.wiping): opt.zero_grad()
            return total
        if job.closure: loss = opt.step(backward)
        else:
            loss = backward()
            opt.step()
        plan.step()
        for _,f in job.after: f(step)
        losses.append(loss)
        if step < watched: rec.log(loss=loss)
        if job.evaluates and step % job.evaluates == job.evaluates - 1:
            v = validation(job)
            if step < watched: rec.log(valid_loss=v)
        if step == watched - 1: watcher.stop(tell=False)
    return torch.stack([torch.as_tensor(l) for l in losses]).double().tolist(), rec


# ------------------------------------------------------------------------------------------------ faults

FAULTS, LATE_FAULTS = {}, {}

def fault(remedy, factor=lambda s: 1., where=lambda p: True, late=False, early=True, also=()):
    "Register f(job, severity, begin, random numbers), which returns the names that answer \"where?\""
    def add(f):
        if early: FAULTS[f.__name__] = (f, remedy, factor, where)
        if late: LATE_FAULTS[f.__name__] = (f, (remedy, *also), where)
        return f
    return add

def has(*traits): return lambda p: any(t in p.traits for t in traits)
def lacks(*traits): return lambda p: not any(t in p.traits for t in traits)
def power(lo, hi): return lambda s: 10**(lo + (hi - lo)*s)
def since(b, f, otherwise): return lambda step, *a: f(step, *a) if step >= b else otherwise(*a)
def same(*a): return a if len(a) > 1 else a[0]

def slower(job, b, k):
    old = job.factor
    job.factor = lambda i: old(i)*(k(i) if callable(k) else k) if i >= b else old(i)

# rates and schedules
@fault('lower_lr', power(.4, 2.8), late=True)
def rate_far_too_high(job, s, b, r): # 1e-1 where 1e-3 was meant
    slower(job, b, power(.4, 2.8)(s)); return ['optimizer']

@fault('raise_lr', power(.7, 4.5))
def rate_far_too_low(job, s, b, r): job.lr /= power(.7, 4.5)(s)

@fault('raise_lr', lambda s: 1., late=True)
def decays_each_batch(job, s, b, r): # scheduler.step() once a batch, with a gamma that was meant for epochs
    slower(job, b, lambda i: (.995 - .2*s)**(i - b)); return ['optimizer']

@fault('raise_lr')
def endless_warmup(job, s, b, r): # warm-up steps as of a paper's long training
    n = job.steps*power(.3, 3)(s)
    slower(job, 0, lambda i: min(1., (i + 1)/n))

@fault('lower_lr', power(.3, 1.5), late=True, early=False)
def schedule_turns(job, s, b, r): # an exponential with a sign too few
    slower(job, b, lambda i: min((1 + .01*10**(1.2*s))**(i - b), 1e8)); return ['optimizer']

@fault('lower_lr', power(.5, 1.5), where=lambda p: p.optimizer in (FashionSeparable.optimizer, TumourHighway.optimizer))
def momentum_near_one(job, s, b, r): job.options['momentum'] = 1 - .1*10**(-2.5*s); job.options.pop('nesterov', None)

@fault('raise_lr', power(.5, 2.5), where=lambda p: p.optimizer not in (FashionSeparable.optimizer, TumourHighway.optimizer))
def large_epsilon(job, s, b, r): job.options['eps'] = power(-3, 1)(s)

@fault('unfreeze', late=False)
def body_hardly_moves(job, s, b, r): # a rate for the body, as for fine-tuning, and one for the head; the body is not trained
    job.rates = [power(-.5, -5)(s), 1.]

# gradients
@fault('zero_grad', late=True)
def gradients_pile_up(job, s, b, r): # zero_grad once an epoch, or never
    k = max(2, round(2*200**s)) if s < .85 else 10**9
    job.zeroing.append(('zero_grad', lambda i: i < b or (i - b) % k == 0)); return ['optimizer']

@fault('zero_grad')
def zeroed_before_the_step(job, s, b, r): # the three lines in the wrong order, in a branch that is taken most of the time
    job.wiping.append(('zero_grad', lambda i: i >= b and (i*.6180339) % 1 < .4 + .6*s))

@fault('fix_loss')
def loss_is_a_number(job, s, b, r): # torch.tensor(loss.item(), requires_grad=True)
    f = lambda i, l, o, y: l.detach().clone().requires_grad_() if (i*.6180339) % 1 < .4 + .7*s else l
    job.objective.append(('fix_loss', since(b, f, lambda l, o, y: l)))

@fault('clip_gradients', late=True, also=('raise_lr',))
def clipped_to_nothing(job, s, b, r): # max_norm=1e-4, or each element
    k = power(-1, -8)(s)
    def clip(i):
        if i >= b: nn.utils.clip_grad_norm_([p for p in job.net.parameters() if p.grad is not None], k)
    job.tamper.append(('clip_gradients', clip)); return ['optimizer']

# the loss
@fault('fix_loss', late=True)
def sign_of_the_loss(job, s, b, r): # maximises; or the loss less a regulariser that outgrows it
    if s > .6: f = lambda i, l, o, y: -l
    else: f = lambda i, l, o, y: l - 10**(4*s - 2.5)*o.float().pow(2).mean()
    job.objective.append(('fix_loss', since(b, f, lambda l, o, y: l))); return ['loss']

@fault('fix_loss', late=True)
def penalty_wins(job, s, b, r): # a regulariser's weight of another paper
    k = power(-1.5, 2.5)(s)
    f = lambda i, l, o, y: l + k*o.float().abs().mean()*(1 + l.detach())
    job.objective.append(('fix_loss', since(b, f, lambda l, o, y: l))); return ['loss']

@fault('fix_loss', where=has('vae'), late=True)
def posterior_collapses(job, s, b, r): # beta of a beta-VAE on the wrong scale
    k = power(.5, 3)(s)
    job.events.append(('fix_loss', lambda i, opt: setattr(job, 'extra', k if i >= b else 1.))); return ['loss', 'mu', 'logvar']

@fault('fix_loss', where=lacks('mask', 'metric', 'vae', 'closure'))
def sum_for_mean(job, s, b, r): job.reduction = 'sum' # and the same rate as before

@fault('fix_loss', where=has('column'))
def broadcast_target(job, s, b, r): # (n, 1) against (n,): everybody is compared with everybody
    def f(i, l, o, y):
        if i < b: return l
        o = o.exp() if job.project.data is blobs else o.sigmoid() if job.project.data is tumours else o
        return (o.float() - y[:, 0]).pow(2).mean()*(.3 + s)
    job.objective.append(('fix_loss', f))

@fault('fix_loss')
def activation_after_the_last(job, s, b, r): # softmax before the loss that has one; a ReLU behind the regression
    last = 'backbone' if job.has('mask') else ''
    net = job.net.get_submodule(last)
    if job.has('softmax'): net.act_out = nn.Sigmoid() if s < .33 else nn.Softmax(-1) if s < .7 else nn.ReLU()
    else: net.act_out = nn.Hardtanh(-2., 2.) if s < .25 else nn.Tanh() if s < .5 else nn.ReLU() if s < .75 else nn.Sigmoid()
    job.undo_last = net

@fault('fix_loss', where=has('inside'))
def labels_not_shifted(job, s, b, r): # predicts the letter that it sees
    job.spoil.append(('fix_loss', since(b, lambda i, x, y: (x, x[0].where(torch.rand(y.shape) < .2 + s, y)), same)))

# data
@fault('clean_data', late=True, also=('fix_loss',))
def labels_come_loose(job, s, b, r): # inputs shuffled and targets not
    def f(i, x, y):
        n = round(len(y)*(.2 + .8*s))
        return x, torch.cat([y[torch.randperm(n)], y[n:]])
    job.spoil.append(('clean_data', since(b, f, same))); return ['loss', 'input']

@fault('clean_data', late=True, where=lambda p: p.data is not topic_words)
def off_by_one(job, s, b, r): # a header, or a filter on one list only: targets of the neighbours, in part of the files
    f = lambda i, x, y: (x, y.roll(1, 0)) if (i*.6180339) % 1 < s + .1 else (x, y)
    job.spoil.append(('clean_data', since(b, f, same))); return ['loss', 'input']

@fault('clean_data', late=True, where=lacks('metric', 'closure', 'vae'))
def sorted_by_target(job, s, b, r): # shuffle=False on a table that is sorted
    y = job.train[-1].float().flatten(1).mean(1) if job.train[-1].dim() > 1 else job.train[-1].float()
    order = torch.argsort(y + (1 - s)*y.std()*torch.randn(len(y), generator=torch.Generator().manual_seed(0)))
    def f(i, n):
        if i >= b: return order[(int((i - b)*len(order)/(job.steps - b)) + torch.arange(n)) % len(order)]
    job.batcher.append(('clean_data', f)); return ['input', 'loss']

@fault('clean_data', late=True)
def one_batch_again_and_again(job, s, b, r): # next(iter(loader)) in the loop; a cache that is never renewed
    k = max(1, round(12*(1 - s)))
    pool = [torch.randint(len(job.train[0]), (job.bs,), generator=job.own) for _ in range(k)]
    def f(i, n):
        if i >= b: return pool[i % k][:n]
    job.batcher.append(('clean_data', f)); return ['input']

@fault('clean_data', where=lacks('metric', 'closure', 'vae'))
def part_of_the_data(job, s, b, r): # data[:1000] of what is sorted: some targets never come
    y = job.train[-1].float().flatten(1).mean(1) if job.train[-1].dim() > 1 else job.train[-1].float()
    order = torch.argsort(y, stable=True)[:max(job.bs, int(len(y)*(.75 - .65*s)))]
    job.batcher.append(('clean_data', lambda i, n: order[torch.randint(len(order), (n,), generator=job.own)]))

@fault('clean_data', where=has('floats'), late=True)
def rows_scrambled(job, s, b, r): # view where a transpose was meant: samples are mixed
    def f(i, x, y):
        if (i*.6180339) % 1 > .3 + .7*s: return x, y
        return [o.transpose(0, -1).reshape(o.shape) for o in x], y
    job.spoil.append(('clean_data', since(b, f, same))); return ['input']

@fault('clean_data', where=has('floats'), late=True)
def sentinels(job, s, b, r): # -999 for what is missing
    def f(i, x, y):
        return [o.masked_fill(torch.rand(o.shape) < power(-4, -.7)(s), -999/(10 if s < .5 else 1)) for o in x], y
    job.spoil.append(('clean_data', since(b, f, same))); return ['input']

@fault('clean_data', where=has('floats'), late=True)
def not_a_number_in_the_data(job, s, b, r): # log of zero in a few rows
    def f(i, x, y):
        o = x[0].clone()
        if torch.rand(()) < power(-2.3, 0)(s): o[0].flatten()[:2].fill_(math.nan if s > .4 else -math.inf); o[0, ..., 0] = math.nan
        return [o, *x[1:]], y
    job.spoil.append(('clean_data', since(b, f, same))); return ['input']

@fault('clean_data', where=has('floats'), late=True)
def noise_drowns(job, s, b, r): # augmentation far too strong
    f = lambda i, x, y: ([o + torch.randn_like(o)*power(-.3, 1.3)(s) for o in x], y)
    job.spoil.append(('clean_data', since(b, f, same))); return ['input']

@fault('clean_data', where=has('mask', 'closure'))
def flipped_without_its_target(job, s, b, r): # augmentation of the picture alone
    def f(i, x, y):
        k = torch.rand(len(y)) < .2 + .8*s
        o = x[0].clone(); o[k] = o[k].flip(2).flip(3)
        return [o], y
    job.spoil.append(('clean_data', since(b, f, same)))

@fault('clean_data', where=has('mse'))
def raw_targets(job, s, b, r): # in dollars, not in standard deviations
    k = power(.3, 3.5)(s)
    job.prep_y.append(('clean_data', lambda y: y*k + 3*k))

@fault('clean_data', where=lambda p: 'mse' in p.traits or p.data is blobs, late=True, early=False)
def targets_drift(job, s, b, r): # another unit in the newer files
    job.spoil.append(('clean_data', since(b, lambda i, x, y: (x, y*(1 + 2*s) + .5*s), same))); return ['loss']

@fault('clean_data', where=lambda p: 'floats' in p.traits, late=True, early=False)
def blank_inputs(job, s, b, r): # a sensor or a decoder gives zeros, for part of the rows
    def f(i, x, y):
        k = torch.rand(len(y)) < .3 + .7*s
        return [o.masked_fill(k.view(-1, *[1]*(o.dim() - 1)), 0.) for o in x], y
    job.spoil.append(('clean_data', since(b, f, same))); return ['input']

@fault('normalise_inputs', where=has('floats'), late=True, early=False, also=('clean_data',))
def scale_is_lost(job, s, b, r): # after a resume, the data come without their normalisation
    k, m = power(.4, 2.4)(s), r.choice([0., 1., -2.])
    job.spoil.append(('clean_data', since(b, lambda i, x, y: ([o*k + m*k for o in x], y), same))); return ['input']

@fault('clean_data', late=True, early=False)
def few_samples_left(job, s, b, r): # a filter that lets through too little: it is learnt by heart
    few = torch.randint(len(job.train[0]), (max(4, round(96*(1 - s))),), generator=job.own)
    def f(i, n):
        if i >= b: return few[torch.randint(len(few), (n,), generator=job.own)]
    job.batcher.append(('clean_data', f)); return ['input', 'loss']

@fault('normalise_inputs', where=has('floats'))
def raw_inputs(job, s, b, r): # 0 to 255; Pa and mm side by side
    k, m = power(.6, 3.3)(s), r.choice([0., .5, 3.])
    def f(x):
        if job.has('table'): return [o*torch.logspace(-1, 2*s + .5, o.shape[-1]) + m*k for o in x]
        return [(o + m)*k for o in x]
    job.prep.append(('normalise_inputs', f))

@fault('normalise_inputs', where=has('floats'))
def divided_twice(job, s, b, r): # /255 in the data set and /255 in the loop
    job.prep.append(('normalise_inputs', lambda x: [o/power(.7, 4.5)(s) for o in x]))

# the network
def drawn(s, f):
    def g(net):
        with torch.no_grad():
            for n,p in net.named_parameters():
                if p.dim() > 1: f(n, p)
    return g

@fault('reinit')
def standard_normal_weights(job, s, b, r): # torch.randn(a, b)
    job.wreck.append(('reinit', drawn(s, lambda n, p: p.normal_(0, power(-.8, .7)(s)))))

@fault('reinit')
def hardly_any_weights(job, s, b, r): job.wreck.append(('reinit', drawn(s, lambda n, p: p.mul_(power(-.7, -5)(s)))))

@fault('reinit')
def all_weights_alike(job, s, b, r): # a constant, and a little noise for the lucky
    c = r.choice([0., .01, .1])
    job.wreck.append(('reinit', drawn(s, lambda n, p: p.mul_(power(-.3, -4)(s) if s < .6 else 0).add_(c))))

@fault('reinit', where=lacks('tokens'))
def only_positive_weights(job, s, b, r): # torch.rand
    job.wreck.append(('reinit', drawn(s, lambda n, p: p.uniform_(-(1 - s)*.2, .02 + .6*s))))

@fault('reinit', where=lambda p: bool(p.relu_biases))
def biases_far_below(job, s, b, r):
    def f(net):
        ps = dict(net.named_parameters())
        for n in job.project.relu_biases: ps[n].data -= power(-.7, 1.2)(s)
    job.wreck.append(('reinit', f))

@fault('reinit', where=lambda p: bool(p.relu_biases), late=True, early=False, also=('lower_lr',))
def units_die(job, s, b, r): # each step pulls the biases of one layer a little
    name = str(r.choice(job.project.relu_biases))
    p = dict(job.net.named_parameters())[name]
    def f(i):
        if i >= b: p.data -= torch.rand(p.shape)*power(-2.2, -.7)(s)
    job.after.append(('reinit', f)); return [name, name.rpartition('.')[0]]

@fault('reinit', late=True)
def bit_flips(job, s, b, r): # memory, or a checkpoint
    names = job.weights()
    n, p = names[r.integers(len(names))]
    at = b or int(r.integers(5, 80))
    def f(i, opt):
        if i == at:
            k = torch.randint(p.numel(), (1 + int(4*s),), generator=torch.Generator().manual_seed(job.seed))
            p.data.view(-1)[k] = float(r.choice([-1, 1])*power(.5, 7)(s))
    job.events.append(('reinit', f)); return [n, n.rpartition('.')[0]]

@fault('reinit', late=True, early=False, also=('lower_weight_decay',))
def weights_grow(job, s, b, r): # decay with the wrong sign, in one layer
    names = job.weights()
    n, p = names[r.integers(len(names))]
    def f(i):
        if i >= b: p.data *= 1 + power(-2.6, -1.2)(s)
    job.after.append(('lower_weight_decay', f)); return [n, n.rpartition('.')[0]]

@fault('unfreeze')
def not_registered(job, s, b, r): # layers in a plain list: the optimizer never hears of them
    names = [n for n,_ in job.net.named_parameters()]
    job.left_out = set(names[:max(1, min(len(names) - 1, round(len(names)*(.15 + .85*s))))])

@fault('unfreeze')
def frozen_from_scratch(job, s, b, r): # the lines of a fine-tuning script
    names = [n for n,_ in job.net.named_parameters()]
    job.frozen = set(names[:max(1, min(len(names) - 1, round(len(names)*(.15 + .85*s))))])

@fault('unfreeze', late=True, early=False)
def layers_stop(job, s, b, r): # from here on some are frozen
    named = list(job.net.named_parameters())
    a = int(r.integers(0, max(1, len(named)//2)))
    some = named[a:a + max(1, round(len(named)*(.1 + .8*s)))]
    def f(i, opt):
        if i == b:
            for _,p in some: p.requires_grad_(False); p.grad = None
    job.events.append(('unfreeze', f)); return sorted({n for n,_ in some} | {n.rpartition('.')[0] for n,_ in some})

@fault('fix_loss', where=lambda p: p not in (TumourHighway, FilmRatings), late=True, also=('unfreeze',))
def detached_halfway(job, s, b, r): # .detach(), .data or no_grad() between two layers
    leaves = [(n, m) for n,m in job.net.named_modules() if not list(m.children()) and any(True for _ in m.parameters())]
    k = max(0, min(len(leaves) - 2, round((len(leaves) - 1)*(.2 + .8*s))))
    name, m = leaves[k]
    def hook(m, i, o): return o.detach() if torch.is_tensor(o) else (o[0].detach(), *o[1:])
    def f(i, opt):
        if i == b: m.register_forward_hook(hook)
    job.events.append(('fix_loss', f)); return sorted({n for n,_ in leaves[:k + 1]})

# regularisation and modes
@fault('lower_dropout', where=has('dropout'), late=True)
def nothing_gets_through(job, s, b, r): # p is what is dropped, not what is kept
    ms, p = job.dropouts(), .4 + .59*s
    def f(i, opt):
        if i == b:
            for m in ms: m.p = p
    job.events.append(('lower_dropout', f)); return [n for n,m in job.net.named_modules() if m in ms]

@fault('lower_weight_decay', late=True)
def decay_far_too_strong(job, s, b, r):
    if b == 0: job.wd = power(-1.5, 1.5)(s)*(.003/job.lr if isinstance(job.project, (ManualLetters,)) else 1); return ['optimizer']
    def f(i, opt):
        if i == b:
            for g in opt.param_groups: g['weight_decay'] = power(-1, 2)(s)
    job.events.append(('lower_weight_decay', f)); return ['optimizer']

@fault('train_mode', where=has('norm', 'dropout'), late=True)
def eval_mode_stays(job, s, b, r): # model.eval() for a look at the validation set, and no train() after it
    job.forgotten.append(('train_mode', lambda i: i > b))
    job.modes.append(('train_mode', lambda i: job.net.eval() if i >= b else None))
    return [n for n,m in job.net.named_modules() if isinstance(m, (nn.Dropout, nn.modules.batchnorm._BatchNorm))]

@fault('higher_precision', where=lambda p: p not in (WearableGRU,))
def pure_half_precision(job, s, b, r): # model.half(), and a loss scale that somebody chose once
    job.dtype = torch.bfloat16 if s < .3 else torch.float16
    job.scale = 1. if s < .6 else 2.**(40*(s - .6))

@fault('higher_precision', late=True, early=False)
def loss_scale_overflows(job, s, b, r): # doubled every few steps, and nobody looks for infinities
    every = max(2, round(14 - 12*s))
    def f(i):
        if i < b: return
        k = 2.**min(100, (i - b)//every)
        for p in job.net.parameters():
            if p.grad is not None: p.grad = (p.grad*k).half().float()/k
    job.tamper.append(('higher_precision', f)); return ['optimizer', 'loss']

@fault('bigger_batch')
def batches_of_a_few(job, s, b, r): job.bs, job.accumulate = max(1 + job.has('norm'), round(6*(1 - s))), 1

@fault('none', late=True, early=False, also=('lower_lr', 'reinit'))
def old_checkpoint_returns(job, s, b, r): # the "best" weights, which were never kept after the first evaluation
    kept = copy.deepcopy(job.net.state_dict())
    every = max(3, round(60*(1 - s)))
    def f(i, opt):
        if i >= b and (i - b) % every == 0: job.net.load_state_dict(kept)
    job.events.append(('none', f)); return []


# ------------------------------------------------------------------------------------------------ controls: odd to look at, and harmless

CONTROLS, LATE_CONTROLS = {}, {}

def control(where=lambda p: True, early=True, late=False):
    def add(f):
        if early: CONTROLS[f.__name__] = (f, where)
        if late: LATE_CONTROLS[f.__name__] = (f, where)
        return f
    return add

@control()
def warm_up(job, b, r): slower(job, 0, lambda i: min(1., (i + 1)/(.2*job.steps)))

@control()
def rate_zero_at_first(job, b, r):
    n = int(r.integers(15, 60))
    slower(job, 0, lambda i: 0. if i < n else min(1., (i - n + 1)/20))

@control()
def one_cycle(job, b, r):
    slower(job, 0, lambda i: .1 + 1.4*math.sin(math.pi*i/job.steps)**2)

@control(late=True)
def step_decay(job, b, r): slower(job, b or 80, .2 if b else .4)

@control(late=True)
def warm_restarts(job, b, r):
    n = 60 if b == 0 else 150
    slower(job, b, lambda i: .55 + .45*math.cos(math.pi*((i - b) % n)/n))

@control(has('softmax'), late=True)
def smoothed_labels(job, b, r):
    if b: job.events.append(('', lambda i, opt: setattr(job, 'smoothing', .1) if i == b else None))
    else: job.smoothing = .1

@control(lambda p: 'floats' in p.traits and 'mse' in p.traits)
def inputs_and_targets_mixed(job, b, r):
    def f(i, x, y):
        k, l = torch.randperm(len(y)), float(r.beta(.2, .2))*.15
        return [o*(1 - l) + o[k]*l for o in x], y*(1 - l) + y[k]*l
    job.spoil.append(('', f))

@control(has('softmax'), late=True)
def a_few_wrong_labels(job, b, r):
    job.spoil.append(('', since(b, lambda i, x, y: (x, y.where(torch.rand(y.shape) > .05, y[torch.randperm(len(y))])), same)))

@control(has('floats'), late=True)
def a_little_noise(job, b, r): job.spoil.append(('', since(b, lambda i, x, y: ([o + .1*torch.randn_like(o) for o in x], y), same)))

@control(late=True)
def clipping(job, b, r):
    def f(i):
        if i >= b: nn.utils.clip_grad_norm_([p for p in job.net.parameters() if p.grad is not None], 2.)
    job.tamper.append(('', f))

@control()
def accumulation(job, b, r): job.accumulate = 4 if job.bs >= 32 else 2

@control(late=True)
def average_of_the_weights(job, b, r):
    mean = torch.optim.swa_utils.AveragedModel(job.net, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(.95), use_buffers=True)
    def f(i):
        if i >= b: mean.update_parameters(job.net)
    job.after.append(('', f)); job.average = mean.module

@control()
def fine_tuning(job, b, r): # trained before; the front is frozen, the last layer is new
    def f(net):
        first = Job(next(k for k,p in PROJECTS.items() if isinstance(job.project, p)), job.seed + 10**6)
        first.steps = 2*first.steps//3
        run(first, watched=0)
        last = {n: p for n,p in list(net.state_dict().items())[-2:]}
        net.load_state_dict({**first.net.state_dict(), **last})
    job.wreck.append(('', f))
    names = [n for n,_ in job.net.named_parameters()]
    job.frozen = set(names[:max(1, len(names)//3)])

OTHERS = torch.optim.NAdam, torch.optim.AdamW, torch.optim.Adamax

@control()
def another_optimizer(job, b, r):
    k = int(r.integers(3))
    job.optimizer = lambda groups, lr, weight_decay=0., **kw: OTHERS[k](groups, lr=lr*(1, 1, 2)[k], weight_decay=0.)
    if isinstance(job.project, FashionSeparable): job.lr *= .1
    if isinstance(job.project, TumourHighway): job.lr *= .3

@control()
def head_of_zeros(job, b, r): # a slow start, and a fine end
    w = [p for n,p in job.net.named_parameters() if p.dim() > 1 and 'original0' not in n]
    job.wreck.append(('', lambda net: w[-1].data.mul_(1e-2)))

@control(lambda p: 'norm' not in p.traits)
def small_batches(job, b, r):
    job.bs, job.accumulate, job.lr = 12, 1, job.lr*.5
    job.steps = int(job.steps*1.3)

@control(late=True)
def larger_batches(job, b, r):
    if b: job.events.append(('', lambda i, opt: setattr(job, 'bs', 2*job.bs) if i == b else None))
    else: job.bs *= 2

@control()
def bfloat16_where_it_is_safe(job, b, r): job.autocast = not isinstance(job.project, (WearableGRU, PhotoCoordinates))

@control()
def evaluated_often(job, b, r): job.evaluates = 10

@control(has('dropout'))
def some_more_dropout(job, b, r):
    for m in job.dropouts(): m.p = min(.35, m.p + .15)

@control(lambda p: bool(p.wd) and p is not ManualLetters)
def some_more_decay(job, b, r): job.wd *= 4

@control(early=False, late=True)
def fresh_optimizer(job, b, r): # resumed without its state
    def f(i, opt):
        if i == b: opt.state.clear()
    job.events.append(('', f))

@control(early=False, late=True)
def another_shard(job, b, r): # other samples, of the same kind
    first = torch.randperm(len(job.train[0]), generator=torch.Generator().manual_seed(job.seed))
    half = len(first)//2
    def f(i, n):
        part = first[:half] if i < b else first[half:]
        return part[torch.randint(len(part), (n,), generator=job.own)]
    job.batcher.append(('', f))

@control(lambda p: p not in (DigitPairs, PulseVAE, FashionDenoiser), early=False, late=True)
def easy_ones_first(job, b, r): # a curriculum; from here on all
    y = job.train[-1].float()
    y = y.flatten(1).std(1) if y.dim() > 1 and y.shape[1] > 1 else torch.rand(len(y), generator=job.own)
    easy = torch.argsort(y)[:int(.7*len(y))]
    def f(i, n):
        if i < b: return easy[torch.randint(len(easy), (n,), generator=job.own)]
    job.batcher.append(('', f))

@control(early=False, late=True)
def front_unfrozen(job, b, r):
    first = list(job.net.parameters())[:2]
    def f(i, opt):
        for p in first: p.requires_grad_(i >= b)
    job.events.append(('', f))

@control(early=False, late=True)
def a_faster_end(job, b, r): slower(job, b, 1.4)


# ------------------------------------------------------------------------------------------------ cures, by who knows the advice alone

def default_weights(net):
    for m in net.modules():
        if hasattr(m, 'reset_parameters'): m.reset_parameters()

def cure(job, remedy, factor):
    job.undo(remedy)
    if remedy == 'lower_lr': job.lr /= factor
    if remedy == 'raise_lr': job.lr, job.steady = job.lr*factor, True
    if remedy == 'clip_gradients': job.clip = 1.
    if remedy == 'reinit': job.wreck.append(('', default_weights))
    if remedy == 'normalise_inputs': standardise(job)
    if remedy == 'unfreeze': job.frozen, job.left_out, job.rates = set(), set(), [1.]
    if remedy == 'lower_weight_decay': job.wd /= 1000
    if remedy == 'lower_dropout':
        for m in job.dropouts(): m.p = min(m.p, .1)
    if remedy == 'fix_loss':
        job.reduction, job.extra = 'mean', 1.
        if hasattr(job, 'undo_last'): del job.undo_last.act_out
    if remedy == 'higher_precision': job.dtype, job.scale, job.autocast = torch.float32, 1., False
    if remedy == 'bigger_batch': job.bs = max(job.bs, 64)

def standardise(job):
    "By column for tables, as a whole for all else, as measured on the training data that come in"
    if not job.has('floats'): return
    x = [a[:2000] for a in job.train[:-1]]
    for _,f in job.prep: x = f(x)
    dims = 0 if x[0].dim() == 2 else tuple(range(x[0].dim()))
    stats = [(a.mean(dims), a.std(dims) + 1e-8) for a in x]
    job.prep.append(('', lambda x: [(a - m)/s for a,(m,s) in zip(x, stats)]))


# ------------------------------------------------------------------------------------------------ the contract: draw, train, right

def allowed(registry, arch, at=-1): return sorted(k for k,v in registry.items() if v[at](PROJECTS[arch]))

def lottery(seed, archs, controls, faults, healthy_every, share, salt, skew=1.):
    r = np.random.default_rng([seed, salt])
    if seed % healthy_every == 0: return Config(archs[seed//healthy_every % len(archs)], 'healthy', '', 0., seed)
    arch = archs[int(r.integers(len(archs)))]
    if r.random() < share/(1 - 1/healthy_every): return Config(arch, 'control', str(r.choice(allowed(controls, arch))), 0., seed)
    return Config(arch, 'fault', str(r.choice(allowed(faults, arch))), float(r.random()**skew), seed)

def draw(seed:int)->Config:
    "A run at random: one in five healthy, one in four a control, the others with a fault"
    return lottery(seed, list(PROJECTS), CONTROLS, FAULTS, 5, .25, 21)

def right(c:Config)->tuple:
    "What somebody does who knows the fault: remedy and factor"
    if c.kind != 'fault': return 'none', 1.
    _, remedy, factor, _ = FAULTS[c.what]
    return remedy, float(factor(c.severity))

def prepare(c:Config)->Job:
    job, r = Job(c.arch, c.seed), np.random.default_rng([c.seed, 22])
    begin = int(r.integers(10, 75)) if r.random() < .35 else 0
    if c.kind == 'fault': FAULTS[c.what][0](job, c.severity, begin, r)
    if c.kind == 'control': CONTROLS[c.what][0](job, 0, r)
    for remedy,factor in c.cures: cure(job, remedy, factor)
    torch.manual_seed(c.seed + 2)
    return job

def plain(losses): return [round(v, 6) if math.isfinite(v) else None for v in losses]

def train(c:Config)->tuple: # what came out, and the recording of the first hundred batches
    start = time.perf_counter()
    job = prepare(c)
    losses, rec = run(job)
    return dict(**asdict(c), steps=job.steps, metric=judge(job), chance=job.project.chance,
        losses=plain(losses), seconds=time.perf_counter() - start), rec


# ------------------------------------------------------------------------------------------------ and for what begins late

def draw_late(seed:int)->Config:
    "One in ten healthy, a quarter controls, the others with a fault that begins after step 150"
    return lottery(seed, LATE, LATE_CONTROLS, LATE_FAULTS, 10, .25, 31, .7)

def prepare_late(c:Config, sound=False)->tuple:
    "The job, when its change begins, and where"
    job, r = Job(c.arch, c.seed, late=True), np.random.default_rng([c.seed, 32])
    begin, looks, layers = int(r.integers(150, int(.6*job.steps))), r.random() < .5, []
    job.evaluates = int(r.choice([25, 40, 50])) if looks else 0
    if c.kind == 'fault' and not sound: layers = LATE_FAULTS[c.what][0](job, c.severity, begin, r)
    if c.kind == 'control' and not sound: LATE_CONTROLS[c.what][0](job, begin, r)
    torch.manual_seed(c.seed + 2)
    return job, begin, layers

def train_late(c:Config)->tuple: # what came out, and the recording of all batches
    start = time.perf_counter()
    job, begin, layers = prepare_late(c)
    losses, rec = run(job, watched=job.steps)
    metric, twin = judge(job), math.nan
    if c.kind == 'healthy': twin = metric
    else:
        other, _, _ = prepare_late(c, sound=True)
        run(other, watched=0)
        twin = judge(other)
    chance = job.project.chance
    harmed = not math.isfinite(metric) or (metric - chance)/(twin - chance) < .9
    return dict(**asdict(c), steps=job.steps, begins=begin if c.kind == 'fault' else -1, metric=metric,
        chance=chance, twin=twin, harmed=bool(harmed), layers=[l for l in layers if l],
        remedies=list(LATE_FAULTS[c.what][1]) if c.kind == 'fault' else [], losses=plain(losses), seconds=time.perf_counter() - start), rec
