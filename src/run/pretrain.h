// Training on text alone: the trainer of stage 3 over a list of phases, which begin with random
// weights or with those of a model folder ("uptraining").
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "base/json.h"
#include "run/corpus.h"
#include "run/evaluate.h"
#include "run/run.h"
#include "train/loop.h"

namespace hypenet {

/// Phases come one after the other, each a stage with its own schedule.
struct PretrainPhase {
  std::string name;
  StageConfig stage;
  template <class Visitor>
  void visit(Visitor&& field) {
    field("name", name);
    field("stage", stage);
  }
};

struct PretrainRecipe {
  std::string name;
  std::string tokenizer;  // folder with tokenizer.json; empty where `model` is a folder: its own
  Json model;  // a config.json (Qwen3, Qwen2, Llama or HypeNet), or the path of a model folder or
               // GGUF file
  DataConfig data;
  int64_t seed = 0;
  std::vector<PretrainPhase> phases;
  EvaluateConfig evaluate;
  template <class Visitor>
  void visit(Visitor&& field) {
    field("name", name);
    field("tokenizer", tokenizer);
    field("model", model);
    field("data", data);
    field("seed", seed);
    field("phases", phases);
    field("evaluate", evaluate);
  }
  /// Whether it begins with the weights of a folder.
  bool has_folder() const { return model.is_string(); }
  std::string tokenizer_folder() const {
    return has_folder() ? model.get<std::string>() : tokenizer;
  }
};

/// Trains a model (cross-entropy), phase after phase, into options.out/model, each phase in a
/// folder of its own that the next one goes on from; then measures it, and the folder that it began
/// with, into options.out/results.json. Resumes as a conversion does (halo/pipeline.h), and throws
/// Error where the folder that it began with has changed since. Returns the model's folder.
std::filesystem::path pretrain(const PretrainRecipe& recipe, const RunOptions& options);

}  // namespace hypenet
