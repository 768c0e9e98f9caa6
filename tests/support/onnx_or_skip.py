"""Skips a test module, loudly, where the extra `onnx` is not installed; `scripts/test` installs it."""

import importlib.util

import pytest

MISSING = [name for name in ('tf2onnx', 'onnxruntime') if importlib.util.find_spec(name) is None]
if MISSING:
  pytest.skip(
    f'!!!! ONNX NOT TESTED: {" and ".join(MISSING)} not installed (scripts/setup onnx)', allow_module_level=True
  )
