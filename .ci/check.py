"""Everything that CI runs, in one process tree: `make test`. Each check is a function that returns a list of faults.

The closing line counts notebooks and checks: `N passed, N failed`, and `, N skipped` for notebooks of which some cells were left out.
"""
import argparse
import ast
import base64
import json
import os
import re
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from functools import lru_cache
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory, TemporaryFile

import yaml

import colab
import frameworks
import stubs

root = Path(__file__).resolve().parents[1]
nbs = root / 'nbs'
TIME_LIMIT = 600  # seconds a notebook

TIMES = Path(sys.prefix) / 'actstats-times.json'  # seconds that notebooks took here: the longest begin first

# These train a model. All other modules measure one: they import none of these, and load nothing of LATE when they are
# imported. The first watch loads the backends, so they may load their compilers; adapters are for those who have the framework.
TRAIN = ('datasets', 'learner', 'activations', 'init', 'batchnorm', 'abandon', 'cli')
BACKENDS = ('kernels', 'triton')
ADAPTERS = '17'  # the number of their chapters
HEAVIEST = 2_000_000  # bytes of a page of the site
UNSEEN = r'(?m)^#\|\s*(echo|include):\s*false'
WIDEST, LONGEST, TYPICAL = 90, 44, 10  # columns, lines of code in an export cell, and the median of these
LATE = ('torchvision', 'datasets', 'matplotlib', 'IPython', 'pandas', 'sklearn', 'torcheval', 'numba', 'triton', 'plotly', 'rich', 'jinja2', 'tensorboard',
    'transformers', 'accelerate', 'lightning', 'pytorch_lightning', 'fastai', 'skorch', 'ignite', 'keras', 'trl', 'wandb', 'mlflow', 'trackio')


def notebooks(): return sorted(nbs.glob('*.ipynb'))
def cells(path, kind='code'): return [c for c in json.loads(path.read_text())['cells'] if c['cell_type'] == kind]
def source(c): return ''.join(c['source'])
def flag(c, name): return re.search(rf'^#\|\s*{name}\b', source(c), re.M)
def run(*cmd, **kw): return subprocess.run(cmd, capture_output=True, text=True, **kw)
def tool(name): return str(Path(sys.executable).parent / name)


# --- the notebooks themselves

def test_notebook(path, flags):
    "All cells run, in the notebook's folder, within the time limit"
    limit = 6*3600 if 'slow' in flags.split() else TIME_LIMIT
    if frameworks.needed(path): return test_with_frameworks(path, flags, limit)
    env = dict(OMP_NUM_THREADS='1') | os.environ | dict(HF_HUB_DISABLE_PROGRESS_BARS='1')
    try: r = run(tool('nbdev_test'), '--path', str(path), '--flags', flags, '--n_workers', '0', cwd=root, env=env, timeout=limit)
    except subprocess.TimeoutExpired: return [f'took more than {limit} s']
    return [] if r.returncode == 0 else [(r.stdout + r.stderr)[-6000:]]


def test_with_frameworks(path, flags, limit):
    "The same in .frameworks, where there is no nbdev; into a file, since helpers that a framework leaves behind would hold a pipe open"
    hub = 'fashion' in flags.split() and not os.environ.get('ACTSTATS_DATA')
    with frameworks.environment(hub) as env, TemporaryFile('w+') as out:
        try: r = subprocess.run([frameworks.python, root/'.ci/cells.py', path, '--flags', flags], cwd=root, env=env, timeout=limit, stdout=out, stderr=out)
        except subprocess.TimeoutExpired: return [f'took more than {limit} s']
        out.seek(0)
        return [] if r.returncode == 0 else [out.read()[-6000:]]


def chromium():
    "Is there a browser for the cells that need one?"
    return any(map(shutil.which, ('chromium', 'chromium-browser', 'google-chrome', 'chrome')))


def left_out(path, flags):
    "Does testing leave out cells of this notebook?"
    return any(flag(c, f) for c in cells(path) for f in ('slow', 'fashion', 'browser') if f not in flags.split())


# --- checks

