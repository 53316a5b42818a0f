// Answers into scores, and scores into metrics, by lm-evaluation-harness's definitions.
#include "eval/scoring.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <numeric>

#include "base/error.h"
#include "eval/python/python_text.h"
#include "eval/task.h"
#include "text/unicode.h"

namespace hypenet {
namespace {

/// The place of the largest value; the first of equal ones.
int64_t first_maximum(const std::vector<double>& values) {
  return std::ranges::max_element(values) - values.begin();
}

double is_gold(const TaskItem& item, const std::vector<double>& values) {
  return first_maximum(values) == item.gold ? 1 : 0;
}

std::vector<double> loglikelihoods(std::span<const EvalAnswer> answers) {
  std::vector<double> values;
  values.reserve(answers.size());
  for (const EvalAnswer& answer : answers) values.push_back(answer.loglikelihood);
  return values;
}

ItemScores score_choices(const TaskItem& item, std::span<const EvalAnswer> answers) {
  const std::vector<double> sums = loglikelihoods(answers);
  std::vector<double> means = sums;
  for (size_t i = 0; i < means.size(); ++i) means[i] /= static_cast<double>(item.lengths[i]);
  return {is_gold(item, sums), is_gold(item, means)};
}

ItemScores score_contexts(const TaskItem& item, std::span<const EvalAnswer> answers) {
  return {is_gold(item, loglikelihoods(answers))};
}

ItemScores score_last_word(const TaskItem& /*item*/, std::span<const EvalAnswer> answers) {
  return {answers.front().is_greedy ? 1.0 : 0.0, answers.front().loglikelihood};
}

ItemScores score_text(const TaskItem& /*item*/, std::span<const EvalAnswer> answers) {
  return ItemScores(3, answers.front().loglikelihood);
}

EvalRequest gold_choice(const TaskItem& item) {
  return item.requests.at(static_cast<size_t>(item.gold));
}

EvalRequest first_request(const TaskItem& item) { return item.requests.front(); }

int64_t references_in(const std::string& text, const TaskItem& item) {
  const std::string lowered = lower_case(text);
  return std::ranges::count_if(item.references, [&](const std::string& reference) {
    return lowered.find(lower_case(reference)) != lowered.npos;
  });
}

/// RULER's post-processing: control characters become line feeds.
std::string without_controls(std::string_view text) {
  std::string result(strip(text));
  for (char& c : result) {
    if (c >= 0 && c < 0x20) c = '\n';
  }
  return std::string(strip(result));
}

double share_of_references(const TaskItem& item, const EvalAnswer& answer) {
  const int64_t found = references_in(without_controls(answer.text), item);
  return static_cast<double>(found) / static_cast<double>(item.references.size());
}

ItemScores score_contained(const TaskItem& item, std::span<const EvalAnswer> answers) {
  return {references_in(answers.front().text, item) > 0 ? 1.0 : 0.0};
}

ItemScores score_all_references(const TaskItem& item, std::span<const EvalAnswer> answers) {
  return {share_of_references(item, answers.front())};
}

ItemScores score_part_of_references(const TaskItem& item, std::span<const EvalAnswer> answers) {
  const double share = share_of_references(item, answers.front());
  return {share, share > 0 ? 1.0 : 0.0};
}

/// The values of one metric, item by item.
std::vector<double> column(std::span<const ItemScores> scores, size_t metric) {
  std::vector<double> values;
  values.reserve(scores.size());
  for (const ItemScores& item : scores) values.push_back(item[metric]);
  return values;
}

double mean(const std::vector<double>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

/// s / sqrt(n) with the sample deviation s; one value alone has none.
std::optional<double> standard_error(const std::vector<double>& values) {
  if (values.size() < 2) return std::nullopt;
  const double middle = mean(values);
  double squares = 0;
  for (const double value : values) squares += (value - middle) * (value - middle);
  const auto n = static_cast<double>(values.size());
  return std::sqrt(squares / (n - 1) / n);
}

/// The mean of one metric, and its error where that is asked for.
Metric mean_of(const Task& task, std::span<const ItemScores> scores, size_t metric,
               bool has_error) {
  const std::vector<double> values = column(scores, metric);
  return {.name = std::string(task.scoring->metrics[metric]),
          .value = mean(values),
          .error = has_error ? standard_error(values) : std::nullopt};
}

std::vector<Metric> means_of(const Task& task, std::span<const ItemScores> scores,
                             bool has_errors) {
  std::vector<Metric> metrics;
  for (size_t i = 0; i < task.scoring->metrics.size(); ++i) {
    metrics.push_back(mean_of(task, scores, i, has_errors));
  }
  return metrics;
}

/// Accuracy, and the perplexity of a target word. The harness draws bootstrap samples for its
/// error; this is what they approach.
std::vector<Metric> summarize_last_words(const Task& task, std::span<const ItemScores> scores) {
  const std::vector<double> sums = column(scores, 1);
  const double value = std::exp(-mean(sums));
  Metric perplexity{.name = std::string(task.scoring->metrics[1]), .value = value};
  if (const auto error = standard_error(sums)) perplexity.error = value * *error;
  return {mean_of(task, scores, 0, /*has_error=*/true), perplexity};
}

std::vector<Metric> summarize_texts(const Task& task, std::span<const ItemScores> scores) {
  const std::vector<double> sums = column(scores, 0);
  const double total = std::accumulate(sums.begin(), sums.end(), 0.0);
  double words = 0, bytes = 0;
  for (size_t i = 0; i < sums.size(); ++i) {
    words += static_cast<double>(task.items[i].words);
    bytes += static_cast<double>(task.items[i].bytes);
  }
  const auto names = task.scoring->metrics;
  return {{.name = std::string(names[0]), .value = std::exp(-total / words)},
          {.name = std::string(names[1]), .value = std::exp(-total / bytes)},
          {.name = std::string(names[2]), .value = -total / (bytes * std::numbers::ln2)}};
}

constexpr std::string_view kAccuracies[] = {"acc", "acc_norm"};
constexpr std::string_view kAccuracy[] = {"acc"};
constexpr std::string_view kWord[] = {"acc", "perplexity"};
constexpr std::string_view kPerplexities[] = {"word_perplexity", "byte_perplexity",
                                              "bits_per_byte"};
constexpr std::string_view kContained[] = {"contains"};
constexpr std::string_view kAll[] = {"all"};
constexpr std::string_view kPart[] = {"part/harness", "part/ruler"};

}  // namespace

std::vector<Metric> summarize(const Task& task, std::span<const ItemScores> scores) {
  HYPENET_CHECK(!scores.empty(), task.name, ": expected items to score, found none");
  return task.scoring->summarize(task, scores);
}

std::vector<Metric> means_with_errors(const Task& task, std::span<const ItemScores> scores) {
  return means_of(task, scores, true);
}

std::vector<Metric> means(const Task& task, std::span<const ItemScores> scores) {
  return means_of(task, scores, false);
}

EvalRequest first_reference(const TaskItem& item) {
  const std::string& context = item.requests.front().context;
  const std::string& value = item.references.front();
  const bool is_apart = context.ends_with(' ') || value.starts_with(' ');
  return {.kind = RequestKind::kLoglikelihood,
          .context = context,
          .continuation = is_apart ? value : " " + value};
}

const Scoring Scoring::kMultipleChoice = {kAccuracies, score_choices, means_with_errors,
                                          gold_choice};
const Scoring Scoring::kChoiceOfContext = {kAccuracy, score_contexts, means_with_errors,
                                           gold_choice};
const Scoring Scoring::kLastWord = {kWord, score_last_word, summarize_last_words, first_request};
const Scoring Scoring::kTextPerplexity = {kPerplexities, score_text, summarize_texts, nullptr};
const Scoring Scoring::kContains = {kContained, score_contained, means, first_reference};
const Scoring Scoring::kAllReferences = {kAll, score_all_references, means, first_reference};
const Scoring Scoring::kPartOfReferences = {kPart, score_part_of_references, means,
                                            first_reference};

}  // namespace hypenet
