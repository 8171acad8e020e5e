"""Neural style transfer with MXNet/Gluon: three methods on one common objective.

Importing this package imports no engine; the modules that need MXNet import it through :mod:`nst_gluon.system.engine`.
"""

__version__ = "0.1.0"
