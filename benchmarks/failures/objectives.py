"""An origin of runs with other objectives than a softmax over classes: regressions of many scales and tails, densities, autoencoders,
diffusion, ranking, contrastive learning, segmentation, sequences. Networks, loop, faults, controls and cures are all its own.

    python benchmarks/failures/store.py objectives 400

A `Problem` is a task with its network: what is seen, what is asked, and how well it was learnt. A `Run` is a plan for a training, which faults,
controls and cures write into before it starts: what happens to new weights, to the network, to batches, to the objective, to gradients, to weights.
"""
from collections import OrderedDict
from dataclasses import asdict
from functools import lru_cache, partial
from pathlib import Path
import io
import math
import os
import time

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrizations

import actstats
from store import WATCHED, Config


# ---- data ----

def shared(f): return lru_cache(None)(f)
def generator(seed=0): return torch.Generator().manual_seed(seed)

def parts(*tensors, held=.2):
    "Training and validation parts of tensors of equal length"
    i, n = torch.randperm(len(tensors[0]), generator=generator()), int(len(tensors[0])*held)
    return tuple(t[i[n:]] for t in tensors), tuple(t[i[:n]] for t in tensors)

@shared
def digits():
    "1,797 written digits of 8x8 pixels between 0 and 1"
    from sklearn.datasets import load_digits
    return torch.tensor(load_digits().images, dtype=torch.float32)/16

@shared
def clothes(n=3000, size=14):
    "Pictures of Fashion-MNIST's test set between 0 and 1, made smaller"
    if folder := os.environ.get('ACTSTATS_DATA'):
        import pyarrow.parquet as pq
        from PIL import Image
        rows = pq.read_table(next((Path(folder)/'fashion_mnist').glob('test-*.parquet'))).column('image').slice(0, n).to_pylist()
        x = np.stack([np.asarray(Image.open(io.BytesIO(r['bytes']))) for r in rows])
    else:
        from datasets import load_dataset
        x = np.stack([np.asarray(o) for o in load_dataset('fashion_mnist', split=f'test[:{n}]')['image']])
    return F.interpolate(torch.tensor(x, dtype=torch.float32)[:, None]/255, (size, size), mode='area')[:, 0]

@shared
def manual(length=25):
    "The help of Python in pieces; rare characters are one"
    from pydoc_data.topics import topics
    text = torch.tensor(list('\n'.join(topics.values()).encode('ascii', 'ignore'))) - 31
    return text.clamp(0, 95)[:400_000].unfold(0, length, length).contiguous()


# ---- parts of networks ----

class Sine(nn.Module):
    def forward(self, x): return x.sin()

class Rescale(nn.Module):
    "From standard units to those of the target"
    def __init__(self, mean, std):
        super().__init__()
        self.mean, self.std = float(mean), float(std)
    def forward(self, x): return x*self.std + self.mean

def dense(sizes, act, norm=None, last=False):
    "Linear layers with activations between them, and behind the last if asked"
    parts = []
    for i,(a,b) in enumerate(zip(sizes, sizes[1:])):
        parts.append(nn.Linear(a, b))
        if i < len(sizes) - 2 or last: parts += [*([norm(b)] if norm else []), act()]
    return nn.Sequential(*parts)

class Chain(nn.Module):
    "Body, code, head; the code is where faults can grip: all information passes through it"
    def __init__(self, body, head, scale=None):
        super().__init__()
        self.body, self.code, self.head, self.scale = body, nn.Identity(), head, scale or nn.Identity()
    def forward(self, x): return self.scale(self.head(self.code(self.body(x))))

class Skip(nn.Module):
    def __init__(self, k, act, norm=None):
        super().__init__()
        self.norm, self.inner = norm(k) if norm else nn.Identity(), nn.Sequential(nn.Linear(k, k), act(), nn.Linear(k, k))
    def forward(self, x): return x + self.inner(self.norm(x))

class Attention(nn.Module):
    def __init__(self, k, heads):
        super().__init__()
        self.heads, self.norm, self.qkv, self.out = heads, nn.RMSNorm(k), nn.Linear(k, 3*k, bias=False), nn.Linear(k, k, bias=False)
    def forward(self, x):
        q, w, v = (o.unflatten(-1, (self.heads, -1)).transpose(1, 2) for o in self.qkv(self.norm(x)).chunk(3, -1))
        return x + self.out(F.scaled_dot_product_attention(q, w, v, is_causal=True).transpose(1, 2).flatten(2))

def conv(a, b, act, norm=None, stride=1): return nn.Sequential(OrderedDict(conv=nn.Conv2d(a, b, 3, stride, 1), **({'norm': norm(b)} if norm else {}), act=act()))
def groups(k): return nn.GroupNorm(4, k)

WEIGHTY = nn.Linear, nn.Conv2d, nn.ConvTranspose2d, nn.Embedding
HOLDERS = *WEIGHTY, nn.GRU, nn.GRUCell, nn.RMSNorm, nn.GroupNorm
ACTS = nn.SiLU, nn.GELU, nn.ELU, nn.SELU, nn.LeakyReLU, nn.Softplus, nn.Tanh, Sine

def weighty(net): return [m for m in net.modules() if isinstance(m, WEIGHTY)]
def holders(net): return [m for m in net.modules() if isinstance(m, HOLDERS)]

def initialise(net, how):
    "Weights of dense and convolutional layers, in one of the ways that people use"
    if how == 'torch': return
    for m in weighty(net):
        w = m.weight.data
        if isinstance(m, nn.Embedding): fan = 1
        else: fan = w[0].numel() if not isinstance(m, nn.ConvTranspose2d) else w[:, 0].numel()
        if isinstance(m, nn.Embedding): w.normal_(0, .5)
        elif how == 'orthogonal': nn.init.orthogonal_(w)
        elif how == 'xavier': nn.init.xavier_uniform_(w)
        elif how == 'kaiming': nn.init.kaiming_normal_(w)
        elif how == 'truncated': nn.init.trunc_normal_(w, 0, fan**-.5, -2*fan**-.5, 2*fan**-.5)
        elif how == 'signs': w.copy_(torch.randn_like(w).sign()*fan**-.5)
        elif how == 'identity' and w.ndim == 2 and len(w) == len(w.T): w.normal_(0, .3*fan**-.5).add_(torch.eye(len(w))*.7)
        elif how == 'identity': nn.init.xavier_normal_(w)
        elif how == 'small': w.normal_(0, .5*fan**-.5)
        if getattr(m, 'bias', None) is not None: m.bias.data.zero_()


# ---- problems ----

class Problem:
    "A task with a network. Defaults are those of a regression"
    optimizers = ('adam', 3e-3), ('nadam', 3e-3) # each with its rate
    inits = 'torch', 'xavier'
    norm = None # 'weight' or 'spectral': a parametrisation of dense and convolutional layers
    steps, batch, chance = (200, 300), 64, 0.
    scaled = False # may targets be multiplied?
    logs_target = False # may the loop log its targets?
    knob = 1. # of the objective: a temperature, a weight of a term
    wrong_knob = None # of a severity
    broken = None # the objective with half of it forgotten

    def net(self, width): "A new network; width is a factor"
    def data(self): "Training and validation parts"
    def present(self, raw, g): "Inputs and target of a batch"; return raw[:1], raw[1]
    def loss(self, out, y): return F.mse_loss(out, y)
    def score(self, out, y): "Share of the variance that is explained"; return explained(out, y)

