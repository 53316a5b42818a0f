// Tasks of the evaluation room as columns of a sweep.
#include <optional>

#include "halo/sweep.h"
#include "halo/variant_evaluator.h"

namespace hypenet {
namespace {

bool ends_in_space(const std::string& text) { return !text.empty() && text.back() == ' '; }

/// The right answer as a continuation; nothing for texts that are scored as a whole.
std::optional<EvalRequest> right_answer(const Task& task, const TaskItem& item) {
  switch (task.scoring) {
    case Scoring::kMultipleChoice:
    case Scoring::kChoiceOfContext:
      return item.requests.at(static_cast<size_t>(item.gold));
    case Scoring::kLastWord:
      return item.requests.front();
    case Scoring::kTextPerplexity:
      return std::nullopt;
    case Scoring::kContains:
    case Scoring::kAllReferences:
    case Scoring::kPartOfReferences: {
      const std::string& context = item.requests.front().context;
      const std::string& value = item.references.front();
      const bool is_apart = ends_in_space(context) || value.starts_with(' ');
      return EvalRequest{.kind = RequestKind::kLoglikelihood,
                         .context = context,
                         .continuation = is_apart ? value : " " + value};
    }
  }
  throw Error("sweep: unknown scoring");
}

/// The column of a metric: "arc_easy/acc"; "niah_single_1/4096" for what RULER reports at a length,
/// and nothing for its other form of the same score.
std::optional<std::string> column_name(const Task& task, const std::string& metric) {
  const bool has_length = task.name.find('/') != std::string::npos;
  if (!has_length) return task.name + "/" + metric;
  if (metric == "part/ruler") return std::nullopt;
  return task.name;
}

/// All requests of the tasks, item after item, and the right answers' after each.
struct Requests {
  std::vector<EvalRequest> all;
  struct Item {
    size_t first = 0;
    std::optional<size_t> right;
  };
  std::vector<std::vector<Item>> items;  // [task][item]
};

Requests collect(const std::vector<Task>& tasks, bool likelihoods) {
  Requests requests;
  for (const Task& task : tasks) {
    auto& items = requests.items.emplace_back();
    for (const TaskItem& item : task.items) {
      items.push_back({.first = requests.all.size(), .right = {}});
      requests.all.insert(requests.all.end(), item.requests.begin(), item.requests.end());
      const auto right = likelihoods ? right_answer(task, item) : std::nullopt;
      if (!right) continue;
      items.back().right = requests.all.size();
      requests.all.push_back(*right);
    }
  }
  return requests;
}

std::vector<Metric> metrics_of(const Task& task, const std::vector<Requests::Item>& places,
                               const std::vector<EvalAnswer>& answers) {
  std::vector<ItemScores> scores;
  scores.reserve(task.items.size());
  for (size_t i = 0; i < task.items.size(); ++i) {
    const TaskItem& item = task.items[i];
    scores.push_back(score_item(task.scoring, item,
                                std::span(answers).subspan(places[i].first, item.requests.size())));
  }
  return summarize(task, scores);
}

std::optional<double> mean_likelihood(const std::vector<Requests::Item>& places,
                                      const std::vector<EvalAnswer>& answers) {
  double sum = 0;
  for (const auto& item : places) {
    if (!item.right) return std::nullopt;
    sum += answers[*item.right].loglikelihood;
  }
  return sum / static_cast<double>(places.size());
}

}  // namespace

std::vector<SweepColumn> sweep_tasks(const SweepInputs& inputs, const std::vector<Task>& tasks,
                                     bool likelihoods, const SweepReport& report) {
  const Requests requests = collect(tasks, likelihoods);
  VariantEvaluator evaluator(inputs.variants, inputs.tokenizer,
                             {.memory_bytes = inputs.memory_bytes,
                              .journal = inputs.journal,
                              .identity = inputs.identity});
  const auto answers = evaluator.answer(requests.all, [&](int64_t done, int64_t total) {
    if (report) report("sweep tasks", done, total);
  });
  std::vector<SweepColumn> columns;
  for (size_t t = 0; t < tasks.size(); ++t) {
    std::vector<SweepColumn> own;
    SweepColumn likelihood{tasks[t].name + "/ll", {}};
    for (const auto& variant : answers) {
      const auto metrics = metrics_of(tasks[t], requests.items[t], variant);
      if (own.empty()) own.resize(metrics.size());
      for (size_t m = 0; m < metrics.size(); ++m) {
        own[m].name = column_name(tasks[t], metrics[m].name).value_or("");
        own[m].values.push_back(metrics[m].value);
      }
      const auto mean = mean_likelihood(requests.items[t], variant);
      if (mean) likelihood.values.push_back(*mean);
    }
    if (!likelihood.values.empty()) own.push_back(std::move(likelihood));
    for (SweepColumn& column : own) {
      if (!column.name.empty()) columns.push_back(std::move(column));
    }
  }
  return columns;
}

}  // namespace hypenet