def check_export():
    "Modules and notebooks are what export and clean make of the notebooks"
    files = lambda: {p: p.read_bytes() for p in [*notebooks(), *(root/'actstats').glob('*.py')]}
    before, faults = files(), []
    for t in ('nbdev_export', 'nbdev_clean'):
        r = run(tool(t), cwd=root)
        if r.returncode: faults.append(f'{t}: {r.stderr[-2000:]}')
    after = files()
    return faults + [f'{p.relative_to(root)} changed: run `make export` and commit' for p in sorted(before.keys() | after.keys()) if before.get(p) != after.get(p)]


def imports(tree, top=False):
    "Names of the modules that a syntax tree imports; only when it is itself imported, if `top`"
    inner = {n for f in ast.walk(tree) if isinstance(f, (ast.FunctionDef, ast.AsyncFunctionDef)) for n in ast.walk(f)} if top else set()
    for n in ast.walk(tree):
        if n in inner: continue
        if isinstance(n, ast.Import): yield from (a.name for a in n.names)
        if isinstance(n, ast.ImportFrom): yield from ([n.module] if n.module != 'actstats' else [f'actstats.{a.name}' for a in n.names])
        if isinstance(n, ast.ImportFrom) and n.level: yield f'actstats.{n.module or n.names[0].name}'


@lru_cache
def exported():
    "Module -> number of its chapter, and the syntax trees of its export cells"
    found = {}
    for p in notebooks():
        name = next((source(c).split('default_exp')[1].split()[0] for c in cells(p) if 'default_exp' in source(c)), None)
        if name: found[name] = p.stem.partition('_')[0], [ast.parse(source(c)) for c in cells(p) if flag(c, 'exports?')]
    return found


def check_imports():
    "Export cells import lower numbers only, or earlier names of the same; measuring imports neither training nor pictures"
    names = {p.stem.partition('_')[2] for p in notebooks()}
    number = {m: n for m, (n, _) in exported().items()} | {p.stem: '' for p in (root/'actstats').glob('_*.py')}
    faults = [f'{m} is not the name of its notebook' for m in exported() if m not in names]
    faults += [f'there is no module {m}' for m in TRAIN + BACKENDS if m not in exported()]
    for name, (own, ts) in exported().items():
        every = [i for t in ts for i in imports(t)]
        mine = [i.split('.')[1] for i in every if i.startswith('actstats.') and i != 'actstats.__version__']
        if 'actstats' in every: faults.append(f'{name} imports the package as a whole, which comes after it')
        faults += [f'{name} ({own}) imports {m} ({number.get(m, "unknown")})' for m in mine if not (number.get(m, '99'), m) < (own, name)]
        if name in TRAIN: continue
        faults += [f'{name} measures, and imports {m}, which trains' for m in mine if m in TRAIN]
        if name in BACKENDS or own.startswith(ADAPTERS): continue
        faults += [f'{name} measures, and loads {i} when it is imported' for t in ts for i in imports(t, top=True) if i.split('.')[0] in LATE]
    return faults or ([] if exported() else ['found no notebook that exports'])


def check_density():
    "Export cells are short; they, and code that a page shows, are narrow"
    sizes, faults = [], []
    for p in notebooks():
        for c in cells(p):
            exports, text = flag(c, 'exports?'), source(c).splitlines()
            lines = [l for l in text if l.strip() and not l.lstrip().startswith('#')]
            if exports or not (flag(c, 'hide') or re.search(UNSEEN, source(c))):
                faults += [f'{p.name}: {len(l)} columns, expected {WIDEST} at most: {l.strip()[:60]}...' for l in text if len(l) > WIDEST and not l.startswith('#|')]
            if not exports: continue
            sizes.append(len(lines))
            if len(lines) > LONGEST: faults.append(f'{p.name}: {len(lines)} lines that begin {lines[0]!r}: expected {LONGEST} at most')
    print(f'        {len(sizes)} export cells: {median(sizes):g} lines in the median, {max(sizes)} at most', flush=True)
    if median(sizes) > TYPICAL: faults.append(f'a median of {median(sizes):g} lines an export cell, expected {TYPICAL} at most')
    return faults


