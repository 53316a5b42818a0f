// The loop of train with what a run has around it.
#include "run/training.h"

#include <c10/core/CachingDeviceAllocator.h>

#include <algorithm>

#include "data/batches.h"
#include "ops/graph.h"
#include "train/cross_entropy.h"

namespace hypenet {
namespace {

/// Leaves the stage's frozen parameters out of training.
void freeze(CausalLm& model, const StageConfig& config, const std::string& place) {
  auto parameters = model->named_parameters();
  check_parts(config, parameters.keys(), place);
  for (const std::string& part : config.frozen) {
    for (auto& item : parameters) {
      if (item.key().find(part) != std::string::npos) item.value().set_requires_grad(false);
    }
  }
}

/// "auto": a teacher that would take more than a tenth of a GPU's memory.
bool is_to_be_shared_out(const std::string& choice, const CausalLm& model,
                         const Communicator& communicator) {
  if (communicator.ranks().count == 1 || choice != "auto") {
    return communicator.ranks().count > 1 && choice == "on";
  }
  const torch::Device device = model->head_weight().device();
  if (!device.is_cuda()) return false;
  constexpr size_t kLargestShare = 10;
  size_t bytes = 0;
  for (const Tensor& parameter : model->parameters()) bytes += parameter.nbytes();
  const auto [free, total] = c10::getDeviceAllocator(device.type())->getMemoryInfo(device.index());
  return bytes > total / kLargestShare;
}

}  // namespace

void check_vocabulary(const Tokenizer& tokenizer, const ModelConfig& config,
                      const std::string& place) {
  HYPENET_CHECK(tokenizer.vocab_size() <= config.vocab_size, place,
                ": expected a vocabulary of at most the embedding's ", config.vocab_size,
                " rows, found a tokenizer with ", tokenizer.vocab_size(), " ids");
}

void check_stage_rows(const StageConfig& stage, const Tokenizer& tokenizer, torch::Device device,
                      const std::string& place) {
  HYPENET_CHECK(stage.cuda_graph != "on" || can_capture(device), place,
                ": cuda_graph: expected \"auto\" or \"off\" on device ", device.str(),
                ", found \"on\"");
  at_place(place, [&] {
    Batches::check({stage.sequences, stage.context, 0, stage.mixture}, tokenizer);
  });
}

void check_stage_text(const StageConfig& stage, const TokenDataset& text,
                      const std::string& place) {
  HYPENET_CHECK(text.tokens() >= stage.context, place, ": context: expected at most the ",
                text.tokens(), " tokens of ", text.folder().string(), ", found ", stage.context);
}

void check_parts(const StageConfig& stage, const std::vector<std::string>& names,
                 const std::string& place) {
  const auto has = [](std::string_view part) {
    return [part](const std::string& name) { return name.find(part) != name.npos; };
  };
  std::vector<std::string> trained = names;
  for (const std::string& part : stage.frozen) {
    HYPENET_CHECK(std::ranges::any_of(names, has(part)), place,
                  ": frozen: expected part of a parameter's name, found \"", part, "\"");
    std::erase_if(trained, has(part));
  }
  HYPENET_CHECK(!trained.empty() || stage.steps == 0, place,
                ": frozen: expected to leave a parameter to train, found parts of all their names");
  const auto moves = [&](const std::string& name) { return rate_share(stage.optimizer, name) > 0; };
  HYPENET_CHECK(std::ranges::any_of(trained, moves) || stage.steps == 0, place,
                ": optimizer.rates: expected to leave a parameter a rate, found 0 for all");
  for (const auto& [part, factor] : stage.optimizer.rates.items()) {
    HYPENET_CHECK(!part.empty() && std::ranges::any_of(trained, has(part)), place,
                  ": optimizer.rates: expected part of the name of a parameter that is trained, "
                  "found \"",
                  part, "\"");
  }
}

void train_stage(const StageTraining& training, const std::shared_ptr<const TokenDataset>& text,
                 const Tokenizer& tokenizer, Objective& objective, const RunOptions& options) {
  const auto& [stage, config, model_to_train, seed, communicator, gathered, folder] = training;
  CausalLm model = model_to_train;
  freeze(model, config, stage.name);
  if (options.device.is_cuda() && config.compute_type() == torch::kFloat32) {
    note(options, stage.name +
                      ": recurrent layers train by tensor code: a GPU's kernels compute in "
                      "bfloat16, this stage in float32");
  }
  std::shared_ptr<ShardedWeights> sharded;
  if (communicator->ranks().count > 1) {
    sharded = ShardedWeights::share_out(model, communicator, gathered);
  }
  const TrainJob job{.stage = stage.name,
                     .config = config,
                     .parameters = sharded ? sharded->whole() : trainable_parameters(model),
                     .sharded = sharded,
                     .folder = folder,
                     .settings = stage.settings,
                     .completed = stage.completed,
                     .device = options.device,
                     .observer = options.observer,
                     .stop = options.stop,
                     .after_update = [model]() mutable { model->refresh_compute_copies(); },
                     .communicator = communicator};
  const Batches batches(text, &tokenizer, {config.sequences, config.context, seed, config.mixture});
  if (train(job, batches, objective) == TrainResult::kInterrupted) throw Interrupted();
  if (sharded) sharded->make_whole();
}

void remove_state(const Stage& stage) { remove_state(stage.folder.parent_path(), stage.name); }

CausalLm load_trained(const Checkpoint& checkpoint, const StageConfig& stage,
                      torch::Device device) {
  CausalLm model = load_model(checkpoint, torch::kFloat32, device);
  model->prepare(stage.compute_plan());
  return model;
}

void share_teacher(CausalLm& teacher, const StageConfig& stage,
                   const std::shared_ptr<Communicator>& communicator) {
  for (auto& parameter : teacher->parameters()) parameter.set_requires_grad(false);
  if (is_to_be_shared_out(stage.shard_teacher, teacher, *communicator)) {
    ShardedWeights::share_out(teacher, communicator);
  }
}

CausalLm load_frozen(const Checkpoint& checkpoint, const StageConfig& stage, torch::Device device,
                     const std::shared_ptr<Communicator>& communicator) {
  CausalLm model = load_model(checkpoint, stage.compute_type(), device);
  model->prepare({.type = stage.compute_type()});
  share_teacher(model, stage, communicator);
  return model;
}

}  // namespace hypenet
