// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/export_output.h"

#include "app/text_table.h"
#include "core/base/text.h"

#include <nlohmann/json.hpp>

#include <algorithm>

namespace nibble::cli {

namespace {

std::string writtenText(const ExportResult& result) {
  std::string out;
  for (const auto& file : result.files) out += "wrote " + file.string() + "\n";
  return out + text::byteSize(result.sizeBytes) + ", " + decimals(result.bitsPerWeight, 4) + " bits per weight" +
         (result.verified ? ", read back by an independent decoder and equal\n" : ", not read back\n");
}

// A packed layer in another format: how far its values moved.
std::string convertedText(const ExportResult& result) {
  TextTable tensors({{"tensor"}, {"from"}, {"size", true}, {"moved by up to", true}});
  for (const ExportedTensor& tensor : result.tensors)
    tensors.add({tensor.name, tensor.scheme, text::byteSize(tensor.sizeBytes),
                 tensor.conversionDifference == 0 ? "exact" : figure(tensor.conversionDifference)});
  return "\n" + tensors.text() + "\n" + writtenText(result);
}

}  // namespace

nlohmann::ordered_json exportJson(const ExportResult& result) {
  using Json = nlohmann::ordered_json;
  Json json;
  json["format"] = result.format;
  json["out"] = result.out.string();
  json["sizeBytes"] = result.sizeBytes;
  json["bitsPerWeight"] = result.bitsPerWeight;
  json["tensors"] = Json::array();
  for (const ExportedTensor& tensor : result.tensors) {
    // A converted layer is proven to be what was converted; what is of interest is how far that is from the source.
    Json entry = {{"name", tensor.name},
                  {"scheme", tensor.scheme},
                  {"sizeBytes", tensor.sizeBytes},
                  {"maxDifference", tensor.converted ? tensor.conversionDifference : tensor.maxDifference}};
    if (tensor.converted) entry["exact"] = tensor.conversionDifference == 0;
    json["tensors"].push_back(std::move(entry));
  }
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
  for (const RuleResult& rule : result.advice)
    if (!rule.ok) out += "note: not so: " + rule.rule + " (" + rule.detail + "; " + rule.source + ")\n";
  if (!result.preflightOk) return out + "nothing was written: the pre-flight failed\n";
  if (dryRun) return out + "nothing was written: dry run\n";
  if (std::any_of(result.tensors.begin(), result.tensors.end(), [](const auto& tensor) { return tensor.converted; }))
    return out + convertedText(result);
  TextTable tensors({{"tensor"}, {"scheme"}, {"size", true}, {"SQNR dB", true}, {"max |difference|", true}});
  for (const ExportedTensor& tensor : result.tensors)
    tensors.add({tensor.name, shortScheme(tensor.scheme), text::byteSize(tensor.sizeBytes), decimals(tensor.sqnrDb, 2),
                 result.verified ? figure(tensor.maxDifference) : "not read back"});
  out += "\n" + tensors.text() + "\n";
  return out + writtenText(result);
}

bool exportPassed(const ExportJob& job, const ExportResult& result) {
  return result.preflightOk && (result.verified || !job.verify || job.dryRun);
}

}  // namespace nibble::cli