def check_rules():
    "Each rule of the diagnosis has its rank, and its name in the prose of 09c, which explains it, and of 09f, which shows it at work; or in 09d, which does both for late ones, or in 09j, for those of lenses"
    r = run(sys.executable, '-c', 'import actstats; from actstats.ailments import RULES; from actstats.diagnosis import CAUSES; from actstats.late import LATE; from actstats.lenses import LENS_RULES; print(*RULES); print(*CAUSES); print(*LATE); print(*LENS_RULES)', cwd=root)
    if r.returncode: return [r.stderr]
    rules, ranked, late, lens = map(str.split, r.stdout.splitlines())
    homes = {name: ('09d',) for name in late} | {name: ('09j',) for name in lens}
    prose = {n: '\n'.join(source(c) for c in cells(next(nbs.glob(f'{n}_*.ipynb')), 'markdown')) for n in ('09c', '09d', '09f', '09j')}
    faults = [f'{name} has no rank' for name in rules if name not in ranked]
    return faults + [f'{n} does not speak of `{name}`' for name in rules for n in homes.get(name, ('09c', '09f')) if f'`{name}`' not in prose[n]]


def pythons(): return [sys.executable] + [frameworks.python]*frameworks.there()


def check_light():
    "`import actstats` loads no data, plotting or notebook library, and no framework that is there"
    code = f'import actstats, sys; print([m for m in {LATE} if m in sys.modules])'
    return [r.stdout + r.stderr for r in (run(p, '-c', code, cwd=root) for p in pythons()) if r.stdout.strip() != '[]']


def framework_modules(): return [m for m, (number, _) in exported().items() if number.startswith(frameworks.CHAPTERS)]


def check_documented():
    "Every public name has a docstring"
    code = '''
import importlib, pkgutil, sys, actstats
chosen = sys.argv[1:]
for m in chosen or [m.name for m in pkgutil.iter_modules(actstats.__path__)]:
    if m.startswith('_'): continue
    try: mod = importlib.import_module(f'actstats.{m}')
    except ModuleNotFoundError as e:
        if chosen or e.name.startswith('actstats'): raise
        continue  # PyTorch brings triton on Linux only, and frameworks have an environment of their own
    for n in mod.__all__:
        o = getattr(mod, n)
        if callable(o) and not o.__doc__: print(f'{m}.{n} has no docstring')
'''
    faults = []
    for p, chosen in zip(pythons(), ([], framework_modules())):
        if p == frameworks.python and not chosen: continue
        with frameworks.environment() as env: r = run(p, '-c', code, *chosen, cwd=root, env=env)
        faults += r.stdout.splitlines() + ([r.stderr] if r.returncode else [])
    return faults


def check_outputs():
    "Stored outputs hold no warning, error, path of a machine, or debris of a progress bar; pictures are described in words"
    faults = []
    for p in notebooks():
        for i, c in enumerate(cells(p)):
            for o in c['outputs']:
                text = ''.join(o.get('text', '')) + ''.join(''.join(v) for k, v in o.get('data', {}).items() if k.startswith('text/'))
                if o['output_type'] == 'error': faults.append(f'{p.name}, code cell {i}: stored an error')
                if 'image/png' in o.get('data', {}) and not re.search(r'^#\|\s*fig-alt: *(?:"|\[)', source(c), re.M): faults.append(f'{p.name}, code cell {i}: a picture without `#| fig-alt: "..."`')
                if o.get('name') == 'stderr': faults.append(f'{p.name}, code cell {i}: stored stderr: {text[:200]}')
                for bad in re.findall(r'/(?:home|root|work|Users)/\S*|\d+%\|.*|Warning:.*', text): faults.append(f'{p.name}, code cell {i}: stored {bad[:100]!r}')
    if not any(c['outputs'] for p in notebooks() for c in cells(p)): faults.append('no notebook has stored outputs')
    return faults


# --- types

def check_stubs():
    "Stubs are what the generator makes of the modules"
    new, old = stubs.stubs(), {*(root/'actstats').glob('*.pyi')}
    return [f'{p.name} differs: run `make export` and commit' for p in sorted({*new} | old) if p not in old or p.read_text() != new.get(p)]