def explained(out, y):
    out, y = out.double().flatten(1), y.double().flatten(1)
    return 1 - ((out - y)**2).mean().item()/((y - y.mean(0))**2).mean().item()

def wide(k, width): return max(4, 4*round(k*width/4))


class Prices(Problem):
    "Prices of houses in dollars: squared errors of ten to the tenth"
    optimizers, inits, scaled, logs_target = (('adam', 4e-3), ('rmsprop', 2e-3)), ('torch', 'orthogonal', 'truncated'), True, True
    steps = 250, 350
    def data(self): return prices()
    def net(self, width):
        k, y = wide(64, width), prices()[0][1]
        return Chain(dense([12, k, k], nn.SiLU, nn.RMSNorm, last=True), nn.Linear(k, 1), Rescale(y.mean(), y.std()))
    def score(self, out, y): return explained(out, y)

@shared
def prices(n=4000):
    g = generator(1)
    x = torch.randn(n, 12, generator=g)
    x[:, 8:] = (x[:, 8:] > 0).float()
    f = .4*x[:, 0] + .3*x[:, 1]*x[:, 8] + .3*(x[:, 2]*1.5).sin() + .2*x[:, 3].abs() - .3*x[:, 9]*x[:, 4].tanh() + .2*x[:, 10]
    return parts(x, (180_000*(f + .08*torch.randn(n, generator=g)).exp())[:, None])


class Tails(Problem):
    "Quantiles of a target with heavy tails: weight norm, ELU, residual; learnt is the median, judged without noise"
    optimizers, inits, norm, scaled, logs_target = (('nadam', 3e-3), ('adagrad', 3e-2)), ('torch', 'orthogonal', 'xavier'), 'weight', True, True
    steps = 250, 350
    def data(self): return tails()
    def net(self, width):
        k = wide(48, width)
        return Chain(nn.Sequential(nn.Linear(8, k), Skip(k, nn.ELU), Skip(k, nn.ELU), nn.ELU()), nn.Linear(k, 3))
    def present(self, raw, g): return raw[:1], raw[1] if g is not None else raw[2]
    def loss(self, out, y):
        e, q = y - out, torch.tensor([.1, .5, .9])
        return torch.maximum(q*e, (q - 1)*e).mean()
    def score(self, out, y): return 1 - ((out[:, 1:2] - y).abs().mean()/(y.median() - y).abs().mean()).item()

@shared
def tails(n=5000):
    g, r = generator(2), np.random.default_rng(2)
    x = torch.rand(n, 8, generator=g)*2 - 1
    f = (2*(math.pi*x[:, 0]*x[:, 1]).sin() + 2*x[:, 2]**2 - x[:, 3] + .8*x[:, 4])[:, None]
    f = (f - f.mean())/f.std()
    return parts(x*math.sqrt(3), f + .25*torch.tensor(r.standard_t(1.7, (n, 1)), dtype=torch.float32), f)


class Mixture(Problem):
    "Several answers to one question: the density of y as five Gaussians; the loss is a log-likelihood and goes below zero"
    optimizers, inits = (('adam', 7e-3), ('adamw', 7e-3)), ('torch', 'xavier', 'truncated')
    steps = 350, 400
    def __init__(self): self.chance = -.5*math.log(2*math.pi*math.e*self.data()[1][1].var().item())
    def data(self): return inverse()
    def net(self, width):
        k = wide(48, width)
        return Chain(dense([2, k, k], nn.Tanh, last=True), nn.Linear(k, 15))
    def likelihood(self, out, y, mixing=True):
        weight, mean, spread = out.chunk(3, -1)
        spread = F.softplus(spread) + .03
        return ((weight.log_softmax(-1) if mixing else weight) - .5*((y - mean)/spread)**2 - spread.log() - .919).logsumexp(-1)
    def loss(self, out, y): return -self.likelihood(out, y).mean()
    def broken(self, out, y): return -self.likelihood(out, y, False).mean() # weights that do not add up to one
    def score(self, out, y): return self.likelihood(out.double(), y.double()).mean().item()

@shared
def inverse(n=5000):
    g = generator(3)
    y, side = torch.rand(n, 1, generator=g)*2 - 1, torch.rand(n, 1, generator=g)*2 - 1
    x = y + .6*(math.pi*2*y).sin() + (.02 + .06*side.abs())*torch.randn(n, 1, generator=g)
    return parts(torch.cat([x/x.std(), side*1.7], 1), y)


class Counts(Problem):
    "Counts that depend on a set of points: Poisson; without the constant the loss of who knows everything is far below zero"
    optimizers, inits = (('rmsprop', 1.5e-3), ('adam', 6e-3)), ('torch', 'kaiming')
    logs_target, steps = True, (300, 400)
    def data(self): return sets()
    def net(self, width):
        k = wide(48, width)
        return Points(dense([4, k, k], nn.LeakyReLU, last=True), dense([k, k, 1], nn.LeakyReLU))
    def loss(self, out, y): return F.poisson_nll_loss(out, y)
    def broken(self, out, y): return -(y*out).mean() # nothing that makes large rates expensive
    def score(self, out, y):
        "Share of the deviance that is explained"
        d = lambda rate: (torch.xlogy(y, y/rate) - y + rate).double().mean().item()
        return 1 - d(out.double().exp())/d(y.double().mean())

class Points(Chain):
    def forward(self, x): return self.head(self.code(self.body(x).mean(1)))

@shared
def sets(n=3000):
    g = generator(4)
    x = torch.randn(n, 10, 4, generator=g)
    f = (1.5*(x[..., 0]*x[..., 1]).tanh() + x[..., 2].abs() - .5*x[..., 3]).mean(1)
    f = (f - f.mean())/f.std()
    return parts(x, torch.poisson((3 + .5*f).exp(), generator=g)[:, None])


class Reconstruction(Problem):
    logs_target = True
    def present(self, raw, g): return raw[:1], raw[0]

class DenseAutoencoder(Reconstruction):
    "Pictures of clothes through twelve numbers: binary cross entropy of grey values, which has no zero"
    optimizers, inits = (('adamw', 3e-3), ('adagrad', 2e-2)), ('torch', 'xavier', 'signs')
    def data(self): return parts(clothes())
    def net(self, width):
        k = wide(96, width)
        return Chain(nn.Sequential(nn.Flatten(), dense([196, k, 12], nn.GELU)), nn.Sequential(dense([12, k, 196], nn.GELU), nn.Unflatten(1, (14, 14))))
    def loss(self, out, y): return F.binary_cross_entropy_with_logits(out, y)
    def broken(self, out, y): return -(y*F.logsigmoid(out)).mean() # nothing asks for dark pixels
    def score(self, out, y): return explained(out.sigmoid(), y)

