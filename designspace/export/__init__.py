"""Networks in the words of other tools: pycls configurations, timm and torchvision modules."""

from designspace.export.pycls import from_pycls, load_pycls, to_pycls
from designspace.export.refusal import NotExpressible
from designspace.export.timm import timm_source
from designspace.export.torchvision import torchvision_source

__all__ = ["NotExpressible", "from_pycls", "load_pycls", "timm_source", "to_pycls", "torchvision_source"]
