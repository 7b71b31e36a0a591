"""Networks that others wrote, on real data, trained by the recipes of their authors, at a size of a second or two a run.

    python benchmarks/failures/store.py networks 400       # draw, train, store
    python benchmarks/failures/networks.py --healthy 2     # a trial: two healthy runs of each network, nothing stored
    python benchmarks/failures/networks.py --each 30       # a trial: every fault and control for 30 batches, and the right cures

The networks are those of torchvision, timm and transformers, built small and without weights. timm, transformers and what they need, and
aeon for its recordings of speech, are installed without their requirements, which ask for another PyTorch:

    pip install --target .bench --no-deps $(sed -n 's/^alone: //p' benchmarks/sweep.txt) aeon

Data: Fashion-MNIST and MNIST, from the folder ACTSTATS_DATA or from the hub; the help of Python as bytes and as words without their vowels; the
source of Python's own packages; spoken vowels (aeon); a table of scikit-learn; a map of heights (matplotlib).
Every run is trained by one loop, `go`. What can be wrong with it is either a value of its `Job`, a change to its network, or a function that
the loop calls at a named place (`Job.wrong`), as a wrong line would stand there.
"""
from dataclasses import asdict, dataclass, field
from functools import lru_cache, partial
from itertools import count
from pathlib import Path
from random import seed as seed_python
import argparse
import io
import math
import os
import re
import sys
import time
import warnings

os.environ.setdefault('OMP_NUM_THREADS', '1')  # before torch is loaded
os.environ.update(HF_HUB_OFFLINE='1', TRANSFORMERS_VERBOSITY='error')
HERE = Path(__file__).parent
BENCH = HERE.parent.parent/'.bench'
sys.path += [str(HERE), str(BENCH)]  # behind everything: what is installed wins

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

import actstats
from store import WATCHED, Config

INSTALL = "pip install --target .bench --no-deps $(sed -n 's/^alone: //p' benchmarks/sweep.txt) aeon"
try:
    import timm, torchvision  # noqa: E401
    from timm import optim as timm_optim
    from transformers import (ASTConfig, ASTForAudioClassification, BertConfig, BertForSequenceClassification, LlamaConfig, LlamaForCausalLM,
                              T5Config, T5ForConditionalGeneration)
except ImportError as e: raise ImportError(f'networks.py needs torchvision, timm and transformers ({e}): {INSTALL}') from e


# ---- data: inputs and targets to train with and held out; what is measured; what is known without looking ----

@dataclass(frozen=True)
class Data:
    train:tuple # x, y
    held:tuple
    kind:str # classes, bytes (targets are sequences; -100 is no target) or values
    chance:float
    many:int = 0 # classes, or symbols

def metric(d:Data, out, y):
    "Share that is right, minus the nats a byte, or the share of the variance that is explained: larger is better"
    if d.kind == 'classes': return (out.argmax(-1) == y).double().mean().item()
    if d.kind == 'bytes': return -F.cross_entropy(out.double().flatten(0, 1), y.flatten()).item()
    return 1 - F.mse_loss(out.double(), y.double()).item()/y.double().var(unbiased=False).item()

def parted(x, y, held:int, kind:str, chance:float, many=0):
    i = torch.from_numpy(np.random.default_rng(0).permutation(len(x)))
    return Data((x[i[held:]], y[i[held:]]), (x[i[:held]], y[i[:held]]), kind, chance, many)

def _first(name:str, split:str, n:int):
    "The first pictures of a split and their labels: bytes, and numbers. Rows of the tables in ACTSTATS_DATA, without decoding the others"
    import pyarrow.parquet as pq
    from PIL import Image
    folder = Path(os.environ['ACTSTATS_DATA'])/name
    files = sorted(folder.glob(f'{split}*.parquet'))
    if not files: raise FileNotFoundError(f'{folder}: expected {split}*.parquet, as the hub has it')
    rows = next(pq.ParquetFile(files[0]).iter_batches(n)).to_pydict()
    picture, label = (next(v for v in rows.values() if isinstance(v[0], t)) for t in (dict, int))
    return np.stack([np.array(Image.open(io.BytesIO(o['bytes']))) for o in picture]), label

@lru_cache
def pictures(name:str, n=4000, held=800)->Data:
    "Pictures of 28x28 in ten classes, with mean 0 and standard deviation 1"
    if 'ACTSTATS_DATA' in os.environ: (x, y), (hx, hy) = _first(name, 'train', n), _first(name, 'test', held)
    else:
        from actstats import datasets
        s = getattr(datasets, name)().splits
        (x, y), (hx, hy) = (s['train'].x[:n, 0]*255, s['train'].y[:n]), (s['test'].x[:held, 0]*255, s['test'].y[:held])
    x, hx = (torch.as_tensor(o).float()[:, None] for o in (x, hx))
    mean, std = x.mean(), x.std()
    return Data(((x - mean)/std, torch.as_tensor(y)), ((hx - mean)/std, torch.as_tensor(hy)), 'classes', .1, 10)

def _help():
    from pydoc_data.topics import topics
    return '\n\n'.join(topics.values())

def _frequencies(y):
    "Minus the nats a symbol, for somebody who knows how often each occurs"
    n = y[y >= 0].bincount().double()
    return -torch.distributions.Categorical(n).entropy().item()

