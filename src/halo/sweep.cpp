// The sweep's own rows, and columns put in order.
#include "halo/sweep.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "engine/score_batches.h"
#include "eval/measures.h"
#include "eval/shared.h"
#include "halo/divergence.h"
#include "halo/lazy.h"

namespace hypenet {
namespace {

template <class Measure>
SweepColumn column(const std::string& name, const std::vector<RowScores>& scores,
                   const Measure& measure) {
  SweepColumn column{name, {}};
  for (const RowScores& variant : scores) column.values.push_back(measure(variant));
  return column;
}

/// The sum of the scored tokens' log-probabilities.
double loglikelihood(const RowScores& scores) {
  double sum = 0;
  for (const auto& row : scores) {
    for (const TokenScore& token : row) sum += token.logprob;
  }
  return sum;
}

int64_t tokens_of(const RowScores& scores) {
  int64_t tokens = 0;
  for (const auto& row : scores) tokens += static_cast<int64_t>(row.size());
  return tokens;
}

std::vector<SweepColumn> sweep_lazy(const SweepInputs& inputs, const std::vector<ScoredRow>& rows,
                                    const LazyConfig& config) {
  std::vector<double> values = lazy_masses(inputs.variants.teacher(), rows, config, *inputs.ranks);
  double sum = 0;
  for (const double value : values) sum += value;
  values.insert(values.begin(), sum / static_cast<double>(values.size()));
  return {{"lazy/mass", values}};
}

/// A measure that only some rules read stands behind the scores.
bool is_published(const SweepColumn& column) {
  return !column.name.ends_with("/ll") && !is_column_of(Evidence::kDivergence, column.name) &&
         !is_column_of(Evidence::kLaziness, column.name);
}

LayerScores in_order(std::vector<SweepColumn> columns) {
  std::sort(columns.begin(), columns.end(), [](const SweepColumn& a, const SweepColumn& b) {
    return std::pair(!is_published(a), a.name) < std::pair(!is_published(b), b.name);
  });
  LayerScores scores;
  scores.layers.resize(columns.front().values.size() - 1);
  for (const SweepColumn& column : columns) {
    for (size_t variant = 0; variant < column.values.size(); ++variant) {
      HYPENET_CHECK(std::isfinite(column.values[variant]), "sweep: ", column.name, " of ",
                    name_of_variant(static_cast<int64_t>(variant)),
                    ": expected a finite number, found ", column.values[variant]);
    }
    scores.columns.push_back(column.name);
    scores.original.push_back(column.values.front());
    for (size_t i = 0; i < scores.layers.size(); ++i) {
      scores.layers[i].push_back(column.values[i + 1]);
    }
  }
  return scores;
}

void append(std::vector<SweepColumn>& columns, std::vector<SweepColumn> more) {
  std::move(more.begin(), more.end(), std::back_inserter(columns));
}

std::function<void(int64_t, int64_t)> reported(const std::string& part, const SweepReport& report) {
  return [&report, part](int64_t done, int64_t total) {
    if (report) report(part, done, total);
  };
}

/// The scores of all variants on all rows. Each rank scores its batches, in which `hidden` gives
/// the variants' hidden states.
std::vector<RowScores> score_rows(LayerVariants& variants, const std::vector<ScoredRow>& rows,
                                  const HiddenVariants& hidden, Communicator& ranks,
                                  const std::function<void(int64_t, int64_t)>& report) {
  CausalLm& teacher = variants.teacher();
  const int64_t tokens = score_batch_tokens(teacher->head_weight().device());
  std::vector<RowScores> all(static_cast<size_t>(variants.count()), RowScores(rows.size()));
  int64_t done = 0;
  score_dealt(
      rows, score_batches(rows, tokens), ranks,
      [&](const RowBatches& own, const OnScores& on_own) {
        score_variants(teacher, rows, hidden, {.batches = &own, .on_row = on_own});
      },
      [&](size_t variant, size_t row, const auto& scores) {
        all[variant][row] = scores;
        if (variant + 1 == all.size()) report(++done, std::ssize(rows));
      });
  return all;
}

}  // namespace

std::vector<SweepColumn> sweep_recall(LayerVariants& variants, const std::vector<ScoredRow>& rows,
                                      Communicator& ranks, const SweepReport& report) {
  const auto scores =
      score_rows(variants, rows, variants.hidden(), ranks, reported("sweep recall", report));
  const auto mean_of_rows = [](const RowScores& variant) {
    return loglikelihood(variant) / static_cast<double>(variant.size());
  };
  return {column("recall/exact", scores, exact_share), column("recall/ll", scores, mean_of_rows)};
}

std::vector<SweepColumn> sweep_text(LayerVariants& variants, const std::vector<ScoredRow>& rows,
                                    Communicator& ranks, const SweepReport& report) {
  const auto count = static_cast<size_t>(variants.count());
  // Of each batch: its positions, and each variant's divergence summed over them. It is read off
  // the hidden states on their way to the scores.
  std::vector<double> own;
  const HiddenVariants plain = variants.hidden();
  const HiddenVariants measured = [&](const TokenTree& tree, const auto& emit) {
    Tensor teacher_hidden;
    plain(tree, [&](const Tensor& hidden) {
      if (!teacher_hidden.defined()) {
        teacher_hidden = hidden;
        own.push_back(static_cast<double>(hidden.size(1)));
      } else {
        own.push_back(kl_sum(variants.teacher(), teacher_hidden, variants.teacher(), hidden));
      }
      emit(hidden);
    });
  };
  const auto scores = score_rows(variants, rows, measured, ranks, reported("sweep text", report));
  const std::vector<double> of_batches = gather_dealt(own, count, ranks);
  std::vector<double> kl(count, 0.0);
  for (size_t i = 0; i < of_batches.size(); ++i) kl[i % count] += of_batches[i];
  const double positions = std::exchange(kl.front(), 0.0);
  for (double& sum : kl) sum /= positions;
  const auto mean_of_tokens = [](const RowScores& variant) {
    return loglikelihood(variant) / static_cast<double>(tokens_of(variant));
  };
  return {column("next_token/accuracy", scores, greedy_share),
          column("next_token/ll", scores, mean_of_tokens),
          {"text/kl", kl}};
}

LayerScores sweep_layers(const SweepInputs& inputs, const SweepConfig& config,
                         const SweepReport& report) {
  std::vector<SweepColumn> columns;
  // What takes long comes last; what a data file lacks is said first.
  const std::vector<Task> tasks = load_sweep_tasks(config, inputs.tokenizer);
  const bool reads_text = std::any_of(config.tasks.begin(), config.tasks.end(), is_on_held_out);
  HYPENET_CHECK(!reads_text || !inputs.held_out.empty(),
                "sweep: tasks recall, text and lazy: expected held-out text, found none");
  if (inputs.note) {
    for (const auto& note : sweep_length_notes(config, inputs.variants.teacher()->config())) {
      inputs.note(note);
    }
  }
  for (const std::string& name : config.tasks) {
    if (name == "recall") {
      const auto rows = recall_rows(NeedleTask(inputs.tokenizer), inputs.held_out,
                                    {config.context, config.needles, config.prompts, inputs.seed});
      append(columns, sweep_recall(inputs.variants, rows, *inputs.ranks, report));
    } else if (name == "text" || name == "lazy") {
      const auto rows = text_rows(inputs.held_out, config.context, config.windows);
      append(columns, name == "text" ? sweep_text(inputs.variants, rows, *inputs.ranks, report)
                                     : sweep_lazy(inputs, rows, config.lazy));
    }
  }
  if (!tasks.empty()) append(columns, sweep_tasks(inputs, tasks, config.likelihoods, report));
  return in_order(std::move(columns));
}

}  // namespace hypenet
