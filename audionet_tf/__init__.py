"""Distil a picture classifier into a network that hears: AudioNet in TensorFlow.

Importing the package loads no TensorFlow; the modules that need it import it themselves.
"""

__version__ = '0.1.0'
