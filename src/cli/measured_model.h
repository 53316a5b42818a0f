// A model that answers an evaluation's requests, with progress, a journal and Ctrl-C.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cli/model_folder.h"
#include "engine/engine.h"
#include "eval/evaluator.h"

namespace hypenet {

struct MeasureOptions {
  ModelOptions model{.folder = {}, .type = kAutomaticType, .device = {}};
  int64_t memory_bytes = 0;  // of the engine; 0: its own choice
  int64_t max_length = 0;    // 0: the model's max_position_embeddings
  int64_t batch_tokens = 0;  // 0: chosen by device
  bool sums_in_bf16 = false;
  std::filesystem::path journal = {};  // empty: none is kept
  std::shared_ptr<Communicator> ranks = std::make_shared<OneProcess>();
};

class MeasuredModel {
 public:
  /// Opens the model; `checkpoint` and `tokenizer` are those of its folder, and must outlive it.
  MeasuredModel(const MeasureOptions& options, const Checkpoint& checkpoint,
                const Tokenizer& tokenizer);

  Engine& engine() { return engine_; }
  int64_t max_length() const { return evaluator_.max_length(); }
  /// Of the weights: "bfloat16"; of packed ones how rows meet them, too.
  std::string type() const { return type_; }

  /// The answers, with a line of progress a kind on standard error: "eval: 120 of 4,000
  /// log-likelihoods", then of `answers`. Throws Interrupted on Ctrl-C.
  std::vector<EvalAnswer> answer(std::span<const EvalRequest* const> requests,
                                 const std::string& answers = "answers");

  /// For scoring rows that are no requests: the batch, progress and Ctrl-C.
  ScoreOptions score_options(std::string_view what, int64_t rows);

  Communicator& ranks() { return *ranks_; }

 private:
  MeasuredModel(const MeasureOptions& options, const Checkpoint& checkpoint,
                const Tokenizer& tokenizer, const CausalLm& model);

  std::filesystem::path journal_;
  std::shared_ptr<Communicator> ranks_;
  int64_t batch_tokens_;
  Engine engine_;
  std::string type_;
  ModelRespondent respondent_;
  Evaluator evaluator_;
};

}  // namespace hypenet
