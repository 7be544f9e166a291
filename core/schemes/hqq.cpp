// SPDX-License-Identifier: GPL-3.0-or-later
// Half-quadratic quantization as hqq 0.2.8 computes it in float32. For each group, with N = round(2^bits - 1):
//
//   S = N / (max - min), 1 where the range is at most 1e-4, at most 20000       (the inverse scale)
//   z = -min S                        [round-zero: rounded, before the iterations only, as in the reference]
//   `optimize`: kernels/math/half_quadratic.h replaces z up to `iterations` times; the whole tensor's mean |error| ends it
//   code = clamp(rne(w S + z), 0, N)                                            w ~ (code - z) / S
//
// z is a float in code units. Stored are 1 / S and z. With params=f32 codes are chosen with S itself, as the reference does;
// with f16 or bf16 the stored scale s and zero are rounded first and S = 1 / s. `nested` stores the parameters as 8-bit HQQ
// without optimization, scales in strided groups of 128, zeros in one group or the same; there the codes are chosen before, as
// the reference does.
// Groups: axis 1, `group` consecutive weights of the flattened matrix; axis 0, weight k belongs to group k mod (count / group).
//
// Storage: the grouped matrix ([count / group, group] for axis 1, [group, count / group] for axis 0) packed along its rows
//     4 bits: byte i of column c = row i in the high nibble, row i + rows / 2 in the low one; 2, 1 bits likewise
//     3 bits: ten codes in a 32-bit word, bits 30 and 31 unused;  8, 6, 5 bits: one byte a code;  1.58 bits: as 2 bits
#include "core/base/text.h"
#include "core/quant/encode.h"
#include "core/quant/layout.h"
#include "core/schemes/scheme.h"
#include "kernels/backend.h"
#include "kernels/math/affine.h"
#include "kernels/math/half_quadratic.h"
#include "kernels/math/statistics.h"

#include <algorithm>
#include <cmath>
#include <mutex>

