"""Do the tests of the book depend on the processor? `make processors`, or `python .ci/rounding.py nbs/NAME.ipynb ...`.

On Intel's processors, MKL may sum the terms of a matrix product in another order if its operands lie at other addresses: two
computations of the same numbers then differ by rounding, as after a copy, or in a second training. AMD's do not show that. So
`emulate` gives PyTorch this habit. It replaces the CPU kernels of matrix products and convolutions by Python functions that call
the original and then move what was rounded, by half a unit in the last place of the sum of the magnitudes of its terms (what
another order of summation typically does): up, down or not at all, as the addresses of the operands and of the result say. What
needs no rounding, as with small whole numbers, is not moved: no order of summation would. Nor is what the same call gives with
the same memory.

- PyTorch aligns what it allocates to 64 bytes, so the addresses modulo 64, of which Intel speaks, differ only for slices. Which
  other bits matter nobody says. By default the whole address counts, which shows the most; `--modulus 64` and `--modulus 4096`
  are milder. With `--modulus 0` each call has its own rounding, even on the same memory: no test passes by the allocator's luck.
- With `MKL_CBWR=COMPATIBLE` in the environment, which a notebook may set for itself, MKL does without this habit, and so do we.
- The kernels are replaced below autograd, by `torch.library`, and not in a TorchDispatchMode: actstats looks for modes and takes
  other ways in them, modes do not reach the threads of a backward pass, and compiled code would not see them.
- Not reached: what runs within one operation of its own (fused attention), numpy, and processes that a cell starts.

The settings (`--settings`) run the same cells with other instructions, other numbers of threads, and beside two busy processes.
"""
import argparse
import os
import subprocess
import sys
import time
import warnings
from pathlib import Path

root = Path(__file__).resolve().parents[1]
TIME_LIMIT = 3600  # seconds a notebook: it is slower in the emulation, and beside others

PRODUCTS = ('mm', 'bmm', 'dot')  # name(a, b)
ADDED = ('addmm', 'addmv', 'baddbmm')  # name(c, a, b, beta=, alpha=)
CONVOLUTIONS = ('convolution', 'convolution_backward')


# --- the emulation

def signs(key, like):
    "-1, 0 or 1 for each element, all of them told by `key`"
    import torch
    i = torch.arange(like.numel(), device='cpu')
    return (((i + key % 1_000_003) * 2654435761 >> 9) % 3 - 1).reshape(like.shape).double()


def moved(result, finer, magnitude, key):
    "`result`, with what was rounded moved by half a unit in the last place of `magnitude`"
    import torch
    eps = torch.finfo(torch.float64 if result.dtype == torch.float64 else torch.float32).eps / 2
    new = result.double() + signs(key, result) * magnitude.double() * eps
    return torch.where((result.double() != finer.double()) & new.isfinite(), new, result.double()).to(result.dtype)


