"""Entry point of the zygote, run as a script: makes this package importable without the rest of ``evaluator``."""

import os
import sys
import types

# An empty parent package: the real __init__ would load modules that only the owner needs into every sandbox.
package = types.ModuleType("evaluator")
package.__path__ = [os.path.dirname(os.path.dirname(os.path.abspath(__file__)))]
sys.modules["evaluator"] = package

from evaluator.inside import at_fork  # noqa: E402, F401 - before any module that imports threading
from evaluator.inside.zygote import main  # noqa: E402

main()
