// SPDX-License-Identifier: GPL-3.0-or-later
#include "core/formats/read_only.h"

#include "core/formats/tools.h"

namespace nibble::formats {

std::string ReadOnlyFormat::notWritten() const {
  return std::string(info().id) + " layers are read, not written";
}

std::optional<std::string> ReadOnlyFormat::refusal(const QuantizedTensor&) const {
  return notWritten();
}
std::vector<RuleResult> ReadOnlyFormat::preflight(std::string_view, const std::vector<ExportLayer>&) const {
  return {{"The format is written", true, false, notWritten(), std::string(info().reference)}};
}
Result<std::vector<RawTensor>> ReadOnlyFormat::pack(const ExportLayer& layer) const {
  return fail(layer.name + ": " + notWritten());
}
std::shared_ptr<const Layout> ReadOnlyFormat::layout(const QuantizedTensor&) const {
  return nullptr;
}
std::uint64_t ReadOnlyFormat::payloadBytes(const ExportLayer&, const std::vector<RawTensor>& arrays) const {
  std::uint64_t bytes = 0;
  for (const RawTensor& array : arrays) bytes += byteCount(array);
  return bytes;
}
Result<std::string> ReadOnlyFormat::configure(const std::string&, const std::vector<ExportLayer>&,
                                              const std::vector<std::string>&) const {
  return fail(notWritten());
}
Result<std::vector<float>> ReadOnlyFormat::proofDecode(const std::filesystem::path&, const std::string& name) const {
  return fail(name + ": " + notWritten());
}

}  // namespace nibble::formats
