// Training from scratch: the trainer of stage 3 over a list of phases, starting from random
// weights.
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

/// Training from scratch: phases one after the other, each a stage with its own schedule.
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
  std::string tokenizer;  // folder with tokenizer.json
  Json model;             // config.json of the model: Qwen3, Qwen2, Llama or HypeNet
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
};

/// Trains a model (cross-entropy), phase after phase, into options.out/model, each phase in a
/// folder of its own that the next one goes on from; then measures it into
/// options.out/results.json. Resumes as a conversion does (halo/pipeline.h). Returns the model's
/// folder.
std::filesystem::path pretrain(const PretrainRecipe& recipe, const RunOptions& options);

}  // namespace hypenet
