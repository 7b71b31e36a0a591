"""What goes wrong in training, with a severity between 0, mostly harmless, and 1, mostly fatal; what looks wrong and is not; and the cures.

Each is a function of a `Setup`, which it changes. The cures know what a person knows who reads the advice: not what was done to the run.
"""
from types import SimpleNamespace
import math

import numpy as np
import torch
from torch import nn

from small_tasks import MODELS, TASKS

REGISTRY, CONTROLS, CURES = {}, {}, {}


class Setup(SimpleNamespace):
    """A run that is about to begin: model, data, loss, optimizer, and the functions that are called on the way

    prep(x): inputs of both training and validation; corrupt(x, y): those of training only; pool: indices that batches are drawn from;
    rate(i): factor of the learning rate at step i; groups(): parameter groups; after_backward, before_step: lists of f(i)
    """

def setup(arch:str, seed:int)->Setup:
    "A healthy run; the seed draws everything that healthy runs differ in"
    m, rng = MODELS[arch], np.random.default_rng(seed)
    torch.manual_seed(seed)
    task = TASKS[m.task]()
    s = Setup(arch=arch, spec=m, task=task, rng=rng, model=m.make(rng.choice([.75, 1., 1.5]), int(rng.integers(-1, 2))), lr=m.lr*10**rng.uniform(-.25, .2),
        momentum=.9, eps=1e-8, wd=0., batch=int(rng.choice([32, 64, 128])), steps=int(rng.choice([200, 300, 400])), loss=task.loss, pool=len(task.train[0]),
        prep=lambda x: x, prep_y=lambda y: y, corrupt=lambda x, y: (x, y), rate=lambda i: 1., zero_every=1, clip=None, precision=torch.float32, scale=1.,
        eval_modules=[], scaled_lrs={}, left_out=set(), cut=None, weights=None)
    return s

def layers(model):
    "The modules that have parameters of their own, in order"
    return [m for m in model.modules() if any(True for _ in m.parameters(recurse=False))]

def inputs(s): return s.task.train[0].is_floating_point()
def norms(s): return any(isinstance(m, nn.BatchNorm2d) for m in s.model.modules())


def fault(cure:str, applies=lambda s: True):
    "Register a fault: what a person who knew it would do, and whether it can happen to a setup"
    def _(f):
        REGISTRY[f.__name__] = SimpleNamespace(f=f, cure=cure, applies=applies)
        return f
    return _

def control(f): CONTROLS[f.__name__] = f; return f
def cure(f): CURES[f.__name__] = f; return f


# ---- the optimizer ----

@fault('lower_lr')
def lr_too_high(s, v): s.lr *= 10**(.3 + 3.2*v)

@fault('raise_lr')
def lr_too_low(s, v): s.lr *= 10**(-.3 - 4.7*v)

@fault('raise_lr')
def lr_decays_too_soon(s, v):
    half = s.steps*10**(-.3 - 2.5*v)
    s.rate = lambda i: .5**(i/half)

@fault('lower_weight_decay')
def weight_decay(s, v): s.wd = .05/s.lr*10**(-2.5 + 3.5*v)  # the share of the weights that a step takes away: 0.0002 to 0.5

@fault('zero_grad')
def gradients_add_up(s, v): s.zero_every = round(2*10**(2.5*v))

@fault('lower_lr', lambda s: s.spec.opt == 'sgd')
def momentum(s, v): s.momentum = 1 - 10**(-1.3 - 2.2*v)

@fault('raise_lr', lambda s: s.spec.opt == 'adam')
def epsilon(s, v): s.eps = 10**(-5 + 8*v)

@fault('raise_lr', lambda s: s.spec.opt == 'sgd')
def clipped_to_nothing(s, v): s.clip = 10**(-.5 - 4.5*v)


# ---- the beginning ----

def _weights(s): return [p for m in layers(s.model) for n,p in m.named_parameters(recurse=False) if p.ndim > 1]

