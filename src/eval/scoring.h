// How an item's answers are scored. Each way is a row of functions; a task that is scored like no
// other brings a row of its own.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "eval/request.h"

namespace hypenet {

struct Task;
struct TaskItem;

/// One item's values, in the order of the scoring's metrics.
using ItemScores = std::vector<double>;

struct Metric {
  std::string name = {};
  double value = 0;
  std::optional<double> error = {};  // standard error of the mean, where the harness reports one
};

struct Scoring {
  /// The metrics as published: "acc", "acc_norm".
  std::span<const std::string_view> metrics;

  /// What one item's answers give; of perplexities the log-likelihood, which `summarize` combines.
  ItemScores (*score)(const TaskItem& item, std::span<const EvalAnswer> answers);

  /// The task's metrics from the scores of its items, in their order; there is at least one.
  std::vector<Metric> (*summarize)(const Task& task, std::span<const ItemScores> scores);

  /// The right answer as a continuation, whose log-likelihood the sweep can take; null where a text
  /// is scored as a whole.
  EvalRequest (*right_answer)(const TaskItem& item);

  static const Scoring kMultipleChoice;    // acc, acc_norm
  static const Scoring kChoiceOfContext;   // acc (winogrande: several contexts; mmlu: letters)
  static const Scoring kLastWord;          // acc, perplexity (lambada)
  static const Scoring kTextPerplexity;    // word_perplexity, byte_perplexity, bits_per_byte
  static const Scoring kContains;          // contains
  static const Scoring kAllReferences;     // all: the share of references in the answer
  static const Scoring kPartOfReferences;  // part/harness (that share) and part/ruler (any)
};

/// The task's metrics. Throws Error without items.
std::vector<Metric> summarize(const Task& task, std::span<const ItemScores> scores);

/// For `Scoring::summarize`: the mean of each metric, with its standard error or, as the harness
/// does for what is generated, without.
std::vector<Metric> means_with_errors(const Task& task, std::span<const ItemScores> scores);
std::vector<Metric> means(const Task& task, std::span<const ItemScores> scores);

/// For `Scoring::right_answer`: the item's first reference after its first request's context.
EvalRequest first_reference(const TaskItem& item);

}  // namespace hypenet
