"What an optional part needs, and the command that installs it. Written by hand, so that every module may use it"
from importlib.util import find_spec


def needs(
    who:str, # what needs them, in the user's words
    *modules:str, # the names under which they are imported
    install:str="'actstats[book]'", # what to ask pip for
):
    "ModuleNotFoundError, with the command to run, if one of `modules` is not installed; loads none of them"
    missing = [m for m in modules if not _installed(m)]
    if missing: raise ModuleNotFoundError(f'{who} needs {", ".join(missing)}: pip install {install}', name=missing[0])

def _installed(module:str)->bool:
    spec = find_spec(module)
    return spec is not None and spec.origin is not None  # a folder of that name, as `datasets`, is no installed module
