"""Do the rules for attention and experts find what is broken in small transformers, and nothing in healthy ones?

    python benchmarks/lens_rules.py    # about six minutes on one core; writes lens_rules.json

Each run is looked at every 25 steps, and counts as found if a rule says something at any look (of a broken run: the
expected rule, at the last look). Healthy runs differ in rate, depth, heads, task, optimizer settings, number of
experts and balance.
"""
import argparse, json, math, optparse, sys, tarfile
from pathlib import Path
import torch, torch.nn.functional as F
from torch import nn
from sklearn.datasets import load_digits
import actstats.diagnosis
from actstats.attention import Attention
from actstats.experts import Experts
from actstats.lenses import LENS_RULES
from actstats.watching import watch

letters = torch.tensor([min(ord(c), 127) for m in (argparse, optparse, tarfile, json) for c in Path(m.__file__).read_text()])
digits = load_digits()


def reading(n=8, length=64):
    "The next letter of Python's own source"
    x = letters[torch.randint(len(letters) - length - 1, (n, 1)) + torch.arange(length + 1)]
    return x[:, :-1], x[:, 1:]

def copying(n=16, length=32):
    "The first half once more"
    x = torch.randint(128, (n, length)).repeat(1, 2)
    return x[:, :-1], torch.cat([torch.full((n, length - 1), -100), x[:, length:]], 1)

def seeing(n=32):
    "Digits, a row of pixels a token"
    i = torch.randint(len(digits.target), (n,))
    return torch.tensor(digits.images[i], dtype=torch.float32)/8 - 1, torch.tensor(digits.target[i])


class Attend(nn.Module):
    def __init__(self, width, heads, norm, init, scale):
        super().__init__()
        self.heads, self.scale = heads, scale
        self.q, self.k, self.v, self.out = (nn.Linear(width, width, bias=False) for _ in range(4))
        self.q_norm, self.k_norm = (nn.LayerNorm(width//heads) if norm else nn.Identity() for _ in range(2))
        with torch.no_grad(): self.q.weight.mul_(init), self.k.weight.mul_(init)
    def forward(self, x):
        q, k, v = (f(x).unflatten(-1, (self.heads, -1)).transpose(1, 2) for f in (self.q, self.k, self.v))
        x = F.scaled_dot_product_attention(self.q_norm(q), self.k_norm(k), v, is_causal=True, scale=self.scale)
        return self.out(x.transpose(1, 2).flatten(2))

class TopKRouter(nn.Linear):
    def __init__(self, width, num_experts, top_k):
        super().__init__(width, num_experts, bias=False)
        self.num_experts, self.top_k = num_experts, top_k
    def forward(self, x):
        logits = super().forward(x)
        p = logits.softmax(-1)
        weight, index = p.topk(self.top_k)
        if self.top_k > 1: weight = weight/weight.sum(-1, keepdim=True)
        f = F.one_hot(index, self.num_experts).float().mean((0, 1))
        self.balance = self.num_experts*(f*p.mean(0)).sum()
        return logits, weight, index

def mlp(width, hidden): return nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))

class MoE(nn.Module):
    def __init__(self, width, experts, top_k):
        super().__init__()
        self.router = TopKRouter(width, experts, top_k)
        self.experts = nn.ModuleList(mlp(width, 32) for _ in range(experts))
    def forward(self, x):
        s = x.flatten(0, -2)
        _, weight, index = self.router(s)
        out = torch.zeros_like(s)
        for e,expert in enumerate(self.experts):
            token, k = (index == e).nonzero(as_tuple=True)
            out = out.index_add(0, token, expert(s[token])*weight[token, k, None])
        return out.view_as(x)

class Block(nn.Module):
    def __init__(self, width, heads, norm, init, scale, experts, top_k, common):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn = Attend(width, heads, norm, init, scale)
        self.mlp = MoE(width, experts, top_k) if experts else mlp(width, 4*width)
        nn.init.constant_(self.norm2.bias, common)
    def forward(self, x):
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))

class GPT(nn.Module):
    def __init__(self, width=64, heads=4, depth=2, norm=False, init=1., scale=None, experts=0, top_k=1, common=0.):
        super().__init__()
        self.token, self.place = nn.Embedding(128, width), nn.Parameter(torch.randn(64, width))
        self.blocks = nn.Sequential(*[Block(width, heads, norm, init, scale, experts, top_k, common) for _ in range(depth)])
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, 128)
    def forward(self, x): return self.head(self.norm(self.blocks(self.token(x) + self.place[:x.shape[1]])))