@fault('reinit')
def weights_too_large(s, v):
    for p in _weights(s): p.data *= 10**(.3 + 1.7*v)

@fault('reinit')
def weights_too_small(s, v):
    for p in _weights(s): p.data *= 10**(-.3 - 2.7*v)

@fault('reinit')
def weights_all_the_same(s, v):
    "The first layers' weights are constant: their units are copies of one another"
    ps = _weights(s)
    for p in ps[:max(1, round(v*len(ps)))]: p.data.fill_(.01 if s.rng.random() < .5 else 0.)

@fault('reinit', lambda s: any(isinstance(m, nn.ReLU) for m in s.model.modules()))
def biases_too_low(s, v):
    for m in layers(s.model)[:-1]:
        if getattr(m, 'bias', None) is not None: m.bias.data -= 10**(-1 + 2.3*v)

@fault('reinit', lambda s: hasattr(s.model, 'rnn'))
def recurrence_too_strong(s, v): s.model.rnn.weight_hh_l0.data *= 10**(.3 + 1.7*v)

@fault('reinit', lambda s: any(isinstance(m, nn.ReLU) for m in s.model.modules()))
def biases_of_one_layer(s, v):
    "One hidden layer begins dead, or nearly"
    ls = [m for m in layers(s.model)[:-1] if isinstance(m, (nn.Linear, nn.Conv2d))]
    m = ls[s.rng.integers(len(ls))]
    m.bias.data -= 10**(-.5 + 2.*v)


# ---- the data ----

@fault('normalise_inputs', inputs)
def inputs_too_large(s, v):
    k = 10**(.5 + 3.5*v)
    s.prep = lambda x: x*k

@fault('normalise_inputs', inputs)
def inputs_too_small(s, v):
    k = 10**(-.5 - 3.5*v)
    s.prep = lambda x: x*k

@fault('normalise_inputs', inputs)
def inputs_off_centre(s, v):
    k = 10**(.3 + 2.5*v)
    s.prep = lambda x: x + k

@fault('clean_data')
def labels_shuffled(s, v):
    x, y = s.task.train
    i = torch.from_numpy(s.rng.permutation(len(y)))
    some = torch.from_numpy(s.rng.random(len(y)) < v**.5)
    wrong = y.clone()
    wrong[some] = y[i][some]
    s.task = s.task.__class__(**{**s.task.__dict__, 'train': (x, wrong)})

@fault('clean_data', inputs)
def some_inputs_nan(s, v):
    x, y = s.task.train
    bad = torch.from_numpy(s.rng.random(len(x)) < 10**(-5 + 4*v))
    x = x.clone()
    x[bad] = x[bad].flatten(1).index_fill(1, torch.tensor([3]), math.nan).view_as(x[bad])
    s.task = s.task.__class__(**{**s.task.__dict__, 'train': (x, y)})

@fault('clean_data')
def few_samples(s, v): s.pool = max(1, int(s.pool*10**(-.5 - 2.7*v)))

@fault('clean_data', inputs)
def outliers(s, v):
    k, seed = 10**(.5 + 4*v), int(s.rng.integers(1 << 31))
    g = torch.Generator().manual_seed(seed)
    def corrupt(x, y):
        if torch.rand((), generator=g) < .1: x = torch.cat([x[:1]*k, x[1:]])
        return x, y
    s.corrupt = corrupt

@fault('clean_data', inputs)
def blank_inputs(s, v):
    x, y = s.task.train
    x = x.clone()
    x[torch.from_numpy(s.rng.random(len(x)) < v**.4)] = x.mean()
    s.task = s.task.__class__(**{**s.task.__dict__, 'train': (x, y)})

@fault('clean_data', lambda s: s.task.chance == 0)
def targets_too_large(s, v):
    k, shift = 10**(.5 + 3*v), s.rng.choice([0., 1.])
    s.prep_y = lambda y: k*(y + shift)


# ---- the model ----

