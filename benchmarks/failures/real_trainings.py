"""Trainings of real models on real data, each with the optimizer, the schedule and the habits of people who train such models.

Nothing was fitted to these, and they share nothing with the origins of runs. Pictures are Fashion-MNIST and MNIST, from the hub or from the
folder ACTSTATS_DATA; text is Python's own help and source; one table is scikit-learn's. All models start from random weights.
A recipe is a function of the number of steps that gives a `Training`. Rates are the published ones where these exist, scaled to the batch.
"""
import importlib.util
import math
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import chain
from pathlib import Path

HERE = Path(__file__).parent
sys.path += [str(HERE.parent), str(HERE.parent.parent/'.bench')]  # behind everything: what is installed wins

import torch
import torch.nn.functional as F
from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from actstats.batchnorm import BatchNorm, LayerNorm
from actstats.datasets import fashion_mnist, mnist
from actstats.init import GeneralRelu, get_model, init_weights, lsuv_init
from overhead import GPT


@dataclass
class Training:
    "A model, and how it is trained"
    model:nn.Module
    opt:Optimizer
    batches:Iterator # tuples of tensors, the targets last, without end
    loss:Callable # of the model and the tensors of a batch
    metric:Callable # of the model in evaluation mode, on what is held out
    rate:Callable|None = None # a factor of the learning rate, for each step
    clip:Callable|None = None # of the model, between backward and step
    after:Callable|None = None # of the model, after each step
    accumulate:int = 1 # batches a step
    autocast:bool = False # forward in bfloat16
    zero:bool = True # gradients, after each step

@dataclass
class Recipe:
    make:Callable # of the number of steps: a Training
    steps:int
    metric:str # 'accuracy', 'R2' or 'bits per byte'
    guess:Callable # without arguments: the metric of a guess that looks at no input
    library:str
    targets:bool # is there something to learn beside the inputs themselves?

    def learnt(self, value):
        "How much of the way from a guess to perfection was made"
        guess = self.guess()
        return 1 - value/guess if self.metric == 'bits per byte' else (value - guess)/(1 - guess)

TRAININGS = {} # name -> Recipe

def recipe(name, steps=150, metric='accuracy', guess=lambda: .1, library='torch', targets=True):
    "Enter a recipe under its name"
    def enter(make):
        TRAININGS[name] = Recipe(make, steps, metric, guess, library, targets)
        return make
    return enter

def missing(names):
    "Libraries that these trainings need and that are not there"
    return [o for o in dict.fromkeys(TRAININGS[n].library for n in names) if importlib.util.find_spec(o) is None]


# ---- schedules: factors of the learning rate ----

def warm_up(n, then=lambda share: 1.):
    "From zero to one in `n` steps, as transformers does it; after that `then`, of the share of the steps that is over"
    return lambda i, steps: i/n if i < n else then((i - n)/max(1, steps - n))

def cosine(share): return (1 + math.cos(math.pi*share))/2
def linear(share): return 1 - share
def stairs(share): return .1**((share >= .5) + (share >= .75))
def one_cycle(peak): return lambda i, steps: max(.04, min(i/(peak*steps), (1 - i/steps)/(1 - peak)))


# ---- pictures ----

def resized(size, x): return x if x.shape[-1] == size else F.interpolate(x, size=(size, size), mode='bilinear', antialias=True)

def endless(loader):
    while True: yield from loader

def pictures(data, size=28, batch=48):
    "Batches without end, and what is held out"
    dls = data(batch).with_transforms(partial(resized, size))
    return endless(dls['train']), dls.splits['test'][:1000]

def logits(model, *inputs):
    out = model(*inputs)
    return getattr(out, 'logits', out)

def accuracy(held, model):
    x, y = held
    right = [(logits(model, a).argmax(1) == b).double() for a,b in zip(x.split(200), y.split(200))]
    return torch.cat(right).mean().item()

def cross_entropy(model, x, y, smooth=0.): return F.cross_entropy(logits(model, x), y, label_smoothing=smooth)

