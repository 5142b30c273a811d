"""Python files that build a network in another library and load our weights into it."""

from __future__ import annotations

import json
from collections.abc import Mapping

HEADER = '''"""{title} as a network of {library}, written by designspace.

    network = load("model.safetensors")     # or build() for one without weights
"""

from safetensors.torch import load_file
{imports}

{body}

# our module names: the names here
KEYS = {keys}


def load(path="model.safetensors"):
    """The network with the weights of a file written by designspace; strict about every name."""
    network = build()
    weights = {{}}
    for name, value in load_file(path).items():
        module, _, tensor = name.rpartition(".")
        weights[KEYS[module] + "." + tensor] = value
    network.load_state_dict(weights)
    return network.eval()
'''


def python_file(title: str, library: str, imports: str, body: str, keys: Mapping[str, str]) -> str:
    """The text of a module with `build()`, `load(path)` and `KEYS`.

    Args:
        title: what the network is called.
        library: name and version.
        imports, body: source; the body defines `build()`.
        keys: from our module names to the library's.
    """
    title = " ".join(title.replace('"', "").replace("\\", "").split())
    table = json.dumps(dict(keys), indent=4).replace('"\n}', '",\n}')
    return HEADER.format(title=title, library=library, imports=imports, body=body, keys=table)
