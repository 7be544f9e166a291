// SPDX-License-Identifier: GPL-3.0-or-later
// The layout followed here, from the format's description alone: P.qweight I32 [K, N / 8], P.qzeros I32 [G, N / 8], P.scales
// F16 [G, N]. From its lowest nibble up, a word holds outputs 8c + 0, 2, 4, 6, 1, 3, 5, 7. W[n, k] = scale[g, n] * (q[k, n] -
// zero[g, n]) with g = k / (K / G).
#include "core/formats/awq/proof.h"

#include "core/formats/proof_container.h"

namespace nibble::proof {
namespace {

// Row-major matrix of words, written out as one number per output.
std::vector<unsigned> spread(const Array& words) {
  static constexpr std::uint64_t outputOfNibble[8] = {0, 2, 4, 6, 1, 3, 5, 7};
  const std::uint64_t count = words.count();
  std::vector<unsigned> numbers(count * 8);
  for (std::uint64_t word = 0; word < count; ++word) {
    const std::uint64_t value = words.unsignedAt(word);
    for (std::uint64_t nibble = 0; nibble < 8; ++nibble)
      numbers[word * 8 + outputOfNibble[nibble]] = static_cast<unsigned>(value >> (4 * nibble) & 15);
  }
  return numbers;
}

}  // namespace

Result<std::vector<float>> decodeAwq(const std::filesystem::path& file, const std::string& tensorName) {
  auto container = Container::open(file);
  if (!container) return fail(container.error());
  const std::string suffix = ".weight";
  std::string module = tensorName;
  if (module.size() > suffix.size() && module.compare(module.size() - suffix.size(), suffix.size(), suffix) == 0)
    module.resize(module.size() - suffix.size());
  const auto weight = container->read(module + ".qweight"), zeros = container->read(module + ".qzeros"),
             scales = container->read(module + ".scales");
  if (!weight) return fail(weight.error());
  if (!zeros) return fail(zeros.error());
  if (!scales) return fail(scales.error());
  if (scales->type != "F16" || scales->shape.size() != 2 || scales->count() == 0)
    return fail(module + ".scales: expected F16 [groups, out]");
  if (weight->shape.size() != 2 || weight->shape[0] == 0) return fail(module + ".qweight: expected I32 [in, out / 8]");
  const std::uint64_t groups = scales->shape[0], outputs = scales->shape[1], inputs = weight->shape[0];
  if (outputs % 8 != 0 || inputs % groups != 0 || !weight->is("I32", {inputs, outputs / 8}) ||
      !zeros->is("I32", {groups, outputs / 8}))
    return fail(module + ": its arrays do not belong together");
  const std::vector<unsigned> codes = spread(*weight), zeroPoints = spread(*zeros);
  std::vector<float> values(outputs * inputs);
  for (std::uint64_t n = 0; n < outputs; ++n) {
    for (std::uint64_t k = 0; k < inputs; ++k) {
      const std::uint64_t parameter = k / (inputs / groups) * outputs + n;
      const int steps = static_cast<int>(codes[k * outputs + n]) - static_cast<int>(zeroPoints[parameter]);
      values[n * inputs + k] = scales->floatAt(parameter) * static_cast<float>(steps);
    }
  }
  return values;
}

}  // namespace nibble::proof