def classifier(model, opt, data=fashion_mnist, size=28, batch=48, smooth=0., mix=None, **settings):
    "Which of ten things is it? `mix`: a function of pictures and labels that mixes them"
    batches, held = pictures(data, size, batch)
    if mix: batches = (mix(*o) for o in batches)
    return Training(model, opt, batches, partial(cross_entropy, smooth=smooth), partial(accuracy, held), **settings)

def r2(guesses, y):
    "The share of the variance that is explained"
    return 1 - (guesses - y).square().mean().item()/(y - y.mean(0)).square().mean().item()

def nothing(): return 0.


# ---- text, as bytes ----

@lru_cache
def text():
    "Python's help: to train on, and every tenth page, which is held out"
    from pydoc_data.topics import topics
    pages = torch.tensor(list('\n\n'.join(topics.values()).encode())).split(2000)
    return torch.cat([o for i,o in enumerate(pages) if i % 10]), torch.cat(pages[::10])

def excerpts(size, length):
    "Excerpts at random, and each byte's next one"
    data = text()[0].unfold(0, length + 1, 1)
    while True:
        some = data[torch.randint(len(data), (size,))]
        yield some[:, :-1], some[:, 1:].flatten()

def next_byte(model, x, y): return F.cross_entropy(logits(model, x).reshape(len(y), -1), y)

def bits_per_byte(length, model, most=100):
    some = text()[1].unfold(0, length + 1, length)[:most]
    return next_byte(model, some[:, :-1], some[:, 1:].flatten()).item()/math.log(2)

def bits(some):
    "Bits per byte for a guess from the frequencies of the bytes alone"
    return torch.distributions.Categorical(some.bincount().double()).entropy().item()/math.log(2)

def bits_of_text(): return bits(text()[1])

def language_model(model, opt, length, batch, **settings):
    return Training(model, opt, excerpts(batch, length), next_byte, partial(bits_per_byte, length), **settings)


# ---- the ladder of chapter 12, with rates at which every seed trains: 0.2 without a norm, where 0.6 is too much, and 0.6 with one ----

def ladder(steps, act=nn.ReLU, leaky=0., norm=None, lsuv=False, lr=.2, batch=1024, opt=SGD, rate=None, **settings):
    model = get_model(act, norm)
    model.apply(partial(init_weights, leaky=leaky))
    if lsuv: lsuv_init(model, next(iter(fashion_mnist(batch)['train']))[0], mods=model[:4])
    return classifier(model, opt(model.parameters(), lr=lr, **settings), batch=batch, rate=rate)

recipe('CNN, Kaiming', 120)(ladder)
recipe('CNN, LSUV', 120)(partial(ladder, act=partial(GeneralRelu, .1, .4), leaky=.1, lsuv=True))
recipe('CNN, LayerNorm', 120)(partial(ladder, norm=LayerNorm, lr=.6))
recipe('CNN, last rung')(partial(ladder, norm=partial(BatchNorm, mom=.01), lr=.015, batch=64, opt=AdamW, weight_decay=.05, rate=one_cycle(.1)))


# ---- torchvision ----

def in_grey(model, name):
    "The same model, whose first convolution, `name`, takes one channel"
    old, (parent, _, child) = model.get_submodule(name), name.rpartition('.')
    new = nn.Conv2d(1, old.out_channels, old.kernel_size, old.stride, old.padding, bias=old.bias is not None)
    setattr(model.get_submodule(parent), child, new)
    return model

def vision(name, first, **kwargs):
    import torchvision
    return in_grey(torchvision.models.get_model(name, weights=None, num_classes=10, **kwargs), first)

@recipe('ResNet-18, SGD', 100, library='torchvision')
def resnet(steps):
    model = vision('resnet18', 'conv1')
    return classifier(model, SGD(model.parameters(), 1e-2, momentum=.9), mnist, batch=32)

@recipe('MobileNetV2, bfloat16', library='torchvision')
def mobilenet_v2(steps):
    model = vision('mobilenet_v2', 'features.0.0', width_mult=.35)
    return classifier(model, SGD(model.parameters(), .015, momentum=.9, weight_decay=4e-5), size=32, batch=32, rate=warm_up(10, cosine), autocast=True)

