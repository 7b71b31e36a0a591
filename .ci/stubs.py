"""Type stubs of the public names, `actstats/*.pyi`, from the modules' syntax trees: `make export` writes them.

A method that a later module patches onto a class is a method of that class here. Types come from annotations; where
there are none, from default values and from the expressions that are assigned or returned, if these leave no doubt.
The rest is Any.
"""
import ast
import importlib
import re
import sys
from copy import copy, deepcopy
from pathlib import Path
from typing import NamedTuple

package = Path(__file__).resolve().parents[1] / 'actstats'

# These decorators are kept; the transparent ones give a function with the same arguments.
DECORATORS = ('property', 'staticmethod', 'classmethod', 'setter', 'cached_property', 'contextmanager', 'dataclass')
TRANSPARENT = ('patch', 'cache', 'lru_cache')
PATCHED = dict(as_prop='property', cls_method='classmethod', static_method='staticmethod')  # arguments of `patch`
SPECIAL = dict(__init__='None', __repr__='str', __str__='str', __len__='int', __bool__='bool', __contains__='bool',
    __hash__='int', __iter__='Iterator[Any]', __exit__='None')
CALLS = {k: k for k in 'int float str bool list dict set tuple'.split()}
CALLS |= dict(len='int', repr='str', sorted='list[Any]')
ARRAYS = 'array asarray arange zeros ones full empty where divide concatenate stack maximum minimum'.split()  # numpy's
TENSORS = 'tensor zeros ones empty full cat stack'.split()  # torch's
DISPLAYS = {ast.JoinedStr: 'str', ast.Compare: 'bool', ast.List: 'list[Any]', ast.ListComp: 'list[Any]',
    ast.Dict: 'dict[Any, Any]', ast.DictComp: 'dict[Any, Any]', ast.Set: 'set[Any]', ast.SetComp: 'set[Any]'}
COMMON = {'Any': ('typing', 'Any'), 'Iterator': ('collections.abc', 'Iterator'), 'Self': ('typing_extensions', 'Self'),
    'np': ('numpy as np', None), 'pd': ('pandas as pd', None), 'Tensor': ('torch', 'Tensor'),
    'Axes': ('matplotlib.axes', 'Axes')}
FUNCTION = (ast.FunctionDef, ast.AsyncFunctionDef)


def public(name): return not name.startswith('_') or name.startswith('__') and name.endswith('__')
def parsed(text): return ast.parse(text, mode='eval').body
def names(tree): return {n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and not isinstance(n.ctx, ast.Store)}
def declare(name, kind, value=None): return ast.AnnAssign(ast.Name(name, ast.Store()), kind, value, 1)
def declared(name, kind): return declare(name, parsed('Any' if kind == 'None' else kind))
def defined(s): return getattr(s, 'name', None) or (s.targets[0] if isinstance(s, ast.Assign) else s.target).id


def root(decorator):
    "The first and the last name of a decorator, without its arguments"
    d = decorator.func if isinstance(decorator, ast.Call) else decorator
    return ast.unparse(d).partition('.')[0], ast.unparse(d).rpartition('.')[2]


def patch(f):
    "The arguments of fastcore's `patch`, if it decorates this function"
    found = [d for d in f.decorator_list if root(d)[1] == 'patch']
    return {k.arg for k in getattr(found[0], 'keywords', ())} if found else None


def inside(function, *kinds):
    "Nodes of a function, without those of the functions and classes in it"
    todo = list(ast.iter_child_nodes(function))
    for n in todo:
        if isinstance(n, kinds): yield n
        if not isinstance(n, (*FUNCTION, ast.Lambda, ast.ClassDef)): todo += ast.iter_child_nodes(n)


def pairs(target, value):
    "Each name or attribute that an assignment sets, with the expression, or None if the value cannot be taken apart"
    if not isinstance(target, (ast.Tuple, ast.List)): yield target, value
    else:
        n = len(target.elts)
        if isinstance(value, ast.GeneratorExp): parts = [value.elt]*n
        else: parts = value.elts if isinstance(value, ast.Tuple) and len(value.elts) == n else [None]*n
        for t, v in zip(target.elts, parts): yield from pairs(t, v)


def sets(body):
    "Pairs of a name and an expression, of all assignments among these statements"
    for s in body:
        if not isinstance(s, ast.Assign): continue
        yield from (p for o in s.targets for p in pairs(o, s.value) if isinstance(p[0], ast.Name))


