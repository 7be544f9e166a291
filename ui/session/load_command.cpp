// SPDX-License-Identifier: GPL-3.0-or-later
#include "ui/session/load_command.h"

namespace nibble {

QString loadCommand(const QString& runtime, const QString& path) {
  QString quoted = path;
  quoted.replace('\\', "\\\\").replace('"', "\\\"");
  if (runtime == "vllm") return QString("vllm serve \"%1\"").arg(quoted);
  if (runtime == "llama.cpp") return QString("llama-cli -m \"%1\"").arg(quoted);
  if (runtime == "mlx") return QString("python -m mlx_lm generate --model \"%1\" --prompt Hello").arg(quoted);
  if (runtime == "hqq")
    return QString("from hqq.models.hf.base import AutoHQQHFModel; model = AutoHQQHFModel.from_quantized(\"%1\")").arg(quoted);
  if (runtime == "transformers" || runtime == "bitsandbytes")
    return QString("from transformers import AutoModel; model = AutoModel.from_pretrained(\"%1\")").arg(quoted);
  if (path.endsWith(".npz")) return QString("import numpy; arrays = numpy.load(\"%1\")").arg(quoted);
  return QString("nibblescope-cli info \"%1\"").arg(quoted);
}

}  // namespace nibble