def emulate(modulus=1 << 64):
    "Give PyTorch's matrix products and convolutions on the CPU roundings that depend on addresses; lasts as long as the process"
    import torch
    calls = 0
    kernel = {n: torch.library.get_kernel(f'aten::{n}', 'CPU') for n in PRODUCTS + ADDED + CONVOLUTIONS}

    def key(*tensors):
        nonlocal calls
        calls += 1
        return hash(tuple(t.data_ptr() % modulus for t in tensors)) if modulus else calls * 7919

    def steady(): return 'MKL_CBWR' in os.environ  # which MKL obeys
    def floating(args): return all(a.is_floating_point() for a in args if isinstance(a, torch.Tensor))
    def each(f, args): return [f(a) if isinstance(a, torch.Tensor) else a for a in args]

    def flipped(name, args):
        "The same terms in reverse order"
        *c, a, b = args
        return [*c, a.flip(a.ndim - 1), b.flip(0 if name in ('mm', 'dot', 'addmm', 'addmv') else 1)]

    def finer(name, keys, args, kw):
        "The same in float64; or in reverse order, if it is in float64 already"
        if args[-1].dtype == torch.float64: return kernel[name].call_boxed(keys, *flipped(name, args), **kw)
        return kernel[name].call_boxed(keys, *(a.double() for a in args), **kw)

    def magnitude(name, keys, args, kw):
        return kernel[name].call_boxed(keys, *(a.abs().double() for a in args), **{k: abs(v) for k, v in kw.items()})

    def product(name, variant=''):
        original = torch.library.get_kernel(f'aten::{name}{variant}', 'CPU')
        def f(keys, *args, **kw):
            with torch._C.DisableTorchFunction():
                out, n = {'out': kw.pop('out')} if 'out' in kw else {}, 3 if name in ADDED else 2
                kw |= dict(zip(('beta', 'alpha'), args[n:]))
                tensors = args[:n]
                if steady() or not floating(tensors) or out and out['out'].dtype != tensors[-1].dtype:
                    return original.call_boxed(keys, *args[:n], **kw, **out)
                more = finer(name, keys, tensors, kw), magnitude(name, keys, tensors, kw)  # before the first of them is changed
                result = original.call_boxed(keys, *tensors, **kw, **out)
                return result.copy_(moved(result, *more, key(*tensors, result))) if result.numel() else result
        return f

    def convolution(name):
        original = kernel[name]
        def f(keys, *args):
            with torch._C.DisableTorchFunction():
                results = original.call_boxed(keys, *args)
                if steady() or not floating(args) or args[0].dtype == torch.float64: return results
                fine = original.call_boxed(keys, *each(lambda a: a.double(), args))
                large = original.call_boxed(keys, *each(lambda a: a.abs().double(), args))
                tensors = [a for a in args if isinstance(a, torch.Tensor)]
                one = isinstance(results, torch.Tensor)
                for r, *more in [(results, fine, large)] if one else zip(results, fine, large):
                    if r is not None and r.numel(): r.copy_(moved(r, *more, key(*tensors, r)))
                return results
        return f

    lib = torch.library.Library('aten', 'IMPL')
    emulate.lib = lib  # it lasts as long as this object
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # PyTorch remarks that kernels are replaced
        new = [(n, product(n)) for n in PRODUCTS + ADDED] + [(f'{n}.out', product(n, '.out')) for n in ('mm', 'bmm', *ADDED)]
        new += [(f'{n}_', product(n, '_')) for n in ADDED] + [(n, convolution(n)) for n in CONVOLUTIONS]
        for name, f in new: lib.impl(name, f, 'CPU', with_keyset=True, allow_override=True)


def check():
    "Does the emulation show what it is to show? Exact results and the same call stay, others move, by a unit or so"
    import torch
    torch.manual_seed(0)
    whole = [torch.randint(-4, 5, s).float() for s in ((16, 8), (8, 6), (6,))]
    rough = [torch.randn_like(w) for w in whole]
    image, filters = torch.randn(2, 3, 8, 8), torch.randn(4, 3, 3, 3, requires_grad=True)
    def results(a, b, c):
        net = torch.nn.functional.conv2d(image, filters)
        return [a @ b, torch.addmm(c, a, b), torch.nn.functional.linear(a, b.T, c), a @ b[:, 0], a[None] @ b[None],
                a[:, 0].dot(a[:, 1]), a.T @ a, net, torch.autograd.grad(net.square().sum(), filters)[0]]
    before = [results(*whole), results(*rough), results(*(t.double() for t in rough))]
    emulate(0)
    after = [results(*whole), results(*rough), results(*(t.double() for t in rough))]
    for a, b in zip(before[0][:-2], after[0][:-2]): assert a.equal(b), 'an exact result has moved'
    for a, b in zip(before[1], after[1]):
        assert a.ndim == 0 or not a.equal(b), 'no result has moved'
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)
    for a, b in zip(before[2][:-2], after[2][:-2]): torch.testing.assert_close(a, b, rtol=1e-13, atol=1e-13)
    print('the emulation moves what is rounded, and nothing else')


# --- notebooks, in other surroundings

SETTINGS = {
    'as it is': {},
    'addresses': dict(ROUNDING=str(1 << 64)),
    'each call': dict(ROUNDING='0'),
    'SSE4.1': dict(ONEDNN_MAX_CPU_ISA='SSE41'),
    'AVX2': dict(MKL_ENABLE_INSTRUCTIONS='AVX2', ONEDNN_MAX_CPU_ISA='AVX2', NUMBA_CPU_NAME='haswell'),
    'CBWR': dict(MKL_CBWR='COMPATIBLE'),
    'two threads': dict(OMP_NUM_THREADS='2'),
    'busy': dict(BUSY='2'),
}