@lru_cache
def prose(length=40)->Data:
    "The help of Python as bytes: each, and the one that follows it"
    x = torch.tensor(list(_help().encode())).clamp(max=127).unfold(0, length + 1, length//2)
    last = len(x) - 300
    return Data((x[:last - 2, :-1], x[:last - 2, 1:]), (x[last:, :-1], x[last:, 1:]), 'bytes', _frequencies(x[last:, 1:].flatten()), 128)

@lru_cache
def vowels(length=20)->Data:
    "Words of the help of Python without their vowels, and with them: pairs of sequences"
    pairs, row = [], ''
    for w in re.findall('[a-z]{2,12}', _help().lower()):
        if len(row) + len(w) + 1 > length: pairs.append(row); row = ''
        row = f'{row} {w}'.strip()
    def codes(s, fill): return list(s.encode()) + [fill]*(length - len(s))
    x = torch.tensor([codes(re.sub('[aeiou]', '', s), 0) for s in pairs])
    y = torch.tensor([codes(s, -100) for s in pairs])
    return parted(x, y, 250, 'bytes', _frequencies(y.flatten()), 128)

PACKAGES = 'asyncio', 'email', 'unittest', 'multiprocessing', 'http', 'xml'

@lru_cache
def sources(length=24, words=1500)->Data:
    "Which package of Python is this an excerpt of? Words of its source, as numbers of the most frequent ones"
    from collections import Counter
    root = Path(os.__file__).parent
    texts = [re.findall('[A-Za-z]{2,}', ' '.join(p.read_text(errors='ignore') for p in sorted((root/k).rglob('*.py')))) for k in PACKAGES]
    vocabulary = {w: i + 2 for i,(w, _) in enumerate(Counter(w for t in texts for w in t).most_common(words - 2))}
    rows = [([1, *(vocabulary.get(w, 0) for w in t[i:i + length - 1])], k) for k,t in enumerate(texts) for i in range(0, min(len(t), 24000) - length, length)]
    x, y = (torch.tensor(o) for o in zip(*rows))
    return parted(x, y, 700, 'classes', (y.bincount().max()/len(y)).item(), len(PACKAGES))

@lru_cache
def speech()->Data:
    "Who of nine men says the Japanese vowel /ae/? 25 windows of sound, 12 numbers each (640 recordings, Kudo, Toyama and Shimbo 1999)"
    folder = BENCH/'aeon/datasets/data/JapaneseVowels'
    if not folder.exists(): raise FileNotFoundError(f'networks.py needs the recordings of speech that aeon has: {INSTALL}')
    lines = [r for s in ('TRAIN', 'TEST') for r in (folder/f'JapaneseVowels_eq_{s}.ts').read_text().split('@data')[1].split()]
    rows = [[[float(v) for v in channel.split(',')] for channel in r.split(':')[:-1]] for r in lines]
    x, y = torch.tensor(rows).transpose(1, 2), torch.tensor([int(r.rsplit(':', 1)[1]) - 1 for r in lines])
    x = (x - x.mean((0, 1)))/x.std((0, 1))
    return parted(x, y, 160, 'classes', (y.bincount().max()/len(y)).item(), 9)

@lru_cache
def tumours()->Data:
    "Benign or malignant? Thirty measurements of cells (569 patients, Wolberg, Street and Mangasarian 1995)"
    from sklearn.datasets import load_breast_cancer
    d = load_breast_cancer()
    x, y = torch.tensor(d.data).float(), torch.tensor(d.target)
    return parted((x - x.mean(0))/x.std(0), y, 169, 'classes', (y.bincount().max()/len(y)).item(), 2)

@lru_cache
def heights(n=6000, waves=6)->Data:
    "How high is the land at a place? A map of a valley (matplotlib's jacksboro_fault_dem), places as sines and cosines of six frequencies"
    from matplotlib import cbook
    z = torch.tensor(cbook.get_sample_data('jacksboro_fault_dem.npz')['elevation']).float()
    at = torch.cartesian_prod(*(torch.linspace(-1, 1, k) for k in z.shape))
    i = torch.from_numpy(np.random.default_rng(0).permutation(len(at))[:n + 1000])
    angles = (at[i, :, None]*math.pi*2.**torch.arange(waves)/2).flatten(1)
    y = z.flatten()[i]
    return parted(torch.cat([angles.sin(), angles.cos()], 1)*2**.5, (y - y.mean())/y.std(), 1000, 'values', 0.)


# ---- networks: those of others, at widths of a few dozen ----

def densenet(rng):
    return torchvision.models.DenseNet(int(rng.choice([8, 12])), (2, 2, 2), 16, bn_size=2, num_classes=10)

def squeezenet(rng):
    "SqueezeNet 1.1 with narrow Fire modules; as in the original, its last output passes a ReLU before it is averaged"
    from torchvision.models.squeezenet import Fire
    net = torchvision.models.SqueezeNet('1_1', 10, .3)
    w = int(rng.choice([16, 20]))
    net.features = nn.Sequential(nn.Conv2d(3, 2*w, 3, 2), nn.ReLU(inplace=True), Fire(2*w, w//2, w, w), nn.MaxPool2d(3, 2, ceil_mode=True),
                                 Fire(2*w, w, 2*w, 2*w), Fire(4*w, w, 2*w, 2*w))
    net.classifier[1] = nn.Conv2d(4*w, 10, 1)
    for m in net.features.modules():
        if isinstance(m, nn.Conv2d): nn.init.kaiming_uniform_(m.weight); nn.init.zeros_(m.bias)
    nn.init.normal_(net.classifier[1].weight, std=.05); nn.init.zeros_(net.classifier[1].bias)
    return net

def mobilenet(rng):
    from torchvision.models.mobilenetv3 import InvertedResidualConfig as Block
    blocks = (16, 3, 16, 16, True, 'RE', 2), (16, 3, 48, 24, False, 'RE', 2), (24, 3, 64, 24, False, 'RE', 1), (24, 5, 64, 32, True, 'HS', 1)
    norm = partial(nn.BatchNorm2d, eps=.001, momentum=.1) # the momentum of 0.01 is one for long runs
    return torchvision.models.MobileNetV3([Block(*b, dilation=1, width_mult=1.) for b in blocks], 96, 10, norm_layer=norm)

def efficientnet(rng):
    return timm.create_model('test_efficientnet', num_classes=10, in_chans=1, drop_rate=.1, drop_path_rate=float(rng.choice([0., .1])))

def resnet(rng):
    from timm.models.resnet import BasicBlock, ResNet
    w = int(rng.choice([12, 16]))
    return ResNet(BasicBlock, (1, 1, 1, 1), 10, 1, stem_width=16, channels=(w, w, 2*w, 2*w), drop_path_rate=float(rng.choice([0., .05])))

def vgg(rng):
    "VGG's convolutions and its three linear layers, with its own initialisation: normal linear weights, wider than there since the layers are narrower"
    from torchvision.models.vgg import make_layers
    w = int(rng.choice([8, 12]))
    net = nn.Sequential(make_layers([w, 'M', 2*w, 'M', 3*w, 3*w, 'M']), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(12*w, 64), nn.ReLU(True),
                        nn.Dropout(.3), nn.Linear(64, 64), nn.ReLU(True), nn.Dropout(.3), nn.Linear(64, 10))
    net[0][0] = nn.Conv2d(1, w, 3, padding=1)
    for m in net.modules():
        if isinstance(m, nn.Conv2d): nn.init.kaiming_normal_(m.weight, mode='fan_out', nonlinearity='relu')
        if isinstance(m, nn.Linear): nn.init.normal_(m.weight, std=.1)
        if getattr(m, 'bias', None) is not None: nn.init.zeros_(m.bias)
    return net

def vit(rng):
    from timm.models.vision_transformer import VisionTransformer
    return VisionTransformer(28, 7, 1, 10, 'avg', class_token=False, embed_dim=48, depth=int(rng.choice([2, 3])), num_heads=4, mlp_ratio=2.,
                             drop_path_rate=float(rng.choice([0., .1])))

def convnext(rng):
    from torchvision.models.convnext import CNBlockConfig as Block, ConvNeXt
    return ConvNeXt([Block(16, 32, 1), Block(32, 64, int(rng.choice([1, 2]))), Block(64, None, 1)], stochastic_depth_prob=.05, num_classes=10)

def llama(rng):
    return LlamaForCausalLM(LlamaConfig(vocab_size=128, hidden_size=int(rng.choice([56, 64])), intermediate_size=128, num_hidden_layers=2,
                                        num_attention_heads=4, max_position_embeddings=64, use_cache=False, pad_token_id=0, bos_token_id=1, eos_token_id=2))

def bert(rng):
    return BertForSequenceClassification(BertConfig(vocab_size=1500, hidden_size=48, num_hidden_layers=2, num_attention_heads=4,
                                                    intermediate_size=96, max_position_embeddings=32, initializer_range=.05,
                                                    num_labels=len(PACKAGES)))

def t5(rng):
    return T5ForConditionalGeneration(T5Config(vocab_size=128, d_model=int(rng.choice([48, 64])), d_kv=12, d_ff=128, num_layers=1, num_heads=4,
                                               use_cache=False, decoder_start_token_id=0, pad_token_id=0))

def ast(rng):
    return ASTForAudioClassification(ASTConfig(hidden_size=48, num_hidden_layers=int(rng.choice([2, 3])), num_attention_heads=4,
                                               intermediate_size=96, patch_size=4, frequency_stride=4, time_stride=3, max_length=25, num_mel_bins=12, num_labels=9, hidden_dropout_prob=.1))

def mlp(rng):
    return torchvision.ops.MLP(30, [64, 32, 2], norm_layer=nn.BatchNorm1d, inplace=False, dropout=.1)

def coordinates(rng):
    return torchvision.ops.MLP(24, [64]*int(rng.choice([3, 4])) + [1], activation_layer=nn.ReLU, inplace=False)

def plain(net, x, y): return net(x)
def coloured(net, x, y): return net(x.expand(-1, 3, -1, -1))
def single(net, x, y): return net(x)[:, 0]
def of_words(net, x, y): return net(input_ids=x).logits
def of_sounds(net, x, y): return net(input_values=x).logits
def of_pairs(net, x, y):
    "As T5 does it: the decoder sees the targets one place later"
    return net(input_ids=x, attention_mask=(x > 0).long(), decoder_input_ids=F.pad(y.clamp(min=0), (1, -1))).logits


# ---- recipes: how authors train ----

@dataclass
class Job:
    "A training: first as it should be, then as it is"
    arch:str
    seed:int
    data:Data
    net:nn.Module
    call:object # net, x and y to outputs
    opt:object # parameter groups and a rate to an optimizer
    lr:float
    rng:np.random.Generator
    batch:int = 32
    steps:int = 200
    wd:float = 0.
    factor:object = lambda i: 1. # of the rate, at each step
    clip:float|None = None
    smooth:float = 0. # label smoothing
    mix:float = 0. # mixup's alpha
    binary:bool = False # a logistic loss of each class
    micro:int = 1 # batches that make a step
    ema:float = 0. # average of the weights, used in the end
    bf16:bool = False # autocast
    jitter:bool = False # random shifts and flips
    decay_all:bool = False # norms and biases too
    rates:dict = field(default_factory=dict) # parameter -> factor of its rate
    absent:set = field(default_factory=set) # parameters that the optimizer does not have
    wrong:dict = field(default_factory=dict) # place -> function
    feed:list = field(default_factory=list) # functions of inputs, in training and after it
    pool:object = None # which samples are drawn, in order (no shuffling), if not all at random

def hold(i): return 1.

def cosine(steps, warm=0, end=0.):
    "A rise from zero over `warm` steps, then half a cosine down to `end`"
    return lambda i: i/warm if i < warm else end + (1 - end)*.5*(1 + math.cos(math.pi*min(1., (i - warm)/max(1, steps - warm))))

def linear(steps, warm=0): return lambda i: i/warm if i < warm else max(.01, 1 - (i - warm)/(steps - warm))
def milestones(steps, at=(.6, .85), gamma=.1): return lambda i: gamma**sum(i >= a*steps for a in at)
def exponential(steps, end=.1, warm=0): return lambda i: (i + 1)/warm if i < warm else end**(i/steps)

def sgd(groups, lr, momentum=.9, nesterov=True): return torch.optim.SGD(groups, lr, momentum, nesterov=nesterov)
def adamw(groups, lr, betas=(.9, .999), eps=1e-8): return torch.optim.AdamW(groups, lr, betas, eps)
def adam(groups, lr, betas=(.9, .999), eps=1e-8): return torch.optim.Adam(groups, lr, betas, eps)
def rmsprop(groups, lr, momentum=.9, alpha=.9, eps=.0316): return torch.optim.RMSprop(groups, lr, alpha, eps, momentum=momentum)
def rmsprop_tf(groups, lr, momentum=.9, alpha=.9, eps=1e-3): return timm_optim.RMSpropTF(groups, lr, alpha, eps, momentum=momentum)
def lamb(groups, lr, betas=(.9, .999), eps=1e-6): return timm_optim.Lamb(groups, lr, betas=betas, eps=eps)
def lion(groups, lr, betas=(.9, .99)): return timm_optim.Lion(groups, lr, betas)
def nadam(groups, lr, betas=(.9, .999), eps=1e-8): return torch.optim.NAdam(groups, lr, betas, eps)
def adafactor(groups, lr): return torch.optim.Adafactor(groups, lr)

RECIPES = {}

def recipe(name:str, data, net, call=plain):
    def _(f):
        RECIPES[name] = (data, net, call, f)
        return f
    return _

def some(rng, *values): return values[rng.integers(len(values))]

@recipe('DenseNet', partial(pictures, 'fashion_mnist'), densenet, coloured)
def _densenet(j, rng):
    "SGD with Nesterov's momentum; the rate falls to a tenth twice"
    j.opt, j.lr, j.wd, j.decay_all, j.factor = sgd, .06, 1e-4, True, milestones(j.steps, some(rng, (.5, .75), (.6, .85), (.8,)))

@recipe('SqueezeNet', partial(pictures, 'mnist'), squeezenet, coloured)
def _squeezenet(j, rng):
    "AdamW with a rate that falls in a line: no norms, and slow to begin"
    j.opt, j.lr, j.wd, j.steps = adamw, 3e-3, 2e-4, 250
    j.factor = linear(j.steps, some(rng, 0, 10, 30))

@recipe('MobileNetV3', partial(pictures, 'mnist'), mobilenet, coloured)
def _mobilenet(j, rng):
    "RMSprop with momentum, a rate that falls by the epoch, averaged weights"
    j.opt, j.lr, j.wd, j.ema = rmsprop, 1e-2, 1e-5, some(rng, 0., .9)
    j.factor = exponential(j.steps, some(rng, .1, .3), some(rng, 0, 10, 30))

@recipe('EfficientNet', partial(pictures, 'mnist'), efficientnet)
def _efficientnet(j, rng):
    "RMSprop as TensorFlow has it, small batches, stochastic depth, averaged weights, clipping"
    j.opt, j.lr, j.wd, j.batch, j.steps, j.ema, j.smooth = rmsprop_tf, 4e-3, 1e-5, 24, 160, some(rng, 0., .9), .1
    j.factor, j.clip = exponential(j.steps, .2, some(rng, 0, 15, 40)), some(rng, None, 10.)

@recipe('ResNet', partial(pictures, 'fashion_mnist'), resnet)
def _resnet(j, rng):
    "Lamb, mixup and a logistic loss of each class (ResNet strikes back)"
    j.opt, j.lr, j.wd, j.binary, j.mix, j.jitter = lamb, 1e-2, .02, True, some(rng, 0., .1, .3), some(rng, False, True)
    j.factor = cosine(j.steps, some(rng, 0, 20, 50))

@recipe('VGG', partial(pictures, 'mnist'), vgg)
def _vgg(j, rng):
    "SGD, weight decay of 5e-4, dropout twice: a plateau before progress"
    j.opt, j.lr, j.wd, j.steps, j.decay_all = partial(sgd, nesterov=False), .03, 5e-4, 250, True
    j.factor = some(rng, hold, milestones(j.steps, (.8,)))

@recipe('ViT', partial(pictures, 'fashion_mnist'), vit)
def _vit(j, rng):
    "AdamW, warm-up and cosine, clipping, label smoothing"
    j.opt, j.lr, j.wd, j.clip, j.smooth, j.steps = adamw, 4e-3, .05, 1., some(rng, 0., .1, .2), 200
    j.factor = cosine(j.steps, some(rng, 10, 30, 60), .05)

@recipe('ConvNeXt', partial(pictures, 'fashion_mnist'), convnext, coloured)
def _convnext(j, rng):
    "AdamW with a second beta of 0.95, branches that begin near zero, averaged weights"
    j.opt, j.lr, j.wd, j.ema, j.smooth, j.clip = partial(adamw, betas=(.9, .95)), 3e-3, .05, some(rng, 0., .9), .1, some(rng, None, 5.)
    j.factor = cosine(j.steps, some(rng, 0, 20, 60))

@recipe('Llama', prose, llama, of_words)
def _llama(j, rng):
    "AdamW with betas of 0.9 and 0.95, weight decay of 0.1, a cosine to a tenth, clipping, maybe by accumulation"
    j.opt, j.lr, j.wd, j.clip, j.steps, j.batch = partial(adamw, betas=(.9, .95)), 5e-3, .1, 1., 200, 16
    j.factor = cosine(j.steps, some(rng, 30, 45, 60), .1)
    if rng.random() < .3: j.batch, j.micro = 8, 2

@recipe('BERT', sources, bert, of_words)
def _bert(j, rng):
    "AdamW, a rate that rises and falls in lines, dropout, clipping"
    j.opt, j.lr, j.wd, j.clip, j.steps = adamw, 3e-3, .01, 1., 200
    j.factor = linear(j.steps, some(rng, 12, 20, 40))

@recipe('T5', vowels, t5, of_pairs)
def _t5(j, rng):
    "Adafactor at a constant rate, after a warm-up"
    j.batch = 16
    j.opt, j.lr, j.wd, j.clip, j.steps = adafactor, 2e-2, 0., some(rng, None, 1.), 200
    j.factor = some(rng, lambda i: min(1., i/20), lambda i: min(1., i/60))

@recipe('AST', speech, ast, of_sounds)
def _ast(j, rng):
    "A transformer of spectrograms; Adam or Lion, small batches"
    j.opt, j.lr, j.wd, j.batch, j.steps = some(rng, (adamw, 1e-3, 5e-3, 16, 200), (lion, 5e-4, .05, 16, 200))
    j.factor, j.smooth = cosine(j.steps, some(rng, 0, 20, 60), .05), some(rng, 0., .1)

@recipe('table MLP', tumours, mlp)
def _mlp(j, rng):
    "SGD or NAdam, batches of 16"
    j.opt, j.lr, j.wd, j.batch, j.steps = some(rng, (sgd, .03, 1e-4, 16, 200), (nadam, 2e-3, 1e-4, 16, 200))
    j.factor = some(rng, hold, exponential(j.steps, .2))

@recipe('map MLP', heights, coordinates, single)
def _map(j, rng):
    "Adam with an exponential fall of the rate: a regression"
    j.opt, j.lr, j.batch, j.steps, j.factor = adam, 3e-3, 64, 250, exponential(250, some(rng, .1, .3))


def prepared(c:Config)->Job:
    "The healthy job of a seed; the seed draws all that healthy runs differ in"
    torch.manual_seed(c.seed), seed_python(c.seed)
    data, net, call, how = RECIPES[c.arch]
    rng = np.random.default_rng([c.seed, 11])
    j = Job(c.arch, c.seed, data(), net(rng), call, None, 0., rng)
    how(j, rng)
    j.lr *= 10**rng.uniform(-.2, .1)
    return j


# ---- the loop ----

def usual_loss(j:Job, out, y):
    if j.data.kind == 'values': return F.mse_loss(out, y)
    if j.binary: return F.binary_cross_entropy_with_logits(out, F.one_hot(y, j.data.many).float())*3
    return F.cross_entropy(out.flatten(0, -2), y.flatten(), label_smoothing=j.smooth)

def groups(j:Job):
    "Matrices decay; vectors, biases and norms do not, unless the recipe says so. Parameters with a rate of their own are apart"
    made = {}
    for p in j.net.parameters():
        if not p.requires_grad or p in j.absent: continue
        made.setdefault((j.wd if p.ndim > 1 or j.decay_all else 0., j.rates.get(p, 1.)), []).append(p)
    return [dict(params=ps, lr=j.lr*k, weight_decay=wd) for (wd, k),ps in made.items()]

def order(j:Job):
    "Indices of samples: epoch after epoch, each in an order of its own, or as `pool` has them"
    n = len(j.data.train[0])
    for _ in count():
        yield from torch.randperm(n).tolist() if j.pool is None else j.pool

def moved(x):
    "Shifted by up to two pixels, and maybe mirrored"
    dx, dy = (int(v) for v in torch.randint(-2, 3, (2,)))
    x = x.roll((dy, dx), (2, 3))
    return x.flip(3) if torch.rand(()) < .5 else x

def one_batch(j:Job, drawn, i:int):
    k = [next(drawn) for _ in range(j.batch)]
    x, y = (o[k] for o in j.data.train)
    if j.jitter: x = moved(x)
    if 'data' in j.wrong: x, y = j.wrong['data'](i, x, y)
    for f in j.feed: x = f(i, x)
    return x, y

def forward(j:Job, x, y):
    with torch.autocast('cpu', torch.bfloat16, enabled=j.bf16): return j.call(j.net, x, y).float()

def batch_loss(j:Job, i:int, x, y):
    if j.mix:
        lam, other = float(j.rng.beta(j.mix, j.mix)), torch.randperm(len(x))
        out = forward(j, lam*x + (1 - lam)*x[other], y)
        return lam*usual_loss(j, out, y) + (1 - lam)*usual_loss(j, out, y[other])
    out = forward(j, x, y)
    return j.wrong['loss'](i, out, y) if 'loss' in j.wrong else usual_loss(j, out, y)

def averaged(j:Job, mean):
    "The running average of weights and buffers after one more step"
    now = [t for t in (*j.net.parameters(), *j.net.buffers()) if t.is_floating_point()]
    if mean is None: return [t.detach().clone() for t in now]
    for m,t in zip(mean, now): m.lerp_(t.detach(), 1 - j.ema)
    return mean

GRADIENTS = 'freezing', 'keeping', 'halving', 'bursting' # where gradients can be changed before the step

def go(j:Job, steps:int, opt=None, log=None):
    "Train for some steps; `log` gets each loss before the weights change; yields the number and the loss of each step when it is done"
    opt, drawn, mean = opt or j.opt(groups(j), lr=j.lr), order(j), None
    rates = [g['lr'] for g in opt.param_groups]
    for i in range(steps):
        for g,lr in zip(opt.param_groups, rates): g['lr'] = lr*j.factor(i)
        j.net.train()
        if 'mode' in j.wrong: j.wrong['mode'](i)
        if 'keep' not in j.wrong or not j.wrong['keep'](i): opt.zero_grad()
        total = 0.
        for _ in range(j.micro):
            loss = batch_loss(j, i, *one_batch(j, drawn, i))/j.micro
            if loss.requires_grad: (loss*j.wrong['scale'] if 'scale' in j.wrong else loss).backward()
            total = total + loss.detach()
        if log: log(i, total)
        for place in GRADIENTS:
            if place in j.wrong: j.wrong[place](i)
        if j.clip: nn.utils.clip_grad_norm_(j.net.parameters(), j.clip)
        opt.step()
        if 'rounding' in j.wrong: j.wrong['rounding'](i)
        if j.ema: mean = averaged(j, mean)
        yield i, total
    if mean:
        for m,t in zip(mean, [t for t in (*j.net.parameters(), *j.net.buffers()) if t.is_floating_point()]): t.data.copy_(m)

@torch.no_grad()
def measured(j:Job)->float:
    "On data that are held out, as they are"
    j.net.eval()
    x, y = j.data.held
    for f in j.feed: x = f(-1, x)
    out = torch.cat([j.call(j.net, a, b).float() for a,b in zip(x.split(200), y.split(200))])
    value = metric(j.data, out, y) if out.isfinite().all() else math.nan
    return value if math.isfinite(value) else math.nan


# ---- networks, from within ----

def layers(net): return [(n, m) for n,m in net.named_modules() if any(True for _ in m.parameters(recurse=False))]
def matrices(net): return [m for _,m in layers(net) if isinstance(m, (nn.Linear, nn.Conv2d))]
def norms(net): return [m for m in net.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
def scales(net):
    "The norms that have weights, of whatever class"
    return [m for _,m in layers(net) if getattr(m, 'weight', None) is not None and m.weight.ndim == 1]
def drops(net):
    "Everything that drops something, with the name of its rate"
    some = [m for m in net.modules() if re.search('drop|stochasticdepth', type(m).__name__.lower())]
    return [(m, k) for m in some for k in ('p', 'drop_prob') if isinstance(getattr(m, k, None), float)]

def outermost(net, module):
    "The parent of a module and its name there"
    return next((m, k) for m in net.modules() for k,child in m.named_children() if child is module)

def batched(j): return bool(norms(j.net))
def real(j): return j.data.train[0].is_floating_point()
def labelled(j): return j.data.kind == 'classes'
def symbols(j): return j.data.kind != 'values'
def pictured(j): return j.data.train[0].ndim == 4
def by_size(j): return optimizer(j) in (sgd, rmsprop, rmsprop_tf)  # the size of the gradient matters, or its eps
def optimizer(j): return getattr(j.opt, 'func', j.opt)
def with_betas(j): return optimizer(j) not in (sgd, rmsprop, rmsprop_tf, adafactor)
def since(j, last=70): return int(j.rng.integers(15, last))


# ---- what goes wrong ----

FAULTS, CONTROLS, CURES = {}, {}, {}

def fault(remedy:str, can=lambda j: True, factor=lambda v: 1.):
    "Register: what somebody does who knows of it, and by which factor; what it can happen to"
    def _(f):
        FAULTS[f.__name__] = (f, remedy, can, factor)
        return f
    return _

def control(can=lambda j: True):
    def _(f):
        CONTROLS[f.__name__] = (f, can)
        return f
    return _

def cure(f): CURES[f.__name__] = f; return f

# the configuration

@fault('lower_lr', factor=lambda v: 10**(.2 + 2.8*v))
def rate_of_another_optimizer(j, v): j.lr *= 10**(.2 + 2.8*v)

@fault('raise_lr', factor=lambda v: 10**(.3 + 3.7*v))
def rate_for_fine_tuning(j, v): j.lr *= 10**(-.3 - 3.7*v)

@fault('raise_lr')
def schedule_by_step_not_epoch(j, v):
    "A decay that is meant for epochs is applied at every batch"
    gamma = 1 - 10**(-2.3 + 1.8*v)
    usual = j.factor
    j.factor = lambda i: usual(i)*gamma**i

@fault('raise_lr')
def warm_up_of_a_longer_run(j, v):
    n = j.steps*10**(2.5*v)
    j.factor = lambda i: min(1., (i + 1)/n)

@fault('raise_lr')
def cosine_of_a_shorter_run(j, v):
    "The schedule has ended, at zero, and the run goes on"
    n = int(j.steps*10**(-1.4*v))
    j.factor = lambda i: .5*(1 + math.cos(math.pi*min(i, n)/n))

@fault('lower_lr', factor=lambda v: 10**(.3 + 2.5*v))
def rate_jumps(j, v):
    "A scheduler is made anew, and takes a larger rate, from a step on"
    at, usual = since(j), j.factor
    j.factor = lambda i: usual(i)*(1. if i < at else 10**(.3 + 2.5*v))

@fault('lower_weight_decay')
def decay_far_too_strong(j, v):
    "A number of one optimizer given to another; norms and biases too. Of each weight, between 0.0002 and 0.3 of it is lost in a step"
    lost, j.decay_all = 10**(-3.7 + 3.2*v), True
    j.wd = lost/j.lr

@fault('lower_lr', with_betas, factor=lambda v: 10.)
def second_moment_forgets(j, v):
    "Betas in the wrong order, or near it: the first remembers for long, the second hardly"
    j.opt = partial(optimizer(j), betas=(1 - 10**(-1 - 2*v), 1 - 10**(-2 + 1.9*v)))

@fault('lower_lr', lambda j: optimizer(j) in (sgd, rmsprop, rmsprop_tf), factor=lambda v: 10**(.3 + 1.7*v))
def momentum_near_one(j, v): j.opt = partial(optimizer(j), momentum=1 - 10**(-1.3 - 1.7*v))

@fault('raise_lr', lambda j: optimizer(j) not in (sgd, lion, adafactor), factor=lambda v: 10**(1 + 2*v))
def eps_too_large(j, v): j.opt = partial(j.opt, eps=10**(-4 + 6*v))

@fault('raise_lr', lambda j: optimizer(j) is sgd, factor=lambda v: 10**(.5 + 2*v))
def clipped_to_a_thousandth(j, v): j.clip = 10**(-.3 - 3.5*v)

@fault('lower_dropout')
def drops_what_it_should_keep(j, v):
    "A rate of dropping that was meant as one of keeping, everywhere, and before the last layer"
    p = 1 - 10**(-.25 - 1.75*v)
    for m,k in drops(j.net): setattr(m, k, min(p, .95) if k == 'drop_prob' or type(m).__name__ == 'StochasticDepth' else p)
    head = matrices(j.net)[-1]
    parent, name = outermost(j.net, head)
    setattr(parent, name, nn.Sequential(nn.Dropout(p), head))

@fault('bigger_batch')
def batches_of_one_or_two(j, v): j.batch, j.micro = max(2 if batched(j) else 1, round(j.batch*10**(-1.3*v))), 1

# the first weights

def _weights(j): return [m.weight for m in matrices(j.net)] + [m.weight for m in j.net.modules() if isinstance(m, nn.Embedding)]

@fault('reinit')
def normal_of_one_size(j, v):
    "Every weight from a normal distribution of one standard deviation, whatever the layer's size"
    for w in _weights(j): nn.init.normal_(w, std=10**(-1.2 + 1.7*v))

@fault('reinit')
def normal_too_small(j, v):
    for w in _weights(j): nn.init.normal_(w, std=10**(-1.5 - 4*v))

@fault('reinit')
def weights_uniform_above_zero(j, v):
    "rand for randn: no weight is negative"
    ms = matrices(j.net)
    for m in ms[:max(1, round(v*len(ms)))]: nn.init.uniform_(m.weight, 0, 3/m.weight[0].numel()**.5)

@fault('reinit')
def units_alike(j, v):
    "All units of a layer begin with the weights of its first, or with one number"
    ms = matrices(j.net)
    fill = j.rng.random() < .4
    for m in ms[:max(1, round((.1 + .9*v)*len(ms)))]:
        if fill: nn.init.constant_(m.weight, .1/m.weight[0].numel()**.5)
        else: m.weight.data[:] = m.weight.data[:1]
        if m.bias is not None: nn.init.zeros_(m.bias)

@fault('reinit', lambda j: bool(scales(j.net)))
def norms_that_begin_small(j, v):
    "The scale of each norm, and its offset, are near zero: a checkpoint of something else"
    for m in scales(j.net):
        m.weight.data *= 10**(-.5 - 3.5*v)

@fault('reinit')
def head_of_a_rare_event(j, v):
    "The last biases are those of classes that hardly occur, or of targets far away"
    m = matrices(j.net)[-1]
    if m.bias is None: m.weight.data *= 10**(1 + 2*v); return
    m.bias.data += torch.from_numpy(j.rng.normal(size=m.bias.shape)).float()*10**(.3 + 2.2*v)

@fault('reinit', lambda j: any(getattr(m, 'bias', None) is not None for m in scales(j.net) or matrices(j.net)))
def biases_below_all(j, v):
    for m in (scales(j.net) or matrices(j.net)[:-1]):
        if getattr(m, 'bias', None) is not None: m.bias.data -= 10**(-.7 + 1.7*v)

# the data

@fault('normalise_inputs', real)
def bytes_not_divided(j, v):
    "Pictures of 0 to 255, or tables as they come: some or all of that scale, and far from zero"
    k, off = 10**(.3 + 2.2*v), float(j.rng.choice([0., 1.]))
    j.feed = [lambda i, x: k*(x + off)]

@fault('normalise_inputs', real)
def divided_once_more(j, v):
    k, off = 10**(-.5 - 3*v), float(j.rng.choice([0., 10**(.7*v)]))
    j.feed = [lambda i, x: k*x + off]

@fault('normalise_inputs', real)
def shards_not_normalised(j, v):
    "From a step on, the data come from files that nobody normalised"
    at, k = since(j), 10**(.3 + 2.5*v)
    j.feed = [lambda i, x: k*(x + 1) if i >= at else x]

@fault('clean_data')
def labels_of_neighbours(j, v):
    "A share of the samples have the label of another: two lists were sorted in two ways"
    x, y = j.data.train
    bad = torch.from_numpy(np.flatnonzero(j.rng.random(len(y)) < v**.5))
    y = y.clone()
    y[bad] = y[bad].roll(1, 0)[torch.randperm(len(bad))]
    _train_with(j, x, y)

def _train_with(j, x, y): j.data = Data((x, y), j.data.held, j.data.kind, j.data.chance, j.data.many)

@fault('clean_data')
def labels_come_loose(j, v):
    "From a step on, a worker gives samples and labels of different orders, for a share of each batch"
    at, share = since(j), v**.5
    def data(i, x, y):
        if i < at: return x, y
        n = round(share*len(y))
        return x, torch.cat([y[:n].roll(max(1, n//2), 0), y[n:]])
    j.wrong['data'] = data

@fault('clean_data', labelled)
def sorted_by_class(j, v):
    "The loader does not shuffle, and the files are in the order of their classes, or nearly"
    y = j.data.train[1].numpy()
    j.pool = np.argsort(y + j.rng.normal(size=len(y))*10**(1.5 - 3*v), kind='stable').tolist()

@fault('clean_data')
def same_batches_again(j, v):
    "An iterator begins anew each time: few samples, again and again"
    n = max(2, round(j.batch*10**(1.3 - 1.8*v)))
    j.pool = j.rng.permutation(len(j.data.train[0]))[:n].tolist()

@fault('clean_data')
def samples_without_content(j, v):
    "A share could not be decoded: blank"
    x, y = j.data.train
    x = x.clone()
    x[torch.from_numpy(np.flatnonzero(j.rng.random(len(x)) < v**.4))] = 0
    _train_with(j, x, y)

@fault('clean_data', real)
def missing_values(j, v):
    "A few cells of the table, or pixels, are NaN"
    x, y = j.data.train
    x = x.clone()
    x.view(-1)[torch.from_numpy(j.rng.choice(x.numel(), max(1, int(len(x)*10**(-4 + 4*v))), replace=False))] = math.nan
    _train_with(j, x, y)

@fault('clean_data', real)
def broken_sensor(j, v):
    "A share of the samples has a value that is far out"
    x, y = j.data.train
    x = x.clone()
    bad = np.flatnonzero(j.rng.random(len(x)) < .04)
    x.flatten(1)[bad, int(j.rng.integers(x[0].numel()))] = 10**(1 + 3.5*v)
    x[bad] *= 10**(1.5*v)
    _train_with(j, x, y)

@fault('clean_data', lambda j: j.data.kind == 'values')
def metres_not_standardised(j, v):
    "Targets in units of their own, with the output layer as it is"
    x, y = j.data.train
    k, off = 10**(.5 + 2*v), float(j.rng.choice([0., 3.]))
    _train_with(j, x, k*(y + off))
    hx, hy = j.data.held
    j.data = Data(j.data.train, (hx, k*(hy + off)), 'values', 0.)

# the loss and the graph

@fault('fix_loss')
def loss_maximised(j, v):
    "A sign that is wrong for a share of the samples"
    n = round(v**.6*j.batch)
    def loss(i, out, y):
        if n == 0: return usual_loss(j, out, y)
        if n >= len(y): return -usual_loss(j, out, y)
        return (1 - n/len(y))*usual_loss(j, out[n:], y[n:]) - n/len(y)*usual_loss(j, out[:n], y[:n])
    j.wrong['loss'] = loss

@fault('fix_loss', symbols)
def probabilities_as_logits(j, v):
    k = 10**(1.3 - 2*v)
    j.wrong['loss'] = lambda i, out, y: usual_loss(j, k*out.softmax(-1), y)

@fault('fix_loss', labelled)
def loss_that_saturates(j, v):
    "The distance of probabilities, sharpened: flat where the network is wrong"
    k = 10**(-.5 + 2*v)
    j.wrong['loss'] = lambda i, out, y: (1 - (k*out).softmax(-1).gather(-1, y[:, None])).mean()

@fault('fix_loss', symbols)
def softmax_along_the_batch(j, v):
    w = v**.4
    j.wrong['loss'] = lambda i, out, y: (1 - w)*usual_loss(j, out, y) + w*F.nll_loss(out.log_softmax(0).flatten(0, -2), y.flatten())

@fault('fix_loss')
def outputs_clamped(j, v):
    "A ReLU, or limits, behind the last layer"
    top = 10**(1 - 3*v)
    j.wrong['loss'] = lambda i, out, y: usual_loss(j, out.clamp(-top*.1, top), y)

@fault('fix_loss')
def summed_not_averaged(j, v):
    n = (j.batch*(j.data.train[1].shape[1] if j.data.kind == 'bytes' else 1))**(.3 + .9*v)
    j.wrong['loss'] = lambda i, out, y: n*usual_loss(j, out, y)

@fault('fix_loss', labelled)
def smoothed_away(j, v):
    "Label smoothing near one, or beyond what classes can bear"
    s = 1 - 10**(-.3 - 3*v)
    j.wrong['loss'] = lambda i, out, y: F.cross_entropy(out, y, label_smoothing=s)

@fault('fix_loss')
def features_detached(j, v):
    "A block runs without gradients: from near the inputs, which is little, to just before the last layer"
    ms = matrices(j.net)
    at = ms[min(len(ms) - 1, 1 + int(v*(len(ms) - 1)))]
    j.wrong['graph'] = at.register_forward_pre_hook(lambda m, args: tuple(a.detach() if isinstance(a, torch.Tensor) else a for a in args))

@fault('zero_grad')
def zeroed_now_and_then(j, v):
    "As for accumulation, with a step after each batch"
    n = round(2*10**(2.2*v))
    j.wrong['keep'] = lambda i: i % n > 0

@fault('zero_grad')
def zeroed_no_more(j, v):
    "From a step on, in a branch of the code that forgets it; the first share of the layers, or all"
    at, ps = since(j, 90), list(j.net.parameters())
    ps, kept = ps[:max(1, round((.2 + 1.2*v)*len(ps)))], {}
    def grads(i):
        if i < at: return
        for p in ps:
            if p.grad is None: continue
            if p in kept: p.grad += kept[p]
            kept[p] = p.grad.clone()
    j.wrong['keeping'] = grads

# what trains, and how

@fault('unfreeze')
def backbone_frozen(j, v):
    "For fine-tuning, but from scratch"
    ls = layers(j.net)
    for _,m in ls[:min(len(ls) - 1, max(1, round(v*len(ls))))]:
        for p in m.parameters(recurse=False): p.requires_grad_(False)

@fault('unfreeze')
def optimizer_has_the_head_only(j, v):
    "A list of modules from which some were forgotten: the first, or the last, or in between"
    ls = layers(j.net)
    n = max(1, min(len(ls) - 1, round(v*len(ls))))
    first = int(j.rng.integers(len(ls) - n + 1))
    j.absent = {p for _,m in ls[first:first + n] for p in m.parameters(recurse=False)}

@fault('unfreeze')
def decay_of_rates_by_layer(j, v):
    ls = layers(j.net)
    base = 10**(-(1 + 6*v)/len(ls))
    j.rates = {p: base**(len(ls) - 1 - k) for k,(_, m) in enumerate(ls) for p in m.parameters(recurse=False)}

@fault('unfreeze')
def frozen_by_a_callback(j, v):
    "From a step on, and from then on, a share of the layers does not train"
    at, ps = since(j, 50), list(j.net.parameters())
    n = max(1, round((.1 + .9*v)*len(ps)))
    def grads(i):
        if i < at: return
        for p in ps[:n]: p.grad = None
    j.wrong['freezing'] = grads

@fault('train_mode', batched)
def stays_in_eval(j, v):
    "Norms use the statistics of before: of nothing, or, after a validation that nobody ended, of the first steps"
    at = 0 if j.rng.random() < .5 else since(j, 60)
    ns = norms(j.net)
    ns = ns[:max(1, round((.2 + .8*v)*len(ns)))]
    if at == 0:
        for m in ns: m.running_var *= 10**(3*(v - .3)*float(j.rng.choice([-1, 1])))
    j.wrong['mode'] = lambda i: [m.eval() for m in ns] if i >= at else None

@fault('higher_precision')
def weights_in_few_bits(j, v):
    "Weights are kept in bfloat16, or in fewer bits: updates are lost to rounding"
    bits = round(9 - 7*v)
    def rounding(i):
        for p in j.net.parameters():
            m, e = torch.frexp(p.data)
            p.data.copy_(torch.ldexp((m*2**bits).round()/2**bits, e))
    j.wrong['rounding'] = rounding

@fault('higher_precision')
def gradients_in_float16(j, v):
    "Without a scale they vanish, with too large a one they are infinite, and nobody looks"
    k = 10**(float(j.rng.choice([-1., 1.]))*(1 + 7*v))
    def grads(i):
        for p in j.net.parameters():
            if p.grad is not None: p.grad = (p.grad*k).half().float()/k
    j.wrong['halving'] = grads

@fault('lower_lr', lambda j: optimizer(j) is sgd, factor=lambda v: 10**(.5 + 2.5*v))
def scaled_never_unscaled(j, v): j.wrong['scale'] = 10**(.5 + 2.5*v)

@fault('clip_gradients')
def one_step_far_off(j, v):
    "Now and then a gradient is many times as large: a broken batch in a queue"
    each, k, first = int(j.rng.integers(15, 40)), 10**(.7 + 4*v), since(j)
    def grads(i):
        if i >= first and (i - first) % each == 0:
            for p in j.net.parameters():
                if p.grad is not None: p.grad = p.grad*k + (k - 1)*1e-3*torch.randn_like(p.grad)
    j.clip, j.wrong['bursting'] = None, grads


# ---- healthy, and odd to look at ----

@control()
def long_warm_up(j):
    usual, n, zero = j.factor, int(.4*j.steps), int(j.rng.choice([0, 0, 10]))
    j.factor = lambda i: usual(i)*min(1., max(0, i - zero)/n)

@control()
def one_cycle(j): j.factor = lambda i: max(.04, i/(.3*j.steps)) if i < .3*j.steps else max(.001, .5*(1 + math.cos(math.pi*(i - .3*j.steps)/(.7*j.steps))))

@control()
def warm_restarts(j):
    n = int(j.rng.choice([30, 50, 60]))
    j.factor = lambda i: .05 + .95*.5*(1 + math.cos(math.pi*(i % n)/n))

@control()
def in_steps(j): j.factor = milestones(j.steps, (.35, .7), .3)

@control(lambda j: labelled(j) and not j.binary)
def much_smoothing(j): j.smooth = float(j.rng.choice([.3, .4, .5]))

@control(lambda j: real(j) and labelled(j) and not j.binary)
def mixed_up(j): j.mix = float(j.rng.choice([.4, 1.]))

@control(pictured)
def augmented(j): j.jitter = True

@control()
def accumulated(j): j.micro, j.batch = 2*j.micro, max(4, j.batch//2)

@control()
def average_of_weights(j): j.ema = float(j.rng.choice([.9, .95]))

@control()
def mixed_precision(j): j.bf16 = True

@control()
def more_dropout(j):
    for m,k in drops(j.net): setattr(m, k, max(getattr(m, k), .2) if k == 'p' and type(m).__name__ != 'StochasticDepth' else getattr(m, k))

@control()
def clipped(j): j.clip = float(j.rng.choice([.5, 1., 2.]))

@control()
def a_few_labels_wrong(j):
    labels_of_neighbours(j, .01)

@control()
def small_batches(j): j.batch, j.lr, j.micro = max(8, j.batch//3), j.lr*.6, 1

@control()
def one_step_too_far(j):
    at, usual = int(j.rng.integers(10, 80)), j.factor
    j.factor = lambda i: usual(i)*(6. if i == at else 1.)

@control()
def waits_at_first(j):
    "The rate is a hundredth until some step: a plateau before progress"
    at, usual = int(j.rng.integers(15, 45)), j.factor
    j.factor = lambda i: usual(i)*(.01 if i < at else 1.)

@control()
def backbone_trained_before(j):
    "Of a network that has been trained, the first half is frozen"
    trained_before(j)
    ls = layers(j.net)
    for _,m in ls[:len(ls)//2]:
        for p in m.parameters(recurse=False): p.requires_grad_(False)

@control()
def trained_before_low_rates(j):
    "A network that has been trained goes on, slowest at its first layers"
    trained_before(j)
    ls = layers(j.net)
    j.rates = {p: 10**(-2*(1 - k/(len(ls) - 1))) for k,(_, m) in enumerate(ls) for p in m.parameters(recurse=False)}
    j.lr *= .3

def trained_before(j:Job):
    "A short run that nobody watches, on the same data"
    state = torch.get_rng_state()
    before = Job(**{k: getattr(j, k) for k in j.__dataclass_fields__ if k not in ('wrong', 'feed', 'rates', 'absent')})
    before.steps, before.factor, before.ema, before.micro = 80, cosine(80, 8), 0., 1
    for _ in go(before, before.steps): pass
    j.net.train().zero_grad(set_to_none=True)
    torch.set_rng_state(state)


# ---- cures: what the advice says, done by somebody who knows nothing else ----

@cure
def lower_lr(j, k): j.lr /= k

@cure
def raise_lr(j, k): j.lr, j.factor = j.lr*k, hold

@cure
def clip_gradients(j, k): j.clip = 1.

@cure
def reinit(j, k):
    "As the library does it that the network is from"
    fresh = prepared(Config(j.arch, 'healthy', '', 0., j.seed)).net
    with torch.no_grad():
        for old,new in zip((*j.net.parameters(), *j.net.buffers()), (*fresh.parameters(), *fresh.buffers())): old.copy_(new)

@cure
def normalise_inputs(j, k):
    "Each batch, as it comes, to mean 0 and standard deviation 1"
    if not real(j): return
    def standard(i, x):
        some = x[x.isfinite()]
        return (x - some.mean())/some.std().clamp(min=1e-12)
    j.feed = [*j.feed, standard]

@cure
def unfreeze(j, k):
    j.rates, j.absent = {}, set()
    j.wrong.pop('freezing', None)
    for p in j.net.parameters(): p.requires_grad_()

@cure
def zero_grad(j, k):
    for place in ('keep', 'keeping'): j.wrong.pop(place, None)

@cure
def lower_weight_decay(j, k): j.wd /= 1000

@cure
def lower_dropout(j, k):
    for m,name in drops(j.net): setattr(m, name, min(getattr(m, name), .1))

@cure
def fix_loss(j, k):
    "The usual loss for what the network is to do, gradients for all of it"
    j.wrong.pop('loss', None)
    if 'graph' in j.wrong: j.wrong.pop('graph').remove()

@cure
def clean_data(j, k):
    "Looked at, and put right: labels, targets, samples, their order"
    j.data, j.pool = RECIPES[j.arch][0](), None
    j.wrong.pop('data', None)

@cure
def higher_precision(j, k):
    j.bf16 = False
    for place in ('rounding', 'halving'): j.wrong.pop(place, None)

@cure
def train_mode(j, k): j.wrong.pop('mode', None)

@cure
def bigger_batch(j, k): j.batch = max(64, j.batch)

@cure
def none(j, k): pass


# ---- runs ----

def made(c:Config)->Job:
    j = prepared(c)
    if c.kind == 'fault': FAULTS[c.what][0](j, c.severity)
    if c.kind == 'control': CONTROLS[c.what][0](j)
    for remedy,factor in c.cures: CURES[remedy](j, factor)
    return j

def train(
    c:Config,
    most:int|None=None, # batches, for a trial
)->tuple: # how it ended; the recording of the first hundred batches
    start = time.perf_counter()
    j = made(c)
    j.steps = min(j.steps, most or j.steps)
    torch.manual_seed(c.seed + 1)
    opt, losses = j.opt(groups(j), lr=j.lr), []
    watcher = actstats.watch(j.net, opt, total_steps=j.steps)
    rec = watcher.start()
    for i,loss in go(j, j.steps, opt, lambda i, loss: i < WATCHED and rec.log(loss=loss)):
        losses.append(loss)
        if i == min(WATCHED, j.steps) - 1: watcher.stop(tell=False)
    losses = torch.stack(losses).double().tolist()
    return dict(**asdict(c), steps=j.steps, metric=measured(j), chance=j.data.chance, losses=[round(v, 6) if math.isfinite(v) else None for v in losses],
                seconds=time.perf_counter() - start), rec

def possible(arch:str, seed:int)->tuple:
    "Controls and faults that can happen to a network with the recipe of that seed"
    j = prepared(Config(arch, 'healthy', '', 0., seed))
    return tuple(k for k,(_, can) in CONTROLS.items() if can(j)), tuple(k for k,(_, _, can, _) in FAULTS.items() if can(j))

def draw(seed:int)->Config:
    "A run at random: every fifth is healthy, of each network in turn; a quarter of all are controls; the others have a fault"
    rng = np.random.default_rng([seed, 5])
    names = list(RECIPES)
    if seed % 5 == 0: return Config(names[seed//5 % len(names)], 'healthy', '', 0., seed)
    kind, arch = 'control' if rng.random() < .25/.8 else 'fault', names[rng.integers(len(names))]
    what = possible(arch, seed)[kind == 'fault']
    return Config(arch, kind, str(rng.choice(what)), 0. if kind == 'control' else float(rng.random()), seed)

def right(c:Config)->tuple: # remedy, factor
    "What somebody does who knows what is wrong"
    if c.kind != 'fault': return 'none', 1.
    _, remedy, _, factor = FAULTS[c.what]
    return remedy, float(factor(c.severity))


# ---- trials ----

def line(c, r):
    some = [r['losses'][k] for k in (0, 10, 25, 50, 75, 99, -1) if k < len(r['losses'])]
    return (f'{c.arch:14}{c.kind:9}{c.what:30}{c.severity:5.2f} seed {c.seed:<4} {r["metric"]:7.3f} (chance {r["chance"]:.2f})  {r["seconds"]:.1f} s  '
            + ' '.join('-' if v is None else f'{v:.2f}' for v in some))

def each(n:int):
    "Every control and fault, at some network, for a few batches; of each fault also the right cure"
    names = list(RECIPES)
    for k,what in enumerate([*CONTROLS, *FAULTS]):
        kind = 'control' if what in CONTROLS else 'fault'
        arch = next(a for a in names[k % len(names):] + names if what in possible(a, k)[kind == 'fault'])
        c = Config(arch, kind, what, .7*(kind == 'fault'), k)
        print(line(c, train(c, n)[0]), flush=True)
        if kind == 'fault': print('   ', right(c), line(c, train(c.cured(*right(c)), n)[0]), flush=True)

def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--healthy', type=int, default=0, metavar='N', help='healthy runs of each network')
    parser.add_argument('--each', type=int, default=0, metavar='BATCHES', help='every control and fault for a few batches, and its right cure')
    parser.add_argument('--only', nargs='+', choices=list(RECIPES), default=list(RECIPES), metavar='NAME', help=', '.join(RECIPES))
    args = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter('ignore')
    for arch in args.only:
        for seed in range(args.healthy):
            c = Config(arch, 'healthy', '', 0., seed)
            print(line(c, train(c)[0]), flush=True)
    if args.each: each(args.each)


if __name__ == '__main__': main()
