"""Statistics, figures and reports of trained models. A supported interface:

    table = analysis.load("runs/demo")          # also .csv, .parquet, .json, or a data frame
    table.edf().plot()
    table.compare(match="macs")

`load` returns a `Table` with one method per statistic. The functions behind the methods take arrays or frames and
return frames or dataclasses; figures are in `analysis.plots`. Nothing here trains or imports torch.

`__init__.pyi` lists the names, which are imported on first use (PEP 562) to keep `import analysis` fast. No submodule
has the name of a function or class exported here, because importing the submodule would replace it.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
