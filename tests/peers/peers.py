#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""The real libraries judge what nibblescope-cli writes: they load it and must decode it to the same floats; and their own
quantizers must give the same codes on data no golden file holds. Skips, aloud, what is not installed.

usage: peers.py PATH-OF-nibblescope-cli PATH-OF-SAMPLE.safetensors
needs (PyPI): numpy safetensors torch; hqq, bitsandbytes, gptqmodel for their own parts
"""
import json
import pathlib
import subprocess
import sys
import tempfile
import unittest

try:
    import numpy as np
    import torch
    from safetensors import safe_open
    from safetensors.numpy import save_file
except ImportError as missing:
    print(f"SKIP   : peers need numpy, torch and safetensors: {missing}")
    sys.exit(0)

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


class Hqq(Peer):
    def setUp(self):
        try:
            from hqq.core.quantize import HQQLinear, Quantizer
        except ImportError as missing:
            self.skipTest(f"hqq is not installed: {missing}")
        super().setUp()
        self.linear, self.quantizer = HQQLinear, Quantizer

    def test_library_decodes_what_was_written(self):
        for bits, group, axis in [(8, 64, 1), (4, 64, 1), (3, 64, 1), (2, 32, 1), (1, 64, 1), (4, 64, 0), (2, 16, 0), (3, 64, 0)]:
            for params in ("f32", "f16"):
                with self.subTest(bits=bits, group=group, axis=axis, params=params):
                    scheme = f"hqq:bits={bits},group={group},axis={axis},params={params}"
                    state = {k.removeprefix(TENSOR.removesuffix("weight")): v for k, v in self.written(scheme, "hqq").items()}
                    layer = self.linear(None, None, compute_dtype=torch.float32, device="cpu", initialize=False)
                    layer.load_state_dict(state)
                    decoded = layer.dequantize().float().numpy()
                    np.testing.assert_array_equal(decoded, self.shown(scheme)["decoded"])

    def test_same_codes_on_new_data(self):
        source, values = self.random_source((96, 256), 7)
        for bits, group, axis, optimize in [(4, 64, 1, True), (3, 32, 1, True), (2, 16, 0, True), (8, 128, 1, False), (4, 64, 0, True)]:
            with self.subTest(bits=bits, group=group, axis=axis, optimize=optimize):
                scheme = f"hqq:bits={bits},group={group},axis={axis},optimize={str(optimize).lower()},params=f32"
                ours = self.shown(scheme, source, "w.weight")
                packed, meta = self.quantizer.quantize(torch.from_numpy(values.copy()), nbits=bits, channel_wise=True, group_size=group,
                                                       optimize=optimize, round_zero=False, axis=axis, device="cpu",
                                                       compute_dtype=torch.float32, bitpack=False)
                codes = packed.reshape(values.shape).numpy().astype(np.int64)
                differing = np.count_nonzero(codes != ours["codes"].astype(np.int64))
                self.assertLessEqual(differing, codes.size // 10000, "only codes on a rounding tie may differ")
                np.testing.assert_allclose(ours["scale"].ravel(), meta["scale"].numpy().ravel(), rtol=1e-6)
                np.testing.assert_allclose(ours["zero"].ravel(), meta["zero"].numpy().ravel(), rtol=1e-4, atol=1e-5)


class Bitsandbytes(Peer):
    def setUp(self):
        try:
            from bitsandbytes import functional
        except ImportError as missing:
            self.skipTest(f"bitsandbytes is not installed: {missing}")
        super().setUp()
        self.functional = functional

    def test_library_decodes_what_was_written(self):
        for kind in ("nf4", "fp4"):
            for nested in (False, True):
                with self.subTest(kind=kind, nested=nested):
                    scheme = f"{kind}:block=64,nested={str(nested).lower()}"
                    written = self.written(scheme, "bnb")
                    parts = {k.removeprefix(TENSOR + "."): v for k, v in written.items() if k.startswith(TENSOR + ".")}
                    state = self.functional.QuantState.from_dict(parts, device=torch.device("cpu"))
                    decoded = self.functional.dequantize_4bit(written[TENSOR], state).float().numpy()
                    shown = self.shown(scheme)["decoded"]
                    np.testing.assert_array_equal(decoded, shown)

    def test_same_bytes_on_new_data(self):
        source, values = self.random_source((64, 200), 11)
        for block in (64, 128, 256):
            with self.subTest(block=block):
                ours = self.written(f"nf4:block={block}", "bnb", source, "w.weight")["w.weight"].numpy().ravel()
                theirs, _ = self.functional.quantize_4bit(torch.from_numpy(values), blocksize=block, quant_type="nf4")
                differing = np.count_nonzero(ours != theirs.numpy().ravel())
                self.assertLessEqual(differing, 2, "only codes on a threshold may differ")


class Gptq(Peer):
    def test_published_layout_decodes_to_the_same_floats(self):
        """GPTQ v1 as auto-gptq documents it, written out in numpy: independent of our proof decoder's language and author."""
        for bits, group, symmetric in [(4, 128, True), (4, 64, True), (8, 128, True), (2, 32, True), (3, 128, True)]:
            with self.subTest(bits=bits, group=group):
                scheme = f"uniform:bits={bits},granularity=group,group={group},symmetric={str(symmetric).lower()}"
                written = {k.removeprefix(TENSOR.removesuffix("weight")): v.numpy() for k, v in self.written(scheme, "gptq").items()}
                qweight, qzeros = written["qweight"].view(np.uint32), written["qzeros"].view(np.uint32)
                columns = qweight.shape[0] * 32 // bits
                stream = np.unpackbits(np.ascontiguousarray(qweight.T).view(np.uint8), axis=1, bitorder="little")
                codes = stream.reshape(qweight.shape[1], columns, bits).dot(1 << np.arange(bits))
                stream = np.unpackbits(np.ascontiguousarray(qzeros).view(np.uint8), axis=1, bitorder="little")
                zeros = (stream.reshape(qzeros.shape[0], -1, bits).dot(1 << np.arange(bits)) + 1) % (1 << bits)
                scales = written["scales"].astype(np.float32)
                index = written["g_idx"]
                decoded = scales[index].T * (codes - zeros[index].T).astype(np.float32)
                np.testing.assert_array_equal(decoded, self.shown(scheme)["decoded"])


