"""Networks in the words of other tools: pycls configurations."""

from designspace.export.pycls import from_pycls, load_pycls, to_pycls
from designspace.export.refusal import NotExpressible

__all__ = ["NotExpressible", "from_pycls", "load_pycls", "to_pycls"]