GIVEN = """
import actstats, numpy, torch
from typing import Any
from typing_extensions import assert_type
trainer: Any
model: torch.nn.Module
optimizer: torch.optim.Optimizer
other: actstats.Recording
def train() -> None: ...
batches: Any
train_step: Any
"""
KNOWN = """
assert_type(rec, actstats.Recording)
assert_type(rec.diagnose(), actstats.diagnosis.Diagnosis)
assert_type(rec["conv1"].std, numpy.ndarray)
"""

MISSING = """
import importlib, sys
for m in sys.argv[1:]:
    try: importlib.import_module(f"actstats.{m}")
    except ModuleNotFoundError as e: e.name.startswith("actstats") or print(f"actstats.{m}")
"""


def check_types():
    "A type checker knows every name in the README's code, and finds that the stubs agree with the modules"
    without = run(sys.executable, '-c', MISSING, *exported(), cwd=root).stdout.split()  # triton on a Mac
    code = re.findall(r'^``` ?python\n(.*?)^```', (root/'README.md').read_text(), re.S | re.M)
    config, env = str(root/'.ci/mypy.ini'), dict(os.environ, MYPYPATH=str(root), MYPY_CACHE_DIR=str(root/'.mypy_cache'))
    with TemporaryDirectory() as folder:
        (Path(folder)/'readme.py').write_text('\n'.join([GIVEN, *code, KNOWN]))
        (Path(folder)/'allowed').write_text('\n'.join([*stubs.Package().classmethods(), *without, r'.*\.__torch_unserializable__']))  # a mark for torch.save
        r = run(sys.executable, '-m', 'mypy', '--config-file', config, 'readme.py', cwd=folder, env=env)
        compare = ('-m', 'mypy.stubtest', '--concise', '--ignore-unused-allowlist', '--mypy-config-file', config, '--allowlist', 'allowed')
        done = [r, run(sys.executable, *compare, 'actstats', cwd=folder, env=env)]
        more = [f'actstats.{m}' for m in framework_modules()]
        if more and frameworks.there(): done.append(run(frameworks.python, *compare, *more, cwd=folder, env=env))
    return ([] if code else ['README.md has no Python']) + [p.stdout + p.stderr for p in done if p.returncode]


# --- documentation, without quarto

@lru_cache
def processed():
    "Notebooks as nbdev prepares them for rendering"
    r = run(sys.executable, '-c', 'from nbdev.serve import proc_nbs\nif __name__ == "__main__": proc_nbs(force=True, n_workers=0)', cwd=root)
    if r.returncode: raise RuntimeError(r.stderr[-3000:])
    return sorted((root/'_proc').glob('*.ipynb'))


def pandoc(text, to, *args):
    import pypandoc
    return run(pypandoc.get_pandoc_path(), '-t', to, '--fail-if-warnings', '--wrap=preserve', *args, input=text)


def markdown(path, images):
    "A processed notebook as markdown; `images(name, bytes)` gives the link for a picture"
    out, n = [], 0
    for c in json.loads(path.read_text())['cells']:
        if c['cell_type'] == 'raw':
            head = yaml.safe_load(source(c).strip('-\n'))
            out += [f'{mark} {head[k]}' for mark, k in (('#', 'title'), ('>', 'description')) if k in head]
            continue
        if c['cell_type'] == 'markdown':
            out.append(source(c))
            continue
        n += 1
        code = re.sub(r'^#\|.*\n?', '', source(c), flags=re.M).strip('\n')
        hidden = re.search(r'^#\|\s*echo:\s*false', source(c), re.M)
        said = re.search(r'^#\|\s*fig-alt:\s*"(.*)"\s*$', source(c), re.M)
        alt = said[1].replace('[', '(').replace(']', ')') if said else ''
        if code and not hidden: out.append(f'``` python\n{code}\n```')
        for k, o in enumerate(c.get('outputs', []), 1):
            data = {t: ''.join(v) for t, v in o.get('data', {}).items()} or {'text/plain': ''.join(o.get('text', ''))}
            if 'image/png' in data: out.append(f'![{alt}]({images(f"cell-{n}-output-{k}.png", base64.b64decode(data["image/png"]))})')
            elif 'text/markdown' in data: out.append(data['text/markdown'])
            elif data.get('text/plain', '').strip(): out.append(''.join(f'    {l}\n' for l in data['text/plain'].splitlines()))
    return '\n\n'.join(out) + '\n'


