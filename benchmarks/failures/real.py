"""Healthy trainings of real models on real data: does the diagnosis keep quiet?

    python benchmarks/failures/real.py                        # all, two seeds of each; writes real.json
    python benchmarks/failures/real.py --only GPT --steps 8   # a trial, which writes nothing

The ladder's networks have the rates of their chapter at which every seed trains: 0.2 without a norm, where 0.6 is too much, and 0.6 with one.
Pictures are Fashion-MNIST and MNIST, from the hub or from the folder ACTSTATS_DATA; the text is that of Python's own help.
"""
import os

os.environ.setdefault('OMP_NUM_THREADS', '1')  # before torch is loaded

import argparse
import json
import math
import platform
import sys
import time
from functools import lru_cache, partial
from itertools import islice
from pathlib import Path

HERE = Path(__file__).parent
sys.path.append(str(HERE.parent))

import torch
import torch.nn.functional as F
from torch import nn
from torch.optim import SGD, AdamW
from torch.optim.lr_scheduler import LambdaLR, OneCycleLR

import actstats
from actstats.activations import set_seed
from actstats.batchnorm import BatchNorm, LayerNorm
from actstats.datasets import fashion_mnist, mnist
from actstats.init import GeneralRelu, get_model, init_weights, lsuv_init
from overhead import GPT

LOOKS = 25, 100  # steps after which the diagnosis is asked, besides the last


# ---- data: batches without end, and the metric on what is held out ----

def endless(loader):
    while True: yield from loader

def accuracy(dls, model):
    x, y = dls.splits['test'][:2000]
    return (model(x).argmax(1) == y).double().mean().item()

