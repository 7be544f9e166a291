# SPDX-License-Identifier: GPL-3.0-or-later
"""What the peers share: the program under test, one layer written and shown, and what the closing lines say."""
import importlib
import json
import pathlib
import subprocess
import sys
import tempfile
import unittest

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save_file

CLI, SAMPLE = sys.argv[1], sys.argv[2]
TENSOR = "encoder.layer.0.attention.self.query.weight"


def cli(*arguments):
    done = subprocess.run([CLI, *map(str, arguments)], capture_output=True, text=True)
    if done.returncode != 0:
        raise AssertionError(f"{' '.join(map(str, arguments))}: status {done.returncode}: {done.stderr.strip()}")
    return json.loads(done.stdout) if "--json" in arguments else done.stdout


def tensors_of(path):
    with safe_open(path, framework="pt") as file:
        return {key: file.get_tensor(key) for key in file.keys()}


class Peer(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.path = pathlib.Path(self.folder.name)

    def tearDown(self):
        self.folder.cleanup()

    def library(self, module):
        """The module; without it the test is skipped, and says which library is missing."""
        try:
            return importlib.import_module(module)
        except ImportError as missing:
            self.skipTest(f"{module.split('.')[0]} is not installed: {missing}")

    def shown(self, scheme, source=SAMPLE, tensor=TENSOR):
        out = self.path / "shown.npz"
        cli("export", source, scheme, "--format", "npz", "--tensor", tensor, "--out", out)
        arrays = dict(np.load(out))
        out.unlink()
        return arrays

    def written(self, scheme, form, source=SAMPLE, tensor=TENSOR):
        out = self.path / f"{form}.safetensors"
        result = cli("export", source, scheme, "--format", form, "--tensor", tensor, "--out", out, "--json")
        self.assertTrue(result["verified"])
        arrays = tensors_of(out)
        out.unlink()
        return arrays

    def random_source(self, shape, seed):
        values = np.random.default_rng(seed).standard_t(4, size=shape).astype(np.float32) * 0.05
        path = self.path / "random.safetensors"
        save_file({"w.weight": values}, path)
        return path, values


CHECKED = {}  # what the last lines say: numbers compared, by library


def count(library, values):
    tensors, numbers = CHECKED.get(library, (0, 0))
    CHECKED[library] = (tensors + 1, numbers + values.size)