class Module:
    "A syntax tree, and where each of its names comes from"
    def __init__(self, path):
        self.name = path.stem
        self.body = list(self._flat(ast.parse(path.read_text(encoding='utf-8')).body))
        self.classes = {s.name: s for s in self.body if isinstance(s, ast.ClassDef)}
        self.functions = {s.name: s for s in self.body if isinstance(s, FUNCTION) and patch(s) is None}
        self.values = {t.id: v for t, v in sets(self.body)}
        self.imported = {name: where for s in self.body for name, where in self._imports(s)}

    def _flat(self, body):
        for s in body:
            if isinstance(s, (ast.If, ast.Try, ast.With)): yield from self._flat([*s.body, *getattr(s, 'orelse', ())])
            else: yield s

    def _imports(self, s):
        "Pairs of a name and (module, name there), or (module, None) for a module"
        if isinstance(s, ast.Import):
            for a in s.names:
                name = a.name.split('.')[0]
                yield a.asname or name, (f'{a.name} as {a.asname}' if a.asname else name, None)
        if isinstance(s, ast.ImportFrom):
            module = re.sub(r'^actstats\.', '.', '.'*s.level + (s.module or ''))
            for a in s.names: yield a.asname or a.name, (module, ast.unparse(a))

    def home(self, name):
        if name in self.classes or name in self.values: return f'.{self.name}', name
        return self.imported.get(name) or COMMON.get(name)


class Package:
    def __init__(self):
        self.modules = {p.stem: Module(p) for p in sorted(package.glob('*.py')) if p.stem != '_modidx'}
        self.patches = {}  # (module, class) -> [(module it is written in, function)]
        for m in self.modules.values():
            for f in m.body:
                if not isinstance(f, FUNCTION) or patch(f) is None: continue
                for c in names(f.args.args[0].annotation):
                    self.patches.setdefault((self.where(m, c), c), []).append((m, f))

    def where(self, m, name):
        "The name of the module that defines what `m` calls `name`; None outside of the package"
        if name in m.classes or name in m.functions: return m.name
        module = m.imported.get(name, ('',))[0]
        return self.where(self.modules[module[1:]], name) if module[1:] in self.modules and module[0] == '.' else None

    def methods(self, m, c):
        "Pairs (module it is written in, function) of all methods of a class, those that other modules patch in last"
        mine = [(m, f) for f in c.body if isinstance(f, FUNCTION)]
        return mine + sorted(self.patches.get((m.name, c.name), ()), key=lambda o: o[0] is not m)

    def classmethods(self):
        "Full names of those that `patch` makes, which are no classmethods when one looks at them"
        all = ((f'actstats.{m}.{c}.{f.name}', f) for (m, c), fs in self.patches.items() for _, f in fs)
        return [name for name, f in all if 'cls_method' in patch(f)]


class Scope(NamedTuple):
    m: Module # in which an expression is written
    cls: ast.ClassDef|None = None # the class of `self`
    known: dict = {} # types of the parameters


class Types:
    "The type of an expression, as text: 'Any' if in doubt"
    def __init__(self, package): self.package = package

    def __call__(self, e, at):
        if e is None: return 'Any'
        if type(e) in DISPLAYS: return DISPLAYS[type(e)]
        if isinstance(e, ast.Constant): return 'None' if e.value is None else type(e.value).__name__
        if isinstance(e, ast.Name): return at.known.get(e.id, 'Any')
        if isinstance(e, ast.UnaryOp): return 'bool' if isinstance(e.op, ast.Not) else self(e.operand, at)
        if isinstance(e, ast.IfExp): return self.either((e.body, e.orelse), at)
        if isinstance(e, ast.BoolOp): return self.either(e.values, at)
        if isinstance(e, ast.Tuple): return self.tuple([self(o, at).replace('None', 'Any') for o in e.elts])
        return self.call(e.func, at) if isinstance(e, ast.Call) else 'Any'

    def tuple(self, kinds):
        if len(kinds) > 2 and len({*kinds}) == 1: return f'tuple[{kinds[0]}, ...]'
        return f'tuple[{", ".join(kinds) or "()"}]'

    def either(self, es, at):
        "One type for several expressions: theirs if it is the same, and perhaps None"
        kinds = {kind for e in es for kind in self(e, at).split(' | ')}
        some = kinds - {'None'}
        if len(some) > 1 or 'Any' in some: return 'Any'
        return ' | '.join([*some, *kinds & {'None'}])

    def call(self, f, at):
        if isinstance(f, ast.Name): return CALLS.get(f.id) or self.made(f.id, at)
        if not isinstance(f, ast.Attribute): return 'Any'
        of = getattr(f.value, 'id', None)
        if of == 'self' and at.cls:
            found = [g.returns for _, g in self.package.methods(at.m, at.cls) if g.name == f.attr and g.returns]
            return ast.unparse(found[0]) if found else 'Any'
        if of == 'pd' and f.attr in ('DataFrame', 'concat'): return 'pd.DataFrame'
        if of == 'np' and f.attr in ARRAYS or f.attr == 'numpy': return 'np.ndarray'
        if of == 'torch' and f.attr in TENSORS: return 'Tensor'
        return self(f.value, at) if f.attr in ('copy', 'clone', 'detach') else 'Any'

    def made(self, name, at):
        "What a class or function of the package gives"
        m = self.package.modules.get(self.package.where(at.m, name))
        if not m: return 'Any'
        if name in m.classes: return name
        returns = m.functions[name].returns
        return ast.unparse(returns) if returns and names(returns) <= {*CALLS, 'Tensor', 'np'} else 'Any'