namespace nibble {
namespace {

using kernels::GroupView;
using kernels::halfQuadraticChunk;

struct Settings {
  double bits = 4;
  std::int64_t group = 64, axis = 1;
  bool optimize = true, channelWise = true, roundZero = false;
  std::int64_t iterations = 20;
  double p = 0.7, beta = 10, kappa = 1.01;
  bool nested = false;
  std::string nestedZero = "tensor", params = "f16";
};

const SettingTable<Settings>& table() {
  using Values = std::vector<SettingValue>;
  static const Values onlyOptimized{true};
  static const auto settings =
      SettingTable<Settings>{}
          .real("bits", &Settings::bits, "Bits",
                {.choices = Values{8.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.58, 1.0},
                 .offers = Values{8.0, 4.0, 3.0, 2.0, 1.0},
                 .unit = "bits",
                 .help = "Bits per code; 1.58 is ternary, 5 and 6 are stored in a byte each."})
          .integer("group", &Settings::group, "Group",
                   {.low = 0,
                    .high = 1 << 20,
                    .offers = Values{std::int64_t{32}, std::int64_t{64}, std::int64_t{128}},
                    .unit = "weights",
                    .help = "Weights that share a scale and a zero; must divide the tensor. 0: a whole row or column."})
          .integer("axis", &Settings::axis, "Axis",
                   {.choices = Values{std::int64_t{1}, std::int64_t{0}},
                    .help = "1 groups consecutive weights of a row, 0 weights of a column."})
          .boolean(
              "optimize", &Settings::optimize, "Optimize",
              {.help = "Improve the zeros by the half-quadratic iterations.", .onlyKey = "channel-wise", .onlyValues = {true}})
          .boolean("channel-wise", &Settings::channelWise, "Channel-wise",
                   {.help = "A scale per group; otherwise one for the tensor, not optimized."})
          .boolean("round-zero", &Settings::roundZero, "Round zero",
                   {.help = "Round the first zero to an integer (the library does at 4 bits); the iterations unround it."})
          .integer("iterations", &Settings::iterations, "Iterations",
                   {.low = 0, .high = 1000, .help = "At most so many.", .onlyKey = "optimize", .onlyValues = onlyOptimized})
          .real("p", &Settings::p, "p",
                {.low = 0.01,
                 .high = 1,
                 .help = "Norm of the error that is minimized.",
                 .onlyKey = "optimize",
                 .onlyValues = onlyOptimized})
          .real("beta", &Settings::beta, "Beta",
                {.low = 1e-3,
                 .high = 1e9,
                 .help = "Weight of the quadratic term.",
                 .onlyKey = "optimize",
                 .onlyValues = onlyOptimized})
          .real("kappa", &Settings::kappa, "Kappa",
                {.low = 1,
                 .high = 10,
                 .help = "Growth of beta in hqq before 0.2.6; 0.2.8 reads and ignores it, and so do we.",
                 .onlyKey = "optimize",
                 .onlyValues = onlyOptimized})
          .boolean("nested", &Settings::nested, "Quantize scales",
                   {.help = "Store scales and zeros as 8-bit codes (before hqq 0.2)."})
          .text("nested-zero", &Settings::nestedZero, "Zeros in",
                {.choices = Values{std::string("tensor"), std::string("group")},
                 .help = "Quantized zeros: one group for the tensor, or groups of 128 like the scales.",
                 .onlyKey = "nested",
                 .onlyValues = {true}})
          .text("params", &Settings::params, "Parameters",
                {.choices = Values{std::string("f16"), std::string("f32"), std::string("bf16")},
                 .help = "Stored type of scales and zeros."});
  return settings;
}

constexpr std::uint64_t nestedGroup = 128;  // hqq's default for quantized scales

float maxCodeOf(double bits) {
  return static_cast<float>(std::nearbyint(std::exp2(bits) - 1));
}
int widthOf(double bits) {
  return static_cast<int>(std::ceil(bits));
}
int packedWidth(double bits) {
  return bits > 4 ? 8 : widthOf(bits);
}

// How a matrix falls into groups.
struct Shape {
  std::uint64_t groups, size, groupedRows, groupedColumns;
  bool contiguous;
  Grouping grouping;
};

Shape shapeOf(const Settings& settings, MatrixSize size) {
  if (!settings.channelWise) return {1, size.count(), size.rows, size.columns, true, Grouping::tensor(size.rows, size.columns)};
  const bool alongRow = settings.axis == 1;
  const std::uint64_t length = settings.group != 0 ? static_cast<std::uint64_t>(settings.group)
                               : alongRow          ? size.columns
                                                   : size.rows;
  const std::uint64_t groups = size.count() / length;
  if (alongRow) return {groups, length, groups, length, true, Grouping::flat(size.rows, size.columns, length)};
  return {groups, length, length, groups, false, Grouping::modulo(size.rows, size.columns, groups)};
}

// Scales or zeros as 8-bit codes; parameters of those in the given type.
Result<std::shared_ptr<const QuantizedTensor>> quantizeParameters(const std::vector<float>& values, bool inGroups,
                                                                  Stored stored, const Context& context) {
  Settings settings;
  settings.bits = 8;
  settings.group = nestedGroup;
  settings.axis = 0;
  settings.channelWise = inGroups;
  const Shape shape = shapeOf(settings, {1, values.size()});
  const GroupView view = shape.contiguous ? GroupView::contiguous(values.data(), shape.groups, shape.size)
                                          : GroupView::strided(values.data(), shape.groups, shape.size);
  std::vector<float> low(shape.groups), high(shape.groups), inverse(shape.groups), zero(shape.groups), scale(shape.groups);
  context.backend->ranges(view, low.data(), high.data());
  for (std::size_t g = 0; g < shape.groups; ++g) {
    kernels::halfQuadraticStart(low[g], high[g], 255.0f, &inverse[g], &zero[g]);
    scale[g] = 1.0f / inverse[g];
  }
  NIBBLE_TRY(roundScales(scale, stored, 0));
  NIBBLE_TRY(roundOffsets(zero, stored, 0, "zero of the quantized parameters"));
  if (stored != Stored::F32)
    for (std::size_t g = 0; g < shape.groups; ++g) inverse[g] = 1.0f / scale[g];
  std::vector<std::uint8_t> codes(values.size());
  context.backend->encodeAffine(view, kernels::CodeRule::MultiplyAddRound, inverse.data(), zero.data(), 255, codes.data());
  QuantizedTensor nested;
  nested.scheme = "hqq";
  nested.rows = 1;
  nested.columns = values.size();
  nested.shape = {1, values.size()};
  nested.codes = Codes(std::move(codes));
  nested.width.uniform = 8;
  nested.rule = ValueRule::ScaleMinusZero;
  nested.scale = Plane::numbers(shape.grouping, std::move(scale), stored);
  nested.zero = Plane::numbers(shape.grouping, std::move(zero), stored);
  nested.layout = rowInterleavedLayout(values.size(), 1, 8);
  return std::make_shared<const QuantizedTensor>(std::move(nested));
}

class Job {
 public:
  Job(const Tensor& tensor, const Settings& settings, const Context& context)
      : m_tensor(tensor),
        m_settings(settings),
        m_context(context),
        m_shape(shapeOf(settings, {tensor.rows(), tensor.columns()})),
        m_stored(storedFromName(settings.params)),
        m_solver{static_cast<float>(settings.p), static_cast<float>(settings.beta), static_cast<int>(settings.iterations),
                 maxCodeOf(settings.bits)},
        m_inverse(m_shape.groups),
        m_start(m_shape.groups),
        m_codes(tensor.size()) {}
  Result<QuantizedTensor> run();