def check_docs():
    "Every page becomes html5 with mathml, weighs little and asks nobody else for anything: broken TeX and broken local links fail"
    faults, pages = [], processed()
    sources = {p.stem for p in notebooks()}
    if {p.stem for p in pages} != sources: faults.append(f'{len(pages)} pages of {len(sources)} notebooks')
    weight, html = dict.fromkeys(sources, 0), {}
    def image(stem):
        def add(name, data):
            weight[stem] += len(data)
            return 'data:image/png;base64,'
        return add
    texts = {p.stem: markdown(p, image(p.stem)) for p in pages}
    for k, t in texts.items():
        r = pandoc(t, 'html5', '-f', 'markdown', '--mathml', '-s', '--metadata', f'title={k}')
        if r.returncode: faults.append(f'{k}: {r.stderr[:1500]}')
        html[k] = r.stdout
    for k, h in html.items():
        if (n := weight[k] + len(h)) > HEAVIEST: faults.append(f'{k}: a page of {n:,} bytes with its pictures, expected {HEAVIEST:,} at most')
        outputs = ''.join(v for c in json.loads((nbs/f'{k}.ipynb').read_text())['cells'] for o in c.get('outputs', ()) for v in o.get('data', {}).get('text/html', ()))
        faults += [f'{k}: an output asks another server for {u}' for u in re.findall(r'<(?:script|img|iframe|link)[^>]+(?:src|href)=["\'](https?:[^"\']+)', outputs)]
        for link in re.findall(r'(?:href|src)="([^"]+)"', h):
            if re.match(r'(https?|data|mailto):', link): continue
            page, _, anchor = link.partition('#')
            stem = re.sub(r'\.(html|ipynb)$', '', page) or k
            if stem in html:
                if anchor and f'id="{anchor}"' not in html[stem]: faults.append(f'{k}: no {link}')
            elif not (nbs/page).exists(): faults.append(f'{k}: broken link {link}')
    return faults


def readme():
    "README.md and its pictures, from nbs/index.ipynb"
    files = {}
    def image(name, data):
        files[f'index_files/figure-commonmark/{name}'] = data
        return f'index_files/figure-commonmark/{name}'
    index = next(p for p in processed() if p.stem == 'index')
    r = pandoc(markdown(index, image), 'commonmark+autolink_bare_uris+emoji+footnotes+gfm_auto_identifiers+pipe_tables+strikeout+task_lists+tex_math_dollars',
               '-f', 'markdown-implicit_figures')
    if r.returncode: raise RuntimeError(r.stderr)
    files['README.md'] = (re.sub(r'\]\((\d\d[a-z]?_\w+)\.(?:html|ipynb)', r'](nbs/\1.ipynb', r.stdout)).encode()
    return files


def check_readme():
    "README.md equals what nbs/index.ipynb gives, pictures included"
    want = readme()
    have = {str(p.relative_to(root)) for p in (root/'index_files').rglob('*.png')} | {'README.md'}
    faults = [f'{k} differs from nbs/index.ipynb: run `make readme`' for k, v in want.items() if not (root/k).exists() or (root/k).read_bytes() != v]
    return faults + [f'{k} is left over: run `make readme`' for k in have - want.keys()]


def write_readme():
    files = readme()
    for p in (root/'index_files').rglob('*.png'): p.unlink()
    for k, v in files.items():
        (root/k).parent.mkdir(parents=True, exist_ok=True)
        (root/k).write_bytes(v)


def check_links():
    "Links in README, CONTRIBUTING and CHANGELOG lead somewhere"
    files = [root/f for f in ('README.md', 'CONTRIBUTING.md', 'CHANGELOG.md')]
    return [f'{f.name}: broken link {l}' for f in files for l in re.findall(r'\]\(([^)#\s]+)[^)]*\)', f.read_text())
            if not re.match(r'(https?|mailto):', l) and not (root/l).exists()]


