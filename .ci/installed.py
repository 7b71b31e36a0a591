"""What somebody sees who installs the package and nothing else: `make installed`, or run by that person's Python.

Plain asserts, and a line for each thing that was done. What the installed PyTorch cannot do is skipped, with the reason.
"""
import sys
import tempfile
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

BOOK = ('torchvision', 'datasets', 'torcheval', 'sklearn', 'nbdev')
LATE = ('matplotlib', 'pandas', 'numba', 'rich', 'jinja2', 'IPython')


def bare():
    "Nothing of the book, and of the clone no file, is needed to import the package"
    import actstats
    clone = Path(__file__).resolve().parents[1]
    assert Path(actstats.__file__).resolve().parent != clone/'actstats', 'this is the clone, not the installed package'
    assert not (found := [m for m in BOOK if find_spec(m)]), f'not a bare environment: {found}'
    assert not (loaded := [m for m in LATE if m in sys.modules]), f'importing the package loads {loaded}'
    assert (Path(actstats.__file__).parent/'py.typed').exists()


def train(model, opt, rec, steps=60):
    import torch
    torch.manual_seed(1)
    for _ in range(steps):
        x = torch.randn(32, 8)
        loss = (model(x).squeeze(1) - x.sum(1)).square().mean()
        loss.backward()
        opt.step()
        opt.zero_grad()
        rec.log(loss=loss)


def watched(lr=.1, **kw):
    import torch
    import actstats
    from torch import nn
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 1))
    opt = torch.optim.SGD(model.parameters(), lr=lr)
    seen = []
    model[1].register_forward_hook(lambda m, args, out: seen.append(out.detach().clone()))
    with actstats.watch(model, opt, **kw) as rec: train(model, opt, rec)
    return rec, seen


def recorded():
    "A plain loop is recorded, exactly"
    import torch
    rec, seen = watched(grads=True)
    assert not rec.problems, rec.problems
    assert rec.layers == ['0', '1', '2'] and len(rec) == len(seen) == 60
    h = rec['1']
    assert h.frac_zero.tolist() == [(x == 0).sum().item()/x.numel() for x in seen]
    torch.testing.assert_close(torch.from_numpy(h.std), torch.stack([x.double().std() for x in seen]))
    assert (h.hist.sum(1) == h.n).all() and len(rec['0.weight', 'update']) == len(rec['2', 'grad']) == 60
    return rec


def drawn(rec, folder):
    "Every picture can be drawn and saved"
    import matplotlib
    matplotlib.use('Agg')
    import matplotlib.pyplot as plt
    names = ('plot_stats', 'color_dim', 'dead_chart', 'unit_raster', 'depth_map', 'update_ratios')
    for name in names:
        getattr(rec, name)()
        plt.savefig(folder/f'{name}.png')
        plt.close('all')
        assert (folder/f'{name}.png').stat().st_size > 3000, name
    return names


def judged(rec):
    "A run that fails is told from one that does not"
    fine, ill = rec.diagnose(), watched(lr=30.)[0].diagnose()
    assert ill.alarm and not fine.alarm, (fine, ill)
    assert any(f.rule == 'not_finite' for f in ill), ill
    return ill.findings[0]


def written(rec, folder):
    "Recordings and reports are files"
    import actstats
    rec.save(folder/'run.actstats')
    again = actstats.Recording.load(folder/'run.actstats')
    assert again.to_df().equals(rec.to_df()) and len(again.to_df()) > 60
    rec.report(folder/'report.html')
    text = (folder/'report.html').read_text(encoding='utf-8')
    assert '<html' in text and 'src="http' not in text
    return len(text)


def compiled(grads=False):
    "A compiled model is recorded as it is, with no graph break"
    import torch
    from torch import nn
    import actstats
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 1))
    opt = torch.optim.SGD(model.parameters(), lr=.1)
    fast = torch.compile(model, fullgraph=True, backend='aot_eager')
    with actstats.watch(model, opt, grads=grads) as rec: train(fast, opt, rec, 3)
    assert not rec.problems, rec.problems
    assert rec.layers == ['0', '1', '2'] and len(rec['1']) == 3
    return rec


def compiled_grads():
    "So are the gradients in it"
    assert len(compiled(grads=True)['1', 'grad']) == 3


def refused():
    "What needs the book says so, with the command"
    try: import actstats.datasets
    except ModuleNotFoundError as e: error = e
    else: raise AssertionError('actstats.datasets was imported without what it needs')
    assert error.name == 'torchvision' and "pip install 'actstats[book]'" in str(error), error
    from actstats.learner import MetricsCB
    try: MetricsCB()
    except ModuleNotFoundError as e: assert "pip install 'actstats[book]'" in str(e)
    else: raise AssertionError('MetricsCB was made without torcheval')
    return error


def every():
    "Every module can be imported, or says with the command what it needs"
    import importlib
    import pkgutil
    import actstats
    needing = []
    for name in (m.name for m in pkgutil.iter_modules(actstats.__path__)):
        if name.startswith('_'): continue
        try: importlib.import_module(f'actstats.{name}')
        except ModuleNotFoundError as e:
            if e.name == 'triton': continue  # which PyTorch brings where there may be a GPU
            assert 'pip install' in str(e), f'actstats.{name}: {e}'
            needing.append(name)
    assert 'datasets' in needing
    return ', '.join(needing)


# What an old PyTorch cannot do: the check, the first version that can, and the reason
SINCE = dict(compiled_grads=('2.13', 'a hook on a tensor cannot be a part of a compiled graph'))


def main():
    import torch
    print(', '.join(f'{p} {version(p)}' for p in ('actstats', 'torch', 'numpy', 'fastcore', 'numba')) + f', Python {sys.version.split()[0]}')
    failed = []

    def do(f, *args):
        least, why = SINCE.get(f.__name__, ('0', ''))
        if torch.__version__ < tuple(map(int, least.split('.'))):
            return print(f'skipped  {f.__doc__}: before PyTorch {least}, {why}')
        try: found = f(*args)
        except Exception as e:
            import traceback
            traceback.print_exc()
            return failed.append(f.__name__)
        print(f'done     {f.__doc__}' + (f': {found}' if isinstance(found, (str, int, Exception)) else ''), flush=True)
        return found

    do(bare)
    with tempfile.TemporaryDirectory() as folder:
        rec = do(recorded)
        for f, *args in ((drawn, rec, Path(folder)), (judged, rec), (written, rec, Path(folder)), (compiled,), (compiled_grads,), (refused,), (every,)): do(f, *args)
    assert 'nbdev' not in sys.modules
    if failed: sys.exit(f'failed: {", ".join(failed)}')


if __name__ == '__main__': main()
