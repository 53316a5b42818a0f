// Answers into scores, and scores into metrics, by lm-evaluation-harness's definitions.
#include "eval/task.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <numeric>

#include "base/error.h"
#include "eval/python/python_text.h"
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

/// Of a target word. The harness draws bootstrap samples for its error; this is what they approach.
Metric word_perplexity(const std::string& name, const std::vector<double>& sums) {
  const double value = std::exp(-mean(sums));
  Metric metric{.name = name, .value = value};
  if (const std::optional<double> error = standard_error(sums)) metric.error = value * *error;
  return metric;
}

std::vector<Metric> text_perplexities(const Task& task, const std::vector<double>& sums) {
  const double total = std::accumulate(sums.begin(), sums.end(), 0.0);
  double words = 0, bytes = 0;
  for (size_t i = 0; i < sums.size(); ++i) {
    words += static_cast<double>(task.items[i].words);
    bytes += static_cast<double>(task.items[i].bytes);
  }
  const std::vector<std::string> names = metric_names(task.scoring);
  return {{.name = names[0], .value = std::exp(-total / words)},
          {.name = names[1], .value = std::exp(-total / bytes)},
          {.name = names[2], .value = -total / (bytes * std::numbers::ln2)}};
}

}  // namespace

std::vector<std::string> metric_names(Scoring scoring) {
  switch (scoring) {
    case Scoring::kMultipleChoice:
      return {"acc", "acc_norm"};
    case Scoring::kChoiceOfContext:
      return {"acc"};
    case Scoring::kLastWord:
      return {"acc", "perplexity"};
    case Scoring::kTextPerplexity:
      return {"word_perplexity", "byte_perplexity", "bits_per_byte"};
    case Scoring::kContains:
      return {"contains"};
    case Scoring::kAllReferences:
      return {"all"};
    case Scoring::kPartOfReferences:
      return {"part/harness", "part/ruler"};
  }
  return {};
}

ItemScores score_item(Scoring scoring, const TaskItem& item, std::span<const EvalAnswer> answers) {
  const EvalAnswer& first = answers.front();
  switch (scoring) {
    case Scoring::kMultipleChoice:
      return score_choices(item, answers);
    case Scoring::kChoiceOfContext:
      return {is_gold(item, loglikelihoods(answers))};
    case Scoring::kLastWord:
      return {first.is_greedy ? 1.0 : 0.0, first.loglikelihood};
    case Scoring::kTextPerplexity:
      return ItemScores(3, first.loglikelihood);
    case Scoring::kContains:
      return {references_in(first.text, item) > 0 ? 1.0 : 0.0};
    case Scoring::kAllReferences:
      return {share_of_references(item, first)};
    case Scoring::kPartOfReferences: {
      const double share = share_of_references(item, first);
      return {share, share > 0 ? 1.0 : 0.0};
    }
  }
  return {};
}

std::vector<Metric> summarize(const Task& task, std::span<const ItemScores> scores) {
  HYPENET_CHECK(!scores.empty(), task.name, ": expected items to score, found none");
  if (task.scoring == Scoring::kTextPerplexity) return text_perplexities(task, column(scores, 0));
  // The harness reports no error for what is generated.
  const bool has_errors = task.scoring == Scoring::kMultipleChoice ||
                          task.scoring == Scoring::kChoiceOfContext ||
                          task.scoring == Scoring::kLastWord;
  std::vector<Metric> metrics;
  for (const std::string& name : metric_names(task.scoring)) {
    const std::vector<double> values = column(scores, metrics.size());
    if (name == "perplexity") {
      metrics.push_back(word_perplexity(name, values));
      continue;
    }
    Metric& metric = metrics.emplace_back(Metric{.name = name, .value = mean(values)});
    if (has_errors) metric.error = standard_error(values);
  }
  return metrics;
}

}  // namespace hypenet
