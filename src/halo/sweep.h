// HALO step S, first half: each layer is scored by the teacher with that layer alone replaced by
// its aligned twin.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/json.h"
#include "eval/task.h"
#include "halo/recipe.h"
#include "halo/scores.h"
#include "halo/variants.h"
#include "ranks/ranks.h"

namespace hypenet {

/// What a sweep works with; references have to outlive it.
struct SweepInputs {
  LayerVariants& variants;
  const Tokenizer& tokenizer;
  const std::vector<int32_t>& held_out;  // of recall, text and lazy
  uint64_t seed = 0;                     // of recall's prompts
  std::filesystem::path journal = {};    // of the evaluation room's tasks; empty: none is kept
  Json identity = {};                    // of the models
  int64_t memory_bytes = 0;              // as VariantRespondent's
  std::vector<int32_t> stop_ids = {};    // that end an answer, beside the tokenizer's EOS
  std::function<void(const std::string&)> note = {};  // takes what a user should know
  /// All of which sweep together and get all scores; the first one keeps the journal.
  std::shared_ptr<Communicator> ranks = std::make_shared<OneProcess>();
};

/// Counts pieces of a part of the sweep; may throw to stop.
using SweepReport = std::function<void(const std::string& part, int64_t done, int64_t total)>;

/// The scores of the teacher and of all L replacements on config.tasks, the same bits on any number
/// of ranks: batches and prompts are dealt out whole, sums are added up in the order of one rank.
/// Columns are those of the published sweeps ("fda/contains", "arc_easy/acc_norm",
/// "ruler_qa_squad/4096"), of recall "recall/exact" and of text "next_token/accuracy"; after them
/// what other rules read: */ll (config.likelihoods; recall and text have it always), text/kl and
/// lazy/mass. Throws Error as load_sweep_tasks does, when held-out text is needed and empty, and
/// for scores that are not finite.
LayerScores sweep_layers(const SweepInputs& inputs, const SweepConfig& config,
                         const SweepReport& report);

/// The tasks of the evaluation room that config.tasks names. Throws Error as load_tasks does.
std::vector<Task> load_sweep_tasks(const SweepConfig& config, const Tokenizer& tokenizer);

/// What there is to say about prompts and windows longer than the teacher was made for, a sentence
/// each (model/length_note.h).
std::vector<std::string> sweep_length_notes(const SweepConfig& config, const ModelConfig& teacher);

/// The columns that sweep_layers gives for these tasks and those on held-out text, in no order.
std::vector<std::string> sweep_columns(const SweepConfig& config, const std::vector<Task>& tasks);

/// A measure of all variants, the teacher's first.
struct SweepColumn {
  std::string name;
  std::vector<double> values;  // [L + 1]
};

/// Columns of tasks of the evaluation room: their metrics, and */ll if asked.
std::vector<SweepColumn> sweep_tasks(const SweepInputs& inputs, const std::vector<Task>& tasks,
                                     bool likelihoods, const SweepReport& report);

/// recall/exact: the share of rows whose scored tokens are all the model's first choice; recall/ll:
/// their log-likelihood a row, mean over rows.
std::vector<SweepColumn> sweep_recall(LayerVariants& variants, const std::vector<ScoredRow>& rows,
                                      Communicator& ranks, const SweepReport& report);

/// next_token/accuracy and next_token/ll: of the scored tokens, the share predicted and the mean
/// log-likelihood; text/kl: mean KL(teacher || variant) over the rows' positions.
std::vector<SweepColumn> sweep_text(LayerVariants& variants, const std::vector<ScoredRow>& rows,
                                    Communicator& ranks, const SweepReport& report);

}  // namespace hypenet