class ConvAutoencoder(Reconstruction):
    "The same with convolutions; squared errors are added up, not averaged: losses of hundreds"
    optimizers, inits, batch, scaled = (('adam', 4e-3), ('lion', 1.5e-3)), ('torch', 'xavier', 'small'), 32, True
    def data(self): return parts(clothes(size=16))
    def net(self, width):
        k = wide(8, width)
        return Chain(nn.Sequential(nn.Unflatten(1, (1, 16)), conv(1, k, nn.LeakyReLU, groups, 2), conv(k, 2*k, nn.LeakyReLU, groups, 2), nn.Flatten(), nn.Linear(32*k, 16)),
            nn.Sequential(nn.Linear(16, 32*k), nn.Unflatten(1, (2*k, 4, 4)), nn.LeakyReLU(), nn.ConvTranspose2d(2*k, k, 4, 2, 1), nn.LeakyReLU(), nn.ConvTranspose2d(k, 1, 4, 2, 1), nn.Flatten(1, 2)))
    def loss(self, out, y): return F.mse_loss(out, y, reduction='sum')

class Variational(Reconstruction):
    "Digits through six numbers with noise, which shall be normal"
    optimizers, inits, steps = (('adam', 7e-3), ('nadam', 6e-3)), ('torch', 'xavier', 'small'), (350, 400)
    def data(self): return parts(digits().flatten(1))
    def net(self, width): return Encoded(wide(64, width))
    def loss(self, out, y):
        image, mean, log = out
        return ((image - y)**2).sum(1).mean()/.05 + self.knob*.5*(mean**2 + log.exp() - log - 1).sum(1).mean()
    def wrong_knob(self, v): return 10**(.5 + 2.5*v) # the latent code is worth nothing
    def score(self, out, y): return explained(out[0], y)

class Encoded(nn.Module):
    def __init__(self, k):
        super().__init__()
        self.body, self.code, self.head = dense([64, k, 12], nn.Softplus), nn.Identity(), dense([6, k, 64], nn.Softplus)
    def forward(self, x):
        mean, log = self.code(self.body(x)).chunk(2, -1)
        z = mean + torch.randn_like(mean)*(log/2).exp() if self.training else mean
        return self.head(z), mean, log


class Diffusion(Problem):
    "Which noise was added to a digit? At a time between 0 and 1, which is known"
    optimizers, inits, steps = (('adamw', 7e-3), ('muon', 2e-2)), ('torch', 'orthogonal', 'identity'), (350, 400)
    logs_target = True
    def data(self): return parts(digits().flatten(1)*4 - 1.25)
    def net(self, width): return Denoiser(wide(80, width))
    def present(self, raw, g):
        g, x = g or generator(), raw[0]
        t, noise = torch.rand(len(x), 1, generator=g), torch.randn(x.shape, generator=g)
        a = (t*math.pi/2).cos()
        return (a*x + (1 - a*a).sqrt()*noise, t), noise

class Denoiser(nn.Module):
    def __init__(self, k):
        super().__init__()
        self.time, self.first, self.code = nn.Linear(16, k), nn.Linear(64, k), nn.Identity()
        self.blocks, self.last = nn.Sequential(*[Skip(k, nn.SiLU, nn.RMSNorm) for _ in range(3)]), nn.Linear(k, 64)
    def forward(self, x, t):
        t = t*2**torch.arange(8)
        return self.last(self.blocks(self.code(self.first(x) + self.time(torch.cat([t.sin(), t.cos()], -1)))))


class Operator(Problem):
    "Where is a driven pendulum, given the force at all times? A network for the force, one for the time"
    optimizers, inits, scaled, logs_target = (('adam', 5e-3), ('muon', 2e-2)), ('torch', 'xavier', 'orthogonal'), True, True
    steps = 350, 400
    def data(self): return pendulum()
    def net(self, width): return DeepONet(wide(64, width))
    def loss(self, out, y): return F.smooth_l1_loss(out, y)

class DeepONet(nn.Module):
    def __init__(self, k):
        super().__init__()
        self.branch, self.trunk, self.code, self.bias = dense([26, k, k, k], nn.SELU), dense([1, k, k], Sine, last=True), nn.Identity(), nn.Parameter(torch.zeros(1))
    def forward(self, x):
        t = torch.linspace(-2, 2, 24)[:, None]
        return self.code(self.branch(x)) @ self.trunk(t).T/self.bias.new_tensor(len(self.branch[-1].bias)).sqrt() + self.bias

@shared
def pendulum(n=3000):
    g = generator(5)
    start, force = .7*torch.randn(n, 2, generator=g), .7*torch.randn(n, 24, generator=g)
    force = .6*force + .4*force.roll(1, 1)
    angle, speed, path = start[:, 0].clone(), start[:, 1].clone(), []
    for i in range(24):
        for _ in range(5):
            speed = speed + .04*(force[:, i]*2 - angle.sin()*2 - .5*speed)
            angle = angle + .04*speed
        path.append(angle)
    y = torch.stack(path, 1)
    return parts(torch.cat([start, force/force.std()], 1), (y - y.mean())/y.std())


class Ranking(Problem):
    "Twelve documents for each question: the best first. Softmax over the list"
    optimizers, inits, chance, batch = (('sgd', .1), ('adam', 5e-3)), ('torch', 'orthogonal', 'xavier'), .5, 32
    norm, steps = 'spectral', (250, 350)
    def data(self): return lists()
    def net(self, width):
        k = wide(48, width)
        return Listed(dense([10, k, k], nn.Tanh, last=True), nn.Linear(k, 1))
    def loss(self, out, y): return -((y/self.knob).softmax(-1)*out.log_softmax(-1)).sum(-1).mean()
    def wrong_knob(self, v): return 10**(.5 + 2.5*v) # all documents are as good
    def broken(self, out, y): return -(y.softmax(-1)*out).sum(-1).mean() # scores without a sum
    def score(self, out, y):
        a, b = ((o[:, :, None] - o[:, None]).sign() for o in (out, y))
        return .5 + .5*(a*b).sum().item()/b.abs().sum().item()

class Listed(Chain):
    def forward(self, x): return super().forward(x)[..., 0]

@shared
def lists(n=1500):
    g = generator(6)
    x = torch.randn(n, 12, 10, generator=g)
    y = x[..., 0] + 1.2*x[..., 1]*x[..., 2] + (2*x[..., 3]).sin() + .3*torch.randn(n, 12, generator=g)
    return parts(x, (y*1.5).round())