class Stub:
    "The stub of one module, and the imports that it needs"
    def __init__(self, package, m): self.package, self.m, self.types, self.imports = package, m, Types(package), {}

    def use(self, tree, m):
        "Import the names in `tree` as module `m` has them"
        for name in names(tree):
            home = m.home(name)
            if home is None or home[0] == f'.{self.m.name}': continue
            other = self.imports.setdefault(name, home)
            if other != home: raise ValueError(f'{self.m.name}: {name} is {home} and {other}')
        return tree

    def arguments(self, f, m, method=False):
        "With a type for each but `self`; defaults that are not constants become `...`"
        a = deepcopy(f.args)
        plain = [*a.posonlyargs, *a.args]
        default = dict(zip(reversed(plain), reversed(a.defaults))) | dict(zip(a.kwonlyargs, a.kw_defaults))
        for p in [*plain, *a.kwonlyargs, *filter(None, (a.vararg, a.kwarg))]:
            kind = self.types(default[p], Scope(m)) if default.get(p) else 'Any'
            if p.arg == 'ax': kind = 'Axes | None'
            p.annotation = self.use(p.annotation or declared('', kind).annotation, m)
        if method: plain[0].annotation = None
        short = lambda d: d if d is None or isinstance(d, (ast.Constant, ast.UnaryOp)) else ast.Constant(...)
        a.defaults, a.kw_defaults = [*map(short, a.defaults)], [*map(short, a.kw_defaults)]
        return a

    def known(self, f, m):
        a = self.arguments(f, m)
        more = {p.arg: kind for p, kind in ((a.vararg, 'tuple[Any, ...]'), (a.kwarg, 'dict[str, Any]')) if p}
        return {p.arg: ast.unparse(p.annotation) for p in (*a.posonlyargs, *a.args, *a.kwonlyargs)} | more

    def returns(self, f, at):
        if f.name in SPECIAL: return SPECIAL[f.name]
        if any(inside(f, ast.Yield, ast.YieldFrom)): return 'Iterator[Any]'
        values = [r.value for r in inside(f, ast.Return) if r.value]
        same = {getattr(v, 'id', None) for v in values}
        if same == {'self'} or same == {'ax'}: return dict(self='Self', ax='Axes')[same.pop()]
        return self.types.either(values, at) if values else 'None'

    def function(self, f, m, cls=None):
        "A function without its body; Any if a decorator of others may have made something else of it"
        theirs = {root(d)[0] for d in f.decorator_list if root(d)[1] not in DECORATORS + TRANSPARENT}
        if not all(self.package.where(m, d) for d in theirs): return declared(f.name, 'Any')
        new, at = copy(f), Scope(m, cls, self.known(f, m))
        new.args = self.arguments(f, m, method=cls and 'staticmethod' not in {root(d)[1] for d in f.decorator_list})
        new.returns = self.use(f.returns or parsed(self.returns(f, at)), m)
        new.decorator_list = [parsed(PATCHED[k]) for k in patch(f) or () if k in PATCHED] + self.decorators(f, m)
        new.body = [ast.Expr(ast.Constant(...))]
        return new

    def decorators(self, s, m): return [self.use(d, m) for d in s.decorator_list if root(d)[1] in DECORATORS]

    def attributes(self, c):
        "Types of what methods assign to `self`, those of __init__ first"
        found = {}
        for m, f in sorted(self.package.methods(self.m, c), key=lambda o: o[1].name != '__init__'):
            if not f.args.args or 'cls_method' in (patch(f) or ()): continue
            at = Scope(m, c, self.known(f, m))
            for name, value in assigned(f, m): found.setdefault(name, self.types(value, at))
        return found

    def klass(self, c):
        fields = [s for s in c.body if isinstance(s, ast.AnnAssign)]
        body = [declare(s.target.id, s.annotation, s.value and ast.Constant(...)) for s in fields]
        methods = self.package.methods(self.m, c)
        done = {s.target.id for s in fields} | {f.name for _, f in methods}
        own = {t.id: self.types(v, Scope(self.m)) for t, v in sets(c.body)}
        body += [declared(k, kind) for k, kind in (self.attributes(c) | own).items() if k not in done]
        for s in body: self.use(s, self.m)
        body += [self.function(f, m, c) for m, f in methods if public(f.name)]
        new = copy(c)
        for o in (*c.bases, *c.keywords): self.use(o, self.m)
        new.decorator_list = self.decorators(c, self.m)
        new.body = [s for s in body if public(defined(s))] or [ast.Expr(ast.Constant(...))]
        return new

    def statements(self):
        for s in self.m.body:
            if isinstance(s, ast.ClassDef): yield self.klass(s)
            elif s in self.m.functions.values() and public(s.name): yield self.function(s, self.m)
            for t, v in sets([s]): yield s if t.id == '__all__' else declared(t.id, self.types(v, Scope(self.m)))

    def text(self):
        body, needed = list(self.statements()), set()
        for s in body: self.use(s, self.m) if isinstance(s, ast.AnnAssign) else None
        shown = lambda: [s for s in body if public(defined(s)) or defined(s) in needed]  # private: bases and the like
        while more := {n for s in shown() for n in names(s)} - needed: needed |= more
        shared = {e.value for e in getattr(self.m.values.get('__all__'), 'elts', ())} & {*self.m.imported}
        homes = {k: v for k, v in self.imports.items() if k in needed} | {k: self.m.imported[k] for k in shared}
        plain = sorted(f'import {module}' for module, name in homes.values() if name is None)
        froms = {}
        for module, name in sorted(home for home in homes.values() if home[1]):
            froms.setdefault(module, []).append(name)
        lines = plain + [f'from {module} import {", ".join(some)}' for module, some in froms.items()]
        code = ast.unparse(ast.fix_missing_locations(ast.Module(shown(), [])))
        code = re.sub(r':\n +\.\.\.$', ': ...', code, flags=re.M)
        code = re.sub(r'\n\n(?= )', '\n', code)
        return '\n'.join(['# Written by .ci/stubs.py: `make export`', *lines, '', code.strip()]).strip() + '\n'