# ---- timm: the rates of its recipes, which are for batches of a thousand or so ----

def timm_model(name, **kwargs):
    import timm
    return timm.create_model(name, pretrained=False, in_chans=1, num_classes=10, **kwargs)

def timm_opt(model, opt, lr, wd, **kwargs):
    from timm.optim import create_optimizer_v2
    return create_optimizer_v2(model, opt=opt, lr=lr, weight_decay=wd, **kwargs)

def mixup_and_cutmix():
    from timm.data import Mixup
    return Mixup(mixup_alpha=.8, cutmix_alpha=1., label_smoothing=.1, num_classes=10)

def averaged(t, decay=.95):
    "The same training, judged by the moving average of its weights"
    mean, metric = AveragedModel(t.model, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True), t.metric
    t.after = mean.update_parameters
    t.metric = lambda _: metric(mean.module.eval())
    return t

def adaptive_clip(model):
    from timm.utils.agc import adaptive_clip_grad
    adaptive_clip_grad([p for n,p in model.named_parameters() if not n.startswith('head')], clip_factor=.02)

def norm_clip(most): return lambda model: nn.utils.clip_grad_norm_(model.parameters(), most)

@recipe('MobileNetV3, RMSprop', library='timm')
def mobilenet_v3(steps):
    model = timm_model('mobilenetv3_small_050', drop_rate=.2)
    return averaged(classifier(model, timm_opt(model, 'rmsproptf', 3e-3, 1e-5, eps=1e-3), size=48, smooth=.1, rate=warm_up(15)))

@recipe('EfficientNet-lite0, AdamW', library='timm')
def efficientnet_lite(steps):
    from timm.models.efficientnet import _gen_efficientnet_lite
    model = _gen_efficientnet_lite('efficientnet_lite0', channel_multiplier=.35, in_chans=1, num_classes=10)
    return classifier(model, timm_opt(model, 'adamw', 3e-3, .05), size=32, rate=warm_up(10, cosine))

@recipe('ViT, mixup and cutmix', 200, library='timm')
def vit(steps):
    model = timm_model('vit_tiny_patch16_224', img_size=28, patch_size=4, embed_dim=64, num_heads=4, depth=4, drop_path_rate=.1)
    return classifier(model, timm_opt(model, 'adamw', 2e-3, .05), batch=32, mix=mixup_and_cutmix(), rate=warm_up(40, cosine))

@recipe('ConvNeXt, RMS norms', library='timm')
def convnext(steps):
    model = timm_model('convnext_zepto_rms', drop_path_rate=.1)
    return classifier(model, timm_opt(model, 'adamw', 4e-3, .05), size=32, batch=32, smooth=.1, rate=warm_up(30, cosine))

@recipe('LCNet, linear decay', library='timm')
def lcnet(steps):
    model = timm_model('lcnet_035')
    return classifier(model, timm_opt(model, 'sgd', .1, 4e-5), size=48, rate=warm_up(5, linear))

@recipe('ResNetV2, GroupNorm, step decay', library='timm')
def resnet_v2(steps):
    "As Big Transfer: pre-activation, and weights that are standardised"
    from timm.layers import GroupNormAct
    from timm.models.resnetv2 import ResNetV2
    model = ResNetV2((1, 1, 1), (32, 64, 128), num_classes=10, in_chans=1, stem_chs=16, norm_layer=partial(GroupNormAct, num_groups=4))
    return classifier(model, SGD(model.parameters(), .03, momentum=.9), mnist, size=32, rate=warm_up(10, stairs))

@recipe('ResNetV2, a new head', library='timm')
def new_head(steps, before=100):
    "A model that knows digits learns clothes by its last layer alone"
    t = resnet_v2(before)
    for _ in range(before):
        t.loss(t.model, *next(t.batches)).backward()
        t.opt.step()
        t.opt.zero_grad()
    model = t.model.requires_grad_(False)
    model.reset_classifier(10)
    return classifier(model, Adam(model.get_classifier().parameters(), 1e-2), size=32)

