// SPDX-License-Identifier: GPL-3.0-or-later
#include "core/io/checkpoint.h"

#include "core/base/text.h"
#include "core/io/container.h"

#include <algorithm>
#include <memory>

namespace nibble {
namespace {

constexpr std::uint64_t leastSide = 32;
constexpr std::uint64_t leastElements = 4096;
constexpr std::uint64_t mostExperts = 4096;  // more is no stack of experts, and naming each would only fill lists

bool worthwhile(DType type, std::uint64_t rows, std::uint64_t columns) {
  return info(type).floating && rows >= leastSide && columns >= leastSide && rows * columns >= leastElements;
}

// Letters to change, add or drop; anything above `limit` counts as limit + 1.
std::size_t distance(std::string_view a, std::string_view b, std::size_t limit) {
  if (std::max(a.size(), b.size()) - std::min(a.size(), b.size()) > limit) return limit + 1;
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = std::exchange(row[0], i);
    std::size_t least = row[0];
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t changed = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({changed, row[j] + 1, row[j - 1] + 1});
      least = std::min(least, row[j]);
    }
    if (least > limit) return limit + 1;
  }
  return row[b.size()];
}

std::string nearestName(const std::vector<TensorEntry>& entries, std::string_view name) {
  std::string nearest;
  std::size_t best = std::max<std::size_t>(3, name.size() / 5) + 1;
  for (const TensorEntry& entry : entries) {
    // A module is often asked for without its ".weight".
    if (entry.name.size() == name.size() + 7 && entry.name.starts_with(name) && entry.name.ends_with(".weight"))
      return entry.name;
    if (best == 0) break;
    const std::size_t apart = distance(entry.name, name, best - 1);
    if (apart < best) {
      best = apart;
      nearest = entry.name;
    }
  }
  return nearest;
}

struct ExpertName {
  std::string_view stack;
  std::uint64_t expert;
};

std::optional<ExpertName> expertName(std::string_view name) {
  const std::size_t open = name.rfind('[');
  if (open == std::string_view::npos || !name.ends_with(']')) return std::nullopt;
  const std::string_view digits = name.substr(open + 1, name.size() - open - 2);
  const std::optional<std::uint64_t> expert = text::parseUnsigned(digits);
  if (!expert || text::number(*expert) != digits) return std::nullopt;
  return ExpertName{name.substr(0, open), *expert};
}

// One matrix of the stack, a view of the same bytes. Nothing where the stack's matrices do not begin at whole bytes.
Result<Tensor> expertOf(Tensor stack, std::uint64_t expert, const std::string& name) {
  const Shape& shape = stack.shape();
  if (expert >= shape[0]) return fail("tensor " + printable(name) + ": the stack has " + text::number(shape[0]) + " matrices");
  const std::uint64_t bits = shape[1] * shape[2] * static_cast<std::uint64_t>(info(stack.type()).bits);
  if (bits % 8 != 0) return fail("tensor " + printable(name) + ": the stack's matrices share bytes");
  const std::span<const std::byte> bytes = stack.bytes().subspan(expert * (bits / 8), bits / 8);
  const DType type = stack.type();
  const Shape matrix{shape[1], shape[2]};
  auto owner = std::make_shared<const Tensor>(std::move(stack));
  return Tensor(name, type, matrix, bytes, owner, [owner] { return owner->intact(); });
}

}  // namespace

std::optional<std::size_t> Checkpoint::find(std::string_view name) const {
  std::call_once(m_named, [this] {
    const std::vector<TensorEntry>& list = entries();
    m_names = NameIndex(list.size());
    for (std::size_t i = 0; i < list.size(); ++i) m_names.insert(list[i].name, static_cast<std::uint32_t>(i));
  });
  return m_names.find(name);
}

Result<Tensor> Checkpoint::read(std::string_view name) const {
  if (const std::optional<std::size_t> index = find(name)) return read(*index);
  if (const std::optional<ExpertName> parts = expertName(name)) {
    const std::optional<std::size_t> index = find(parts->stack);
    if (index && entries()[*index].shape.size() == 3) {
      Result<Tensor> stack = read(*index);
      if (!stack) return stack;
      return expertOf(std::move(*stack), parts->expert, std::string(name));
    }
  }
  const std::string nearest = nearestName(entries(), name);
  return fail(path().string() + ": no tensor named " + printable(name) +
              (nearest.empty() ? "" : ", did you mean " + printable(nearest) + "?"));
}

bool worthQuantizing(const TensorEntry& entry) {
  if (entry.shape.size() < 2) return false;
  std::uint64_t rows = 1;
  for (std::size_t d = 0; d + 1 < entry.shape.size(); ++d) rows *= entry.shape[d];
  return worthwhile(entry.type, rows, entry.shape.back());
}

bool isExpertStack(const TensorEntry& entry) {
  return entry.shape.size() == 3 && entry.shape[0] > 0 && entry.shape[0] <= mostExperts &&
         worthwhile(entry.type, entry.shape[1], entry.shape[2]) &&
         entry.shape[1] * entry.shape[2] * static_cast<std::uint64_t>(info(entry.type).bits) % 8 == 0;
}

std::vector<TensorEntry> quantizableTensors(const Checkpoint& checkpoint) {
  std::vector<TensorEntry> result;
  for (const TensorEntry& entry : checkpoint.entries()) {
    if (!isExpertStack(entry)) {
      if (worthQuantizing(entry)) result.push_back(entry);
      continue;
    }
    for (std::uint64_t e = 0; e < entry.shape[0]; ++e)
      result.push_back({entry.name + "[" + text::number(e) + "]",
                        entry.type,
                        {entry.shape[1], entry.shape[2]},
                        entry.sizeBytes / entry.shape[0],
                        entry.file});
  }
  return result;
}

}  // namespace nibble
