// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/train_options.h"

#include "core/train/adapter.h"
#include "core/train/methods.h"

namespace nibble::cli {
namespace {

std::vector<std::string> methodIds() {
  std::vector<std::string> ids;
  for (const train::Method& method : train::allMethods()) ids.emplace_back(method.id);
  return ids;
}

std::vector<std::string> optimizerIds() {
  std::vector<std::string> ids;
  for (const train::OptimizerKind& kind : train::allOptimizers()) ids.emplace_back(kind.id);
  return ids;
}

}  // namespace

void TrainOptions::add(CLI::App& command) {
  selection.addPath(command);
  selection.addSelection(command);
  command.add_option("--method", m_settings.method, "What is trained")->required()->check(CLI::IsMember(methodIds()));
  addAdapter(command);
  addOptimizer(command);
  addRun(command);
  addBits(command);
  activations.add(command);
  command.add_flag("--json", json, "One JSON document");
}

void TrainOptions::addAdapter(CLI::App& command) {
  train::AdapterSettings& adapter = m_settings.adapter;
  command.add_option("--base", adapter.base, "How the frozen base is quantized, as id:key=value,...; without it: float")
      ->type_name("SCHEME");
  command.add_option("--variant", m_variant, "Whose definition of an adapter")->check(CLI::IsMember(train::variantNames()));
  m_rankGiven = command.add_option("--rank", adapter.rank, "Rank of BA");
  m_alphaGiven = command.add_option("--alpha", adapter.alpha, "Numerator of BA's scale; document000: factor of the output");
  command.add_option("--scaling", m_scaling, "BA is scaled by alpha over the rank, over its root, or not")
      ->check(CLI::IsMember(train::scalingNames()));
  command.add_option("--start", m_start, "First values of A and B")->check(CLI::IsMember(train::adapterStartNames()));
  command
      .add_option("--magnitude", m_magnitude, "Whose row norms the magnitude starts as: the base's or the original weights'")
      ->check(CLI::IsMember({"base", "original"}));
  command.add_option("--loftq-iterations", adapter.loftqIterations, "Turns of --start loftq")->check(CLI::Range(1, 1000));
  command.add_flag("--norm-gradient", adapter.normGradient,
                   "The row norm has a gradient too; without it it counts as constant");
  command.add_option("--init", m_settings.init, "First values: lora_A, lora_B, lora_magnitude_vector; logits or step, as TENSOR/logits where several train")
      ->type_name("FILE");
}

void TrainOptions::addOptimizer(CLI::App& command) {
  train::OptimizerSettings& optimizer = m_settings.optimizer;
  command.add_option("--optimizer", optimizer.kind, "Rule of the update")->check(CLI::IsMember(optimizerIds()));
  command.add_option("--lr", optimizer.learningRate, "Learning rate");
  command.add_option("--momentum", optimizer.momentum, "Momentum of sgd");
  command.add_option("--beta1", optimizer.beta1, "Decay of Adam's first moment");
  command.add_option("--beta2", optimizer.beta2, "Decay of Adam's second moment");
  command.add_option("--epsilon", optimizer.epsilon, "Added to the root of Adam's second moment");
  command.add_option("--weight-decay", optimizer.weightDecay, "Weight decay");
  command.add_option("--schedule", m_schedule, "Learning rate over the steps")
      ->check(CLI::IsMember({"constant", "linear", "cosine"}));
  command.add_option("--warmup", m_settings.schedule.warmup, "Steps over which the learning rate rises");
  command.add_option("--floor", m_settings.schedule.floor, "Where a schedule ends, as a part of --lr");
  command.add_option("--clip", m_settings.clipNorm, "Largest norm of all gradients together; 0: any");
  command.add_option("--accumulate", m_settings.accumulation, "Passes a step");
  command.add_option("--batch", m_settings.batchRows, "Rows of inputs a pass; 0: all, divided over the passes");
}

void TrainOptions::addRun(CLI::App& command) {
  command.add_option("--steps", m_settings.steps, "Steps in all");
  command.add_option("--seed", m_settings.seed, "Of everything that is drawn");
  command.add_option("--dtype", m_type, "How trained numbers are stored")->check(CLI::IsMember({"f64", "f32", "bf16", "f16"}));
  command.add_option("--loss", m_loss, "Mean square of output - target, or the sum of the outputs")
      ->check(CLI::IsMember({"mse", "sum"}));
  command
      .add_option("--targets", m_settings.data.targets,
                  "Targets [tokens, out]: .npy, .npz, .safetensors; without them the float layer's outputs")
      ->type_name("FILE");
  command.add_option("--rows", m_settings.data.rows, "Rows of inputs to draw, where no --inputs are given");
  command.add_option("--outlier-channels", m_settings.data.outlierChannels,
                     "Drawn input channels that are larger than the others");
  command.add_option("--outlier-scale", m_settings.data.outlierScale, "How many times larger");
  command.add_option("--trace", trace, "Loss, output, gradients and parameters of every step")->type_name("FILE.npz");
  command.add_option("--out", out, "Folder for what was trained: a PEFT adapter and merged weights; or weights, bits and a recipe")->type_name("DIR");
  command.add_option("--checkpoint", checkpoint, "Where the run so far is saved")->type_name("FILE");
  command.add_option("--checkpoint-every", checkpointEvery, "Steps between savings")
      ->check(CLI::Range(std::uint64_t{1}, ~std::uint64_t{0}));
  command.add_option("--resume", resume, "Go on from a saved run")->type_name("FILE");
  m_stopLossGiven = command.add_option("--stop-loss-above", m_stopLoss, "Stop where the loss is above this");
  command.add_flag("--stop-nothing-moved", m_stopNothingMoved, "Stop where an update moves nothing");
}

void TrainOptions::addBits(CLI::App& command) {
  train::DiffqSettings& diffq = m_settings.diffq;
  command.add_option("--lambda", diffq.lambda, "Price of a MB in the loss");
  command.add_option("--param", m_param, "What a logit stands for")->check(CLI::IsMember({"bits", "noise"}));
  command.add_option("--noise-kind", m_noiseKind, "Noise that stands for quantization")
      ->check(CLI::IsMember({"gaussian", "uniform"}));
  command.add_option("--group", diffq.group, "Weights that share their bits; 0: all of a tensor");
  command.add_option("--min-bits", diffq.minBits, "Fewest bits");
  command.add_option("--max-bits", diffq.maxBits, "Most bits");
  command.add_option("--init-bits", diffq.initBits, "Bits at the start");
  command.add_option("--extra-bits", diffq.extraBits, "Added when weights are truly quantized");
  command.add_option("--bits", diffq.fixedBits, "Bits of lsq and ste");
  command.add_option("--lr-logits", diffq.logitsLearningRate, "Learning rate of the logits");
  command.add_option("--min-size", diffq.minSizeMb, "Tensors of at most so many MB stay float");
  command.add_option("--exclude", diffq.exclude, "Tensors that stay float; * ? [seq]; repeatable")
      ->type_name("PATTERN")
      ->allow_extra_args(false);
  command.add_flag("--float16", diffq.float16, "What stays float counts and is stored as float16");
  command.add_flag("--no-detect-bound", m_noDetectBound, "Equal tensors are not taken for one");
  command.add_option("--noise", m_settings.noise, "Arrays STEP/TENSOR instead of drawn noise")->type_name("FILE.npz");
}

Result<train::TrainSettings> TrainOptions::settings() const {
  train::TrainSettings settings = m_settings;
  train::AdapterSettings& adapter = settings.adapter;
  adapter.variant = train::variantFromName(m_variant).value_or(adapter.variant);
  adapter.scaling = train::scalingFromName(m_scaling).value_or(adapter.scaling);
  adapter.start = train::adapterStartFromName(m_start).value_or(adapter.start);
  if (!m_magnitude.empty())
    adapter.magnitude = m_magnitude == "base" ? train::MagnitudeStart::Base : train::MagnitudeStart::Original;
  if (m_rankGiven->count() == 0 && !settings.init.empty())
    if (const auto rank = train::adapterRank(settings.init)) adapter.rank = *rank;
  if (m_alphaGiven->count() == 0)
    adapter.alpha = adapter.variant == train::Variant::Document000 ? 1 : static_cast<double>(adapter.rank);
  using Kind = train::Schedule::Kind;
  if (!m_schedule.empty())
    settings.schedule.kind = m_schedule == "linear" ? Kind::Linear : m_schedule == "cosine" ? Kind::Cosine : Kind::Constant;
  if (!m_type.empty()) settings.type = train::numberTypeFromName(m_type);
  settings.loss = m_loss == "sum" ? train::LossKind::Sum : train::LossKind::MeanSquares;
  settings.data.inputs = activations.inputs;
  if (m_param == "noise") settings.diffq.param = train::DiffqSettings::Param::Noise;
  if (m_noiseKind == "uniform") settings.diffq.noiseKind = train::DiffqSettings::NoiseKind::Uniform;
  settings.diffq.detectBound = !m_noDetectBound;
  return settings;
}

train::Breakpoints TrainOptions::breakpoints() const {
  train::Breakpoints breakpoints;
  if (m_stopLossGiven->count() != 0) breakpoints.lossAbove = m_stopLoss;
  breakpoints.nothingMoved = m_stopNothingMoved;
  return breakpoints;
}

}  // namespace nibble::cli