class Sees(nn.Module):
    "PyTorch's own transformer, for digits"
    def __init__(self, width=32, heads=4, depth=2, norm_first=True):
        super().__init__()
        self.embed, self.place = nn.Linear(8, width), nn.Parameter(.1*torch.randn(8, width))
        layers = [nn.TransformerEncoderLayer(width, heads, 4*width, norm_first=norm_first, batch_first=True) for _ in range(depth)]
        self.layers, self.head = nn.Sequential(*layers), nn.Linear(width, 10)
    def forward(self, x): return self.head(self.layers(self.embed(x) + self.place).mean(1))


def train(seed, lr=3e-3, steps=200, task=reading, model=GPT, balance=0., router=1., warm=0, clip=0., decay=0., **kw):
    torch.manual_seed(seed)
    net = model(**kw)
    routers = [m for m in net.modules() if isinstance(m, TopKRouter)]
    theirs = {id(p) for m in routers for p in m.parameters()}
    groups = [dict(params=[p for p in net.parameters() if (id(p) in theirs) == mine], rate=r) for mine,r in ((False, 1.), (True, router))]
    opt = torch.optim.AdamW([g for g in groups if g['params']], lr=lr, weight_decay=decay)
    losses = []
    with watch(net, modules='head', lenses=[Attention(), *([Experts()] if routers else [])]) as rec:
        for i in range(steps):
            for g in opt.param_groups: g['lr'] = lr*g['rate']*min(1, (i + 1)/max(1, warm))
            x, y = task()
            out = net(x)
            loss = F.cross_entropy(out.flatten(0, -2), y.flatten())
            opt.zero_grad()
            (loss + balance*sum(m.balance for m in routers)).backward()
            if clip: nn.utils.clip_grad_norm_(net.parameters(), clip)
            opt.step()
            rec.log(loss=loss)
            losses.append(loss.item())
    assert not rec.problems, rec.problems
    return rec, sum(losses[-20:])/20


def found(rec, upto=None): return sorted({f.rule for f in rec.diagnose(upto) if f.rule in LENS_RULES})

A, E = ['attention_logits', 'attention_collapsed'], ['dead_experts', 'experts_unbalanced']
HEALTHY = [
    *[(f'GPT, rate {lr}{", QK-norm"*norm}', dict(lr=lr, norm=norm)) for lr in (1e-3, 3e-3, 1e-2) for norm in (False, True)],
    ('GPT, one head', dict(heads=1)), ('GPT, four blocks, warm-up, clipping, decay', dict(depth=4, warm=50, clip=1., decay=.1)),
    ('GPT, width 32', dict(width=32, heads=2)), ('copying', dict(task=copying, steps=400)), ('copying, one head', dict(task=copying, steps=400, heads=1)),
    ('digits', dict(task=seeing, model=Sees)), ('digits, rate 0.01, post-norm', dict(task=seeing, model=Sees, lr=.01, norm_first=False)),
    *[(f'{e} experts, top {k}, balancing loss', dict(experts=e, top_k=k, balance=.03, norm=True)) for e,k in ((4, 1), (4, 2), (8, 1), (8, 2), (16, 2))],
    ('8 experts, top 1, balancing loss, common part', dict(experts=8, common=1., balance=.03, norm=True))]
BROKEN = [
    ('GPT, rate 0.03', dict(lr=.03), A), ('GPT, rate 0.06', dict(lr=.06), A), ('GPT, queries and keys times 8', dict(init=8.), A),
    ('GPT, rate 0.01, no square root', dict(lr=.01, scale=1.), A),
    ('8 experts, top 1, common part', dict(experts=8, common=1., norm=True), E), ('8 experts, top 1, router ten times as fast', dict(experts=8, router=10., norm=True), E),
    ('8 experts, top 2, common part', dict(experts=8, top_k=2, common=1., norm=True), E)]

if __name__ == '__main__':
    torch.set_num_threads(1)
    out, path = dict(healthy=[], broken=[]), Path(__file__).with_suffix('.json')
    for what,todo in (('broken', BROKEN), ('healthy', [(*o, []) for o in HEALTHY])):
        for name,kw,expected in todo:
            for seed in range(3):
                rec, loss = train(seed, **kw)
                seen = {n: found(rec, n) for n in range(25, len(rec) + 1, 25)}
                logits = [float(rec[n, 'logit'].max[-len(rec)//5:].mean()) for n in rec._names('logit')]
                entropies = [float(rec[n, 'entropy'].mean[-len(rec)//5:].mean()) for n in rec._names('logit')]
                o = dict(run=name, seed=seed, steps=len(rec), loss=loss, logit=max(logits), entropy=min(entropies),
                         found=found(rec), ever=sorted({r for v in seen.values() for r in v}), since=next((n for n,v in seen.items() if v), None))
                if what == 'broken': o['hit'] = bool(set(o['found']) & set(expected))
                out[what].append(o)
                print(o, flush=True)
                path.write_text(json.dumps(out, indent=1) + '\n')