@recipe('RegNetX, SGD', library='timm')
def regnet(steps):
    model = timm_model('regnetx_002', depth=8, w0=16)
    return classifier(model, timm_opt(model, 'sgd', .05, 5e-5), mnist, size=32, rate=warm_up(10, cosine))

@recipe('StarNet, AdamW', library='timm')
def starnet(steps):
    model = timm_model('starnet_s050')
    return classifier(model, timm_opt(model, 'adamw', 3e-3, .025), size=32, smooth=.1, rate=warm_up(10, cosine))

@recipe('ResMLP, Lamb', library='timm')
def resmlp(steps):
    from timm.models.mlp_mixer import Affine, MlpMixer, ResBlock
    model = MlpMixer(10, 28, 1, 4, num_blocks=6, embed_dim=64, mlp_ratio=4, block_layer=ResBlock, norm_layer=Affine)
    return classifier(model, timm_opt(model, 'lamb', 1.5e-2, .05), rate=warm_up(20, cosine))

@recipe('gMLP, Muon', library='timm')
def gmlp(steps):
    from timm.layers import GatedMlp
    from timm.models.mlp_mixer import MlpMixer, SpatialGatingBlock
    model = MlpMixer(10, 28, 1, 4, num_blocks=4, embed_dim=64, mlp_ratio=4, block_layer=SpatialGatingBlock, mlp_layer=GatedMlp)
    return classifier(model, timm_opt(model, 'muon', .01, .01), mnist, rate=warm_up(10, cosine))

@recipe('CaiT, Lion, two batches a step', 200, library='timm')
def cait(steps):
    model = timm_model('cait_xxs24_224', img_size=28, patch_size=4, embed_dim=64, depth=3, init_values=1e-5)
    return classifier(model, timm_opt(model, 'lion', 1e-3, .1), batch=16, accumulate=2, smooth=.1, rate=warm_up(20, cosine))

@recipe('Swin, rates by depth', library='timm')
def swin(steps):
    model = timm_model('swin_tiny_patch4_window7_224', img_size=32, patch_size=2, window_size=4, embed_dim=32, depths=(2, 2), num_heads=(1, 2))
    return classifier(model, timm_opt(model, 'adamw', 2e-3, .05, layer_decay=.8), size=32, batch=32, clip=norm_clip(5.), rate=warm_up(20, cosine))

@recipe('NFNet, adaptive clipping', library='timm')
def nfnet(steps):
    model = timm_model('test_nfnet', drop_rate=.2)
    return classifier(model, timm_opt(model, 'sgd', .05, 2e-5), size=48, batch=32, smooth=.1, clip=adaptive_clip, rate=warm_up(20, cosine))

@recipe('Sequencer, LSTMs over pictures', library='timm')
def sequencer(steps):
    model = timm_model('sequencer2d_s', img_size=28, layers=[1, 1, 1, 1], patch_sizes=[4, 1, 1, 1], embed_dims=[64]*4, hidden_sizes=[24]*4)
    return classifier(model, timm_opt(model, 'adamw', 2e-3, .05), batch=32, rate=warm_up(20, cosine))


# ---- transformers: small configurations ----

SMALL = dict(hidden_size=96, num_hidden_layers=4, num_attention_heads=4, intermediate_size=256)
PACKAGES = 'asyncio', 'ctypes', 'email', 'http', 'importlib', 'multiprocessing', 'unittest', 'xml'