class Awq(Peer):
    def test_published_layout_decodes_to_the_same_floats(self):
        """AWQ gemm as AutoAWQ documents it (order map 0 2 4 6 1 3 5 7 over the outputs), written out in numpy."""
        for group, symmetric in [(128, False), (64, False), (32, True)]:
            with self.subTest(group=group, symmetric=symmetric):
                scheme = f"uniform:bits=4,granularity=group,group={group},symmetric={str(symmetric).lower()}"
                written = {k.removeprefix(TENSOR.removesuffix("weight")): v.numpy() for k, v in self.written(scheme, "awq").items()}

                def spread(words):
                    nibbles = words.view(np.uint32)[..., None] >> (4 * np.arange(8, dtype=np.uint32)) & 15
                    return nibbles[..., [0, 4, 1, 5, 2, 6, 3, 7]].reshape(words.shape[0], -1)

                codes, zeros = spread(written["qweight"]), spread(written["qzeros"])
                index = np.arange(codes.shape[0]) // (codes.shape[0] // zeros.shape[0])
                steps = codes.astype(np.int64) - zeros[index].astype(np.int64)
                decoded = (written["scales"].astype(np.float32)[index] * steps.astype(np.float32)).T
                np.testing.assert_array_equal(decoded, self.shown(scheme)["decoded"])


class GptqPlanar(Peer):
    def test_published_layout_decodes_to_the_same_floats(self):
        """gptq_p as GPTQModel lays it out: of 32 codes the low 4 bits, then 2, then 1, true zero points."""
        for bits in (3, 5, 6, 7):
            with self.subTest(bits=bits):
                scheme = f"uniform:bits={bits},granularity=group,group=64,symmetric=false"
                written = {k.removeprefix(TENSOR.removesuffix("weight")): v.numpy() for k, v in self.written(scheme, "gptq_p").items()}

                def join(words):  # [lines, words] -> [lines, numbers]
                    blocks = np.ascontiguousarray(words).view(np.uint32).reshape(words.shape[0], -1, bits)
                    values, word, shift = 0, 0, 0
                    for width in (4, 2, 1):
                        if bits & width:
                            plane = np.ascontiguousarray(blocks[:, :, word:word + width]).view(np.uint8)
                            stream = np.unpackbits(plane, axis=2, bitorder="little").reshape(*blocks.shape[:2], 32, width)
                            values = values + (stream.dot(1 << np.arange(width)) << shift)
                            word, shift = word + width, shift + width
                    return values.reshape(words.shape[0], -1)

                codes, zeros = join(written["qweight"].T), join(written["qzeros"])
                index = written["g_idx"]
                decoded = written["scales"].astype(np.float32)[index].T * (codes - zeros[index].T).astype(np.float32)
                np.testing.assert_array_equal(decoded, self.shown(scheme)["decoded"])


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0]], verbosity=2)
