// SPDX-License-Identifier: GPL-3.0-or-later
#include "core/run/diff.h"

#include "core/base/text.h"
#include "core/io/tensor_names.h"
#include "core/quant/encode.h"
#include "kernels/backend.h"

#include <algorithm>
#include <cmath>
#include <new>
#include <set>

namespace nibble {
namespace {

struct Pair {
  const WeightItem* a = nullptr;
  const WeightItem* b = nullptr;
};

void warn(const DiffJob& job, const std::string& line) {
  if (job.warn) job.warn(line);
}

bool takesPart(const WeightItem& item) {
  return item.packed || info(item.type).floating;
}

// "layers.0.q.weight" is the end of "model.layers.0.q.weight", at a point.
bool endsName(std::string_view longer, std::string_view shorter) {
  return longer.size() > shorter.size() && longer.ends_with(shorter) && longer[longer.size() - shorter.size() - 1] == '.';
}

// One name as Hugging Face has it, the other as llama.cpp does.
bool isLlamaCppNameOf(const std::string& name, const std::string& other) {
  const auto found = llamaCppName(other);
  return found && !found->expert && found->name == name;
}

bool samePlace(const WeightItem& a, const WeightItem& b) {
  if (a.shape != b.shape) return false;
  return endsName(a.name, b.name) || endsName(b.name, a.name) || isLlamaCppNameOf(a.name, b.name) || isLlamaCppNameOf(b.name, a.name);
}

// llama.cpp has the rows of a Llama's queries and keys in another order than Hugging Face.
bool rowsAreMoved(const WeightList& list, const std::string& name) {
  const bool moves = name.ends_with(".attn_q.weight") || name.ends_with(".attn_k.weight") || name.ends_with(".attn_q.bias") ||
                     name.ends_with(".attn_k.bias");
  if (!moves) return false;
  const auto& metadata = list.checkpoint().metadata();
  return std::find(metadata.begin(), metadata.end(), std::pair<std::string, std::string>("general.architecture", "llama")) != metadata.end();
}
bool inAnotherOrder(const WeightList& a, const std::string& nameA, const WeightList& b, const std::string& nameB) {
  return nameA != nameB && rowsAreMoved(a, nameA) != rowsAreMoved(b, nameB);
}

// The only item of `list` at the place of `item`; null: there is none, or more than one.
const WeightItem* onlyPartner(const std::vector<const WeightItem*>& list, const WeightItem& item) {
  const WeightItem* found = nullptr;
  for (const WeightItem* other : list) {
    if (!samePlace(item, *other)) continue;
    if (found != nullptr) return nullptr;
    found = other;
  }
  return found;
}

// The partner of `item` in `list`: of the same name, else at the same place.
const WeightItem* partnerOf(const WeightItem& item, const WeightList& list) {
  if (const WeightItem* same = list.find(item.name)) return same;
  std::vector<const WeightItem*> others;
  for (const WeightItem& other : list.items())
    if (takesPart(other)) others.push_back(&other);
  return onlyPartner(others, item);
}

std::string someNames(const std::vector<const WeightItem*>& items) {
  std::vector<std::string> names;
  for (std::size_t i = 0; i < std::min<std::size_t>(items.size(), 3); ++i) names.push_back(items[i]->name);
  return text::join(names, ", ") + (items.size() > 3 ? ", ..." : "");
}

void warnOfRest(const DiffJob& job, const std::vector<const WeightItem*>& rest, std::string_view side) {
  if (!rest.empty())
    warn(job, text::number(std::uint64_t{rest.size()}) + (rest.size() == 1 ? " tensor is" : " tensors are") + " only in " +
                  std::string(side) + ": " + someNames(rest));
}

// Everything that has a partner; what has none, or one of another shape, is told.
std::vector<Pair> matchAll(const DiffJob& job) {
  std::vector<Pair> pairs;
  std::vector<const WeightItem*> restA, restB;
  std::set<const WeightItem*> taken;
  for (const WeightItem& item : job.a->items()) {
    if (!takesPart(item)) continue;
    const WeightItem* partner = job.b->find(item.name);
    if (partner == nullptr || !takesPart(*partner)) {
      restA.push_back(&item);
      continue;
    }
    taken.insert(partner);
    if (partner->shape == item.shape)
      pairs.push_back({&item, partner});
    else
      warn(job, item.name + " is " + toText(item.shape) + " in A and " + toText(partner->shape) + " in B: left out");
  }
  for (const WeightItem& item : job.b->items())
    if (takesPart(item) && taken.count(&item) == 0) restB.push_back(&item);
  std::vector<const WeightItem*> onlyA;
  for (const WeightItem* item : restA) {
    const WeightItem* partner = onlyPartner(restB, *item);
    if (partner == nullptr || onlyPartner(restA, *partner) != item) {
      onlyA.push_back(item);
      continue;
    }
    taken.insert(partner);
    if (inAnotherOrder(*job.a, item->name, *job.b, partner->name))
      warn(job, item->name + " and " + partner->name + " have their rows in different orders: left out");
    else
      pairs.push_back({item, partner});
  }
  std::erase_if(restB, [&](const WeightItem* item) { return taken.count(item) != 0; });
  warnOfRest(job, onlyA, "A");
  warnOfRest(job, restB, "B");
  return pairs;
}

Result<std::vector<Pair>> matchNamed(const DiffJob& job) {
  std::vector<Pair> pairs;
  for (const std::string& name : job.tensors) {
    const WeightItem* item = job.a->find(name);
    if (item == nullptr) {
      const auto shape = job.a->shapeOf(name);
      return shape ? fail("A: " + name + ": name the whole stack") : fail(shape.error().within("A"));
    }
    const WeightItem* partner = partnerOf(*item, *job.b);
    if (partner == nullptr) return fail("B: no tensor like " + name);
    if (!takesPart(*item) || !takesPart(*partner)) return fail(name + ": is neither floating nor a packed layer in both");
    if (partner->shape != item->shape)
      return fail(name + " is " + toText(item->shape) + " in A and " + toText(partner->shape) + " in B");
    if (inAnotherOrder(*job.a, item->name, *job.b, partner->name))
      return fail(name + " has its rows in another order in B: llama.cpp moves those of queries and keys");
    pairs.push_back({item, partner});
  }
  return pairs;
}

// Each way to read a tensor that a comparison is about; one empty name as a rule.
std::vector<std::string> readingsOf(const WeightList& list, const WeightItem& item) {
  const PackedLayer* layer = list.packedLayer(item.name);
  if (layer == nullptr || layer->doubt.empty() || layer->readings.empty()) return {std::string()};
  return layer->readings;
}

struct Side {
  DiffSide about;
  Tensor tensor;
};

Result<Side> readSide(const WeightList& list, const WeightItem& item, const std::string& reading, std::string_view side) {
  auto tensor = list.read(item.name, reading);
  if (!tensor) return fail(tensor.error().within(std::string(side)));
  const PackedLayer* layer = list.packedLayer(item.name);
  const std::string stored = layer != nullptr ? layer->description : std::string(info(item.type).name);
  return Side{{item.name, stored, reading, item.bitsPerWeight()}, *std::move(tensor)};
}

Result<std::optional<Tensor>> referenceFor(const DiffJob& job, const WeightItem& item) {
  if (job.reference == nullptr) return std::optional<Tensor>();
  const WeightItem* there = partnerOf(item, *job.reference);
  if (there == nullptr || there->shape != item.shape || inAnotherOrder(*job.a, item.name, *job.reference, there->name)) {
    warn(job, item.name + ": the reference has no tensor like it of shape " + toText(item.shape));
    return std::optional<Tensor>();
  }
  auto tensor = job.reference->read(there->name);
  if (!tensor) return fail(tensor.error().within("reference"));
  return std::optional<Tensor>(*std::move(tensor));
}

Result<DiffedTensor> measure(const Side& a, const Side& b, const std::optional<Tensor>& reference, const Context& context) {
  DiffedTensor row{a.about, b.about, a.tensor.shape(), {}, {}, {}};
  auto difference = differenceOf(a.tensor, b.tensor, context);
  if (!difference) return fail(difference.error().within(a.about.name));
  row.difference = *std::move(difference);
  if (!reference) return row;
  for (const Side* side : {&a, &b}) {
    auto report = differenceOf(*reference, side->tensor, context);
    if (!report) return fail(report.error().within(a.about.name));
    (side == &a ? row.aFromReference : row.bFromReference) = *std::move(report);
  }
  return row;
}

Status measurePair(const DiffJob& job, const Pair& pair, const Context& context, std::vector<DiffedTensor>& rows) {
  const auto reference = referenceFor(job, *pair.a);
  if (!reference) return fail(reference.error());
  for (const std::string& readingA : readingsOf(*job.a, *pair.a)) {
    const auto a = readSide(*job.a, *pair.a, readingA, "A");
    if (!a) return fail(a.error());
    for (const std::string& readingB : readingsOf(*job.b, *pair.b)) {
      const auto b = readSide(*job.b, *pair.b, readingB, "B");
      if (!b) return fail(b.error());
      auto row = measure(*a, *b, *reference, context);
      if (!row) return fail(row.error());
      rows.push_back(*std::move(row));
    }
  }
  return {};
}

}  // namespace

// Strips of a fixed size whose sums merge in order: the figures do not depend on the number of threads.
Result<ErrorReport> differenceOf(const Tensor& weights, const Tensor& other, const Context& context) {
  constexpr std::uint64_t strip = std::uint64_t{1} << 16;
  if (weights.size() != other.size()) return fail("the two have different numbers of weights");
  std::vector<kernels::ErrorSums> sums((weights.size() + strip - 1) / strip);
  NIBBLE_TRY(forEachPiece(sums.size(), 1, 0, context, [&](std::uint64_t begin, std::uint64_t end) -> Status {
    std::vector<float> w(strip), r(strip);
    for (std::uint64_t piece = begin; piece < end; ++piece) {
      const std::uint64_t first = piece * strip, count = std::min(strip, weights.size() - first);
      NIBBLE_TRY(weights.read(first, std::span(w).first(count)));
      NIBBLE_TRY(other.read(first, std::span(r).first(count)));
      sums[piece] = context.backend->errorSums(w.data(), r.data(), count);
    }
    return {};
  }));
  ErrorReport report;
  for (const kernels::ErrorSums& part : sums) report.sums += part;
  return report;
}

Result<std::vector<DiffedTensor>> diff(const DiffJob& job, const Context& context) try {
  auto pairs = job.tensors.empty() ? Result<std::vector<Pair>>(matchAll(job)) : matchNamed(job);
  if (!pairs) return fail(pairs.error());
  if (pairs->empty()) return fail("no tensor of A has the name and shape of one of B");
  for (const Pair& pair : *pairs) context.addTotal(elementCount(pair.a->shape));
  Context quiet = context;
  quiet.progress = nullptr;
  std::vector<DiffedTensor> rows;
  for (const Pair& pair : *pairs) {
    if (context.stopRequested()) return cancelled();
    NIBBLE_TRY(measurePair(job, pair, quiet, rows));
    context.addDone(elementCount(pair.a->shape));
  }
  // NaN, of weights that are none, goes first.
  const auto rank = [](const DiffedTensor& row) {
    const double mse = row.difference.mse();
    return mse == mse ? -mse : -HUGE_VAL;
  };
  std::stable_sort(rows.begin(), rows.end(), [&](const DiffedTensor& x, const DiffedTensor& y) {
    return rank(x) != rank(y) ? rank(x) < rank(y) : x.a.name < y.a.name;
  });
  return rows;
} catch (const std::bad_alloc&) {
  return fail("not enough memory to compare the two");
}

}  // namespace nibble