@fault('lower_dropout')
def dropout(s, v):
    "Behind each activation, and before the last layer"
    p = 1 - 10**(-.3 - 2.7*v)
    for m in list(s.model.modules()):
        for name,child in m.named_children():
            if isinstance(child, nn.Dropout): child.p = p
            elif isinstance(child, (nn.ReLU, nn.GELU, nn.Tanh, nn.Sigmoid)): setattr(m, name, nn.Sequential(child, nn.Dropout(p)))
    if hasattr(s.model, 'head'): s.model.head = nn.Sequential(nn.Dropout(p), s.model.head)

@fault('unfreeze')
def frozen(s, v):
    "The first layers do not ask for gradients"
    ls = layers(s.model)
    for m in ls[:max(1, round(v*len(ls)))]:
        for p in m.parameters(recurse=False): p.requires_grad_(False)
    if not any(p.requires_grad for p in s.model.parameters()): ls[-1].bias.requires_grad_()

@fault('unfreeze')
def not_in_the_optimizer(s, v):
    ls = layers(s.model)
    some = s.rng.permutation(len(ls))[:max(1, min(len(ls) - 1, round(v*len(ls))))]
    s.left_out = {p for i in some for p in ls[i].parameters(recurse=False)}

@fault('unfreeze')
def rates_by_layer(s, v):
    "Rates that fall towards the first layer, as for a model that was trained before"
    ls = layers(s.model)
    s.scaled_lrs = {p: 10**(-(1 + 8*v)*(1 - i/(len(ls) - 1))) for i,m in enumerate(ls) for p in m.parameters(recurse=False)}

@fault('train_mode', norms)
def norms_in_eval(s, v):
    "With the statistics of something else: those of a model that was trained before, say"
    ns = [m for m in s.model.modules() if isinstance(m, nn.BatchNorm2d)]
    s.eval_modules = ns
    for m in ns:
        m.running_var.mul_(10**(4*v*s.rng.choice([-1, 1])))
        m.running_mean.add_(v*s.rng.choice([-1, 1]))

@fault('bigger_batch')
def tiny_batches(s, v): s.batch = max(2 if norms(s) else 1, round(16*10**(-1.3*v)))

@fault('higher_precision', lambda s: not hasattr(s.model, 'rnn') and not hasattr(s.model, 'blocks'))
def half_precision(s, v):
    "All of it in float16, and a loss that is scaled by more and more"
    s.precision, s.scale = torch.float16, 2**(20*v)

def _cut(s, i):
    "No gradient goes below the layer number i"
    ls = layers(s.model)
    ls[i].register_forward_pre_hook(lambda m, args: tuple(a.detach() if isinstance(a, torch.Tensor) else a for a in args))

@fault('fix_loss')
def detached(s, v):
    ls = [i for i,m in enumerate(layers(s.model)) if i and not isinstance(m, nn.MultiheadAttention)]
    s.cut = ls[min(len(ls) - 1, int(v*len(ls)))]


# ---- the loss ----

@fault('fix_loss')
def sign_flipped(s, v):
    "In a share of the batches"
    loss, share, rng = s.loss, v**.5, np.random.default_rng(int(s.rng.integers(1 << 31)))
    s.weights = lambda: -1. if rng.random() < share else 1.

@fault('fix_loss', lambda s: s.task.chance > 0)
def softmax_twice(s, v):
    loss, t = s.loss, 10**(1 - 2.5*v)
    s.loss = lambda out, y: loss(t*out.softmax(-1), y)

@fault('fix_loss', lambda s: s.task.chance > 0)
def softmax_over_the_batch(s, v):
    "Which of the samples is it, instead of which class"
    loss, w = s.loss, v**.3
    s.loss = lambda out, y: (1 - w)*loss(out, y) + w*nn.functional.nll_loss(out.log_softmax(0), y)

