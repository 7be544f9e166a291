// SPDX-License-Identifier: GPL-3.0-or-later
// The benchmark's rows of whole schemes: quantizing through run(), GGUF blocks alone, and decoding what each scheme made.
#include "core/quant/decode.h"
#include "core/run/bench_rows.h"
#include "core/run/run.h"
#include "kernels/backend.h"
#include "kernels/block_type.h"

#include <algorithm>
#include <cctype>
#include <optional>

namespace nibble::benchmarks {
namespace {

constexpr std::size_t mostRows = 1024, columns = 4096, group = 128;
constexpr double decodeGoal = 8;

struct Block {
  const char* id;
  kernels::BlockType type;
};
using enum kernels::BlockType;
constexpr Block blocks[] = {{"q4_0", Q4_0}, {"q4_1", Q4_1}, {"q5_0", Q5_0}, {"q5_1", Q5_1},     {"q8_0", Q8_0},     {"q2_k", Q2_K},
                            {"q3_k", Q3_K}, {"q4_k", Q4_K}, {"q5_k", Q5_K}, {"q6_k", Q6_K},     {"iq4_nl", IQ4_NL}, {"iq4_xs", IQ4_XS},
                            {"q1_0", Q1_0}, {"q2_0", Q2_0}, {"tq1_0", TQ1_0}, {"tq2_0", TQ2_0}};

Tensor matrixOf(const Buffers& buffers, std::size_t rows, std::size_t width) {
  return Tensor("benchmark", DType::F32, {rows, width}, std::as_bytes(buffers.weights().first(rows * width)), buffers.owner());
}

Context silent(const Context& context) {
  Context own = context;
  own.progress = nullptr;
  return own;
}

Status runChoice(const Tensor& tensor, const Choice& choice, const Context& context) {
  ReportOptions options;
  options.percentile = false;
  const auto outcome = run(tensor, choice, silent(context), options);
  return outcome ? Status() : fail(outcome.error());
}

// Row after row as the report decodes them, in parallel.
void decodeRows(const QuantizedTensor& tensor, const Buffers& buffers, const Context& context) {
  constexpr std::size_t rowsOfStrip = 16;
  const auto body = [&](std::size_t begin, std::size_t end) {
    decode(tensor, begin * columns, buffers.decoded().subspan(begin * columns, (end - begin) * columns));
  };
  context.backend->parallelFor(tensor.rows, rowsOfStrip, body);
}

void encodeRows(kernels::BlockType type, std::size_t rows, const Buffers& buffers, const Context& context) {
  const auto shape = kernels::blockShape(type);
  const std::size_t rowBytes = columns / shape.weights * shape.bytes;
  constexpr std::size_t rowsOfStrip = 4;
  const auto body = [&](std::size_t begin, std::size_t end) {
    context.backend->encodeBlocks(type, buffers.weights().data() + begin * columns, end - begin, columns, nullptr,
                                  buffers.codes().data() + begin * rowBytes);
  };
  context.backend->parallelFor(rows, rowsOfStrip, body);
}

}  // namespace

void addSchemeRows(std::vector<Row>& rows, Buffers& buffers, const Context& context) {
  const std::size_t all = buffers.weights().size() / group, some = std::min(mostRows, buffers.weights().size() / columns);
  if (const auto whole = Choice::parse("uniform:bits=4,granularity=group,group=128,symmetric=false"))
    rows.push_back({"run " + whole->shortText(), all * group, 0, [&buffers, &context, choice = *whole, all] {
                      return runChoice(matrixOf(buffers, all, group), choice, context);
                    }});
  for (const Scheme* scheme : allSchemes())
    rows.push_back({"run " + std::string(scheme->info().id), some * columns, 0, [&buffers, &context, choice = Choice(*scheme), some] {
                      return runChoice(matrixOf(buffers, some, columns), choice, context);
                    }});
  for (const Block& block : blocks)
    rows.push_back({std::string("encode ") + block.id, some * columns, 0, [&buffers, &context, type = block.type, some]() -> Status {
                      encodeRows(type, some, buffers, context);
                      return {};
                    }});
  for (const Scheme* scheme : allSchemes()) {
    // Quantized at the first repetition, which is not the best one.
    auto quantized = std::make_shared<std::optional<QuantizedTensor>>();
    rows.push_back({"decode " + std::string(scheme->info().id), some * columns, decodeGoal, [&buffers, &context, scheme, some, quantized]() -> Status {
                      if (!*quantized) {
                        auto made = scheme->quantize(matrixOf(buffers, some, columns), Choice(*scheme).values(), silent(context));
                        if (!made) return fail(made.error());
                        *quantized = *std::move(made);
                      }
                      decodeRows(**quantized, buffers, context);
                      return {};
                    }});
  }
}

}  // namespace nibble::benchmarks
