"""gflow: adversarial and gradient-flow generative models, composed from plugins by TOML recipes.

from gflow_core import Recipe, load_run, run

This is the one door: all that is public is imported from here, when it is asked for. The list is `__init__.pyi`.
"""

import lazy_loader

from gflow_core.nn import torchvision_fix

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

torchvision_fix.install()