@lru_cache
def text():
    "The help of Python, as bytes: nine tenths to train on, one held out"
    from pydoc_data.topics import topics
    data = torch.tensor(list('\n\n'.join(topics.values()).encode()))
    return data.split([len(data) - len(data)//10, len(data)//10])

def excerpts(size, length):
    "Batches of text at random, each byte with the one that follows it"
    data = text()[0].unfold(0, length + 1, 1)
    while True:
        some = data[torch.randint(len(data), (size,))]
        yield some[:, :-1], some[:, 1:].flatten()

def bits_per_byte(length, model):
    some = text()[1].unfold(0, length + 1, length)
    return F.cross_entropy(model(some[:, :-1]), some[:, 1:].flatten()).item()/math.log(2)

def bits_of_frequencies():
    "Bits per byte for who knows how often each byte comes, and nothing else"
    counts = text()[1].bincount().double()
    return torch.distributions.Categorical(counts).entropy().item()/math.log(2)


# ---- trainings: each gives, for a number of steps, model, optimizer, schedule or None, batches, and metric ----

def ladder(steps, act=nn.ReLU, leaky=0., norm=None, lsuv=False, lr=.2, size=1024, opt=SGD, one_cycle=None, **settings):
    "A rung of the ladder, on Fashion-MNIST; `one_cycle`: the share of the steps in which the rate rises"
    dls, model = fashion_mnist(size), get_model(act, norm)
    model.apply(partial(init_weights, leaky=leaky))
    if lsuv: lsuv_init(model, next(iter(dls['train']))[0], mods=model[:4])
    opt = opt(model.parameters(), lr=lr, **settings)
    cycle = one_cycle and OneCycleLR(opt, lr, steps, pct_start=max(one_cycle, 2/steps), anneal_strategy='linear')
    return model, opt, cycle, endless(dls['train']), partial(accuracy, dls)

def resnet(steps, opt, **settings):
    from torchvision.models import resnet18
    dls, model = mnist(64), resnet18(num_classes=10)
    model.conv1 = nn.Conv2d(1, 64, 7, 2, 3, bias=False)
    return model, opt(model.parameters(), **settings), None, endless(dls['train']), partial(accuracy, dls)

def gpt(steps, length=128, warm_up=50):
    model = GPT(d=128, length=length)
    opt = AdamW(model.parameters(), lr=1e-3)
    return model, opt, LambdaLR(opt, lambda i: min(1, (i + 1)/warm_up)), excerpts(16, length), partial(bits_per_byte, length)

fast_relu = dict(act=partial(GeneralRelu, .1, .4), leaky=.1)
TRAININGS = {  # name -> what makes it, and steps
    'CNN, Kaiming':     (ladder, 150),
    'CNN, GeneralRelu': (partial(ladder, **fast_relu), 150),
    'CNN, LSUV':        (partial(ladder, **fast_relu, lsuv=True), 150),
    'CNN, LayerNorm':   (partial(ladder, norm=LayerNorm, lr=.6), 150),
    'CNN, BatchNorm':   (partial(ladder, norm=BatchNorm, lr=.6), 150),
    'CNN, last rung':   (partial(ladder, norm=partial(BatchNorm, mom=.01), lr=.015, size=64, opt=AdamW, weight_decay=.05, one_cycle=.1), 150),
    'ResNet-18, AdamW': (partial(resnet, opt=AdamW, lr=1e-3), 150),
    'ResNet-18, SGD':   (partial(resnet, opt=SGD, lr=1e-2, momentum=.9), 150),
    'GPT':              (gpt, 200)}


# ---- training and looking ----

def train(model, opt, schedule, batches, steps):
    "Train and watch: the recording, and what was diagnosed on the way and at the end"
    found = {}
    with actstats.watch(model, opt, total_steps=steps) as rec:
        for i,(x, y) in enumerate(islice(batches, steps), 1):
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            opt.step()
            opt.zero_grad()
            if schedule: schedule.step()
            rec.log(loss=loss)
            if i == steps: found['end'] = rec.diagnose(upto=i)
            elif i in LOOKS: found[str(i)] = rec.diagnose(upto=i)
    return rec, found

def places(diagnosis, severity): return [f'{f.rule}: {f.layer}' for f in diagnosis.findings if f.severity == severity]

def judge(name, seed, steps=None):
    "Train once; what is to be said about it"
    set_seed(seed)
    make, planned = TRAININGS[name]
    steps = steps or planned
    model, opt, schedule, batches, metric = make(steps)
    start = time.perf_counter()
    rec, found = train(model, opt, schedule, batches, steps)
    seconds = time.perf_counter() - start
    with torch.no_grad(): value = metric(model.eval())
    return dict(name=name, seed=seed, parameters=sum(p.numel() for p in model.parameters()), steps=steps,
                metric='bits per byte' if make is gpt else 'accuracy', value=value, guessing=bits_of_frequencies() if make is gpt else .1,
                risk={k:d.risk for k,d in found.items()}, errors={k:places(d, 'error') for k,d in found.items()},
                warnings=places(found['end'], 'warning'), problems=rec.problems, seconds=seconds)

def line(row):
    errors = [f'at {k}: {e}' for k,es in row['errors'].items() for e in es]
    return (f'{row["name"]:18}seed {row["seed"]}  {row["parameters"]:>10,} parameters  {row["metric"]} {row["value"]:.3f} (guessing {row["guessing"]:.1f})  '
            f'risk {" ".join(f"{v:.2f}" for v in row["risk"].values())}  errors {"; ".join(errors) or "none"}  warnings {"; ".join(row["warnings"]) or "none"}  '
            + f'problems {len(row["problems"])}  '*bool(row['problems']) + f'{row["seconds"]:.0f} s')

def rounded(o):
    "Floats with four digits; those that are not finite, which JSON does not have, as None"
    if isinstance(o, dict): return {k:rounded(v) for k,v in o.items()}
    if isinstance(o, list): return [rounded(v) for v in o]
    return o if not isinstance(o, float) else round(o, 4) if math.isfinite(o) else None


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--only', nargs='+', choices=list(TRAININGS), default=list(TRAININGS), metavar='NAME', help=', '.join(map(repr, TRAININGS)))
    parser.add_argument('--steps', type=int, help='of each training, for a trial: nothing is written')
    parser.add_argument('--seeds', type=int, default=2)
    parser.add_argument('--out', type=Path, default=Path(__file__).with_suffix('.json'))
    args = parser.parse_args()
    torch.set_num_threads(1)
    about, rows = dict(torch=torch.__version__, python=platform.python_version()), []
    for name in args.only:
        for seed in range(args.seeds):
            rows.append(judge(name, seed, args.steps))
            print(line(rows[-1]), flush=True)
    print(f'alarms in {sum(any(r["errors"].values()) for r in rows)} of {len(rows)} trainings')
    if args.steps: return
    before = json.loads(args.out.read_text()) if args.out.exists() else {}
    if about.items() <= before.items(): rows += [r for r in before['trainings'] if r['name'] not in args.only]  # what was not run again stays
    rows.sort(key=lambda r: (list(TRAININGS).index(r['name']), r['seed']))
    args.out.write_text(json.dumps(rounded(about | dict(trainings=rows)), indent=1) + '\n')


if __name__ == '__main__': main()