# --- the site, and what GitHub reads

SITE = 'https://actstats.github.io/actstats/'
SHA = r'[0-9a-f]{40}'


def page(stem): return re.sub(r'^\d+[a-z]?_', '', stem) + '.html'


def listed(contents):
    "Every file and address in a part of the sidebar, in order"
    for c in contents:
        if isinstance(c, str): yield c
        elif 'contents' in c: yield from listed(c['contents'])
        else: yield c['href']


def check_site():
    "Every notebook stands once in the sidebar and has a page of its own, files that the site names are there, and its version is the package's"
    quarto, sidebar = (yaml.safe_load((nbs/f).read_text()) for f in ('_quarto.yml', 'sidebar.yml'))
    entries, own = [e for e in listed(sidebar['website']['sidebar']['contents']) if '://' not in e], [p.name for p in notebooks()]
    faults = [f'nbs/sidebar.yml names {e}, which is not there' for e in entries if e not in own]
    faults += [f'nbs/sidebar.yml names {n} {entries.count(n)} times, expected once' for n in own if entries.count(n) != 1]
    pages = [page(p.stem) for p in notebooks()]
    faults += [f'{n} has the page {p}, as another notebook: rename it' for n, p in zip(own, pages) if pages.count(p) > 1]
    html, web = quarto['format']['html'], quarto['website']
    files = [*sum(html['theme'].values(), []), html['css'], *html['filters'], web['favicon'], web['image'], *quarto['project']['resources']]
    faults += [f'_quarto.yml names {f}, which is not there' for f in files if '.' in f and not (nbs/f).exists()]
    faults += [f'nbs/llms.txt: no page {l}' for l in re.findall(rf'{SITE}(\w+\.html)', (nbs/'llms.txt').read_text()) if l not in pages]
    version, cff = frameworks.cfg['version'], yaml.safe_load((root/'CITATION.cff').read_text())
    stated = {'the footer in _quarto.yml': web['page-footer']['left'].split()[-1], 'CITATION.cff': cff['version']}
    return faults + [f'{where} has version {v}, expected {version}' for where, v in stated.items() if v != version]


PARTS = 'Start, The book, The instrument, The diagnosis, How it works, Evidence, Reference'.split(', ')
# What somebody may type into the search, and the page that it should find: where it stands in a heading or in a line of a table
SOUGHT = {'color_dim': '20a_reference', 'Lightning': '17b_lightning', 'own loop': 'index', 'Trainer': 'index', 'loss is flat': 'index',
          'file format': '20c_format', 'frac_dead': '20b_fields', 'dead units': '09f_guide', 'NaN': '12d_questions', 'gradients': '12d_questions'}
EVIDENCE = dict(overhead='15_costs', failures='09g_verdict', sweep='16_promises')  # what the numbers of the front page are made of, and the chapter that shows it


def text_of(stem): return '\n'.join(source(c) for c in cells(nbs/f'{stem}.ipynb', 'markdown')) + '\n' + tables_of(stem)
def tables_of(stem): return '\n'.join(''.join(o.get('data', {}).get('text/markdown', ())) for c in cells(nbs/f'{stem}.ipynb') for o in c['outputs']).replace('\\', '')