def assigned(f, m):
    "Pairs of an attribute that a method sets and an expression; also by `for k in NAMES: setattr(self, k, expression)`"
    me = f.args.args[0].arg
    for s in inside(f, ast.Assign, ast.AnnAssign, ast.For):
        if isinstance(s, ast.For):
            begin = f'setattr({me}, {ast.unparse(s.target)}, '
            calls = [c for c in inside(s, ast.Call) if ast.unparse(c).startswith(begin)]
            if not calls or not isinstance(s.iter, ast.Name): continue
            loop = getattr(importlib.import_module(f'actstats.{m.name}'), s.iter.id)
            yield from ((k, calls[0].args[2]) for k in loop)
            continue
        for target in s.targets if isinstance(s, ast.Assign) else [s.target]:
            for t, v in pairs(target, s.value):
                if isinstance(t, ast.Attribute) and getattr(t.value, 'id', None) == me: yield t.attr, v


def stubs():
    "All stubs: path -> text"
    p = Package()
    return {package / f'{m.name}.pyi': Stub(p, m).text() for m in p.modules.values()}


def write():
    new = stubs()
    for old in {*package.glob('*.pyi')} - {*new}: old.unlink()
    for path, text in new.items(): path.write_text(text, encoding='utf-8')


if __name__ == '__main__':
    sys.path.insert(0, str(package.parent))
    write()
