// SPDX-License-Identifier: GPL-3.0-or-later
#include "core/train/methods.h"

#include "core/base/text.h"
#include "core/layers/diode_mix.h"
#include "core/train/adapter.h"
#include "core/train/bits.h"
#include "core/train/packed.h"

#include <algorithm>
#include <array>
#include <new>

namespace nibble::train {
namespace {

using enum MethodKind;

const std::array methods = {
    Method{"lora", "y = x (W + s BA)^T: low-rank adapters A and B", Adapter, false, makeAdapter},
    Method{"rslora", "LoRA with s = alpha / sqrt(rank)", Adapter, false, makeAdapter},
    Method{"dora", "LoRA with a trained magnitude per row: V = W + s BA, y = x (m V / |V|)^T", Adapter, false, makeAdapter},
    Method{"qlora", "LoRA over a quantized base", Adapter, true, makeAdapter},
    Method{"qdora", "DoRA over a quantized base", Adapter, true, makeAdapter},
    Method{"mbwq", "Quantized weights that train: codes and zeros of a packed layer, no float weights beside them", Packed,
           false, makePacked},
    Method{"diffq", "Bits per group that learn: noise stands for quantization, size has a price", LearnedBits, false,
           makeDiffq},
    Method{"lsq", "Fixed bits with a learned step size", FixedBits, false, makeLsq},
    Method{"ste", "Fixed bits over the tensor's range, rounding passes gradients straight through", FixedBits, false, makeSte},
};

std::string ids() {
  std::vector<std::string> list;
  for (const Method& method : methods) list.emplace_back(method.id);
  return text::join(list, ", ");
}

}  // namespace

std::span<const Method> allMethods() {
  return methods;
}

const Method* findMethod(std::string_view id) {
  const auto found = std::find_if(methods.begin(), methods.end(), [id](const Method& method) { return method.id == id; });
  return found == methods.end() ? nullptr : &*found;
}

MethodKind kindOf(std::string_view methodId) {
  const Method* method = findMethod(methodId);
  return method == nullptr ? Adapter : method->kind;
}

TrainSettings defaultSettings(std::string_view methodId) {
  TrainSettings settings;
  settings.method = methodId;
  if (kindOf(methodId) == Packed) {
    const DiodeMixSettings diode;
    settings.optimizer = {"diodemix", diode.learningRate, 0, diode.beta1, diode.beta2, diode.epsilon, 0};
  }
  return settings;
}

Result<std::unique_ptr<Trainable>> makeTrainable(const TrainJob& job, const Context& context) try {
  const Method* method = findMethod(job.settings.method);
  if (method == nullptr) return fail("no method " + job.settings.method + "; there are " + ids(), ErrorKind::Usage);
  if (method->needsBase && job.settings.adapter.base.empty())
    return fail(job.settings.method + " trains over a quantized base: name its scheme", ErrorKind::Usage);
  if (trainsSeveral(method->kind) && !job.settings.adapter.base.empty())
    return fail(job.settings.method + " has no base to quantize", ErrorKind::Usage);
  if (job.tensors.empty()) return fail("no tensor to train", ErrorKind::Usage);
  if (job.tensors.size() > 1 && !trainsSeveral(method->kind))
    return fail(job.settings.method + " trains one tensor at a time, not " +
                    text::number(static_cast<std::uint64_t>(job.tensors.size())),
                ErrorKind::Usage);
  NIBBLE_TRY(check(job.settings));
  return method->make(job, context);
} catch (const std::bad_alloc&) {
  return fail(job.tensors.front() + ": not enough memory to train");
}

}  // namespace nibble::train