def check_front():
    "What the site promises a visitor, as far as it can be known without quarto: its parts, what the search finds, the front page, the sample report"
    quarto, sidebar = (yaml.safe_load((nbs/f).read_text()) for f in ('_quarto.yml', 'sidebar.yml'))
    sections, web, html = sidebar['website']['sidebar']['contents'], quarto['website'], quarto['format']['html']
    faults = [f'the parts are {names}, expected {PARTS}'] if (names := [s['section'] for s in sections]) != PARTS else []
    wanted = {'next and previous': web['page-navigation'], 'a search': web['navbar']['search'], 'a link to GitHub': any('github.com' in str(t) for t in web['navbar']['tools']),
              'the theme of the system': html['respect-user-color-scheme'], 'both themes': {'light', 'dark'} <= {*html['theme']}, 'formulas without a script': html['html-math-method'] == 'mathml',
              'a page in Markdown for each': quarto['format']['commonmark']['keep-md']}
    faults += [f'_quarto.yml: expected {k}' for k, v in wanted.items() if not v]
    for word, stem in SOUGHT.items():
        lines = [l for l in text_of(stem).splitlines() if l.startswith(('#', '|'))]
        if not any(word.lower() in l.lower() for l in lines): faults.append(f'{stem}: a search for {word!r} does not find it: expected a heading or a line of a table')
    front, code = text_of('index'), '\n'.join(map(source, cells(nbs/'index.ipynb')))
    faults += [f'index: no {k}' for k in ('pip install actstats', SITE + 'sample-report.html', 'In your own loop', 'How do I use this in my Trainer?', 'My loss is flat') if k not in front]
    faults += [f'index: no number from {k}.json with a link to {stem}' for k, stem in EVIDENCE.items() if f"evidence('{k}')" not in code or f']({stem}.ipynb)' not in tables_of('index')]
    made = (root/'Makefile').read_text().partition('\ndocs:')[2].partition('\n\n')[0]
    faults += [f'make docs: expected `{k}`' for k in ('rm -rf _proc', '--out _docs/sample-report.html', '_docs/llms.txt') if k not in made]
    return faults + colab.faults()


def check_github():
    "What GitHub shows: badges of workflows that are there, templates that ask for rec.problems, how to cite, to contribute and to report"
    folder, front = root/'.github', text_of('index')
    faults = [f'.github/{f} is missing' for f in ('SECURITY.md', 'CODE_OF_CONDUCT.md', 'dependabot.yml', 'pull_request_template.md', 'ISSUE_TEMPLATE/bug.yml', 'ISSUE_TEMPLATE/feature.yml') if not (folder/f).exists()]
    badges = re.findall(rf'{frameworks.cfg["git_url"]}/actions/workflows/([\w.]+)/badge\.svg', front)
    faults += [f'index: a badge of the workflow {b}, which is not there' for b in badges if not (folder/'workflows'/b).exists()]
    if len(badges) < 2: faults.append('index: expected badges of the tests and of the docs')
    has = lambda name, *words: [f'{name}: expected {w!r}' for w in words if w not in (root/name).read_text()]
    faults += has('.github/ISSUE_TEMPLATE/bug.yml', 'rec.problems') + has('CONTRIBUTING.md', 'nbdev_install_hooks') + has('CITATION.cff', 'cff-version', frameworks.cfg['git_url'])
    faults += has('.github/workflows/release.yaml', 'id-token: write', 'pypa/gh-action-pypi-publish', '.ci/installed.py') + has('.github/workflows/test.yaml', 'windows-latest', 'macos-latest')
    quarto = re.search(r'quarto-actions/setup@.*\n\s*with: \{version: ([\d.]+)\}', (folder/'workflows/docs.yaml').read_text())
    return faults + ([] if quarto else ['docs.yaml: expected a version of quarto'])


def check_reference():
    "Pages that are made from the code, and the numbers of the front page, are what code and evidence give now"
    faults = []
    for p in [p for p in notebooks() if p.stem == 'index' or p.stem.startswith('20')]:
        r = run(sys.executable, str(root/'.ci/cells.py'), str(p), '--same', cwd=root, env=os.environ | dict(PYTHONPATH=str(root), OMP_NUM_THREADS='1'))
        if r.returncode: faults.append(f'{p.name}: {(r.stdout + r.stderr)[-1000:]}: run `make notebooks NB=nbs/{p.name}`')
    return faults


