"""How often the first event of `rec.events()` names the layer and the step of a fault that was put into a healthy training,
and how many events a thousand healthy steps give.

    python benchmarks/blackbox.py [RUNS] [MOST_STEPS]      # of each of 15 pairs of a network and a fault; default 3 and 1500

Writes benchmarks/blackbox.json. One thread; with the defaults some ten minutes.
"""
import json
import math
import random
import sys
import time
from collections import defaultdict
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

import actstats

NEAR = 3  # steps: the first event counts if it is at the step of the fault or so many later
torch.set_num_threads(1)


class Block(nn.Module):
    "A pre-norm transformer block, whose parts are modules"
    def __init__(self, d=32, heads=4):
        super().__init__()
        self.n1, self.qkv, self.out = nn.LayerNorm(d), nn.Linear(d, 3*d), nn.Linear(d, d)
        self.n2, self.up, self.act, self.down, self.heads = nn.LayerNorm(d), nn.Linear(d, 4*d), nn.GELU(), nn.Linear(4*d, d), heads

    def forward(self, x):
        q, k, v = (o.unflatten(-1, (self.heads, -1)).transpose(1, 2) for o in self.qkv(self.n1(x)).chunk(3, -1))
        x = x + self.out(F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2))
        return x + self.down(self.act(self.up(self.n2(x))))


class Transformer(nn.Module):
    def __init__(self, n=12, d=32):
        super().__init__()
        self.embed, self.place = nn.Linear(n, d), nn.Parameter(torch.randn(16, d)*.02)
        self.blocks, self.norm, self.head = nn.Sequential(Block(d), Block(d)), nn.LayerNorm(d), nn.Linear(d, n)
    def forward(self, x): return self.head(self.norm(self.blocks(self.embed(x) + self.place)))


class Recurrent(nn.Module):
    def __init__(self, n=12, d=48):
        super().__init__()
        self.embed, self.rnn1, self.rnn2, self.head = nn.Linear(n, d), nn.GRU(d, d, batch_first=True), nn.GRU(d, d, batch_first=True), nn.Linear(d, n)
    def forward(self, x): return self.head(self.rnn2(self.rnn1(self.embed(x))[0])[0])


def conv():
    def layer(a, b, **kw): return [nn.Conv2d(a, b, 3, padding=1, **kw), nn.BatchNorm2d(b), nn.ReLU()]
    return nn.Sequential(*layer(1, 12, stride=2), *layer(12, 24, stride=2), *layer(24, 24), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(24, 8))


def pictures(g, n=48):
    "Noisy waves: eight classes of direction and length"
    y = torch.randint(0, 8, (n,), generator=g)
    a, f = math.pi*(y % 4)/4, 1 + y//4
    u = torch.linspace(-3, 3, 14)
    phase = torch.rand(n, generator=g)*6
    x = torch.sin(f[:, None, None]*(torch.cos(a)[:, None, None]*u[:, None] + torch.sin(a)[:, None, None]*u) + phase[:, None, None])
    return x[:, None] + .8*torch.randn(n, 1, 14, 14, generator=g), y


def texts(g, n=24):
    "Sequences of a noisy rule: the next token is the sum of the last two"
    t = torch.randint(0, 12, (n, 17), generator=g)
    for i in range(2, 17):
        t[:, i] = torch.where(torch.rand(n, generator=g) < .1, t[:, i], (t[:, i - 1] + t[:, i - 2]) % 12)
    return F.one_hot(t[:, :-1], 12).float() + .1*torch.randn(n, 16, 12, generator=g), t[:, 1:]


NETS = dict(cnn=(conv, pictures, lambda m: torch.optim.SGD(m.parameters(), lr=.05, momentum=.9), '11'),
            transformer=(Transformer, texts, lambda m: torch.optim.AdamW(m.parameters(), lr=1e-3), 'head'),
            recurrent=(Recurrent, texts, lambda m: torch.optim.Adam(m.parameters(), lr=2e-3), 'head'))
FAULTS = 'bad_batch', 'overflow', 'rate_jumps', 'head_explodes', 'weight_corrupted'


def train(net, fault, seed, most):
    "One run with a fault at a random step: the step, the right answers, the events"
    rnd, g = random.Random(f'{net} {fault} {seed}'), torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    make, draw, optimizer, head = NETS[net]
    model = make()
    opt, at = optimizer(model), rnd.randrange(100, most)
    head, named = model.get_submodule(head), dict(model.named_modules())
    name = rnd.choice([k for k, m in named.items() if isinstance(m, (nn.Linear, nn.Conv2d))])
    now, names = [0], {k: v for v, k in named.items()}
    right = dict(bad_batch=['input'], overflow=[name], rate_jumps=['optimizer'],
                 head_explodes=[names[head], names[head] + '.weight', names[head] + '.bias'],
                 weight_corrupted=[name, f'{name}.weight'])[fault]
    times = rnd.choice([10, 30, 100])
    if fault == 'overflow': named[name].register_forward_hook(lambda m, i, o: o*torch.inf if now[0] == at else None)
    with actstats.watch(model, opt, total_steps=at + 40) as rec:
        for step in range(at + 40):
            now[0] = step
            x, y = draw(g)
            if step == at and fault == 'bad_batch': x = x*times
            if step == at and fault == 'rate_jumps':
                for group in opt.param_groups: group['lr'] *= times
            if step >= at and fault == 'head_explodes':
                with torch.no_grad():
                    for p in head.parameters(): p *= 1.5
            if step == at and fault == 'weight_corrupted':
                with torch.no_grad(): named[name].weight.view(-1)[rnd.randrange(named[name].weight.numel())] = float(times)
            loss = F.cross_entropy(model(x).flatten(0, -2), y.flatten())
            opt.zero_grad(), loss.backward(), opt.step()
            rec.log(loss=loss)
    return at, right, rec.events(marks=False)


def main(runs=3, most=1500):
    found, began, healthy, false = [], time.time(), 0, 0
    for net in NETS:
        for fault in FAULTS:
            for seed in range(runs):
                at, right, events = train(net, fault, seed, most)
                before = [e for e in events if e.step + e.width - 1 < at]
                after = [e for e in events if e.step + e.width - 1 >= at]
                first = after[0] if after else None
                near = first is not None and first.step <= at + NEAR
                found.append(dict(net=net, fault=fault, seed=seed, at=at, right=right, before=len(before), seen=near,
                    named=near and first.layer in right, first=str(first), false=[str(e) for e in before]))
                healthy, false = healthy + at, false + len({e.step//20 for e in before})
                print(f'{time.time() - began:5.0f} s', *(f'{k}={v}' for k, v in found[-1].items() if k != 'seed'), flush=True)
    by = defaultdict(list)
    for o in found: by[o['fault']].append(o)
    out = dict(runs=len(found), healthy_steps=healthy, episodes_per_1000=1000*false/healthy,
        seen=sum(o['seen'] for o in found)/len(found), named=sum(o['named'] for o in found)/len(found),
        by_fault={k: [sum(o['named'] for o in os), sum(o['seen'] for o in os), len(os)] for k, os in by.items()}, found=found)
    Path(__file__).with_suffix('.json').write_text(json.dumps(out, indent=1) + '\n')
    print({k: v for k, v in out.items() if k != 'found'})


if __name__ == '__main__': main(*map(int, sys.argv[1:]))