class Contrastive(Problem):
    "Which two views show the same digit? Moved, dimmed, noisy"
    optimizers, inits, chance, knob = (('sgd', .2), ('adam', 4e-3)), ('torch', 'kaiming'), .5, .15
    steps = 300, 350
    def data(self): return parts(digits())
    def net(self, width):
        k = wide(16, width)
        return Viewed(nn.Sequential(conv(1, k, nn.SiLU), conv(k, 2*k, nn.SiLU, stride=2), nn.Flatten(), nn.Linear(32*k, 64), nn.SiLU()), nn.Linear(64, 24))
    def present(self, raw, g):
        x = raw[0] if g else raw[0][:256]
        views = torch.cat([self.view(x, g or generator(k)) for k in range(2)])
        return (views.view(2, len(x), 8, 8).transpose(0, 1),), torch.arange(len(x))
    def view(self, x, g):
        x = F.pad(x, (1, 1, 1, 1))
        i, j = torch.randint(0, 3, (2,), generator=g).tolist()
        x = x[:, i:i + 8, j:j + 8]*(.5 + torch.rand(len(x), 1, 1, generator=g))
        return (x + .2*torch.randn(x.shape, generator=g))*2 - .8
    def loss(self, out, y):
        s = out[:, 0] @ out[:, 1].T/self.knob
        return (F.cross_entropy(s, y) + F.cross_entropy(s.T, y))/2
    def wrong_knob(self, v): return self.knob*10**(.5 + 2.5*v)
    def broken(self, out, y): return -(out[:, 0]*out[y, 1]).sum(-1).mean()/self.knob # no negatives: all come together
    def score(self, out, y):
        "Share of the views of other digits that are further away than the partner; ties count half"
        if len(out) < 256: return math.nan
        s = out[:, 0].double() @ out[:, 1].double().T
        closer = s.diagonal()[:, None] - s
        return ((closer > 1e-9).double().sum().item() + .5*((closer.abs() <= 1e-9).sum().item() - len(s)))/(len(s)*(len(s) - 1))

class Viewed(Chain):
    def forward(self, x): return F.normalize(super().forward(x.flatten(0, 1)[:, None]), dim=-1).view(len(x), 2, -1)


