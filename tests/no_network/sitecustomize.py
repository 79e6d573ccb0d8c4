"""Imported by Python itself in every process that has this folder on PYTHONPATH."""

import importlib

importlib.import_module("loopback_only")
