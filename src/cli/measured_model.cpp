// Progress counts requests; the time left goes by their tokens.
#include "cli/measured_model.h"

#include <fmt/format.h>

#include <chrono>
#include <memory>
#include <optional>

#include "base/error.h"
#include "cli/generation_options.h"
#include "cli/interrupt.h"
#include "cli/numbers.h"
#include "cli/progress.h"
#include "run/run.h"

namespace hypenet {
namespace {

using std::chrono::steady_clock;

constexpr int64_t kSideBySideGpu = 64, kSideBySideCpu = 16;

EngineOptions options_of_engine(const MeasureOptions& options, torch::Device device) {
  const MemoryFlags memory{.bytes = options.memory_bytes, .context = 0};
  return engine_options(memory, device.is_cuda() ? kSideBySideGpu : kSideBySideCpu);
}

/// The folder's identity; another logits scaling than config.json's is part of its config.
Json identity_of(const ModelOptions& options, const Checkpoint& checkpoint) {
  Json identity = folder_identity(options.folder);
  ModelOptions plain = options;
  plain.attn_logits_scaling.reset();
  const LogitsScaling stored = open_config(plain, checkpoint).attn_logits_scaling;
  const LogitsScaling used = open_config(options, checkpoint).attn_logits_scaling;
  if (used != stored) identity["config"]["attn_logits_scaling"] = to_json(used);
  return identity;
}

/// Throws Error on a rank that measures another model than the first one.
void check_same_model(Communicator& ranks, Json identity) {
  for (Json& file : identity["files"]) file.erase("modified");  // hosts may have copies
  ranks.check_same("eval: model", identity.dump());
}

EvaluatorOptions options_of_evaluator(const MeasureOptions& options, const Checkpoint& checkpoint,
                                      const Tokenizer& tokenizer, const std::string& type) {
  EvaluatorOptions result;
  result.max_length = options.max_length;
  result.sums_in_bf16 = options.sums_in_bf16;
  result.stop_ids = stop_ids(checkpoint, tokenizer);
  result.journal = options.journal;
  result.ranks = options.ranks;
  Json model = identity_of(options.model, checkpoint);
  check_same_model(*options.ranks, model);
  model["dtype"] = type;
  model["device"] = parse_device(options.model.device.device).is_cuda() ? "cuda" : "cpu";
  result.identity = {{"model", model}, {"ll_dtype", options.sums_in_bf16 ? "bf16" : "float32"}};
  return result;
}

/// The time that is left at the speed since the first report.
class TimeLeft {
 public:
  std::string after(int64_t done, int64_t total) {
    const auto now = steady_clock::now();
    if (!start_) start_ = now, first_ = done;
    const double seconds = std::chrono::duration<double>(now - *start_).count();
    if (done <= first_ || done >= total) return "";
    const double rate = static_cast<double>(done - first_) / seconds;
    return fmt::format(", {} left", readable_seconds(static_cast<double>(total - done) / rate));
  }

 private:
  std::optional<steady_clock::time_point> start_;
  int64_t first_ = 0;
};

/// A line a kind of requests: log-likelihoods come first.
class EvaluationLines {
 public:
  EvaluationLines(std::string answers, int64_t max_length)
      : scored_{"log-likelihoods"}, generated_{std::move(answers)}, max_length_(max_length) {}

  void show(const EvaluationProgress& now) {
    if (now.total() == 0) return progress_.show("eval: reading requests");
    show(scored_, now.scored);
    if (now.scored.done == now.scored.total) show(generated_, now.generated);
  }

 private:
  struct Line {
    std::string what;
    TimeLeft left = {};
    bool is_finished = false;
  };

  void show(Line& line, const KindProgress& now) {
    if (line.is_finished || now.total == 0) return;
    if (now.done < now.total) {
      progress_.show(fmt::format("eval: {} of {} {}{}", with_commas(now.done),
                                 with_commas(now.total), line.what,
                                 line.left.after(now.tokens_done, now.tokens_total)));
      return;
    }
    std::string cut;
    if (now.cut > 0) {
      cut = fmt::format("; {} were longer than {} tokens and lost their beginning",
                        with_commas(now.cut), with_commas(max_length_));
    }
    progress_.finish(fmt::format("eval: {} {}{}", with_commas(now.total), line.what, cut));
    line.is_finished = true;
  }

  Progress progress_;
  Line scored_, generated_;
  int64_t max_length_;
};

std::string weights_type(const CausalLm& model, const Engine& engine) {
  const std::string packed = engine.packed_arithmetic();
  return packed.empty() ? type_name(model->head_weight().scalar_type()) : "packed, " + packed;
}

void stop_if_interrupted(const std::filesystem::path& journal) {
  if (!interrupt_flag()) return;
  if (journal.empty()) throw Interrupted("interrupted");
  throw Interrupted(concat("interrupted; finished answers are in ", journal.string(),
                           ": the same command goes on from there"));
}

}  // namespace

MeasuredModel::MeasuredModel(const MeasureOptions& options, const Checkpoint& checkpoint,
                             const Tokenizer& tokenizer)
    : MeasuredModel(options, checkpoint, tokenizer, open_model(options.model, checkpoint)) {}

MeasuredModel::MeasuredModel(const MeasureOptions& options, const Checkpoint& checkpoint,
                             const Tokenizer& tokenizer, const CausalLm& model)
    : journal_(options.journal),
      ranks_(options.ranks),
      batch_tokens_(options.batch_tokens),
      engine_(model, options_of_engine(options, model->head_weight().device())),
      type_(weights_type(model, engine_)),
      respondent_(engine_, options.batch_tokens),
      evaluator_(respondent_, tokenizer,
                 options_of_evaluator(options, checkpoint, tokenizer, type_)) {}

std::vector<EvalAnswer> MeasuredModel::answer(std::span<const EvalRequest* const> requests,
                                              const std::string& answers) {
  EvaluationLines lines(answers, max_length());
  const auto report = [&](const EvaluationProgress& now) {
    stop_if_interrupted(journal_);
    lines.show(now);
  };
  return std::move(evaluator_.answer(requests, report).front());
}

ScoreOptions MeasuredModel::score_options(std::string_view what, int64_t rows) {
  const auto progress = std::make_shared<Progress>();
  const auto left = std::make_shared<TimeLeft>();
  const auto done = std::make_shared<int64_t>(0);
  const std::string name(what);
  const auto on_row = [=](size_t, const std::vector<TokenScore>&) {
    stop_if_interrupted({});
    ++*done;
    const auto text = fmt::format("eval: {} of {} {}{}", with_commas(*done), with_commas(rows),
                                  name, left->after(*done, rows));
    *done < rows ? progress->show(text) : progress->finish(text);
  };
  return {.batch_tokens = batch_tokens_, .on_row = on_row};
}

}  // namespace hypenet
