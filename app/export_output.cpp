// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/export_output.h"

#include "app/text_table.h"
#include "core/base/text.h"

#include <nlohmann/json.hpp>

namespace nibble::cli {

nlohmann::ordered_json exportJson(const ExportResult& result) {
  using Json = nlohmann::ordered_json;
  Json json;
  json["format"] = result.format;
  json["out"] = result.out.string();
  json["sizeBytes"] = result.sizeBytes;
  json["bitsPerWeight"] = result.bitsPerWeight;
  json["tensors"] = Json::array();
  for (const ExportedTensor& tensor : result.tensors)
    json["tensors"].push_back({{"name", tensor.name},
                               {"scheme", tensor.scheme},
                               {"sizeBytes", tensor.sizeBytes},
                               {"maxDifference", tensor.maxDifference}});
  json["preflight"] = Json::array();
  for (const RuleResult& rule : result.preflight)
    if (rule.asked)
      json["preflight"].push_back({{"rule", rule.rule}, {"ok", rule.ok}, {"detail", rule.detail}, {"source", rule.source}});
  json["verified"] = result.verified;
  return json;
}

std::string exportText(const ExportResult& result, bool dryRun) {
  TextTable rules({{"pre-flight"}, {"rule"}, {"detail"}, {"source"}});
  for (const RuleResult& rule : result.preflight)
    if (rule.asked) rules.add({rule.ok ? "ok" : "FAILED", rule.rule, rule.detail, rule.source});
  std::string out = rules.text();
  if (!result.preflightOk) return out + "nothing was written: the pre-flight failed\n";
  if (dryRun) return out + "nothing was written: dry run\n";
  TextTable tensors({{"tensor"}, {"scheme"}, {"size", true}, {"SQNR dB", true}, {"max |difference|", true}});
  for (const ExportedTensor& tensor : result.tensors)
    tensors.add({tensor.name, tensor.scheme, text::byteSize(tensor.sizeBytes), decimals(tensor.sqnrDb, 2),
                 result.verified ? figure(tensor.maxDifference) : "not read back"});
  out += "\n" + tensors.text() + "\n";
  for (const auto& file : result.files) out += "wrote " + file.string() + "\n";
  out += text::byteSize(result.sizeBytes) + ", " + decimals(result.bitsPerWeight, 4) + " bits per weight" +
         (result.verified ? ", read back by an independent decoder and equal\n" : ", not read back\n");
  return out;
}

bool exportPassed(const ExportJob& job, const ExportResult& result) {
  return result.preflightOk && (result.verified || !job.verify || job.dryRun);
}

}  // namespace nibble::cli