def inside(path, flags, modulus):
    "Run the cells of one notebook in this process, as nbdev tests them, but to the end: each cell that fails is told"
    if modulus is not None: emulate(modulus)
    from execnb.shell import CaptureShell
    from fastcore.xtras import working_directory
    from nbdev.config import get_config
    from nbdev.process import NBProcessor
    from nbdev.processors import FrontmatterProc
    os.environ['IN_TEST'] = '1'
    sys.path.insert(0, str(get_config().config_path))
    left_out, failed = set(get_config().tst_flags.split()) - set(flags.split()), 0
    shell = CaptureShell(path)
    with working_directory(path.parent):
        for cell in NBProcessor(path, procs=FrontmatterProc, process=True).nb.cells:
            if cell.cell_type != 'code' or 'nbdev_export(' in cell.source: continue
            marks = getattr(cell, 'directives_', {}) or {}
            if marks.get('eval:', [''])[0].lower() == 'false' or left_out & marks.keys(): continue
            shell.cell(cell)
            if shell.exc:
                failed += 1
                print(f'--- cell {cell.id}\n{shell.prettytb(fname=path)}', flush=True)
    sys.stdout.flush(), sys.stderr.flush()
    os._exit(failed > 0)


def test(path, flags, setting):
    "Whether the notebook passes, what it said, and in how many seconds"
    env, began = {'OMP_NUM_THREADS': '1', **os.environ, 'PYTHONPATH': str(root), 'HF_HUB_DISABLE_PROGRESS_BARS': '1', **setting}, time.time()
    busy = [subprocess.Popen([sys.executable, '-c', 'while True: pass']) for _ in range(int(env.pop('BUSY', 0)))]
    modulus = env.pop('ROUNDING', None)
    cmd = [sys.executable, __file__, '--inside', '--flags', flags, *(['--modulus', modulus] if modulus else []), str(path)]
    try: r = subprocess.run(cmd, cwd=root, env=env, capture_output=True, text=True, timeout=TIME_LIMIT)
    except subprocess.TimeoutExpired: return False, f'took more than {TIME_LIMIT} s', time.time() - began
    finally:
        for b in busy: b.kill()
    return r.returncode == 0, (r.stdout + r.stderr)[-40000:], time.time() - began


def main(paths, flags, chosen):
    failed = []
    for path in paths:
        for name in chosen:
            ok, said, seconds = test(path, flags, SETTINGS[name])
            print(f'{"passed" if ok else "FAILED"}  {path.name:24} {name:12} {seconds:5.0f} s', flush=True)
            if not ok:
                failed.append((path.name, name))
                print('    ' + said.replace('\n', '\n    '), flush=True)
    print(f'{len(paths)*len(chosen) - len(failed)} passed, {len(failed)} failed')
    return bool(failed)


if __name__ == '__main__':
    a = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    a.add_argument('notebooks', nargs='*', type=Path, help='notebooks; all if none is given')
    a.add_argument('--flags', default='', help='flagged cells to test too')
    a.add_argument('--modulus', type=int, help='the emulation only: which addresses are alike; 0 is none')
    a.add_argument('--settings', nargs='?', const=','.join(SETTINGS), help=f'comma-separated, or all: {", ".join(SETTINGS)}; default: addresses')
    a.add_argument('--check', action='store_true', help='check the emulation itself')
    a.add_argument('--inside', action='store_true', help=argparse.SUPPRESS)
    a = a.parse_args()
    if a.check: sys.exit(check())
    if os.environ.get('ACTSTATS_DATA'):
        os.environ['ACTSTATS_DATA'] = str(Path(os.environ['ACTSTATS_DATA']).resolve())
        a.flags += ' fashion'
    paths = [p.resolve() for p in a.notebooks] or sorted((root/'nbs').glob('*.ipynb'))
    os.chdir(root)
    if a.inside: inside(paths[0], a.flags, a.modulus)
    if a.modulus is not None: SETTINGS['addresses'] = dict(ROUNDING=str(a.modulus))
    sys.exit(main(paths, a.flags, a.settings.split(',') if a.settings else ['addresses']))
