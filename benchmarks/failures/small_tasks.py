"""Small problems and small models: real digits, sequences, a regression, an autoencoder; no network, a second or two a run."""
from dataclasses import dataclass
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import nn


@dataclass(frozen=True)
class Task:
    train:tuple # tensors x, y
    valid:tuple
    loss:object # of outputs and y
    metric:object # of outputs and y: larger is better
    chance:float # the metric of who knows nothing


def accuracy(out, y): return (out.argmax(-1) == y).double().mean().item()

def r2(out, y):
    "Share of the variance that is explained, over all outputs"
    y, out = y.double(), out.double()
    return 1 - ((out - y)**2).mean().item()/((y - y.mean(0))**2).mean().item()

def split(x, y, share=.25):
    i, n = torch.randperm(len(x), generator=torch.Generator().manual_seed(0)), int(len(x)*share)
    return (x[i[n:]], y[i[n:]]), (x[i[:n]], y[i[:n]])

def _digits():
    from sklearn.datasets import load_digits
    d = load_digits()
    x = torch.tensor(d.images, dtype=torch.float32)
    return (x - x.mean())/x.std(), torch.tensor(d.target)

@lru_cache
def digits():
    "Which digit? 8x8 pictures"
    x, y = _digits()
    return Task(*split(x[:, None], y), F.cross_entropy, accuracy, .1)

@lru_cache
def rows():
    "Which digit? Its eight rows, one after the other"
    return Task(*split(*_digits()), F.cross_entropy, accuracy, .1)

@lru_cache
def autoencoding():
    "The digits out of 16 numbers"
    x = _digits()[0].flatten(1)
    return Task(*split(x, x), F.mse_loss, r2, 0.)

@lru_cache
def regression():
    "Friedman's function of ten variables, five of which matter"
    from sklearn.datasets import make_friedman1
    x, y = (torch.tensor(o, dtype=torch.float32) for o in make_friedman1(3000, n_features=10, noise=.5, random_state=0))
    return Task(*split((x - x.mean(0))/x.std(0), ((y - y.mean())/y.std())[:, None]), F.mse_loss, r2, 0.)

@lru_cache
def sequences(n=4000, length=16, vocab=12, classes=4):
    "Which of the first four symbols comes most often?"
    g = torch.Generator().manual_seed(0)
    x = torch.randint(0, vocab, (n, length), generator=g)
    counts = F.one_hot(x, vocab)[..., :classes].sum(1) + .1*torch.rand(n, classes, generator=g)
    return Task(*split(x, counts.argmax(-1)), F.cross_entropy, accuracy, 1/classes)

TASKS = dict(digits=digits, rows=rows, autoencoding=autoencoding, regression=regression, sequences=sequences)


# ---- models: each is made with a width, in shares of its usual one, and a change of depth ----

def mlp(n_in, widths, n_out, act, norm=None):
    layers, k = [nn.Flatten()], n_in
    for n in widths:
        layers += [nn.Linear(k, n), *([norm(n)] if norm else []), act()]
        k = n
    return nn.Sequential(*layers, nn.Linear(k, n_out))

def cnn(norm, w):
    layers, k = [], 1
    for n,stride in ((16, 1), (32, 2), (32, 1), (64, 2)):
        n = 8*round(n*w/8)
        layers += [nn.Conv2d(k, n, 3, stride, 1), *([norm(n)] if norm else []), nn.ReLU()]
        k = n
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(k, 10))

class Residual(nn.Module):
    def __init__(self, k):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(k, k, 3, 1, 1), nn.BatchNorm2d(k), nn.ReLU(), nn.Conv2d(k, k, 3, 1, 1), nn.BatchNorm2d(k))
        self.act = nn.ReLU()
    def forward(self, x): return self.act(x + self.body(x))

def resnet(w, d):
    k = 8*round(24*w/8)
    return nn.Sequential(nn.Conv2d(1, k, 3, 1, 1), nn.ReLU(), Residual(k), nn.MaxPool2d(2), *[Residual(k) for _ in range(2 + (d > 0))],
                         nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(k, 10))

class Recurrent(nn.Module):
    def __init__(self, kind, w, n_in=None, n_out=4, **kw):
        super().__init__()
        k = 8*round(32*w/8)
        self.emb = nn.Embedding(12, k) if n_in is None else nn.Identity()
        self.rnn, self.head = kind(n_in or k, k, batch_first=True, **kw), nn.Linear(k, n_out)
    def forward(self, x): return self.head(self.rnn(self.emb(x))[0][:, -1])

class Transformer(nn.Module):
    def __init__(self, norm_first, w, d):
        super().__init__()
        k = 8*round(32*w/8)
        self.emb, self.pos = nn.Embedding(12, k), nn.Embedding(16, k)
        self.blocks = nn.Sequential(*[nn.TransformerEncoderLayer(k, 4, 2*k, 0., batch_first=True, norm_first=norm_first) for _ in range(3 + d)])
        self.norm, self.head = nn.LayerNorm(k), nn.Linear(k, 4)
    def forward(self, x): return self.head(self.norm(self.blocks(self.emb(x) + self.pos.weight)).mean(1))

def _mlp(n_in, width, depth, n_out, act, norm=None): return lambda w, d: mlp(n_in, [8*round(width*w/8)]*(depth + d), n_out, act, norm)


@dataclass(frozen=True)
class Model:
    task:str
    make:object
    opt:str # sgd (with momentum 0.9) or adam
    lr:float

MODELS = {
    'plain CNN': Model('digits', lambda w, d: cnn(None, w), 'sgd', .05),
    'CNN, batch norm': Model('digits', lambda w, d: cnn(nn.BatchNorm2d, w), 'sgd', .05),
    'residual CNN': Model('digits', resnet, 'adam', 2e-3),
    'deep ReLU MLP': Model('digits', _mlp(64, 64, 7, 10, nn.ReLU), 'adam', 1.5e-3),
    'ReLU MLP': Model('digits', _mlp(64, 64, 3, 10, nn.ReLU), 'sgd', .05),
    'tanh MLP': Model('digits', _mlp(64, 64, 5, 10, nn.Tanh), 'sgd', .05),
    'sigmoid MLP': Model('digits', _mlp(64, 64, 2, 10, nn.Sigmoid), 'adam', 5e-3),
    'LSTM': Model('sequences', lambda w, d: Recurrent(nn.LSTM, w), 'adam', 1e-2),
    'GRU': Model('rows', lambda w, d: Recurrent(nn.GRU, w, 8, 10), 'adam', 1e-2),
    'transformer, pre-norm': Model('sequences', lambda w, d: Transformer(True, w, d), 'adam', 2e-3),
    'regression MLP': Model('regression', _mlp(10, 64, 3, 1, nn.ReLU), 'adam', 3e-3),
    'autoencoder': Model('autoencoding', lambda w, d: mlp(64, [8*round(96*w/8), 16, 8*round(96*w/8)], 64, nn.ReLU), 'adam', 4e-3),
    'transformer, post-norm': Model('sequences', lambda w, d: Transformer(False, w, d), 'adam', 1.5e-3),
    'GELU MLP, layer norm': Model('digits', _mlp(64, 64, 6, 10, nn.GELU, nn.LayerNorm), 'adam', 2e-3),
    'CNN, group norm': Model('digits', lambda w, d: cnn(lambda k: nn.GroupNorm(4, k), w), 'sgd', .05),
    'vanilla RNN': Model('rows', lambda w, d: Recurrent(nn.RNN, w, 8, 10), 'adam', 5e-3),
}