 private:
  using Body = std::function<Status(std::uint64_t firstGroup, const GroupView& view, std::uint8_t* codes)>;
  // Calls body for runs of groups, each but the last a multiple of `unit`.
  Status eachPart(std::uint64_t unit, const Body& body);
  Status start();
  Status startOfTensor();
  Status optimize();
  Status stopWhereTheReferenceDoes();
  Status chooseCodes();
  Result<QuantizedTensor> finish();
  Status startGroup(std::uint64_t group, float low, float high);

  const Tensor& m_tensor;
  Settings m_settings;
  const Context& m_context;
  Shape m_shape;
  Stored m_stored;
  kernels::HalfQuadraticSettings m_solver;
  AllWeights m_all;  // axis 0
  std::vector<float> m_inverse, m_start, m_zero, m_scale;
  std::vector<double> m_chunkErrors;
  std::vector<int> m_restAfter;
  std::vector<std::uint8_t> m_codes;
  std::vector<std::string> m_notes;
};

Status Job::eachPart(std::uint64_t unit, const Body& body) {
  if (!m_settings.channelWise)
    return forEachStrip(m_tensor, 1, m_context, [&](std::uint64_t begin, std::span<const float> weights) {
      return body(0, GroupView::contiguous(weights.data(), 1, weights.size()), m_codes.data() + begin);
    });
  if (m_shape.contiguous)
    return forEachStrip(m_tensor, unit * m_shape.size, m_context, [&](std::uint64_t begin, std::span<const float> weights) {
      return body(begin / m_shape.size, GroupView::contiguous(weights.data(), weights.size() / m_shape.size, m_shape.size),
                  m_codes.data() + begin);
    });
  const std::uint64_t grain = std::max<std::uint64_t>(1, 65536 / (halfQuadraticChunk * m_shape.size)) * halfQuadraticChunk;
  return forEachPiece(m_shape.groups, grain, m_shape.size, m_context, [&](std::uint64_t begin, std::uint64_t end) {
    return body(begin, GroupView{m_all.values().data() + begin, end - begin, m_shape.size, 1, m_shape.groups},
                m_codes.data() + begin);
  });
}

Status Job::startGroup(std::uint64_t group, float low, float high) {
  if (!kernels::isFinite(high - low))
    return fail("group " + text::number(group) + ": range " + text::number(low) + ".." + text::number(high) +
                " is beyond float32");
  kernels::halfQuadraticStart(low, high, m_solver.maxCode, &m_inverse[group], &m_start[group]);
  if (m_settings.roundZero) m_start[group] = std::nearbyint(m_start[group]);
  return {};
}

// Inverse scale and first zero of every group.
Status Job::start() {
  if (!m_settings.channelWise) return startOfTensor();
  return eachPart(1, [&](std::uint64_t first, const GroupView& view, std::uint8_t*) -> Status {
    std::vector<float> low(view.groups), high(view.groups);
    m_context.backend->ranges(view, low.data(), high.data());
    for (std::size_t g = 0; g < view.groups; ++g) NIBBLE_TRY(startGroup(first + g, low[g], high[g]));
    return {};
  });
}

Status Job::startOfTensor() {
  kernels::Range whole;
  std::mutex mutex;
  NIBBLE_TRY(eachPart(1, [&](std::uint64_t, const GroupView& view, std::uint8_t*) -> Status {
    float low = 0, high = 0;
    m_context.backend->ranges(view, &low, &high);
    const std::lock_guard lock(mutex);
    include(whole, low);
    include(whole, high);
    return {};
  }));
  return startGroup(0, whole.low, whole.high);
}

Status Job::optimize() {
  const auto iterations = static_cast<std::size_t>(m_solver.iterations);
  m_chunkErrors.resize((m_shape.groups + halfQuadraticChunk - 1) / halfQuadraticChunk * iterations);
  m_restAfter.resize(m_shape.groups);
  NIBBLE_TRY(eachPart(halfQuadraticChunk, [&](std::uint64_t first, const GroupView& view, std::uint8_t*) -> Status {
    m_context.backend->halfQuadratic(view, m_solver, m_inverse.data() + first, m_zero.data() + first,
                                     m_chunkErrors.data() + first / halfQuadraticChunk * iterations,
                                     m_restAfter.data() + first);
    return {};
  }));
  return stopWhereTheReferenceDoes();
}

Status Job::stopWhereTheReferenceDoes() {
  const auto iterations = static_cast<std::size_t>(m_solver.iterations);
  std::vector<double> errors(iterations, 0.0);
  for (std::size_t i = 0; i < m_chunkErrors.size(); ++i) errors[i % iterations] += m_chunkErrors[i];
  for (double& error : errors) error /= static_cast<double>(m_tensor.size());
  const int seen = kernels::halfQuadraticStop(errors.data(), m_solver.iterations);
  m_notes.push_back("half-quadratic: " + text::number(std::int64_t{seen}) + " of " + text::number(m_settings.iterations) +
                    " iterations, mean |error| " + text::digits(errors[static_cast<std::size_t>(seen) - 1], 9));
  if (seen == m_solver.iterations) return {};
  kernels::HalfQuadraticSettings fewer = m_solver;
  fewer.iterations = seen;
  return eachPart(halfQuadraticChunk, [&](std::uint64_t first, const GroupView& view, std::uint8_t*) -> Status {
    const auto rest = std::span(m_restAfter).subspan(first, view.groups);
    if (std::all_of(rest.begin(), rest.end(), [=](int after) { return after <= seen; })) return {};
    std::copy_n(m_start.begin() + static_cast<std::ptrdiff_t>(first), view.groups,
                m_zero.begin() + static_cast<std::ptrdiff_t>(first));
    std::vector<double> unused((view.groups + halfQuadraticChunk - 1) / halfQuadraticChunk * static_cast<std::size_t>(seen));
    m_context.backend->halfQuadratic(view, fewer, m_inverse.data() + first, m_zero.data() + first, unused.data(), rest.data());
    return {};
  });
}

Status Job::chooseCodes() {
  m_scale.resize(m_shape.groups);
  for (std::size_t g = 0; g < m_shape.groups; ++g) m_scale[g] = 1.0f / m_inverse[g];
  if (!m_settings.nested) {
    NIBBLE_TRY(roundScales(m_scale, m_stored, 0));
    NIBBLE_TRY(roundOffsets(m_zero, m_stored, 0, "zero"));
    if (m_stored != Stored::F32)
      for (std::size_t g = 0; g < m_shape.groups; ++g) m_inverse[g] = 1.0f / m_scale[g];
  }
  return eachPart(1, [&](std::uint64_t first, const GroupView& view, std::uint8_t* codes) -> Status {
    m_context.backend->encodeAffine(view, kernels::CodeRule::MultiplyAddRound, m_inverse.data() + first, m_zero.data() + first,
                                    static_cast<int>(m_solver.maxCode), codes);
    return {};
  });
}

Result<QuantizedTensor> Job::run() {
  if (!m_shape.contiguous) {
    auto all = AllWeights::read(m_tensor, m_context);
    if (!all) return fail(all.error());
    m_all = *std::move(all);
  }
  NIBBLE_TRY(start());
  m_zero = m_start;
  if (m_settings.optimize && m_settings.channelWise && m_solver.iterations > 0) NIBBLE_TRY(optimize());
  NIBBLE_TRY(chooseCodes());
  NIBBLE_TRY(m_tensor.intact());
  return finish();
}

Result<QuantizedTensor> Job::finish() {
  QuantizedTensor result;
  result.rows = m_tensor.rows();
  result.columns = m_tensor.columns();
  result.shape = m_tensor.shape();
  result.codes = Codes(std::move(m_codes));
  result.width.uniform = static_cast<std::uint8_t>(widthOf(m_settings.bits));
  if (m_settings.bits == 1.58) result.levels.levelCount = 3;
  result.rule = ValueRule::ScaleMinusZero;
  if (m_settings.nested) {
    auto scale = quantizeParameters(m_scale, true, m_stored, m_context);
    if (!scale) return fail(scale.error());
    auto zero = quantizeParameters(m_zero, m_settings.nestedZero == "group", m_stored, m_context);
    if (!zero) return fail(zero.error());
    result.scale = Plane::quantized(m_shape.grouping, *std::move(scale));
    result.zero = Plane::quantized(m_shape.grouping, *std::move(zero));
  } else {
    result.scale = Plane::numbers(m_shape.grouping, std::move(m_scale), m_stored);
    result.zero = Plane::numbers(m_shape.grouping, std::move(m_zero), m_stored);
  }
  result.layout = rowInterleavedLayout(m_shape.groupedRows, m_shape.groupedColumns, packedWidth(m_settings.bits));
  result.notes = std::move(m_notes);
  return result;
}

class HqqScheme final : public Scheme {
 public:
  const SchemeInfo& info() const override {
    static const SchemeInfo about{"hqq", "HQQ", "half-quadratic zero points", "hqq 0.2.8 (Badri and Shaji, 2023)", Family::Hqq};
    return about;
  }
  const std::vector<SettingInfo>& settings() const override { return table().infos(); }
  std::vector<Promise> promises(const SettingValues& values) const override {
    const Settings settings = table().read(values);
    std::vector<Promise> kept{Promise::Deterministic};
    // Ternary codes use three of the four levels their two bits have; nested parameters are rounded after codes are chosen.
    if (!settings.nested && settings.bits != 1.58) kept.push_back(Promise::NearestLevel);
    return kept;
  }
  std::optional<std::string> refusal(const SettingValues& values, MatrixSize size) const override {
    const Settings settings = table().read(values);
    if (settings.channelWise && settings.group > 0 && size.count() % static_cast<std::uint64_t>(settings.group) != 0)
      return "group=" + text::number(settings.group) + " does not divide " + text::number(size.rows) + " x " +
             text::number(size.columns) + " = " + text::number(size.count()) + " weights";
    if (size.count() == 0) return std::nullopt;
    const std::uint64_t groups = shapeOf(settings, size).groups;
    if (settings.nested && groups % nestedGroup != 0)
      return "nested=true wants a multiple of " + text::number(nestedGroup) + " groups, here are " + text::number(groups);
    return std::nullopt;
  }
  Result<QuantizedTensor> quantize(const Tensor& tensor, const SettingValues& values, const Context& context) const override {
    return Job(tensor, table().read(values), context).run();
  }
};

}  // namespace

const Scheme& hqqScheme() {
  static const HqqScheme scheme;
  return scheme;
}

}  // namespace nibble
