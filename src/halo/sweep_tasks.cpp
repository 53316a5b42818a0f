// Tasks of the evaluation room as columns of a sweep.
#include <algorithm>
#include <optional>
#include <utility>

#include "eval/evaluator.h"
#include "eval/ruler/ruler.h"
#include "halo/sweep.h"
#include "halo/variant_answers.h"
#include "model/length_note.h"

namespace hypenet {
namespace {

/// The column of a metric: "arc_easy/acc"; "niah_single_1/4096" for what RULER reports at a length,
/// and nothing for its other form of the same score.
std::optional<std::string> column_name(const Task& task, std::string_view metric) {
  const bool has_length = task.name.find('/') != std::string::npos;
  if (!has_length) return concat(task.name, "/", metric);
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
      if (!likelihoods || !task.scoring->right_answer) continue;
      items.back().right = requests.all.size();
      requests.all.push_back(task.scoring->right_answer(item));
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
    scores.push_back(task.scoring->score(
        item, std::span(answers).subspan(places[i].first, item.requests.size())));
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

std::string cut_note(int64_t cut, size_t requests) {
  return concat("sweep: ", cut, " of ", requests,
                " requests are longer than the model reads (config.json: "
                "max_position_embeddings) and lost their beginning");
}

bool is_of_ruler(const std::string& name) {
  const auto& own = ruler_task_names();
  return name == "ruler" || std::find(own.begin(), own.end(), name) != own.end();
}

}  // namespace

std::vector<std::string> sweep_length_notes(const SweepConfig& config, const ModelConfig& teacher) {
  std::vector<std::string> notes;
  const auto add = [&](const char* place, int64_t tokens) {
    if (const auto note = length_note(place, tokens, teacher)) notes.push_back("warning: " + *note);
  };
  if (std::ranges::any_of(config.tasks, is_on_held_out)) add("sweep: context", config.context);
  if (std::ranges::any_of(config.tasks, is_of_ruler)) {
    add("sweep: lengths", std::ranges::max(config.lengths));
  }
  return notes;
}

std::vector<Task> load_sweep_tasks(const SweepConfig& config, const Tokenizer& tokenizer) {
  std::vector<std::string> names;
  std::remove_copy_if(config.tasks.begin(), config.tasks.end(), std::back_inserter(names),
                      is_on_held_out);
  return load_tasks(names, {.data = {config.task_data.begin(), config.task_data.end()},
                            .limit = config.limit,
                            .version = config.version,
                            .lengths = config.lengths,
                            .ruler_as_harness = true,
                            .tokenizer = &tokenizer});
}

std::vector<std::string> sweep_columns(const SweepConfig& config, const std::vector<Task>& tasks) {
  std::vector<std::string> columns;
  for (const std::string& name : config.tasks) {
    if (name == "recall") columns.insert(columns.end(), {"recall/exact", "recall/ll"});
    if (name == "lazy") columns.emplace_back("lazy/mass");
    if (name != "text") continue;
    columns.insert(columns.end(), {"next_token/accuracy", "next_token/ll", "text/kl"});
  }
  for (const Task& task : tasks) {
    for (const std::string_view metric : task.scoring->metrics) {
      if (const auto name = column_name(task, metric)) columns.push_back(*name);
    }
    const bool has_likelihood = config.likelihoods && task.scoring->right_answer;
    if (has_likelihood) columns.push_back(task.name + "/ll");
  }
  return columns;
}

std::vector<SweepColumn> sweep_tasks(const SweepInputs& inputs, const std::vector<Task>& tasks,
                                     bool likelihoods, const SweepReport& report) {
  const Requests requests = collect(tasks, likelihoods);
  VariantRespondent respondent(inputs.variants, inputs.memory_bytes);
  Evaluator evaluator(respondent, inputs.tokenizer,
                      {.stop_ids = inputs.stop_ids,
                       .journal = inputs.journal,
                       .identity = inputs.identity,
                       .ranks = inputs.ranks});
  bool is_cut_told = false;
  const auto answers = evaluator.answer(requests.all, [&](const EvaluationProgress& now) {
    if (now.total() == 0) return;  // requests become tokens
    if (now.cut > 0 && inputs.note && !std::exchange(is_cut_told, true)) {
      inputs.note(cut_note(now.cut, requests.all.size()));
    }
    if (report) report("sweep tasks", now.done(), now.total());
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