@lru_cache
def sources(length=48, most=1000):
    "Excerpts of Python's source, as the numbers of words and signs, and the package that each is from: to train on, and held out"
    root = Path(importlib.util.__file__).parent.parent
    words = [re.findall(r'\w+|[^\w\s]', ''.join(f.read_text() for f in sorted((root/p).rglob('*.py')) if 'test' not in f.parts)) for p in PACKAGES]
    number = {w:i for i,(w, _) in enumerate(Counter(chain(*words)).most_common(most - 1), 1)}  # 0: a rare one
    rows = [torch.tensor([number.get(w, 0) for w in ws[:len(ws)//length*length]]).view(-1, length)[:1500] for ws in words]
    x, y = torch.cat(rows), torch.arange(len(rows)).repeat_interleave(torch.tensor([len(o) for o in rows]))
    mixed = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    return (x[mixed[1000:]], y[mixed[1000:]]), (x[mixed[:1000]], y[mixed[:1000]])

def drawn(x, y, size):
    while True:
        i = torch.randint(len(x), (size,))
        yield x[i], y[i]

@recipe('ALBERT, classifier', 200, library='transformers', guess=lambda: sources()[1][1].bincount().max().item()/1000)
def albert(steps):
    "Its four layers share their weights"
    from transformers import AlbertConfig, AlbertForSequenceClassification
    model = AlbertForSequenceClassification(AlbertConfig(vocab_size=1000, embedding_size=64, num_labels=len(PACKAGES), max_position_embeddings=128, classifier_dropout_prob=.1, **SMALL))
    train, held = sources()
    opt = AdamW(model.parameters(), 1e-3, weight_decay=.01)
    return Training(model, opt, drawn(*train, 32), cross_entropy, partial(accuracy, held), rate=warm_up(20, linear), clip=norm_clip(1.))

@recipe('Gemma 2, bfloat16', 200, metric='bits per byte', guess=bits_of_text, library='transformers')
def gemma(steps):
    from transformers import Gemma2Config, Gemma2ForCausalLM
    sizes = SMALL | dict(hidden_size=64, num_hidden_layers=3, intermediate_size=192)
    model = Gemma2ForCausalLM(Gemma2Config(vocab_size=256, num_key_value_heads=2, head_dim=16, query_pre_attn_scalar=16, sliding_window=32, use_cache=False,
                                           attn_implementation='eager', **sizes))
    opt = AdamW(model.parameters(), 5e-3, betas=(.9, .95), weight_decay=.1)
    return language_model(model, opt, 64, 24, rate=warm_up(30, cosine), clip=norm_clip(1.), autocast=True)

@recipe('GPT-2, dropout, four batches a step', metric='bits per byte', guess=bits_of_text, library='transformers')
def gpt2(steps):
    from transformers import GPT2Config, GPT2LMHeadModel
    model = GPT2LMHeadModel(GPT2Config(vocab_size=256, n_embd=96, n_layer=3, n_head=4, n_positions=64, use_cache=False))
    return language_model(model, AdamW(model.parameters(), 3e-3), 64, 8, accumulate=4, rate=warm_up(20, linear), clip=norm_clip(1.))

@recipe('Mixtral, experts', 200, metric='bits per byte', guess=bits_of_text, library='transformers')
def mixtral(steps):
    from transformers import MixtralConfig, MixtralForCausalLM
    sizes = SMALL | dict(hidden_size=64, num_hidden_layers=2, intermediate_size=96)
    model = MixtralForCausalLM(MixtralConfig(vocab_size=256, num_key_value_heads=2, num_local_experts=4, use_cache=False, **sizes))
    return language_model(model, AdamW(model.parameters(), 5e-3), 64, 32, rate=warm_up(20, cosine))

SPACES = torch.tensor(list(b' \n'))

def without_spaces(x):
    "Rows of bytes without spaces, filled up with zeros"
    kept = ~torch.isin(x, SPACES)
    return (x*kept).gather(1, torch.argsort((~kept).byte(), stable=True, dim=1))

def spaced(model, x, y, smooth=.1):
    "The loss of a model that puts the spaces back"
    out = model(input_ids=without_spaces(x), labels=x.contiguous())
    return F.cross_entropy(out.logits.flatten(0, 1), y, label_smoothing=smooth)

def bits_spaced(length, model):
    x = text()[1].unfold(0, length, length)[:150]
    return spaced(model, x, x.flatten(), 0.).item()/math.log(2)

@recipe('mBART, spaces put back', 200, metric='bits per byte', guess=bits_of_text, library='transformers')
def mbart(steps, length=40, warm=40):
    "With the schedule of the first transformer: the inverse root of the step"
    from transformers import MBartConfig, MBartForConditionalGeneration
    sizes = {f'{k}_{o}':v for k in ('encoder', 'decoder') for o,v in dict(layers=2, attention_heads=4, ffn_dim=192).items()}
    model = MBartForConditionalGeneration(MBartConfig(vocab_size=256, d_model=96, max_position_embeddings=64, pad_token_id=0, bos_token_id=1, eos_token_id=2,
                                                    decoder_start_token_id=2, forced_eos_token_id=None, use_cache=False, **sizes))
    opt, rate = Adam(model.parameters(), 2e-3, betas=(.9, .98), eps=1e-9), lambda i, steps: min((i + 1)/warm, (warm/(i + 1))**.5)
    return Training(model, opt, ((x, x.flatten()) for x,_ in excerpts(32, length)), spaced, partial(bits_spaced, length), rate=rate)


# ---- models of tutorials ----

@recipe('GPT', 200, metric='bits per byte', guess=bits_of_text)
def gpt(steps):
    model = GPT(d=96, length=96)
    return language_model(model, AdamW(model.parameters(), 2e-3), 96, 16, rate=warm_up(50))

class LSTM(nn.Module):
    "The language model of PyTorch's examples"
    def __init__(self, d=128, layers=2, p=.1):
        super().__init__()
        self.drop, self.emb = nn.Dropout(p), nn.Embedding(256, d)
        self.rnn, self.head = nn.LSTM(d, d, layers, dropout=p, batch_first=True), nn.Linear(d, 256)
        for o in (self.emb, self.head): nn.init.uniform_(o.weight, -.1, .1)
        nn.init.zeros_(self.head.bias)
    def forward(self, x): return self.head(self.drop(self.rnn(self.drop(self.emb(x)))[0]))

@recipe('LSTM, SGD at a rate of 20', 200, metric='bits per byte', guess=bits_of_text)
def lstm(steps):
    model = LSTM()
    return language_model(model, SGD(model.parameters(), 20.), 35, 60, clip=norm_clip(.25))

class Rows(nn.Module):
    "Reads a picture row by row"
    def __init__(self, d=96):
        super().__init__()
        self.rnn, self.head = nn.GRU(28, d, batch_first=True), nn.Linear(d, 10)
    def forward(self, x): return self.head(self.rnn(x.squeeze(1))[0][:, -1])

@recipe('GRU, row by row', 200)
def gru(steps):
    model = Rows()
    return classifier(model, Adam(model.parameters(), 3e-3), mnist, clip=norm_clip(1.))

class VAE(nn.Module):
    "That of PyTorch's examples"
    def __init__(self):
        super().__init__()
        self.up, self.mean, self.log_var = nn.Linear(784, 400), nn.Linear(400, 20), nn.Linear(400, 20)
        self.down, self.out = nn.Linear(20, 400), nn.Linear(400, 784)
    def forward(self, x):
        h = F.relu(self.up(x.flatten(1)))
        mean, log_var = self.mean(h), self.log_var(h)
        z = mean + torch.randn_like(mean)*torch.exp(log_var/2)*self.training
        return torch.sigmoid(self.out(F.relu(self.down(z)))), mean, log_var

def bounds(model, x):
    "The sum over pixels and samples, as in the example: thousands"
    out, mean, log_var = model(x)
    return F.binary_cross_entropy(out, x.flatten(1), reduction='sum') - .5*(1 + log_var - mean**2 - log_var.exp()).sum()

def inked(x): return (x - x.amin((1, 2, 3), keepdim=True))/(x.amax((1, 2, 3), keepdim=True) - x.amin((1, 2, 3), keepdim=True))

@recipe('VAE, summed loss', 200, metric='R2', guess=nothing, targets=False)
def vae(steps):
    model, (batches, (x, _)) = VAE(), pictures(mnist, batch=128)
    x = inked(x)
    return Training(model, Adam(model.parameters(), 1e-3), ((inked(x),) for x,_ in batches), bounds, lambda m: r2(m(x)[0], x.flatten(1)))

class UNet(nn.Module):
    "Says which noise there is in a picture: two levels, GroupNorm, and a last convolution of zeros"
    def __init__(self, d=16):
        super().__init__()
        self.time = nn.Sequential(nn.Linear(16, d), nn.SiLU(), nn.Linear(d, 2*d))
        self.first, self.down, self.mid = self.block(1, d), self.block(d, 2*d, 2), self.block(2*d, 2*d)
        self.up, self.last, self.out = nn.ConvTranspose2d(2*d, d, 2, 2), self.block(2*d, d), nn.Conv2d(d, 1, 3, 1, 1)
        nn.init.zeros_(self.out.weight)
    def block(self, n_in, n_out, stride=1):
        return nn.Sequential(nn.Conv2d(n_in, n_out, 3, stride, 1), nn.GroupNorm(8, n_out), nn.SiLU(), nn.Conv2d(n_out, n_out, 3, 1, 1), nn.GroupNorm(8, n_out), nn.SiLU())
    def forward(self, x, t):
        angles, a = math.pi*t*2**torch.arange(8), self.first(x)
        b = self.mid(self.down(a) + self.time(torch.cat([angles.sin(), angles.cos()], 1))[..., None, None])
        return self.out(self.last(torch.cat([a, self.up(b)], 1)))

def noise_loss(model, x):
    "Mean squared error of the noise, at a time drawn for each picture: cosine schedule"
    t, noise = torch.rand(len(x), 1), torch.randn_like(x)
    angle = (t*math.pi/2)[..., None, None]
    return F.mse_loss(model(angle.cos()*x + angle.sin()*noise, t), noise)

def noise_r2(x, model):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return 1 - noise_loss(model, x).item()

@recipe('U-Net, diffusion', metric='R2', guess=nothing, targets=False)
def unet(steps):
    model, (batches, (x, _)) = UNet(), pictures(fashion_mnist, batch=24)
    return averaged(Training(model, Adam(model.parameters(), 1e-3), ((x,) for x,_ in batches), noise_loss, partial(noise_r2, x[:300])))

def turned(x):
    "Pictures turned by up to 45 degrees, and by how much"
    by = 90*torch.rand(len(x), 1) - 45
    c, s = by.deg2rad().cos(), by.deg2rad().sin()
    turn = torch.stack([torch.cat([c, -s, 0*c], 1), torch.cat([s, c, 0*c], 1)], 1)
    return F.grid_sample(x, F.affine_grid(turn, x.shape, align_corners=False), padding_mode='border', align_corners=False), by

def squares(model, x, y): return F.mse_loss(model(x), y)

@recipe('CNN, by how many degrees?', 200, metric='R2', guess=nothing)
def degrees(steps):
    "Targets are not scaled: the loss begins at 700"
    def block(a, b): return nn.Conv2d(a, b, 3, 1, 1), nn.BatchNorm2d(b), nn.ReLU(), nn.AvgPool2d(2)
    model = nn.Sequential(*block(1, 8), *block(8, 16), nn.Conv2d(16, 32, 3, 1, 1), nn.BatchNorm2d(32), nn.ReLU(), nn.Dropout(.2), nn.Flatten(), nn.Linear(1568, 1))
    batches, (x, _) = pictures(mnist)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        x, y = turned(x)
    return Training(model, SGD(model.parameters(), 1e-3, momentum=.9), (turned(x) for x,_ in batches), squares, lambda m: r2(m(x), y))

@recipe('MLP, a table of patients', 200, metric='R2', guess=nothing, library='sklearn')
def patients(steps):
    "The progress of diabetes within a year: targets from 25 to 346, not scaled"
    from sklearn.datasets import load_diabetes
    x, y = (torch.tensor(o, dtype=torch.float32) for o in load_diabetes(return_X_y=True))
    x, y = (x - x.mean(0))/x.std(0), y[:, None]
    model = nn.Sequential(nn.Linear(10, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1))
    return Training(model, Adam(model.parameters(), 3e-3, weight_decay=1e-4), drawn(x[100:], y[100:], 32), squares, lambda m: r2(m(x[:100]), y[:100]))