class Sorting(Problem):
    "Eight letters in their order: a recurrent network reads, another writes, and sees what should have been written before"
    optimizers, inits, steps = (('adam', 1e-2), ('nadam', 1e-2)), ('torch', 'xavier'), (350, 400)
    def __init__(self):
        y = self.data()[0][1]
        pairs = torch.stack([y.new_full(y.shape[:1], 10)] + list(y.T[:-1]), 1)*10 + y # who knows only the letter before
        self.chance = sum(pairs[pairs//10 == k].bincount(minlength=1).max().item() for k in range(11) if (pairs//10 == k).any())/y.numel()
    def data(self): return letters()
    def net(self, width): return ReadWrite(wide(48, width))
    def present(self, raw, g): return (raw[0], F.pad(raw[1][:, :-1], (1, 0), value=10)), raw[1]
    def loss(self, out, y): return F.cross_entropy(out.flatten(0, 1), y.flatten())
    def broken(self, out, y): return -out.gather(-1, y[..., None]).mean() # scores without a sum
    def score(self, out, y): return (out.argmax(-1) == y).double().mean().item()

class ReadWrite(nn.Module):
    def __init__(self, k):
        super().__init__()
        self.read, self.reader, self.code = nn.Embedding(10, k), nn.GRU(k, k, batch_first=True), nn.Identity()
        self.write, self.writer, self.head = nn.Embedding(11, k), nn.GRU(k, k, batch_first=True), nn.Linear(k, 10)
    def forward(self, x, before): return self.head(self.writer(self.write(before), self.code(self.reader(self.read(x))[1]))[0])

@shared
def letters(n=4000):
    x = torch.randint(0, 10, (n, 8), generator=generator(7))
    return parts(x, x.sort(-1).values)


class Text(Problem):
    "The next byte of Python's help, by a small transformer with RMSNorm; how much better than the bytes' frequencies?"
    optimizers, inits, batch, steps = (('adamw', 1.2e-2), ('muon', 1.5e-2)), ('torch', 'truncated'), 28, (280, 300)
    def data(self): return parts(manual())
    def net(self, width): return Writer(wide(40, width))
    def present(self, raw, g): return (raw[0][:, :-1],), raw[0][:, 1:]
    def loss(self, out, y): return F.cross_entropy(out.flatten(0, 1), y.flatten())
    broken = Sorting.broken
    def score(self, out, y): return 1 - self.loss(out.double(), y).item()/torch.distributions.Categorical(y.flatten().bincount().double()).entropy().item()

class Writer(nn.Module):
    def __init__(self, k):
        super().__init__()
        self.letters, self.places, self.code = nn.Embedding(96, k), nn.Embedding(24, k), nn.Identity()
        self.blocks = nn.Sequential(*[m for _ in range(2) for m in (Attention(k, 4), Skip(k, nn.GELU, nn.RMSNorm))])
        self.norm, self.head = nn.RMSNorm(k), nn.Linear(k, 96)
    def forward(self, x): return self.head(self.norm(self.code(self.blocks(self.letters(x) + self.places.weight[:x.shape[1]]))))


class Segmentation(Problem):
    "Which pixels belong to the digit? In clutter and uneven light; cross entropy of pixels and Dice"
    optimizers, inits, batch, steps = (('sgd', .1), ('adamw', 5e-3)), ('torch', 'kaiming', 'orthogonal'), 32, (200, 250)
    def data(self): return scenes()
    def net(self, width): return UNet(wide(8, width))
    def loss(self, out, y):
        p = out.sigmoid()
        return F.binary_cross_entropy_with_logits(out, y, pos_weight=torch.tensor(self.knob)) + 1 - (2*(p*y).sum() + 1)/(p.sum() + y.sum() + 1)
    def wrong_knob(self, v): return 10**(.5 + 3*v) # what belongs to the digit counts far too much
    def broken(self, out, y): return -(y*F.logsigmoid(out)).mean()
    def score(self, out, y): "Share of the variance explained by the probabilities"; return explained(out.sigmoid(), y)

class UNet(nn.Module):
    def __init__(self, k):
        super().__init__()
        block = partial(conv, act=nn.LeakyReLU, norm=groups)
        self.down, self.low, self.lower, self.code = block(1, k), block(k, 2*k, stride=2), block(2*k, 2*k, stride=2), nn.Identity()
        self.up, self.upper, self.head = block(4*k, k), block(2*k, k), nn.Conv2d(k, 1, 1)
    def forward(self, x):
        a = self.down(x[:, None])
        b = self.low(a)
        grow = partial(F.interpolate, scale_factor=2)
        b = self.up(torch.cat([grow(self.lower(b)), b], 1))
        return self.head(self.code(self.upper(torch.cat([grow(b), a], 1))))[:, 0]

@shared
def scenes(n=1600, size=16):
    g, d = generator(8), digits()
    canvas = torch.zeros(n, size, size)
    for k,(i,j) in enumerate(torch.randint(0, size - 7, (n, 2), generator=g).tolist()): canvas[k, i:i + 8, j:j + 8] = d[k % len(d)]
    light = torch.randn(n, 2, 1, 1, generator=g)*torch.stack([torch.linspace(-1, 1, size).expand(size, -1), torch.linspace(-1, 1, size)[:, None].expand(-1, size)])
    x = 2*canvas + .4*light.sum(1) + .6*(torch.rand(n, size, size, generator=g) < .08) + .25*torch.randn(n, size, size, generator=g)
    return parts((x - x.mean())/x.std(), (canvas > .4).float())


PROBLEMS = {
    'prices, RMSNorm MLP': Prices, 'heavy tails, residual MLP': Tails, 'mixture density, tanh MLP': Mixture, 'counts, set network': Counts,
    'clothes, dense autoencoder': DenseAutoencoder, 'clothes, convolutional autoencoder': ConvAutoencoder, 'digits, variational autoencoder': Variational,
    'digits, diffusion': Diffusion, 'pendulum, operator network': Operator, 'ranking, tanh MLP': Ranking, 'digits, contrastive': Contrastive,
    'sorting, GRU to GRU': Sorting, 'text, transformer': Text, 'scenes, U-Net': Segmentation,
}
NAMES = list(PROBLEMS)


# ---- optimizers of our own ----

class Lion(torch.optim.Optimizer):
    "Steps of one size, in the direction of the sign (Chen et al. 2023)"
    def __init__(self, params, lr, weight_decay=0.): super().__init__(params, dict(lr=lr, weight_decay=weight_decay))
    @torch.no_grad()
    def step(self):
        for g in self.param_groups:
            for p in g['params']:
                if p.grad is None: continue
                m = self.state[p].setdefault('mean', torch.zeros_like(p))
                p.mul_(1 - g['lr']*g['weight_decay']).sub_(g['lr']*(.9*m + .1*p.grad).sign())
                m.lerp_(p.grad, .01)

class Muon(torch.optim.Optimizer):
    "Matrices get the nearest orthogonal matrix to their momentum (Jordan 2024), all else Adam's steps"
    def __init__(self, params, lr, weight_decay=0.): super().__init__(params, dict(lr=lr, weight_decay=weight_decay))
    @torch.no_grad()
    def step(self):
        for g in self.param_groups:
            for p in g['params']:
                if p.grad is None: continue
                s = self.state[p]
                s['n'] = s.get('n', 0) + 1
                m = s.setdefault('mean', torch.zeros_like(p)).lerp_(p.grad, .1)
                if p.ndim == 2: step = orthogonal((.1*p.grad + .9*m))*max(1, len(p)/len(p.T))**.5
                else:
                    v = s.setdefault('square', torch.zeros_like(p)).lerp_(p.grad**2, .01)
                    step = .3*m/(1 - .9**s['n'])/((v/(1 - .99**s['n'])).sqrt() + 1e-8)
                p.mul_(1 - g['lr']*g['weight_decay']).sub_(g['lr']*step)

def orthogonal(x):
    "By five rounds of Newton and Schulz"
    y = x/(x.norm() + 1e-12)
    if len(y) > len(y.T): return orthogonal(x.T).T
    for _ in range(5):
        a = y @ y.T
        y = 3.4445*y + (-4.7750*a + 2.0315*a @ a) @ y
    return y


# ---- a run ----

class Run:
    """A plan for a training. All that happens in it is a list of edits, which faults, controls and cures write to:

    newborn(net): new weights; built(net): the network, before it is watched; lenses(inputs) and target_lenses(target): what is seen in training and
    validation; batches(i, inputs, target): in training only; rewarded(i, out, target, loss): the objective; extra(net, first loss): terms that are added
    to the loss; slopes(i, params): gradients; weights(i, params): after a step
    """
    def __init__(self, c:Config):
        self.c, self.problem, self.rng = c, PROBLEMS[c.arch](), np.random.default_rng([c.seed, 18])
        p, draw = self.problem, self.rng.choice
        self.opt, rate = p.optimizers[int(self.rng.random() < .4)]
        self.rate, self.init, self.width = rate*10**self.rng.uniform(-.15, .15), str(draw(p.inits)), draw([.75, 1., 1.25])
        self.steps, self.batch = int(draw(p.steps)), int(p.batch*draw([.75, 1., 1.25]))
        self.tells_target = p.logs_target and self.rng.random() < .4
        self.decay, self.decay_term, self.held_back, self.clip, self.micro, self.ema, self.before = 0., 0., 0., None, 1, None, 0
        self.objective, self.objective_edits = p.loss, []
        self.schedule = lambda i: min(1., max(.05, 2.5*(1 - i/self.steps))) # constant, and at the end down
        self.left, self.keeps, self.pool, self.ordered, self.dropout, self.detached, self.frozen = 0., 0., 1., False, 0., False, lambda net: []
        for stage in ('newborn', 'built', 'lenses', 'target_lenses', 'batches', 'extra', 'slopes', 'weights'): setattr(self, stage, [])
        if c.kind == 'fault': FAULTS[c.what].plan(self, c.severity)
        if c.kind == 'control': CONTROLS[c.what](self)
        for name,factor in c.cures: CURES[name](self, factor)
        self.data = self.problem.data()
        self.order, self.queue = generator(c.seed + 1), []

    def begin(self)->int:
        "Half of the faults that can begin later do so, in the middle of what is watched"
        return 0 if self.rng.random() < .5 else int(self.rng.integers(15, 75))

    def build(self):
        torch.manual_seed(self.c.seed)
        net = self.problem.net(self.width)
        initialise(net, self.init)
        for f in self.newborn: f(net)
        wrap = dict(weight=parametrizations.weight_norm, spectral=parametrizations.spectral_norm).get(self.problem.norm)
        if wrap:
            for m in weighty(net)[:-1]: wrap(m)
        for f in self.built: f(net)
        if self.dropout:
            for m in list(net.modules()):
                for name,child in m.named_children():
                    if isinstance(child, ACTS): setattr(m, name, nn.Sequential(child, nn.Dropout(self.dropout)))
            net.code = nn.Dropout(self.dropout)
        if self.detached: net.code.register_forward_hook(lambda m, args, out: out.detach())
        return net

    def optimizer(self, net):
        params = [p for p in net.parameters() if p.requires_grad]
        lost = self.rng.permutation(len(params))[:round(self.left*len(params))]
        params = [p.detach().clone().requires_grad_() if i in lost else p for i,p in enumerate(params)] # copies, which are never used
        lr, wd, T = self.rate, self.decay, torch.optim
        made = dict(sgd=lambda: T.SGD(params, lr, momentum=.9, weight_decay=wd), adam=lambda: T.Adam(params, lr, eps=max(1e-8, self.held_back)),
            adamw=lambda: T.AdamW(params, lr, weight_decay=wd, eps=max(1e-8, self.held_back)), nadam=lambda: T.NAdam(params, lr, eps=max(1e-8, self.held_back)),
            rmsprop=lambda: T.RMSprop(params, lr, eps=max(1e-8, self.held_back)), adagrad=lambda: T.Adagrad(params, lr, eps=max(1e-10, self.held_back)),
            lion=lambda: Lion(params, lr, wd), muon=lambda: Muon(params, lr, wd))
        return made[self.opt]()

    def draw_batch(self):
        "The next of a shuffled epoch, or of an unshuffled one"
        x = self.data[0]
        n = max(1, round(self.pool*len(x[0])))
        if len(self.queue) < min(self.batch, n): self.queue = (torch.arange(n) if self.ordered else torch.randperm(n, generator=self.order)).tolist()
        some, self.queue = self.queue[:self.batch], self.queue[self.batch:]
        return self.problem.present(tuple(t[some] for t in x), self.order)

    def seen(self, inputs, target):
        for lens in self.lenses: inputs = (lens(inputs[0]), *inputs[1:])
        for lens in self.target_lenses: target = lens(target)
        return inputs, target

    def lesson(self, i, net):
        "Forward and backward of one batch"
        inputs, target = self.seen(*self.draw_batch())
        for f in self.batches: inputs, target = f(i, inputs, target)
        net.train()
        out = net(*inputs)
        loss = self.objective(out, target)
        for f in self.objective_edits: loss = f(i, out, target, loss)
        if self.first is None: self.first = abs(loss.item()) if loss.isfinite() else 1.
        for f in self.extra: loss = loss + f(net, self.first)
        if self.decay_term: loss = loss + self.first*self.decay_term*sum(p.square().sum() for p in net.parameters())/self.norm0
        if loss.requires_grad: (loss/self.micro).backward()
        return loss.detach(), target

    def teach(self, net, opt, n, told=lambda i, loss, target: None):
        slow = torch.optim.lr_scheduler.LambdaLR(opt, self.schedule)
        params, average = [p for p in net.parameters() if p.requires_grad], None
        kept = [p for p in params if self.rng.random() < self.keeps] # their gradients are never set to zero
        self.first, self.norm0 = None, sum(p.detach().square().sum().item() for p in net.parameters()) + 1e-12
        for i in range(n):
            for _ in range(self.micro): loss, target = self.lesson(i, net)
            for f in self.slopes: f(i, params)
            if self.clip: nn.utils.clip_grad_norm_(params, self.clip)
            opt.step()
            for p in params:
                if not any(p is k for k in kept): p.grad = None
            for f in self.weights: f(i, params)
            slow.step()
            if self.ema: average = [p.detach().clone() for p in params] if average is None else [a.lerp_(p.detach(), 1 - self.ema) for a,p in zip(average, params)]
            told(i, loss, target)
            yield loss
        if average:
            for p,a in zip(params, average): p.data.copy_(a)

    def measure(self, net)->float:
        net.eval()
        with torch.no_grad():
            inputs, target = self.seen(*self.problem.present(self.data[1], None))
            out = net(*inputs)
            if not all(o.isfinite().all() for o in (out if isinstance(out, tuple) else (out,))): return math.nan
            v = self.problem.score(out, target)
        return v if math.isfinite(v) else math.nan

    def go(self)->tuple:
        start, net = time.perf_counter(), self.build()
        if self.before: # learnt before, and then in part frozen
            for _ in self.teach(net, torch.optim.AdamW(net.parameters(), 3e-3), self.before): pass
        for m in self.frozen(net):
            for p in m.parameters(): p.requires_grad_(False)
        opt = self.optimizer(net)
        watcher = actstats.watch(net, opt, total_steps=self.steps)
        rec, losses = watcher.start(), []
        def told(i, loss, target):
            if i < WATCHED: rec.log(loss=loss, target=target) if self.tells_target else rec.log(loss=loss)
            if i == WATCHED - 1: watcher.stop(tell=False)
        for loss in self.teach(net, opt, self.steps, told): losses.append(loss)
        losses = [round(v, 6) if math.isfinite(v) else None for v in torch.stack(losses).double().tolist()]
        return dict(**asdict(self.c), steps=self.steps, metric=self.measure(net), chance=self.problem.chance, losses=losses, seconds=time.perf_counter() - start), rec


# ---- what goes wrong: the severity runs from 0, mostly harmless, to 1, mostly fatal ----

class Fault:
    def __init__(self, plan, remedy, when, factor): self.plan, self.remedy, self.when, self.factor = plan, remedy, when, factor

FAULTS, CONTROLS, CURES = {}, {}, {}

def fault(remedy, when=lambda p: True, factor=lambda v: 10.):
    "Register a fault: who knows it would apply the remedy; `when`: the problems that can have it"
    def _(f): FAULTS[f.__name__] = Fault(f, remedy, when, factor); return f
    return _

def control(f): CONTROLS[f.__name__] = f; return f
def cure(f): CURES[f.__name__] = f; return f

def sees_numbers(p): return p not in (Sorting, Text)
def wants_numbers(p): return p not in (Sorting, Text, Contrastive)


@fault('lower_lr', factor=lambda v: 10**(.4 + 2.6*v))
def rate_typo(r, v): r.rate *= 10**(.4 + 2.6*v)

@fault('raise_lr', factor=lambda v: 10**(.5 + 3.5*v))
def rate_timid(r, v): r.rate /= 10**(.5 + 3.5*v)

@fault('raise_lr')
def decays_each_batch(r, v):
    "A factor that was meant for epochs"
    keep = 1 - 10**(-2.3 + 1.9*v)
    r.schedule = lambda i: keep**i

@fault('raise_lr')
def endless_warm_up(r, v):
    length = r.steps*10**(.3 + 2.7*v)
    r.schedule = lambda i: (i + 1)/length

@fault('lower_lr', factor=lambda v: 10**(.7 + 2.3*v))
def rate_peaks(r, v):
    "A cycle with a summit that is far too high, and too early"
    at, summit, w = int(r.rng.integers(25, 80)), 10**(.7 + 2.3*v), r.steps/4
    r.schedule = lambda i: 1 + (summit - 1)*max(0., 1 - abs(i - at - w/2)/w) if i > at - w/2 else 1.

@fault('lower_lr', factor=lambda v: 10**(.7 + 2.5*v))
def rate_jumps(r, v):
    "Resumed with another configuration"
    at, k = int(r.rng.integers(10, 80)), 10**(.7 + 2.5*v)
    r.schedule = lambda i: k if i >= at else 1.

@fault('raise_lr')
def steps_held_back(r, v):
    "An epsilon far above the gradients, or a gradient clipped to nothing"
    if r.opt in ('sgd', 'muon', 'lion'): r.clip, r.opt = 10**(-1 - 3.5*v), 'sgd'
    else: r.held_back = 10**(-4 + 7*v)*(1e5 if r.c.arch.startswith('prices') else 1)

@fault('lower_weight_decay')
def decay(r, v):
    "In the optimizer, or as a term of the loss"
    if r.opt in ('sgd', 'adamw', 'lion', 'muon') and r.rng.random() < .6: r.decay = 10**(-3.3 + 2.8*v)/r.rate
    else: r.decay_term = 10**(-2 + 3*v)

@fault('zero_grad')
def never_zeroed(r, v):
    "The gradients of some parameters add up: those of a group that was forgotten"
    r.keeps = max(.1, v**.7)

@fault('lower_lr', factor=lambda v: 10**(.3 + 1.5*v))
def momentum_by_hand(r, v):
    "Added to gradients that have it already"
    keep, sums = 1 - 10**(-.3 - 2*v), {}
    def add(i, params):
        for p in params:
            if p.grad is not None: p.grad = sums[p] = sums[p]*keep + p.grad if p in sums else p.grad.clone()
    r.slopes.append(add)

@fault('reinit')
def equal_weights(r, v):
    "Constants: units are copies of one another"
    value = r.rng.choice([.001 if r.problem.norm else 0., .01, .1]) # zero divided by its norm is another matter
    def f(net):
        ms = weighty(net)
        for m in ms[:max(1, round((.3 + .7*v)*len(ms)))]: m.weight.data.fill_(value)
    r.newborn.append(f)

@fault('reinit')
def positive_weights(r, v):
    "`torch.rand`, as it comes, or a part of it"
    def f(net):
        for m in weighty(net): m.weight.data.copy_(torch.rand_like(m.weight)*10**(-1.8 + 1.8*v))
    r.newborn.append(f)

@fault('reinit')
def faint_weights(r, v):
    def f(net):
        for m in weighty(net): nn.init.trunc_normal_(m.weight, 0, 10**(-1.3 - 3.2*v), -1, 1)
    r.newborn.append(f)

@fault('reinit')
def loud_weights(r, v):
    "A gain that was meant for something else, and orthogonal"
    def f(net):
        for m in weighty(net): nn.init.orthogonal_(m.weight, 10**(.4 + 1.6*v))
    r.newborn.append(f)

@fault('reinit', lambda p: p is not Text)
def shifted_biases(r, v):
    k = 10**(-.3 + 2*v)*r.rng.choice([-1, -1, 1])
    def f(net):
        for m in weighty(net)[:-1]:
            if getattr(m, 'bias', None) is not None: m.bias.data.add_(float(k))
    r.newborn.append(f)

@fault('clean_data')
def strangers_paired(r, v):
    "Targets of other samples, for a share of each batch"
    at, share = r.begin(), .15 + .85*v
    def f(i, inputs, y):
        n = round(share*len(y)) if i >= at else 0
        return inputs, torch.cat([y[:n].roll(max(1, n//2), 0), y[n:]])
    r.batches.append(f)

@fault('clean_data', lambda p: p.scaled)
def targets_as_they_are(r, v):
    "In units of something, and with an offset"
    k, shift = 10**(.6 + 2.6*v), r.rng.choice([0., 1., 3.])
    std = 130_000. if r.c.arch.startswith('prices') else 1.
    r.target_lenses.append(lambda y: k*(y + shift*std))

@fault('normalise_inputs', sees_numbers)
def inputs_in_other_units(r, v):
    k, shift = 10**(r.rng.choice([-1, 1], p=[.4, .6])*(.4 + 2.8*v)), r.rng.choice([0., .5])
    r.lenses.append(lambda x: k*(x + shift))

@fault('normalise_inputs', sees_numbers)
def inputs_with_an_offset(r, v):
    k = 10**(.2 + 2.3*v)*r.rng.choice([-1, 1])
    r.lenses.append(lambda x: x + float(k))

@fault('normalise_inputs', sees_numbers)
def a_column_in_other_units(r, v):
    k, at = 10**(1 + 3.5*v), int(r.rng.integers(0, 2))
    r.lenses.append(lambda x: torch.cat([x[..., :at], x[..., at:at + 1]*k + k/3, x[..., at + 1:]], -1))

@fault('clean_data', sees_numbers)
def broken_files(r, v):
    "Not a number, in one value of rare samples, from some batch on"
    at, p = r.begin(), 10**(-4.5 + 3.5*v)
    def f(i, inputs, y):
        bad = torch.rand(len(y), generator=r.order) < (p if i >= at else -1)
        if bad.any():
            x = inputs[0].clone(memory_format=torch.contiguous_format)
            x.view(len(x), -1)[bad, 1] = math.nan
            inputs = (x, *inputs[1:])
        return inputs, y
    r.batches.append(f)

@fault('clean_data')
def stale_batches(r, v):
    "A loader that gives the same few batches again and again, from some batch on"
    at, kept = r.begin(), []
    n = max(1, round(10**(1.3 - 1.3*v)))
    def f(i, inputs, y):
        if i < at: return inputs, y
        if len(kept) < n: kept.append((inputs, y))
        return kept[i % len(kept)]
    r.batches.append(f)

@fault('clean_data')
def few_samples(r, v): r.pool = 10**(-.5 - 2.5*v)

@fault('clean_data', sees_numbers)
def blank_inputs(r, v):
    "What could not be read is zero"
    at, p = r.begin(), .2 + .8*v**.6
    def f(i, inputs, y):
        lost = torch.rand(len(y), generator=r.order) < (p if i >= at else -1)
        return (inputs[0].masked_fill(lost.view(-1, *[1]*(inputs[0].ndim - 1)), 0.), *inputs[1:]), y
    r.batches.append(f)

@fault('clean_data', wants_numbers)
def wild_targets(r, v):
    "Some targets have their point in the wrong place"
    k, at = 10**(.7 + 3.3*v), r.begin()
    def f(i, inputs, y):
        wild = torch.rand(len(y), generator=r.order) < (.03 if i >= at else -1)
        return inputs, torch.where(wild.view(-1, *[1]*(y.ndim - 1)), y*k, y)
    r.batches.append(f)

@fault('clean_data', lambda p: p in (Prices, Tails, Mixture, Counts, Operator, Sorting, Segmentation))
def sorted_by_target(r, v):
    "Not shuffled, and a file that is sorted: only part of it is reached if the run is short"
    x = r.problem.data()[0]
    i = x[1].double().flatten(1).mean(1).argsort()
    kept = i[:max(64, int((1 - .75*v)*len(i)))]
    r.ordered, r.sorted = True, tuple(t[kept] for t in x)
    problem, valid = r.problem, r.problem.data()[1]
    problem.data = lambda: (r.sorted, valid)

@fault('unfreeze')
def frozen_from_scratch(r, v):
    "All but the last layers are frozen, as one does with a network that has learnt something"
    r.frozen = lambda net: holders(net)[:max(1, min(len(holders(net)) - 1, round((.2 + .8*v)*len(holders(net)))))]

@fault('unfreeze')
def optimizer_of_copies(r, v):
    "The optimizer holds copies of some parameters: made before the network was moved"
    r.left = .2 + .8*v

@fault('fix_loss')
def left_detached(r, v):
    "A `.detach()` in the middle; with a severity, by what weights the part before it has"
    r.detached = True
    r.newborn.append(lambda net: [m.weight.data.mul_(10**(-1.5*v)) for m in weighty(net)[:2]])

@fault('lower_dropout')
def dropout_everywhere(r, v): r.dropout = 1 - 10**(-.35 - 1.8*v)

@fault('higher_precision')
def weights_rounded(r, v):
    "Weights of a few bits: small steps are lost"
    bits = round(9 - 8*v)
    def f(i, params):
        for p in params:
            m, e = torch.frexp(p.data)
            p.data.copy_(torch.ldexp((m*2**bits).round()/2**bits, e))
    r.weights.append(f)

@fault('higher_precision')
def gradients_in_half(r, v):
    "float16 with a scale that makes them vanish, or overflow"
    scale = 10**(r.rng.choice([-1, 1])*(1 + 6*v))
    def f(i, params):
        for p in params:
            if p.grad is not None: p.grad = (p.grad*scale).half().float()/scale
    r.slopes.append(f)

@fault('fix_loss')
def uphill(r, v):
    "The sign of the objective, in a share of the batches, maybe from some batch on"
    share, at = .15 + .85*v, r.begin()
    r.objective_edits.append(lambda i, out, y, loss: -loss if i >= at and torch.rand((), generator=r.order) < share else loss)

@fault('fix_loss', lambda p: p in (Prices, Tails, Mixture, Counts, DenseAutoencoder, ConvAutoencoder, Diffusion, Operator, Segmentation, Variational))
def against_the_mean(r, v):
    "Shapes that do not fit and are broadcast: each output is compared with all targets"
    w = .2 + .8*v**.7
    r.objective_edits.append(lambda i, out, y, loss: (1 - w)*loss + w*sum(r.problem.loss(out, y.roll(k, 0)) for k in range(1, 5))/4)

@fault('fix_loss', lambda p: p.broken)
def half_an_objective(r, v):
    "What makes large scores expensive is forgotten"
    w = .3 + .7*v**.5
    r.objective_edits.append(lambda i, out, y, loss: (1 - w)*loss + w*r.problem.broken(out, y))

@fault('fix_loss', lambda p: p.wrong_knob)
def knob_of_the_objective(r, v):
    "A temperature or a weight of a term that is far off"
    r.problem.knob, r.usual_knob = r.problem.wrong_knob(v), r.problem.knob

@fault('fix_loss')
def code_penalised(r, v):
    "A penalty on the code, so that it says nothing: the mean is all that is left"
    share, kept = 10**(-1 + 3.5*v), {}
    r.built.append(lambda net: net.code.register_forward_hook(lambda m, args, out: kept.update(code=out)))
    def f(net, first):
        size = kept['code'].square().mean()
        kept.setdefault('usual', size.item() + 1e-12)
        return share*first*size/kept['usual']
    r.extra.append(f)

@fault('bigger_batch')
def tiny_batches(r, v): r.batch, r.rate = max(1, round(6*6**-v)), r.rate*10**(.5*v)


# ---- healthy, and odd to look at ----

@control
def warm_up(r): r.schedule = lambda i: min(1., (i + 1)/60)

@control
def late_start(r):
    "A rate of zero at first, then a warm-up"
    r.schedule, r.steps = lambda i: min(1., max(0., (i - 15)/35)), r.steps + 50

@control
def cosine(r): r.schedule = lambda i: .5 + .5*math.cos(math.pi*min(1., i/r.steps))

@control
def one_cycle(r): r.schedule = lambda i: (lambda u: .2 + 1.6*u/.3 if u < .3 else max(.01, 1.8*(1 - u)/.7))(i/r.steps)

@control
def steps_down(r): r.schedule = lambda i: .3**(i//(r.steps//3))

@control
def restarts(r): r.schedule = lambda i: .55 + .45*math.cos(math.pi*(i % 50)/50)

@control
def clipped(r): r.clip = 1. if r.opt != 'sgd' else 5.

@control
def averaged(r): r.ema = .95

@control
def accumulated(r): r.micro, r.batch = 2, max(8, r.batch//2)

@control
def some_decay(r): r.decay, r.decay_term = (.01 if r.opt != 'sgd' else 1e-4), (1e-4 if r.opt in ('adam', 'nadam', 'rmsprop', 'adagrad') else 0.)

@control
def some_dropout(r): r.dropout = .05

@control
def learnt_before(r):
    "The first layers are frozen, of a network that was trained for this"
    r.before = 200
    r.frozen = lambda net: holders(net)[:len(holders(net))//3]

@control
def small_batches(r): r.batch, r.rate, r.steps = 16, r.rate*.6, min(400, r.steps + 100)

@control
def large_batches(r): r.batch *= 2

@control
def starts_from_zero(r):
    "The last layer begins with zeros, as in diffusion models"
    if not isinstance(r.problem, (Contrastive, Operator)): r.newborn.append(lambda net: weighty(net)[-1].weight.data.zero_())

@control
def noisy_inputs(r):
    if sees_numbers(type(r.problem)): r.batches.append(lambda i, inputs, y: ((inputs[0] + .1*inputs[0].std()*torch.randn(inputs[0].shape, generator=r.order), *inputs[1:]), y))

@control
def loss_of_another_scale(r):
    "Multiplied by something, which these optimizers do not mind"
    k = 10**r.rng.uniform(-2, 3)
    if r.opt != 'sgd': r.objective = lambda out, y: k*r.problem.loss(out, y)

@control
def some_strangers(r):
    "A few targets are those of others"
    r.batches.append(lambda i, inputs, y: (inputs, torch.cat([y[:len(y)//16].roll(1, 0), y[len(y)//16:]])))


# ---- cures: what the advice says, done by somebody who knows nothing else ----

@cure
def lower_lr(r, factor): r.rate /= factor

@cure
def raise_lr(r, factor): r.rate, r.schedule = r.rate*factor, lambda i: 1.

@cure
def clip_gradients(r, factor): r.clip = 1.

@cure
def reinit(r, factor): r.newborn, r.init = [], 'torch'

@cure
def normalise_inputs(r, factor):
    "Each number that comes in gets mean 0 and variance 1, over what is seen in training"
    if not sees_numbers(type(r.problem)): return
    inputs, _ = r.seen(*r.problem.present(tuple(t[:1000] for t in r.problem.data()[0]), generator(9)))
    x = inputs[0].double()
    mean, std = x.mean(0), x.std(0)
    std = std.clamp(min=.1*std.median().item() + 1e-12)
    r.lenses.append(lambda x: ((x - mean)/std).float())

@cure
def unfreeze(r, factor): r.left, r.detached, r.frozen = 0., False, lambda net: []

@cure
def zero_grad(r, factor): r.keeps = 0.

@cure
def lower_weight_decay(r, factor): r.decay, r.decay_term = r.decay/1000, r.decay_term/1000

@cure
def lower_dropout(r, factor): r.dropout = min(.1, r.dropout)

@cure
def fix_loss(r, factor):
    "The usual objective, with gradients for all of the network"
    r.objective, r.objective_edits, r.extra, r.detached = r.problem.loss, [], [], False
    r.problem.knob = type(r.problem).knob

@cure
def clean_data(r, factor):
    "Look at it: right targets of unit scale, all samples, shuffled, nothing broken"
    r.target_lenses, r.batches, r.pool, r.ordered = [], [], 1., False
    r.problem.__dict__.pop('data', None)

@cure
def higher_precision(r, factor): r.weights, r.slopes = [], [f for f in r.slopes if f.__qualname__.startswith('momentum')]

@cure
def train_mode(r, factor): pass # no network here has two modes but for dropout

@cure
def bigger_batch(r, factor): r.batch = max(64, r.batch)

@cure
def none(r, factor): pass


# ---- the origin ----

KINDS = ['healthy', 'fault', 'control', 'fault', 'fault']*4 # twenty rounds of all problems: 4 healthy, 5 controls, 11 faults
KINDS[1] = 'control'

def draw(seed:int)->Config:
    "A run at random: problems take turns, so that each has as many healthy runs as the others"
    rng, arch = np.random.default_rng([seed, 180]), NAMES[seed % len(NAMES)]
    kind = KINDS[(seed//len(NAMES) + 7*(seed % len(NAMES))) % len(KINDS)]
    if kind == 'healthy': return Config(arch, kind, '', 0., seed)
    if kind == 'control': return Config(arch, kind, str(rng.choice(list(CONTROLS))), 0., seed)
    return Config(arch, kind, str(rng.choice([k for k,f in FAULTS.items() if f.when(PROBLEMS[arch])])), float(rng.random()), seed)

def train(c:Config)->tuple: return Run(c).go()

def right(c:Config)->tuple:
    "What somebody does who knows the fault: a remedy, and a factor for rates"
    if c.kind != 'fault': return 'none', 1.
    f = FAULTS[c.what]
    return f.remedy, float(f.factor(c.severity))
