// SPDX-License-Identifier: GPL-3.0-or-later
// A format that is opened but not written: everything about writing is refused in one voice.
#pragma once
#include "core/formats/format.h"

namespace nibble::formats {

class ReadOnlyFormat : public Format {
 public:
  [[nodiscard]] std::optional<std::string> refusal(const QuantizedTensor& tensor) const final;
  [[nodiscard]] std::vector<RuleResult> preflight(std::string_view runtime, const std::vector<ExportLayer>& layers) const final;
  [[nodiscard]] Result<std::vector<RawTensor>> pack(const ExportLayer& layer) const final;
  [[nodiscard]] std::shared_ptr<const Layout> layout(const QuantizedTensor& tensor) const final;
  [[nodiscard]] std::uint64_t payloadBytes(const ExportLayer& layer, const std::vector<RawTensor>& arrays) const override;
  [[nodiscard]] Result<std::string> configure(const std::string& config, const std::vector<ExportLayer>& layers,
                                              const std::vector<std::string>& leftAlone) const final;
  [[nodiscard]] Result<std::vector<float>> proofDecode(const std::filesystem::path& file, const std::string& name) const final;

 private:
  [[nodiscard]] std::string notWritten() const;
};

}  // namespace nibble::formats