def check_workflows():
    "Actions are pinned to commits; Python and PyTorch are tested from the oldest that settings.ini allows to the newest"
    cfg, faults, texts = frameworks.cfg, [], {p.name: p.read_text() for p in sorted((root/'.github/workflows').glob('*.y*ml'))}
    for name, text in texts.items():
        uses = re.findall(r'uses:\s*(\S+)', text)
        faults += [f'{name}: {u} is not pinned to a commit' for u in uses if not re.search(rf'@{SHA}$', u)]
    tests = yaml.safe_load(texts['test.yaml'])['jobs']
    versions = cfg['python_versions'].split()
    for job in ('test', 'installed'):
        m = tests[job]['strategy']['matrix']
        had = set(m.get('python', [])) | {i['python'] for i in m.get('include', [])}
        faults += [f'test.yaml: {job} does not run Python {v}' for v in (versions[0], versions[-1]) if v not in had]
    oldest = ' '.join(i['with'] for i in tests['installed']['strategy']['matrix']['include'] if i['name'].startswith('oldest'))
    for name, least in re.findall(r'([\w-]+)>=([\d.]+)', cfg['requirements']):
        if not re.search(rf'\b{name}=={re.escape(least)}\.', oldest): faults.append(f'test.yaml: oldest does not install {name} {least}, which settings.ini allows')
    return faults


CHECKS = (check_export, check_imports, check_density, check_light, check_documented, check_rules, check_stubs, check_types, check_outputs,
          check_docs, check_readme, check_links, check_site, check_front, check_reference, check_workflows, check_github)


# --- all together

def main(flags, only):
    faults, skipped, began = {}, [], time.time()
    def report(name, found, seconds):
        faults[name] = found
        print(f'{"FAILED" if found else "passed"}  {name:32} {seconds:5.1f} s', flush=True)
        for f in found: print('    ' + f.replace('\n', '\n    '), flush=True)

    for check in CHECKS:
        if only and only not in check.__name__: continue
        t = time.time()
        try: found = check()
        except Exception as e: found = [f'{type(e).__name__}: {e}']
        report(check.__name__, found, time.time() - t)

    apart = [p for p in notebooks() if frameworks.needed(p) and not frameworks.there()]
    def timed(p):
        t = time.time()
        return p, test_notebook(p, flags), time.time() - t
    times = json.loads(TIMES.read_text()) if TIMES.exists() else {}
    last = lambda p: times.get(p.name) or p.stat().st_size/10_000  # no long one is left alone at the end
    chosen = sorted((p for p in notebooks() if only in p.name and p not in apart), key=last, reverse=True)
    with ThreadPoolExecutor(max(1, min(4, os.cpu_count() or 1))) as pool:
        for done in as_completed([pool.submit(timed, p) for p in chosen]):
            p, found, seconds = done.result()
            report(p.name, found, seconds)
            times[p.name] = round(seconds, 1)
    TIMES.write_text(json.dumps(times))
    skipped = [p.name for p in chosen if left_out(p, flags)]
    if skipped: print(f'\nCells left out of {", ".join(skipped)}: those that need Fashion-MNIST run if ACTSTATS_DATA names a mirror of it, or with FLAGS=fashion from the hub; those that open a report in a browser if there is a Chromium; those that take long with FLAGS="slow fashion"')
    if apart := [p.name for p in apart if only in p.name]:
        print(f'\nNot run: {", ".join(apart)}: they need .frameworks, which `make test` builds where Python is {frameworks.cfg["frameworks_min_python"]} or newer, unless it is told FRAMEWORKS=')
    skipped += apart
    if not faults: sys.exit('nothing was checked')
    failed = sum(map(bool, faults.values()))
    print(f'\n{time.time() - began:.0f} s')
    print(f'{len(faults) - failed} passed, {failed} failed' + (f', {len(skipped)} skipped' if skipped else ''))
    return failed


if __name__ == '__main__':
    a = argparse.ArgumentParser()
    a.add_argument('--flags', default='', help='flagged cells to test too')
    a.add_argument('--only', default='', help='only checks and notebooks with this in their name')
    a.add_argument('--write-readme', action='store_true')
    a = a.parse_args()
    os.chdir(root)
    if a.write_readme: sys.exit(write_readme())
    if os.environ.get('ACTSTATS_DATA'):
        os.environ['ACTSTATS_DATA'] = str(Path(os.environ['ACTSTATS_DATA']).resolve())
        a.flags += ' fashion'
    if chromium(): a.flags += ' browser'
    sys.exit(bool(main(a.flags, a.only)))