@fault('fix_loss')
def loss_too_small(s, v):
    "Divided by something that it should not be divided by; nothing for Adam, much for SGD"
    loss, k = s.loss, 10**(-1 - 5*v)
    s.loss = lambda out, y: loss(out, y)*k


# ---- healthy, and odd to look at ----

@control
def warm_up(s): s.rate = lambda i: min(1., (i + 1)/(s.steps/3))

@control
def cosine(s): s.rate = lambda i: .5*(1 + math.cos(math.pi*i/s.steps))

@control
def small_batches(s): s.batch, s.lr, s.steps = 16, s.lr/2, 400

@control
def label_noise(s):
    x, y = s.task.train
    some, wrong = torch.from_numpy(s.rng.random(len(y)) < .15), y.clone()
    wrong[some] = y[torch.from_numpy(s.rng.permutation(len(y)))][some]
    s.task = s.task.__class__(**{**s.task.__dict__, 'train': (x, wrong)})

@control
def fine_tuning(s):
    "A model that was trained before, its first half frozen"
    s.before = 200
    s.freeze = lambda: [p.requires_grad_(False) for m in layers(s.model)[:len(layers(s.model))//2] for p in m.parameters(recurse=False)]

@control
def fine_tuning_by_layer(s):
    "A model that was trained before, with lower rates for the first layers"
    s.before = 200
    ls = layers(s.model)
    s.scaled_lrs = {p: 10**(-3*(1 - i/(len(ls) - 1))) for i,m in enumerate(ls) for p in m.parameters(recurse=False)}

@control
def spike(s):
    "One step, early on, is ten times too large"
    at = int(s.rng.integers(10, 60))
    s.rate = lambda i: 10. if i == at else 1.

@control
def some_dropout(s): dropout(s, 0.); [setattr(m, 'p', .2) for m in s.model.modules() if isinstance(m, nn.Dropout)]

@control
def some_weight_decay(s): s.wd = .01

@control
def clipped(s): s.clip = 1.


# ---- cures: what the advice says, done by somebody who knows nothing else ----

@cure
def lower_lr(s, factor): s.lr /= factor

@cure
def raise_lr(s, factor): s.lr, s.rate = s.lr*factor, lambda i: 1.

@cure
def clip_gradients(s, factor): s.clip = 1.

@cure
def reinit(s, factor):
    "As PyTorch does it"
    for m in s.model.modules():
        for name in ('reset_parameters', '_reset_parameters'):
            if hasattr(m, name): getattr(m, name)(); break

@cure
def normalise_inputs(s, factor):
    x, prep = s.prep(s.task.train[0]), s.prep
    if not x.is_floating_point(): return
    mean, std = x[x.isfinite()].mean(), x[x.isfinite()].std()
    s.prep = lambda x: (prep(x) - mean)/std

@cure
def unfreeze(s, factor):
    s.scaled_lrs, s.left_out, s.cut, s.freeze = {}, set(), None, lambda: None
    for p in s.model.parameters(): p.requires_grad_()

@cure
def zero_grad(s, factor): s.zero_every = 1

@cure
def lower_weight_decay(s, factor): s.wd /= 1000

@cure
def lower_dropout(s, factor):
    for m in s.model.modules():
        if isinstance(m, nn.Dropout): m.p = min(m.p, .1)

@cure
def fix_loss(s, factor):
    "The usual loss for what the model is to do, with gradients for all of it"
    s.loss, s.weights, s.cut = s.spec and TASKS[s.spec.task]().loss, None, None

@cure
def clean_data(s, factor):
    "Look at it: right labels, all samples, nothing broken, targets of unit scale"
    s.task, s.corrupt, s.prep_y = TASKS[s.spec.task](), lambda x, y: (x, y), lambda y: y
    s.pool = len(s.task.train[0])

@cure
def higher_precision(s, factor): s.precision, s.scale = torch.float32, 1.

@cure
def train_mode(s, factor): s.eval_modules = []

@cure
def bigger_batch(s, factor): s.batch = max(64, s.batch)
